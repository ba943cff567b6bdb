"""Points, a photograph, digits, well-known picture sets and folders of pictures."""

import gzip
import http.client
import pickle
import re
import struct
import warnings

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vqdit_lite import data
from vqdit_lite.data import pictures as room
from vqdit_lite.data import places


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- points, a photograph, small digits


@pytest.mark.parametrize("kind", ["clusters", "moons", "spiral", "checkerboard"])
def test_points_lie_in_the_plane_and_follow_their_seed(kind):
    points = data.points(kind, 2000, generator())
    assert points.shape == (2000, 2)
    assert 1 < points.abs().max() < 2.5
    assert points.mean(0).abs().max() < 0.5
    assert torch.equal(points, data.points(kind, 2000, generator()))
    assert not torch.equal(points, data.points(kind, 2000, generator(1)))


def test_clusters_are_eight_and_the_checkerboard_fills_every_second_square():
    clusters = data.points("clusters", 2000, generator())
    assert torch.bincount((torch.atan2(*clusters.T) / (torch.pi / 4)).round().long() % 8).min() > 150
    row, column = (data.points("checkerboard", 2000, generator()) + 2).floor().long().T
    squares = torch.stack([row, column], 1).unique(dim=0)
    assert len(squares) == 8
    assert len((squares.sum(1) % 2).unique()) == 1


def test_an_unknown_kind_of_points_is_named():
    with pytest.raises(ValueError, match=r'"checkerboard"; it is \'stars\''):
        data.points("stars", 10, generator())


def test_the_photograph_and_the_digits_are_pictures():
    photograph, (digits, labels) = data.photograph(), data.digits()
    assert photograph.shape == (3, 427, 640)
    assert digits.shape == (1797, 1, 8, 8)
    assert labels.unique().tolist() == list(range(10))
    for pictures in (photograph, digits):
        assert pictures.dtype == torch.float32
        assert pictures.min() == 0
        assert pictures.max() == 1


# ---------------------------------------------------------------- well-known picture sets


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """An empty VQDIT_DATA, an empty folder for downloads, and no network."""
    refuse_downloads(monkeypatch, RuntimeError("no network\nat all"))
    monkeypatch.setattr(places, "DOWNLOADS", tmp_path / "downloads")
    monkeypatch.setenv("VQDIT_DATA", str(tmp_path / "sets"))
    return tmp_path


def refuse_downloads(monkeypatch, error):
    def refuse(*arguments, **options):
        raise error

    for name, kind in (("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")):
        monkeypatch.setitem(room._TORCHVISION, name, type(kind, (), {"__init__": refuse}))


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_set(folder, prefix="train", count=5, compressed=False):
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = draw.integers(0, 10, count, dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((f"{prefix}-images-idx3-ubyte", pictures), (f"{prefix}-labels-idx1-ubyte", labels)):
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return pictures, labels


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("mnist", "sets/mnist"),
        ("mnist", "sets/MNIST/raw"),
        ("mnist", "downloads/MNIST/raw"),
        ("fashion_mnist", "sets/fashion_mnist"),
        ("fashion_mnist", "sets/FashionMNIST/raw"),
        ("fashion_mnist", "downloads/fashion_mnist"),
    ],
)
def test_a_set_is_read_from_every_folder_where_it_may_lie(disk, name, below, compressed):
    pictures, labels = write_set(disk / below, compressed=compressed)
    found = data.picture_set(name, "train")
    assert found.pictures.shape == (5, 1, 32, 32)
    assert torch.equal(found.pictures[:, 0, 2:-2, 2:-2], torch.from_numpy(pictures) / 255)
    assert found.pictures.sum() == pytest.approx(found.pictures[..., 2:-2, 2:-2].sum())
    assert found.labels.dtype == torch.int64
    assert found.labels.tolist() == labels.tolist()


