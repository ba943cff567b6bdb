"""Data to learn from: points, a photograph, digits, drawn scenes, well-known picture sets, your own folder."""

import math
import os
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

_here = Path(__file__).parent
DOWNLOADS = Path.home() / ".cache" / "vqdit_lite"
SHIPPED = _here / "_data" if (_here / "_data").is_dir() else _here.parent / "data"  # a wheel, or a checkout


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


# ---------------------------------------------------------------- scenes

SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "green", "blue", "yellow")
SIZES = ("small", "large")
CAPTION_WORDS = (*SIZES, *COLOURS, *SHAPES, "above", "beside")  # all that `captions` uses, up to 7 in a sentence
NUM_OBJECTS = len(SHAPES) * len(COLOURS) * len(SIZES)  # 24 different objects
NEW_COLOUR = "orange"  # kept out of all captions that models learn from, so that chapter 12 can teach the word
ALL_OBJECTS = NUM_OBJECTS + len(SHAPES) * len(SIZES)  # 30 with those in the new colour, 25 … 30

RGB = torch.tensor([[0.84, 0.18, 0.15], [0.10, 0.60, 0.35], [0.15, 0.35, 0.80], [0.96, 0.78, 0.10], [0.93, 0.50, 0.10]])
BACKGROUND = torch.tensor([0.95, 0.95, 0.93])
RADIUS = torch.tensor([2.1, 3.3])  # pixels, small and large
_JITTER = 0.5  # pixels that an object may lie beside the middle of its place
CELL = 8  # pixels a side of a place; three by three places make a picture of 24 × 24


class Scenes(NamedTuple):
    """Pictures of one or two objects on a grid of three by three places, and exactly what they show."""

    pictures: Tensor  # (B, 3, 24, 24) in [0, 1]
    objects: Tensor  # (B, 9) what stands at each place, row by row: 0 nothing, 1 … 24 an object


def object_id(shape: str, colour: str, size: str) -> int:
    """The number, 1 … 24, that stands for an object in `Scenes.objects`.

    >>> object_id("circle", "red", "small")
    1
    """
    if shape not in SHAPES or colour not in COLOURS or size not in SIZES:
        raise ValueError(f"There is no {size} {colour} {shape}: objects are of {SIZES}, {COLOURS} and {SHAPES}.")
    return 1 + (SHAPES.index(shape) * len(COLOURS) + COLOURS.index(colour)) * 2 + SIZES.index(size)


def object_name(number: int) -> str:
    """The words for an object, the inverse of `object_id`; 25 … 30 are those in the new colour.

    >>> object_name(24)
    'large yellow triangle'
    """
    if not 1 <= number <= ALL_OBJECTS:
        raise ValueError(f"Objects are numbered 1 … {ALL_OBJECTS}; {number} came.")
    shape, colour, size = (int(part) for part in attributes(torch.tensor(number)))
    return f"{SIZES[size]} {(*COLOURS, NEW_COLOUR)[colour]} {SHAPES[shape]}"


def scenes(n: int, generator: torch.Generator) -> Scenes:
    """n random scenes: a quarter hold one object, the rest two at different places.

    >>> batch = scenes(4, torch.Generator().manual_seed(1))
    >>> batch.pictures.shape, captions(batch.objects)[0]
    (torch.Size([4, 3, 24, 24]), 'small yellow circle above large yellow triangle')
    """
    places = torch.rand(n, 9, generator=generator).argsort(1)[:, :2]  # (n, 2) two different places
    kinds = torch.randint(1, NUM_OBJECTS + 1, (n, 2), generator=generator)
    kinds[:, 1] *= torch.rand(n, generator=generator) < 0.75
    objects = torch.zeros(n, 9, dtype=torch.long).scatter_(1, places, kinds)
    return Scenes(draw_scenes(objects, generator), objects)


def scenes_in_new_colour(n: int, generator: torch.Generator) -> Scenes:
    """n random scenes as `scenes` draws them, in which one object, or both, have the new colour.

    >>> captions(scenes_in_new_colour(2, torch.Generator().manual_seed(1)).objects)
    ['small blue circle above small orange circle', 'large orange triangle above small yellow circle']
    """
    objects = scenes(n, generator).objects
    shape, _, size = attributes(objects.clamp(min=1))
    chosen = (torch.rand(objects.shape, generator=generator) < 0.5) & (objects > 0)
    chosen |= ~chosen.any(1, keepdim=True) & (objects > 0)
    objects = torch.where(chosen, NUM_OBJECTS + 1 + shape * len(SIZES) + size, objects)
    return Scenes(draw_scenes(objects, generator), objects)


