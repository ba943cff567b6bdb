"""Pictures and points to learn from: points, a photograph, digits, well-known picture sets, your own folder."""

import math
import tempfile
import warnings
import zlib
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image, ImageOps
from sklearn.datasets import load_digits, load_sample_image
from torch import Tensor

from vqdit_lite.data import places

N_TRAIN_DIGITS = 1_347
N_TRAIN_MNIST = 9_000


class Pictures(NamedTuple):
    """Pictures and what they show."""

    pictures: Tensor  # (N, C, H, W) in [0, 1]
    labels: Tensor  # (N,)


# ---------------------------------------------------------------- points, a photograph, small digits


def points(kind: str, n: int, generator: torch.Generator) -> Tensor:
    """n points in the plane, (n, 2), with coordinates within about ±2.

    Args:
        kind: "clusters" (eight Gaussian clusters on a circle), "moons" (two half circles), "spiral" or
            "checkerboard" (uniform on eight squares).
        n: how many.
        generator: a CPU generator.

    >>> points("moons", 100, torch.Generator().manual_seed(0)).shape
    torch.Size([100, 2])
    """

    def uniform():
        return torch.rand(n, generator=generator)

    if kind == "clusters":
        angle = torch.randint(8, (n,), generator=generator) * math.pi / 4
        centre, spread = 1.6 * torch.stack([angle.cos(), angle.sin()], 1), 0.12
    elif kind == "moons":
        upper, angle = uniform() < 0.5, uniform() * math.pi
        x = torch.where(upper, angle.cos() - 0.5, 0.5 - angle.cos())
        y = torch.where(upper, angle.sin() - 0.25, 0.25 - angle.sin())
        centre, spread = 1.2 * torch.stack([x, y], 1), 0.08
    elif kind == "spiral":
        turn = uniform().sqrt()
        angle = turn * 3.5 * math.pi
        centre, spread = 2 * turn[:, None] * torch.stack([angle.cos(), angle.sin()], 1), 0.05
    elif kind == "checkerboard":
        row, column = torch.randint(4, (n,), generator=generator), torch.randint(2, (n,), generator=generator)
        corner = torch.stack([2 * column + row % 2, row], 1)
        centre, spread = corner + torch.rand(n, 2, generator=generator) - 2, 0.0
    else:
        raise ValueError(f'kind must be "clusters", "moons", "spiral" or "checkerboard"; it is {kind!r}.')
    return centre + spread * torch.randn(n, 2, generator=generator)


def photograph() -> Tensor:
    """A real photograph of a Chinese temple (from scikit-learn), (3, 427, 640), values in [0, 1]."""
    return torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1) / 255


def digits() -> tuple[Tensor, Tensor]:
    """1,797 real handwritten digits (from scikit-learn): pictures (1797, 1, 8, 8) in [0, 1], labels (1797,)."""
    digits = load_digits()
    return torch.from_numpy(digits.images).float()[:, None] / 16, torch.from_numpy(digits.target)


def digits_split() -> tuple[Pictures, Pictures]:
    """The 8 × 8 digits in a fixed random order: 1,347 to learn from, 450 held out; pixels in [-1, 1]."""
    pictures, labels = digits()
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    train, held_out = order[:N_TRAIN_DIGITS], order[N_TRAIN_DIGITS:]
    return tuple(Pictures(2 * pictures[part] - 1, labels[part]) for part in (train, held_out))


# ---------------------------------------------------------------- well-known picture sets

_TORCHVISION = {
    "mnist": torchvision.datasets.MNIST,
    "fashion_mnist": torchvision.datasets.FashionMNIST,
    "cifar10": torchvision.datasets.CIFAR10,
}


def _folders(name: str) -> list[Path]:
    """Where the files of a set may lie: below VQDIT_DATA, then below the folder for downloads."""
    inside = "" if name == "cifar10" else f"{_TORCHVISION[name].__name__}/raw"  # as torchvision lays them out
    return [root / below for root in places.roots() for below in (name, inside)]


def picture_set(name: str, split: str) -> Pictures:
    """A well-known set of pictures, from disk where it is, else downloaded once by torchvision.

    Args:
        name: "mnist", "fashion_mnist" (28 × 28, one channel; padded to 32 × 32 here) or "cifar10" (32 × 32, three).
        split: "train" or "test".

    Raises:
        FileNotFoundError: the files are neither on disk nor to be had from the network; the message says
            what was looked for and where.
    """
    _check_set(name, split)
    found = _from_disk(name, split)
    if found is None:
        try:
            _TORCHVISION[name](places.DOWNLOADS, train=split == "train", download=True)
            found = _from_disk(name, split)
        except (OSError, RuntimeError, HTTPException) as error:
            raise FileNotFoundError(
                f"The {split} pictures of {name} are in none of these folders: "
                f"{', '.join(map(str, _folders(name)))}; and the download failed ({_first_line(error)}). "
                "Put the files into one of them, or name their folder in the variable VQDIT_DATA."
            ) from error
    return found