def test_the_two_splits_are_two_sets_of_files(disk):
    write_set(disk / "sets/mnist", "train", 5)
    write_set(disk / "sets/mnist", "t10k", 3)
    assert [len(data.picture_set("mnist", split).labels) for split in ("train", "test")] == [5, 3]


def test_without_the_variable_the_folder_for_downloads_is_read(disk, monkeypatch):
    monkeypatch.delenv("VQDIT_DATA")
    write_set(disk / "downloads/MNIST/raw")
    assert len(data.picture_set("mnist", "train").labels) == 5


def test_a_missing_set_is_downloaded(disk, monkeypatch):
    def download(self, root, train, download):
        assert download
        write_set(root / "MNIST/raw", "train" if train else "t10k")

    monkeypatch.setitem(room._TORCHVISION, "mnist", type("MNIST", (), {"__init__": download}))
    assert len(data.picture_set("mnist", "test").labels) == 5


@pytest.mark.parametrize(
    "error",
    [RuntimeError("no network\nat all"), TimeoutError(), http.client.IncompleteRead(b"half")],
    ids=lambda error: type(error).__name__,
)
def test_a_set_that_is_nowhere_names_the_folders(disk, monkeypatch, error):
    refuse_downloads(monkeypatch, error)
    with pytest.raises(FileNotFoundError, match="VQDIT_DATA") as caught:
        data.picture_set("mnist", "test")
    message = str(caught.value)
    assert "test pictures of mnist" in message
    for below in ("sets/mnist", "sets/MNIST/raw", "downloads/mnist", "downloads/MNIST/raw"):
        assert str(disk / below) in message


@pytest.mark.parametrize(("name", "split"), [("emnist", "train"), ("mnist", "validation")])
def test_an_unknown_set_or_split_is_named(name, split):
    with pytest.raises(ValueError, match=f"they are '{name}' and '{split}'"):
        data.picture_set(name, split)


@pytest.mark.parametrize("length", [0, 2, 10, 16, 17, 1000])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_file_is_named(disk, compressed, length):
    write_set(disk / "sets/mnist", compressed=compressed)
    file = disk / "sets/mnist" / ("train-images-idx3-ubyte" + (".gz" if compressed else ""))
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ValueError, match=re.escape(str(file)) + " is damaged"):
        data.picture_set("mnist", "train")


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60), compressed=st.booleans())
def test_a_file_of_anything_else_is_named(disk, content, compressed):
    write_set(disk / "sets/mnist", compressed=compressed)
    file = disk / "sets/mnist" / ("train-images-idx3-ubyte" + (".gz" if compressed else ""))
    file.write_bytes(file.read_bytes()[:40] + content if compressed else content)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.* is damaged"):
        data.picture_set("mnist", "train")


def write_cifar10(folder):
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        batch = {"data": draw.integers(0, 256, (2, 3072), dtype=np.uint8), "labels": [3, 7]}
        (folder / name).write_bytes(pickle.dumps(batch))
    return batch["data"]


@pytest.mark.parametrize("below", ["sets", "sets/cifar10", "downloads"])
def test_cifar10_is_read_from_its_batches(disk, monkeypatch, below):
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", lambda self: None)
    pictures = write_cifar10(disk / below / "cifar-10-batches-py")
    test, train = data.picture_set("cifar10", "test"), data.picture_set("cifar10", "train")
    assert torch.equal(test.pictures, torch.from_numpy(pictures).reshape(2, 3, 32, 32) / 255)
    assert train.labels.tolist() == [3, 7] * 5


def test_damaged_cifar10_batches_are_named(disk):
    write_cifar10(disk / "sets/cifar-10-batches-py")
    with pytest.raises(ValueError, match=r"cifar-10-batches-py.* is damaged"):
        data.picture_set("cifar10", "test")


# ---------------------------------------------------------------- your own pictures


RED, WHITE, BLUE = (1.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)


def colour_of(picture: torch.Tensor) -> tuple[float, ...]:
    return tuple(picture.mean((1, 2)).tolist())


