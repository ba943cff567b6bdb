"""Drawn scenes of one or two objects, their captions, and a reader that says what a picture shows."""

import math
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vqdit_lite.data.pictures import Pictures

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
_JITTER = 0.5  # pixels by which an object may lie off the middle of its place
_TOLERANCE = 0.1  # share of an object's contrast by which a place may miss its drawing; real ones miss it by 0.03
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
    _check_words(shape, colour, size)
    return 1 + (SHAPES.index(shape) * len(COLOURS) + COLOURS.index(colour)) * 2 + SIZES.index(size)


def object_name(number: int) -> str:
    """The words for an object, the inverse of `object_id`; 25 … 30 are those in the new colour.

    >>> object_name(24)
    'large yellow triangle'
    """
    _check_number(number)
    shape, colour, size = (int(part) for part in attributes(torch.tensor(number)))
    return f"{SIZES[size]} {(*COLOURS, NEW_COLOUR)[colour]} {SHAPES[shape]}"


def scenes(n: int, generator: torch.Generator, combinations: str = "all") -> Scenes:
    """n random scenes: a quarter hold one object, the rest two at different places.

    Args:
        n: how many.
        generator: a CPU generator.
        combinations: "shown" for scenes of one object, and of two that are not `held_out`; "held out" for only those
            that are; or "all".

    >>> batch = scenes(4, torch.Generator().manual_seed(1))
    >>> batch.pictures.shape, captions(batch.objects)[0]
    (torch.Size([4, 3, 24, 24]), 'small yellow circle above large yellow triangle')
    """
    _check_combinations(combinations)
    objects = torch.empty(0, 9, dtype=torch.long)
    while len(objects) < n:
        drawn = _random_objects(n, generator)
        if combinations != "all":
            drawn = drawn[held_out(captions(drawn)) == (combinations == "held out")]
        objects = torch.cat([objects, drawn])
    return Scenes(draw_scenes(objects[:n], generator), objects[:n])


def held_out(sentences: Sequence[str]) -> Tensor:
    """Which captions of two objects are kept from models that learn from "shown" ones, one in ten: (B,) true or false.

    The rule is fixed for all time: those whose checksum (CRC-32) ends in 7. "beside" holds in either order, so both
    orders have one. Every word and every pair of neighbouring words still occurs in captions that are shown.

    >>> held_out(["small red circle above small red square", "small red circle above large green circle"])
    tensor([False,  True])
    """
    ordered = [" beside ".join(sorted(sentence.split(" beside "))) for sentence in sentences]
    two = [" beside " in sentence or " above " in sentence for sentence in sentences]
    return torch.tensor([both and zlib.crc32(one.encode()) % 10 == 7 for both, one in zip(two, ordered, strict=True)])


def _random_objects(n: int, generator: torch.Generator) -> Tensor:
    """What stands where in n random scenes, (n, 9)."""
    places = torch.rand(n, 9, generator=generator).argsort(1)[:, :2]  # (n, 2) two different places
    kinds = torch.randint(1, NUM_OBJECTS + 1, (n, 2), generator=generator)
    kinds[:, 1] *= torch.rand(n, generator=generator) < 0.75
    return torch.zeros(n, 9, dtype=torch.long).scatter_(1, places, kinds)


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


def single_scenes(n: int, generator: torch.Generator) -> Pictures:
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
    _check_label(label)
    return object_name(1 + label * len(SIZES)).removeprefix(f"{SIZES[0]} ")


