"""A moving world: clips of eight frames in which one object acts, their captions, and a reader of clips."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vqdit_lite.data.scenes import (
    BACKGROUND,
    CAPTION_WORDS,
    CELL,
    COLOURS,
    NUM_OBJECTS,
    RGB,
    SHAPES,
    attributes,
    cover,
    object_name,
)

CLIP_FRAMES, _SIDE = 8, 3 * CELL  # frames of a clip, pixels a side
CLIP_RADIUS = torch.tensor([2.8, 3.7])  # pixels, small and large; larger than in scenes, to stay apart in motion
MOVES = {"moves left": (0, -1), "moves right": (0, 1), "moves up": (-1, 0), "moves down": (1, 0)}  # rows, columns
ACTIONS = (*MOVES, "grows", "shrinks", "turns", *(f"becomes {colour}" for colour in COLOURS))
CLIP_WORDS = tuple(dict.fromkeys([*CAPTION_WORDS, "below", *" ".join(ACTIONS).split()]))
_PAPER = BACKGROUND[:, None, None, None]  # (3, 1, 1, 1)
_TOLERANCE = 0.1  # share of an object's contrast by which a frame may miss it
# How far a frame may lie towards another drawing: 0 up to half of the way, 0.5 up to three quarters, 1 all of it.
_DOUBT = 0.5
_ROUNDING = 1e-4


class Clips(NamedTuple):
    """Clips of one or two objects on a grid of three by three places, one of which acts, and exactly what they show."""

    frames: Tensor  # (B, 3, 8, 24, 24) in [0, 1]
    tracks: Tensor  # (B, 5) who acts (1 … 24), its place (0 … 8), its action; who stays (0 for nobody), its place


@cache
def _possible() -> Tensor:
    """All that one object can do: (T, 3) object, place, action. It moves within the picture, grows if small, shrinks if
    large, turns if no circle, and becomes another colour."""
    rows = []
    for kind in range(1, NUM_OBJECTS + 1):
        shape, colour, size = (number.item() for number in attributes(torch.tensor(kind)))
        for place in range(9):
            for number, action in enumerate(ACTIONS):
                down, right = MOVES.get(action, (0, 0))
                inside = 0 <= place // 3 + down < 3 and 0 <= place % 3 + right < 3
                idle = (
                    (action == "grows" and size)
                    or (action == "shrinks" and not size)
                    or (action == "turns" and SHAPES[shape] == "circle")
                    or action == f"becomes {COLOURS[colour]}"
                )
                if inside and not idle:
                    rows.append((kind, place, number))
    return torch.tensor(rows)


def targets(tracks: Tensor) -> Tensor:
    """The places (B,) where those who act end."""
    steps = torch.tensor([3 * down + right for down, right in MOVES.values()])
    moves = tracks[:, 2] < len(steps)
    return tracks[:, 1] + steps[tracks[:, 2].clamp(max=len(steps) - 1)].where(moves, 0)


def clips(n: int, generator: torch.Generator) -> Clips:
    """n random clips: in four of ten one object is alone, in the others another one stays where it is.

    >>> batch = clips(4, torch.Generator().manual_seed(0))
    >>> batch.frames.shape, clip_captions(batch.tracks)[0]
    (torch.Size([4, 3, 8, 24, 24]), 'small yellow triangle becomes blue above large yellow square')
    """
    possible = _possible()
    acting = possible[torch.randint(len(possible), (n,), generator=generator)]  # (n, 3)
    free = torch.ones(n, 9).scatter_(1, torch.stack([acting[:, 1], targets(acting)], 1), 0)
    place = torch.multinomial(free, 1, generator=generator)  # (n, 1)
    kind = torch.randint(1, NUM_OBJECTS + 1, (n, 1), generator=generator)
    there = torch.rand(n, 1, generator=generator) < 0.6
    tracks = torch.cat([acting, torch.cat([kind, place], 1).where(there, 0)], 1)
    return Clips(draw_clips(tracks), tracks)


def draw_clips(tracks: Tensor) -> Tensor:
    """Clips (B, 3, 8, 24, 24) of what is described by tracks (B, 5)."""
    _check_tracks(tracks)
    return _over(_over(_PAPER, *_acting(tracks[:, :3])), *_staying(tracks[:, 3:]))


def _over(clips: Tensor, colour: Tensor, inside: Tensor) -> Tensor:
    """Paint colours (B, 3, 8, 1, 1) over clips where `inside` (B, 1, 8, 24, 24) says."""
    return torch.lerp(clips.expand(len(inside), 3, CLIP_FRAMES, _SIDE, _SIDE), colour, inside)


def _acting(tracks: Tensor) -> tuple[Tensor, Tensor]:
    """Colours (B, 3, 8, 1, 1) and covers (B, 1, 8, 24, 24) of objects that act, (B, 3)."""
    kind, place, action = tracks.T
    shape, colour, size = attributes(kind)
    done = torch.linspace(0, 1, CLIP_FRAMES)  # share of the action
    start, end = _middle(place), _middle(targets(tracks))  # (B, 2)
    middle = start[:, None] + ((end - start)[:, None] * done[:, None]).round()  # (B, 8, 2) in whole pixels
    resized = (action == ACTIONS.index("grows")) | (action == ACTIONS.index("shrinks"))
    radius = torch.lerp(CLIP_RADIUS[size][:, None], CLIP_RADIUS[size ^ resized.long()][:, None], done)  # (B, 8)
    angle = torch.pi / 3 * done * (action == ACTIONS.index("turns"))[:, None]  # (B, 8) a sixth of a turn
    after = action - ACTIONS.index(f"becomes {COLOURS[0]}")
    rgb = torch.lerp(RGB[colour][:, None], RGB[after.where(after >= 0, colour)][:, None], done[:, None])  # (B, 8, 3)
    return rgb.transpose(1, 2)[..., None, None], _cover(shape, radius, middle, angle)


def _staying(tracks: Tensor) -> tuple[Tensor, Tensor]:
    """The same of objects that stay, (B, 2); 0 for none."""
    kind, place = tracks.T
    shape, colour, size = attributes(kind.clamp(min=1))
    middle = _middle(place)[:, None].expand(-1, CLIP_FRAMES, 2)
    inside = _cover(
        shape, CLIP_RADIUS[size][:, None].expand(-1, CLIP_FRAMES), middle, torch.zeros(len(kind), CLIP_FRAMES)
    )
    return RGB[colour][:, :, None, None, None], inside * (kind > 0)[:, None, None, None, None]


def _middle(place: Tensor) -> Tensor:
    """Row and column, in pixels, of the middles of places (B,): (B, 2)."""
    return CELL * torch.stack([place // 3, place % 3], 1) + (CELL - 1) / 2


def _cover(shape: Tensor, radius: Tensor, middle: Tensor, angle: Tensor) -> Tensor:
    """Covers (B, 1, 8, 24, 24) of shapes (B,) with radius and angle (B, 8) and middle (B, 8, 2)."""
    axis, (row, column) = torch.arange(_SIDE), middle.flatten(0, 1).T[..., None, None]  # (B · 8, 1, 1) each
    y, x = axis[:, None] - row, axis - column  # (B · 8, 24, 1), (B · 8, 1, 24)
    cos, sin = angle.flatten().cos()[:, None, None], angle.flatten().sin()[:, None, None]
    inside = cover(shape.repeat_interleave(CLIP_FRAMES), radius.flatten(), cos * x + sin * y, cos * y - sin * x)
    return inside.unflatten(0, (-1, 1, CLIP_FRAMES))


def clip_captions(tracks: Tensor) -> list[str]:
    """One sentence a clip (B, 5): who acts and how; then, if another one is there, how the first stands to it at
    the start. Nothing is said of rows of zeros.

    >>> clip_captions(torch.tensor([[1, 0, 1, 24, 8], [24, 4, 6, 0, 0]]))
    ['small red circle moves right above large yellow triangle', 'large yellow triangle turns']
    """
    return [_caption(*track) if track[0] else "" for track in tracks.tolist()]


def _caption(kind: int, place: int, action: int, other: int, there: int) -> str:
    sentence = f"{object_name(kind)} {ACTIONS[action]}"
    if not other:
        return sentence
    row, row_there = place // 3, there // 3
    relation = "beside" if row == row_there else "above" if row < row_there else "below"
    return f"{sentence} {relation} {object_name(other)}"


def clip_true_of(sentences: Sequence[str], tracks: Tensor) -> Tensor:
    """Which sentences are true of their clips, word for word, tracks (B, 5): (B,) true or false."""
    _check_counts(sentences, tracks)
    pairs = zip(clip_captions(tracks), sentences, strict=True)
    return torch.tensor([said == sentence != "" for said, sentence in pairs], dtype=torch.bool)


@cache
def _templates() -> tuple[Tensor, Tensor]:
    """Contrasts with the background of all that can act (T, pixels) and of all that can stay (9 · 24, pixels)."""
    staying = torch.cartesian_prod(torch.arange(9), torch.arange(1, NUM_OBJECTS + 1)).flip(1)
    drawn = (_over(_PAPER, *parts) for parts in (_acting(_possible()), _staying(staying)))
    return tuple((clip - _PAPER).flatten(1) for clip in drawn)


def read_clips(frames: Tensor) -> Tensor:
    """What clips (B, 3, 8, 24, 24) show, read from the pixels alone: tracks (B, 5), zeros where that is no such clip.

    Clips are compared with drawings of everything that can happen; the most similar one wins. Then every frame is
    looked at: each object must be there, at most three quarters of the way to another shape, colour, size or time, and
    nothing else. No network takes part.
    """
    _check_frames(frames)
    return torch.cat([_read(part) for part in frames.detach().float().cpu().split(250)])


def _read(frames: Tensor) -> Tensor:
    possible, (acting, staying) = _possible(), _templates()
    contrast = (frames - _PAPER).flatten(1)  # (B, pixels)
    # How much nearer a clip is to a drawing than to nothing: |x|² - |x - d|².
    gain = 2 * contrast @ acting.T - acting.square().sum(1)  # (B, T)
    gain_staying = (2 * contrast @ staying.T - staying.square().sum(1)).unflatten(1, (9, NUM_OBJECTS))
    best_at, kind = gain_staying.max(-1)  # (B, 9) at each place
    blocked = torch.zeros(len(possible), 9).scatter_(1, torch.stack([possible[:, 1], targets(possible)], 1), torch.inf)
    gain_beside, place = (best_at[:, None] - blocked).max(-1)  # (B, T) of who stays beside each that acts
    total, chosen = (gain + gain_beside.clamp(min=0)).max(1, keepdim=True)  # (B, 1)
    place, there = place.gather(1, chosen), gain_beside.gather(1, chosen) > 0
    second = torch.cat([kind.gather(1, place) + 1, place], 1).where(there, 0)
    tracks = torch.cat([possible[chosen[:, 0]], second], 1)
    idle = best_at.topk(2).values.clamp(min=0).sum(1, keepdim=True)  # the same if nothing acts
    return tracks.where((total > idle) & _fits(frames, tracks)[:, None], 0)


def _fits(frames: Tensor, tracks: Tensor) -> Tensor:
    """Whether every frame shows what the tracks say, and nothing else: (B,)."""
    own, bare = draw_clips(tracks), torch.ones(len(frames), 1, CLIP_FRAMES, _SIDE, _SIDE)
    fits = [_in_order(frames, own)]
    for paint, track in ((_acting, tracks[:, :3]), (_staying, tracks[:, 3:])):
        alone, *others = (_over(_PAPER, *paint(look)) for look in _looking_otherwise(track))
        error = _energy(frames - alone)  # (B, 8)
        fits += [error - _energy(frames - other) <= _DOUBT * _energy(alone - other) + _ROUNDING for other in others]
        covered = (alone != _PAPER).any(1, keepdim=True)
        fits.append(_energy((frames - own) * covered) <= _TOLERANCE * _energy(alone - _PAPER) + _ROUNDING)
        bare = bare * ~covered
    faintest = _templates()[1].square().sum(1).min() / CLIP_FRAMES  # the contrast of the object that is seen least
    stray = ((frames - own).square() * bare).sum(1)  # (B, 8, 24, 24) what stands where nothing should
    stray = F.avg_pool2d(stray, CELL, CELL // 2, divisor_override=1).amax((2, 3))  # (B, 8)
    return torch.stack([*fits, stray <= _TOLERANCE * faintest]).all(0).all(1)


def _energy(clips: Tensor) -> Tensor:
    """Sums of squares of each frame, (B, 8)."""
    return clips.square().sum((1, 3, 4))


def _in_order(frames: Tensor, own: Tensor) -> Tensor:
    """Whether no frame is more like a drawing three or more frames before or after: (B, 8). Nearer ones look alike."""
    x, drawn = (clip.transpose(1, 2).flatten(2) for clip in (frames, own))  # (B, 8, pixels)
    gaps, apart = torch.cdist(x, drawn).square(), torch.cdist(drawn, drawn).square()  # (B, 8, 8)
    number = torch.arange(CLIP_FRAMES)
    near = (number[:, None] - number).abs() < 3
    return ((gaps.diagonal(dim1=1, dim2=2)[..., None] - gaps <= _DOUBT * apart) | near).all(2)


def _looking_otherwise(track: Tensor) -> list[Tensor]:
    """Tracks (B, 2 or 3); the same of the eleven other shapes and colours; and of the other size. None stays none."""
    kind = track[:, 0]
    look, size = (kind - 1) // 2, (kind - 1) % 2
    looks = [(look + step) % (NUM_OBJECTS // 2) for step in range(NUM_OBJECTS // 2)]
    kinds = [1 + 2 * other + size for other in looks] + [2 + 2 * look - size]
    return [torch.cat([other.where(kind > 0, 0)[:, None], track[:, 1:]], 1) for other in kinds]


# ---------------------------------------------------------------- guards


def _check_tracks(tracks: Tensor) -> None:
    if tracks.ndim != 2 or tracks.shape[1] != 5 or tracks.is_floating_point():
        raise ValueError(f"tracks are whole numbers (batch, 5); got {tracks.dtype} of shape {tuple(tracks.shape)}.")
    known = (tracks[:, None, :3] == _possible()).all(2).any(1)  # (B,)
    if not known.all() or tracks[:, 3:].min() < 0 or (tracks[:, 3:] > torch.tensor([NUM_OBJECTS, 8])).any():
        raise ValueError("Tracks name an object, place and action that is possible, and an object and place that stay.")


def _check_counts(sentences: Sequence[str], tracks: Tensor) -> None:
    if len(sentences) != len(tracks):
        raise ValueError(f"Give one sentence for each clip; got {len(sentences)} and {len(tracks)}.")


def _check_frames(frames: Tensor) -> None:
    if frames.ndim != 5 or frames.shape[1:] != (3, CLIP_FRAMES, _SIDE, _SIDE) or len(frames) == 0:
        raise ValueError(f"read_clips needs clips of shape (batch, 3, 8, 24, 24); the shape is {tuple(frames.shape)}.")