def test_pictures_come_in_the_order_of_their_names_and_in_one_size(tmp_path):
    for name, size, colour in [("b.png", (50, 20), "blue"), ("a.bmp", (8, 8), "red"), ("c.PNG", (3, 90), "white")]:
        Image.new("RGB", size, colour).save(tmp_path / name)
    pictures = data.folder(tmp_path, 16)
    assert pictures.shape == (3, 3, 16, 16)
    assert pictures.dtype == torch.float32
    assert [colour_of(picture) for picture in pictures] == [RED, BLUE, WHITE]


def test_the_middle_of_a_picture_is_kept(tmp_path):
    wide = Image.new("RGB", (48, 16), "red")
    wide.paste("blue", (16, 0, 32, 16))
    wide.save(tmp_path / "wide.png")
    assert colour_of(data.folder(tmp_path, 16)[0]) == BLUE


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"])
def test_pictures_of_every_mode_become_rgb(tmp_path, mode):
    grey = np.tile(np.array([0, 255], dtype=np.uint8).repeat(8), (16, 1))
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(np.stack([grey] * 3, -1)).convert(mode if mode != "PA" else "P")
    picture.save(tmp_path / ("picture.tif" if mode in ("CMYK", "I;16") else "picture.png"))
    [read] = data.folder(tmp_path, 16)
    assert torch.equal(read, torch.from_numpy(grey.astype(np.float32) / 255).expand(3, 16, 16))


def test_sixteen_bit_grey_keeps_its_shades(tmp_path):
    shades = np.tile(np.linspace(0, 65535, 16).astype(np.uint16), (16, 1))
    Image.fromarray(shades).save(tmp_path / "shades.png")
    [read] = data.folder(tmp_path, 16)
    torch.testing.assert_close(read[0, 0], torch.linspace(0, 1, 16), atol=0.01, rtol=0)


def test_transparent_parts_become_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 255, 0)).save(tmp_path / "a.png")
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "b.gif", transparency=0)
    palette.save(tmp_path / "c.png")
    assert [colour_of(picture) for picture in data.folder(tmp_path, 8)] == [WHITE, WHITE, RED]


def test_a_photograph_taken_sideways_is_turned_upright(tmp_path):
    picture = Image.new("RGB", (16, 16), "white")
    picture.paste("black", (0, 0, 8, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "photo.png", exif=exif)
    [read] = data.folder(tmp_path, 16)
    assert torch.equal(read[0].mean(1), torch.tensor([0.0] * 8 + [1.0] * 8))


def test_of_an_animation_the_first_picture_counts(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "white")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=50)
    assert colour_of(data.folder(tmp_path, 8)[0]) == RED


def test_files_that_are_not_pictures_are_left_out_with_a_warning(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for name in ("notes.txt", "table.csv", ".hidden", "paper.pdf", "old.zip"):
        (tmp_path / name).write_text("words")
    (tmp_path / "inside").mkdir()
    with pytest.warns(UserWarning, match=r"4 files that are not pictures: notes.txt, old.zip, paper.pdf …"):
        pictures = data.folder(tmp_path, 8)
    assert len(pictures) == 1


def test_pictures_alone_give_no_warning(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.folder(tmp_path, 8)


@pytest.mark.parametrize("length", [0, 20, 200])
def test_a_damaged_picture_is_named(tmp_path, length):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "half.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:length])
    with pytest.raises(ValueError, match=r"half\.png cannot be read as a picture"):
        data.folder(tmp_path, 8)


def test_a_missing_folder_and_one_without_pictures_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere"):
        data.folder(tmp_path / "nowhere", 8)
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(FileNotFoundError, match=r"no picture in .*1 other file"):
        data.folder(tmp_path, 8)


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_one_is_named(tmp_path, size):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"size.*{size}"):
        data.folder(tmp_path, size)