def read_labels(pictures: Tensor) -> Tensor:
    """The labels of `single_scenes`, (B,), read from pictures; -1 where there is not exactly one object."""
    objects = read_scenes(pictures)  # (B, 9)
    return torch.where((objects > 0).sum(1) == 1, (objects.amax(1) - 1) // len(SIZES), -1)


def draw_scenes(objects: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (B, 3, 24, 24) of objects (B, 9), each up to half a pixel off the middle of its place."""
    _check_objects(objects)
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

    Nothing is said of a scene that the reader does not know.

    >>> captions(torch.tensor([[0, 1, 0, 0, 0, 0, 0, 0, 24]]))
    ['small red circle above large yellow triangle']
    """
    sentences = []
    for scene in objects.tolist():
        there = [(place, object_name(kind)) for place, kind in enumerate(scene) if kind > 0]
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
    _check_counts(sentences, objects)
    swapped = [" beside ".join(sentence.split(" beside ")[::-1]) for sentence in sentences]
    pairs = zip(captions(objects), sentences, swapped, strict=True)
    return torch.tensor([one != "" and said in (one, other) for said, one, other in pairs], dtype=torch.bool)


def read_scenes(pictures: Tensor, known: int = NUM_OBJECTS) -> Tensor:
    """What pictures (B, 3, 24, 24) show, read from the pixels alone: objects (B, 9), as in `Scenes.objects`.

    Each place is compared with drawings of every object at 25 positions, and of none; the most similar one wins. A
    picture in which any place misses its drawing by more than a tenth of the object's contrast shows nothing that the
    reader knows: -1 at all nine places. No network takes part, so that pictures which a network made can be scored.
    The reader knows objects 1 … `known`.
    """
    _check_pictures(pictures)
    steps = torch.linspace(-_JITTER, _JITTER, 5)
    shift = torch.cartesian_prod(steps, steps).repeat(known, 1)  # (known · 25, 2)
    kinds = torch.arange(1, known + 1).repeat_interleave(25)  # (known · 25,)
    empty = BACKGROUND[:, None, None].expand(1, 3, CELL, CELL)
    drawings = torch.cat([empty, _draw_objects(kinds, shift)]).flatten(1)  # (known · 25 + 1, 192)
    meaning = torch.cat([torch.zeros(1, dtype=torch.long), kinds])  # (known · 25 + 1,)
    cells = F.unfold(pictures.detach().float().cpu(), CELL, stride=CELL).transpose(1, 2)  # (B, 9, 192)
    gaps, nearest = torch.cdist(cells, drawings).min(-1)  # (B, 9)
    contrast = (drawings - drawings[0]).square().sum(1)  # (known · 25 + 1,)
    contrast[0] = contrast[1:].min()  # where nothing stands: that of the object that is seen least
    clear = gaps.square() <= _TOLERANCE * contrast[nearest]  # (B, 9)
    return meaning[nearest].where(clear.all(1, keepdim=True), -1)


# ---------------------------------------------------------------- guards


def _check_words(shape: str, colour: str, size: str) -> None:
    if shape not in SHAPES or colour not in COLOURS or size not in SIZES:
        raise ValueError(f"There is no {size} {colour} {shape}: objects are of {SIZES}, {COLOURS} and {SHAPES}.")


def _check_number(number: int) -> None:
    if not 1 <= number <= ALL_OBJECTS:
        raise ValueError(f"Objects are numbered 1 … {ALL_OBJECTS}; got {number}.")


def _check_combinations(combinations: str) -> None:
    if combinations not in ("all", "shown", "held out"):
        raise ValueError(f'combinations must be "all", "shown" or "held out"; got {combinations!r}.')


def _check_label(label: int) -> None:
    if not 0 <= label < len(SHAPES) * len(COLOURS):
        raise ValueError(f"Labels of single scenes are 0 … {len(SHAPES) * len(COLOURS) - 1}; got {label}.")


def _check_objects(objects: Tensor) -> None:
    if objects.ndim != 2 or objects.shape[1] != 9 or objects.numel() == 0:
        raise ValueError(f"objects must be numbers of shape (batch, 9); the shape is {tuple(objects.shape)}.")
    if objects.is_floating_point() or objects.min() < 0 or objects.max() > ALL_OBJECTS:
        raise ValueError(
            f"objects must be whole numbers in 0 … {ALL_OBJECTS}; they are {objects.dtype} and span "
            f"{objects.min().item()} … {objects.max().item()}."
        )


def _check_counts(sentences: Sequence[str], objects: Tensor) -> None:
    if len(sentences) != len(objects):
        raise ValueError(f"Give one sentence for each scene; got {len(sentences)} and {len(objects)}.")


def _check_pictures(pictures: Tensor) -> None:
    if pictures.ndim != 4 or pictures.shape[1:] != (3, 24, 24) or len(pictures) == 0:
        raise ValueError(
            f"read_scenes needs pictures of shape (batch, 3, 24, 24); the shape is {tuple(pictures.shape)}."
        )