def mnist_split() -> tuple[Pictures, Pictures]:
    """MNIST's 10,000 test pictures, of 32 × 32: the first 9,000 to learn from, 1,000 held out.

    Raises:
        FileNotFoundError: as in `picture_set`.
    """
    pictures, labels = picture_set("mnist", "test")
    parts = slice(N_TRAIN_MNIST), slice(N_TRAIN_MNIST, None)
    return tuple(Pictures(pictures[part], labels[part]) for part in parts)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _from_disk(name: str, split: str) -> Pictures | None:
    if name == "cifar10":
        for root in _folders(name):
            batches = root / "cifar-10-batches-py"
            if batches.is_dir():
                try:
                    found = torchvision.datasets.CIFAR10(root, train=split == "train")
                except RuntimeError as error:
                    raise ValueError(f"{batches} is damaged ({error}): remove it and fetch it again.") from error
                pictures = torch.from_numpy(found.data).permute(0, 3, 1, 2) / 255  # (N, 3, 32, 32)
                return Pictures(pictures, torch.tensor(found.targets))
        return None
    prefix = {"train": "train", "test": "t10k"}[split]
    pictures = _read_idx(name, f"{prefix}-images-idx3-ubyte")
    labels = _read_idx(name, f"{prefix}-labels-idx1-ubyte")
    if pictures is None or labels is None:
        return None
    return Pictures(F.pad(pictures[:, None] / 255, (2, 2, 2, 2)), labels.long())  # (N, 1, 28, 28) -> 32 × 32


def _read_idx(name: str, file: str) -> Tensor | None:
    """One file in MNIST's format, compressed or not."""
    read = torchvision.datasets.mnist.read_sn3_pascalvincent_tensor
    for root in _folders(name):
        path = root / file if (root / file).is_file() else root / f"{file}.gz"
        try:
            if path == root / file:
                return read(str(path))
            if path.is_file():
                with tempfile.TemporaryDirectory() as unpacked:
                    torchvision.datasets.utils.extract_archive(str(path), unpacked)
                    return read(str(Path(unpacked) / file))
        except (OSError, EOFError, AssertionError, RuntimeError, ValueError, KeyError, zlib.error) as error:
            raise ValueError(f"{path} is damaged ({error}): remove it and fetch it again.") from error
    return None


# ---------------------------------------------------------------- your own pictures


def folder(path: str | Path, size: int) -> Tensor:
    """All pictures of a folder, (N, 3, size, size) in [0, 1], in the order of their names.

    Each is turned upright, made RGB (transparent parts become white), scaled and cropped to a square. Files
    that are not pictures are left out with a warning that names them.

    Args:
        path: the folder; folders inside it are not looked into.
        size: pixels a side.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it.
        ValueError: a picture is damaged; the message names it.
    """
    _check_folder(path, size)
    files = sorted(file for file in Path(path).iterdir() if file.is_file() and not file.name.startswith("."))
    known = picture_endings()
    pictures = [file for file in files if file.suffix.lower() in known]
    others = [file.name for file in files if file.suffix.lower() not in known]
    if not pictures:
        raise FileNotFoundError(
            f"There is no picture in {path}: it holds {len(others)} other files. "
            "Pictures end in .png, .jpg, .webp, .gif and the like."
        )
    if others:
        warnings.warn(f"Left out {len(others)} files that are not pictures: {_first_names(others)}.", stacklevel=2)
    return torch.stack([read_picture(file, size) for file in pictures]) / 255


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def picture_endings() -> set[str]:
    """The endings of the names of pictures, such as ".png"."""
    return {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}


def read_picture(file: str | Path, size: int) -> Tensor:
    """One picture, (3, size, size) in 0 … 255 (uint8): upright, RGB, transparent parts white, cropped to a square.

    Raises:
        ValueError: it is damaged, or larger than Pillow takes for safe; the message names it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow finds odd, but reads
            with Image.open(file) as picture:
                picture.draft(None, (2 * size, 2 * size))  # of a large photograph, read no more than it takes
                picture = ImageOps.exif_transpose(picture)
                if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip instead of scale
                    picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
                square = ImageOps.fit(picture.convert("RGBA"), (size, size))
    except Exception as error:  # a damaged file can trip a reader anywhere
        reason = str(error) or type(error).__name__
        raise ValueError(f"{file} cannot be read as a picture ({reason}): fix or remove it.") from error
    white = Image.new("RGBA", square.size, "white")
    return torch.from_numpy(np.asarray(Image.alpha_composite(white, square).convert("RGB")).copy()).permute(2, 0, 1)


# ---------------------------------------------------------------- guards


def _check_set(name: str, split: str) -> None:
    if name not in _TORCHVISION or split not in ("train", "test"):
        raise ValueError(
            f'name must be one of {", ".join(_TORCHVISION)} and split "train" or "test"; '
            f"they are {name!r} and {split!r}."
        )


def _check_folder(path: str | Path, size: int) -> None:
    if size < 1:
        raise ValueError(f"size must be at least 1; it is {size}.")
    if not Path(path).is_dir():
        raise FileNotFoundError(f"There is no folder {path}.")
