"""Several modalities in one sequence of tokens: which token, and which id, belongs to what."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Layout", "Segment", "sub_layout"]


class Segment(NamedTuple):
    """One modality's part of a sequence."""

    name: str
    vocabulary: int  # how many different ids
    shape: tuple[int, ...]  # (tokens,) for text, (rows, columns) for pictures
    shared_vocabulary: str = ""  # segments that name the same one share their ids, as the pictures of a film do


class Layout:
    """How segments share one sequence of N tokens and one vocabulary of V ids; the mask has the id V.

    Attributes:
        segments, first_ids: by their names, the segments and the first id of each.
        modality: which segment each token belongs to, (N,).
        vocabulary, mask_id, length: V, V and N.

    >>> layout = Layout(Segment("text", 12, (7,)), Segment("picture", 64, (6, 6)))
    >>> layout.length, layout.vocabulary, layout.mask_id
    (43, 76, 76)
    >>> x = layout.pack(text=torch.zeros(1, 7, dtype=torch.long))  # no picture: its tokens are hidden
    >>> x[0, 6:9].tolist(), layout.unpack(x)["picture"].unique().tolist()
    ([0, 76, 76], [-1])
    """

    def __init__(self, *segments: Segment):
        _check_segments(segments)
        self.segments = {segment.name: segment for segment in segments}
        self.first_ids: dict[str, int] = {}
        self.vocabulary, firsts = 0, {}  # how many ids there are; the first id of each vocabulary
        for segment in segments:
            shared = segment.shared_vocabulary or segment.name
            if shared not in firsts:
                firsts[shared] = self.vocabulary
                self.vocabulary += segment.vocabulary
            self.first_ids[segment.name] = firsts[shared]
        self.mask_id = self.vocabulary
        lengths = torch.tensor([math.prod(segment.shape) for segment in segments])
        self.modality = torch.arange(len(segments)).repeat_interleave(lengths)  # (N,) which segment a token is of
        self.length = len(self.modality)

    def tokens(self, *names: str) -> Tensor:
        """Which tokens belong to the named segments, (N,) true or false."""
        _check_names(self, names)
        numbers = [number for number, name in enumerate(self.segments) if name in names]
        return torch.isin(self.modality, torch.tensor(numbers))

    def pack(self, **ids: Tensor) -> Tensor:
        """Ids of segments, (B, tokens) or (B, rows, columns), as one sequence (B, N); segments not given are hidden."""
        _check_parts(self, ids)
        first = next(iter(ids.values()))
        x = torch.full((len(first), self.length), self.mask_id, device=first.device)
        for name, part in ids.items():
            x[:, self.tokens(name).to(x.device)] = part.long().flatten(1) + self.first_ids[name]
        return x

    def unpack(self, x: Tensor) -> dict[str, Tensor]:
        """The ids of every segment of sequences x (B, N), each (B, tokens) or (B, rows, columns); -1 where hidden."""
        _check_sequences(self, x)
        parts = {}
        for name, segment in self.segments.items():
            part = x[:, self.tokens(name).to(x.device)]  # (B, tokens)
            ids = (part - self.first_ids[name]).where(part != self.mask_id, -1)
            parts[name] = ids.unflatten(1, segment.shape)
        return parts


def sub_layout(layout: Layout, *names: str) -> Layout:
    """The layout of the named segments alone: shorter sequences of the same ids, in the same order.

    >>> layout = Layout(Segment("text", 12, (7,)), Segment("picture", 64, (6, 6)), Segment("sound", 512, (52,)))
    >>> sub_layout(layout, "text", "sound").first_ids
    {'text': 0, 'sound': 76}
    """
    _check_names(layout, names)
    part = Layout(*(segment for name, segment in layout.segments.items() if name in names))
    part.first_ids = {name: layout.first_ids[name] for name in part.segments}
    part.vocabulary, part.mask_id = layout.vocabulary, layout.mask_id
    return part


# ---------------------------------------------------------------- guards


def _check_segments(segments: Sequence[Segment]) -> None:
    names = [segment.name for segment in segments]
    if not segments or len(set(names)) < len(names):
        raise ValueError(f"A layout needs segments of different names; they are {names}.")
    sizes: dict[str, Segment] = {}  # of each vocabulary, a segment that has it
    for segment in segments:
        shape = segment.shape if isinstance(segment.shape, tuple) else ()
        if segment.vocabulary < 1 or len(shape) not in (1, 2) or min(shape) < 1:
            raise ValueError(f"A segment has at least one id, and one or two sizes of at least 1; got {segment}.")
        known = sizes.setdefault(segment.shared_vocabulary or segment.name, segment)
        if known.vocabulary != segment.vocabulary:
            raise ValueError(f"{known.name} and {segment.name} share a vocabulary, but not its size.")


def _check_names(layout: Layout, names: Sequence[str]) -> None:
    for name in names:
        if name not in layout.segments:
            raise ValueError(f"There is no segment {name!r}; there are: {', '.join(layout.segments)}.")


def _check_parts(layout: Layout, ids: dict[str, Tensor]) -> None:
    if not ids:
        raise ValueError(f"Give the ids of at least one segment: {', '.join(layout.segments)}.")
    shapes = {name: tuple(part.shape) for name, part in ids.items()}
    if any(len(shape) < 2 or shape[0] != next(iter(shapes.values()))[0] for shape in shapes.values()):
        raise ValueError(f"Give each segment as (batch, …) with as many rows as the others; got {shapes}.")
    _check_names(layout, list(ids))
    for name, part in ids.items():
        segment = layout.segments[name]
        whole = not (part.is_floating_point() or part.dtype == torch.bool)
        if not whole or part.shape[1:] not in (segment.shape, (math.prod(segment.shape),)):
            raise ValueError(
                f"{name} takes whole numbers of shape (batch, {', '.join(map(str, segment.shape))}); "
                f"got {part.dtype} of shape {tuple(part.shape)}."
            )
        if part.numel() and not 0 <= part.min().item() <= part.max().item() < segment.vocabulary:
            last = segment.vocabulary - 1
            raise ValueError(f"{name} takes ids in 0 … {last}; they span {part.min()} … {part.max()}.")


def _check_sequences(layout: Layout, x: Tensor) -> None:
    n = layout.length
    if x.ndim != 2 or x.shape[1] != n or x.is_floating_point():
        raise ValueError(f"A sequence has {n} ids: (batch, {n}); got {x.dtype} of {tuple(x.shape)}.")
    for name, segment in layout.segments.items():
        part, first = x[:, layout.tokens(name).to(x.device)], layout.first_ids[name]
        own = (part >= first) & (part < first + segment.vocabulary)
        if not (own | (part == layout.mask_id)).all():
            raise ValueError(f"The part of {name} holds ids of another segment.")