def single_scenes(n: int, generator: torch.Generator) -> "Pictures":
    """n scenes of one object each, at any place and of either size, labelled 0 … 11 by shape and colour.

    >>> batch = single_scenes(4, torch.Generator().manual_seed(0))
    >>> batch.pictures.shape, label_name(batch.labels[0].item())
    (torch.Size([4, 3, 24, 24]), 'blue triangle')
    """
    kinds = torch.randint(1, NUM_OBJECTS + 1, (n, 1), generator=generator)
    places = torch.randint(9, (n, 1), generator=generator)
    objects = torch.zeros(n, 9, dtype=torch.long).scatter_(1, places, kinds)
    return Pictures(draw_scenes(objects, generator), (kinds[:, 0] - 1) // len(SIZES))


def label_name(label: int) -> str:
    """The words for a label of `single_scenes`, for example "red circle" for 0."""
    if not 0 <= label < len(SHAPES) * len(COLOURS):
        raise ValueError(f"Labels of single scenes are 0 … {len(SHAPES) * len(COLOURS) - 1}; {label} came.")
    return object_name(1 + label * len(SIZES)).removeprefix(f"{SIZES[0]} ")


def read_labels(pictures: Tensor) -> Tensor:
    """The labels of `single_scenes`, (B,), read from pictures; -1 where there is not exactly one object."""
    objects = read_scenes(pictures)  # (B, 9)
    return torch.where((objects > 0).sum(1) == 1, (objects.amax(1) - 1) // len(SIZES), -1)


def draw_scenes(objects: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (B, 3, 24, 24) of objects (B, 9), each up to half a pixel beside the middle of its place."""
    if objects.ndim != 2 or objects.shape[1] != 9 or objects.numel() == 0:
        raise ValueError(f"objects must be numbers of shape (batch, 9); the shape is {tuple(objects.shape)}.")
    if objects.is_floating_point() or objects.min() < 0 or objects.max() > ALL_OBJECTS:
        raise ValueError(
            f"objects must be whole numbers in 0 … {ALL_OBJECTS}; they are {objects.dtype} and span "
            f"{objects.min().item()} … {objects.max().item()}."
        )
    shift = (2 * torch.rand(*objects.shape, 2, generator=generator) - 1) * _JITTER  # (B, 9, 2)
    cells = BACKGROUND[:, None, None].expand(*objects.shape, 3, CELL, CELL).clone()  # (B, 9, 3, 8, 8)
    there = objects > 0
    cells[there] = _draw_objects(objects[there], shift[there])
    rows = cells.unflatten(1, (3, 3)).permute(0, 3, 1, 4, 2, 5)  # (B, 3, row, y, column, x)
    return rows.reshape(len(objects), 3, 3 * CELL, 3 * CELL)


def _draw_objects(kinds: Tensor, shift: Tensor) -> Tensor:
    """Cells (M, 3, 8, 8) with objects (M,) whose middles lie `shift` (M, 2) pixels right of and below centre."""
    shape, colour, size = attributes(kinds)
    axis = torch.arange(CELL) - (CELL - 1) / 2
    x = axis[None, None, :] - shift[:, 0, None, None]  # (M, 1, 8)
    y = axis[None, :, None] - shift[:, 1, None, None]  # (M, 8, 1)
    inside = cover(shape, RADIUS[size], x, y)[:, None]  # (M, 1, 8, 8)
    return BACKGROUND[:, None, None].lerp(RGB[colour][:, :, None, None], inside)


def attributes(kinds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers of the shape, the colour and the size of objects 1 … 30; the new colour has the number 4."""
    look, size = (kinds - 1) // len(SIZES), (kinds - 1) % len(SIZES)
    new = kinds > NUM_OBJECTS
    shape = torch.where(new, look - NUM_OBJECTS // len(SIZES), look // len(COLOURS))
    return shape, torch.where(new, len(COLOURS), look % len(COLOURS)), size


def cover(shape: Tensor, radius: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """How much of each pixel M shapes cover, (M, H, W) in [0, 1], with soft edges.

    Args:
        shape, radius: (M,) numbers of shapes, and pixels.
        x, y: how far right of and below the middle of its shape each pixel lies: (M, H or 1, W or 1).
    """
    radius = radius[:, None, None]
    # How far outside its edge each pixel lies, in pixels (negative inside), for the three shapes.
    circle = (x.square() + y.square()).sqrt() - radius
    square = torch.maximum(x.abs(), y.abs()) - 0.88 * radius
    triangle = torch.maximum((1.8 * x.abs() - y - radius) / math.hypot(1.8, 1), y - 0.8 * radius)
    outside = torch.stack([circle, square, triangle], 1)[torch.arange(len(shape)), shape]  # (M, H, W)
    return (0.5 - outside).clamp(0, 1)


def captions(objects: Tensor) -> list[str]:
    """One sentence a scene (B, 9): objects in reading order, joined by "above" or, in one row, "beside".

    >>> captions(torch.tensor([[0, 1, 0, 0, 0, 0, 0, 0, 24]]))
    ['small red circle above large yellow triangle']
    """
    sentences = []
    for scene in objects.tolist():
        there = [(place, object_name(kind)) for place, kind in enumerate(scene) if kind]
        names = [name for _, name in there]
        same_row = len({place // 3 for place, _ in there}) == 1
        sentences.append((" beside " if same_row else " above ").join(names))
    return sentences


def true_of(sentences: Sequence[str], objects: Tensor) -> Tensor:
    """Which sentences are true of their scenes, word for word, objects (B, 9): (B,) true or false.

    A sentence names every object of the scene. "beside" holds in either order, "above" does not. Anything that is
    no sentence, and so says nothing, is false.

    >>> scene = torch.tensor([[1, 24, 0, 0, 0, 0, 0, 0, 0]])
    >>> true_of(["large yellow triangle beside small red circle"], scene), true_of(["small red circle"], scene)
    (tensor([True]), tensor([False]))
    """
    if len(sentences) != len(objects):
        raise ValueError(f"It takes one sentence for each scene; {len(sentences)} and {len(objects)} came.")
    swapped = [" beside ".join(sentence.split(" beside ")[::-1]) for sentence in sentences]
    pairs = zip(captions(objects), sentences, swapped, strict=True)
    return torch.tensor([one != "" and said in (one, other) for said, one, other in pairs], dtype=torch.bool)


def read_scenes(pictures: Tensor, known: int = NUM_OBJECTS) -> Tensor:
    """What pictures (B, 3, 24, 24) show, read from the pixels alone: objects (B, 9), as in `Scenes.objects`.

    Each place is compared with drawings of every object at 25 positions; the most similar one wins. No network
    takes part, so that pictures which a network made can be scored. The reader knows objects 1 … `known`.
    """
    if pictures.ndim != 4 or pictures.shape[1:] != (3, 24, 24) or len(pictures) == 0:
        raise ValueError(
            f"read_scenes needs pictures of shape (batch, 3, 24, 24); the shape is {tuple(pictures.shape)}."
        )
    steps = torch.linspace(-_JITTER, _JITTER, 5)
    shift = torch.cartesian_prod(steps, steps).repeat(known, 1)  # (known · 25, 2)
    kinds = torch.arange(1, known + 1).repeat_interleave(25)  # (known · 25,)
    empty = BACKGROUND[:, None, None].expand(1, 3, CELL, CELL)
    drawings = torch.cat([empty, _draw_objects(kinds, shift)]).flatten(1)  # (known · 25 + 1, 192)
    meaning = torch.cat([torch.zeros(1, dtype=torch.long), kinds])  # (known · 25 + 1,)
    cells = F.unfold(pictures.detach().float().cpu(), CELL, stride=CELL).transpose(1, 2)  # (B, 9, 192)
    return meaning[torch.cdist(cells, drawings).argmin(-1)]


# ---------------------------------------------------------------- well-known picture sets


class Pictures(NamedTuple):
    """Pictures and what they show."""

    pictures: Tensor  # (N, C, H, W) in [0, 1]
    labels: Tensor  # (N,)


_TORCHVISION = {
    "mnist": torchvision.datasets.MNIST,
    "fashion_mnist": torchvision.datasets.FashionMNIST,
    "cifar10": torchvision.datasets.CIFAR10,
}


def _places(name: str) -> list[Path]:
    """Where the files of a set may lie: below VQDIT_DATA, then below the folder for downloads."""
    roots = [Path(os.environ["VQDIT_DATA"])] if os.environ.get("VQDIT_DATA") else []
    roots.append(DOWNLOADS)
    inside = "" if name == "cifar10" else f"{_TORCHVISION[name].__name__}/raw"  # as torchvision lays them out
    return [root / below for root in roots for below in (name, inside)]


def picture_set(name: str, split: str) -> Pictures:
    """A well-known set of pictures, from disk where it is, else downloaded once by torchvision.

    Args:
        name: "mnist", "fashion_mnist" (28 × 28, one channel; padded to 32 × 32 here) or "cifar10" (32 × 32, three).
        split: "train" or "test".

    Raises:
        FileNotFoundError: the files are neither on disk nor to be had from the network; the message says
            what was looked for and where.
    """
    if name not in _TORCHVISION or split not in ("train", "test"):
        raise ValueError(
            f'name must be one of {", ".join(_TORCHVISION)} and split "train" or "test"; '
            f"they are {name!r} and {split!r}."
        )
    found = _from_disk(name, split)
    if found is None:
        try:
            _TORCHVISION[name](DOWNLOADS, train=split == "train", download=True)
            found = _from_disk(name, split)
        except (OSError, RuntimeError, HTTPException) as error:
            raise FileNotFoundError(
                f"The {split} pictures of {name} are in none of these folders: "
                f"{', '.join(map(str, _places(name)))}; and the download failed ({_first_line(error)}). "
                "Put the files into one of them, or name their folder in the variable VQDIT_DATA."
            ) from error
    return found


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _from_disk(name: str, split: str) -> Pictures | None:
    if name == "cifar10":
        for place in _places(name):
            if (place / "cifar-10-batches-py").is_dir():
                try:
                    found = torchvision.datasets.CIFAR10(place, train=split == "train")
                except RuntimeError as error:
                    raise ValueError(
                        f"{place / 'cifar-10-batches-py'} is damaged ({error}): remove it and fetch it again."
                    ) from error
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
    for place in _places(name):
        path = place / file if (place / file).is_file() else place / f"{file}.gz"
        try:
            if path == place / file:
                return read(str(path))
            if path.is_file():
                with tempfile.TemporaryDirectory() as folder:
                    torchvision.datasets.utils.extract_archive(str(path), folder)
                    return read(str(Path(folder) / file))
        except (OSError, EOFError, AssertionError, RuntimeError, ValueError, KeyError, zlib.error) as error:
            raise ValueError(f"{path} is damaged ({error}): remove it and fetch it again.") from error
    return None


# ---------------------------------------------------------------- your own pictures


def folder(path: str | Path, size: int) -> Tensor:
    """All pictures of a folder, (N, 3, size, size) in [0, 1], in the order of their names.

    Each is turned upright, made RGB (transparent parts become white), scaled and cropped to a square. Files
    that are no pictures are left out with a warning that names them.

    Args:
        path: the folder; folders inside it are not looked into.
        size: pixels a side.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it.
        ValueError: a picture is damaged; the message names it.
    """
    path = Path(path)
    if size < 1:
        raise ValueError(f"size must be at least 1; it is {size}.")
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder {path}.")
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    known = picture_endings()
    pictures = [file for file in files if file.suffix.lower() in known]
    others = [file.name for file in files if file.suffix.lower() not in known]
    if not pictures:
        raise FileNotFoundError(
            f"There is no picture in {path}: it holds {len(others)} other files. "
            "Pictures end in .png, .jpg, .webp, .gif and the like."
        )
    if others:
        warnings.warn(f"Left out {len(others)} files that are no pictures: {_some(others)}.", stacklevel=2)
    return torch.stack([read_picture(file, size) for file in pictures]) / 255


def _some(names: Sequence[str]) -> str:
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
                if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut instead of scale
                    picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
                square = ImageOps.fit(picture.convert("RGBA"), (size, size))
    except Exception as error:  # a damaged file can trip a reader anywhere
        reason = str(error) or type(error).__name__
        raise ValueError(f"{file} cannot be read as a picture ({reason}): mend or remove it.") from error
    white = Image.new("RGBA", square.size, "white")
    return torch.from_numpy(np.asarray(Image.alpha_composite(white, square).convert("RGB")).copy()).permute(2, 0, 1)
