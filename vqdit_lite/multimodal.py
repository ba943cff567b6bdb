"""Several modalities in one sequence of tokens: words, pictures and more, each with a vocabulary of its own."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vqdit_lite.gaussian import guided
from vqdit_lite.masked import Denoiser, MaskedDiffusion
from vqdit_lite.schedule import linear, stratified_times, time_grid
from vqdit_lite.transformer import DiT, sincos, sincos_grid

__all__ = [
    "Layout",
    "Segment",
    "TokenEmbedding",
    "answer",
    "balance_segments",
    "diffusion_of",
    "fill_in",
    "joint_loss",
    "restrict_to_tokens",
    "retry_until_consistent",
    "task_loss",
    "task_times",
]


class Segment(NamedTuple):
    """One modality's part of a sequence."""

    name: str
    vocabulary: int  # how many different ids
    shape: tuple[int, ...]  # (tokens,) for text, (rows, columns) for pictures
    shared_vocabulary: str = ""  # segments that name the same one share their ids, as the pictures of a film do


class Layout:
    """How segments share one sequence of N tokens and one vocabulary of V ids; the mask has the id V.

    >>> layout = Layout(Segment("text", 12, (7,)), Segment("picture", 64, (6, 6)))
    >>> layout.length, layout.vocabulary, layout.mask_id
    (43, 76, 76)
    >>> x = layout.pack(text=torch.zeros(1, 7, dtype=torch.long))  # no picture: its tokens are hidden
    >>> x[0, 6:9].tolist(), layout.unpack(x)["picture"].unique().tolist()
    ([0, 76, 76], [-1])
    """

    def __init__(self, *segments: Segment):
        names = [segment.name for segment in segments]
        if not segments or len(set(names)) < len(names):
            raise ValueError(f"A layout needs segments of different names; they are {names}.")
        for segment in segments:
            sides = segment.shape if isinstance(segment.shape, tuple) else ()
            if segment.vocabulary < 1 or len(sides) not in (1, 2) or min(sides) < 1:
                raise ValueError(f"A segment has at least one id, and one or two sides of at least 1; {segment} came.")
        self.segments = {segment.name: segment for segment in segments}
        self._first, self.vocabulary = {}, 0  # a segment's first id, how many ids there are
        vocabularies: dict[str, Segment] = {}
        for segment in segments:
            known = vocabularies.setdefault(segment.shared_vocabulary or segment.name, segment)
            if known.vocabulary != segment.vocabulary:
                raise ValueError(f"{known.name} and {segment.name} share a vocabulary, but not its size.")
            self._first[segment.name] = self._first.get(known.name, self.vocabulary)
            self.vocabulary += segment.vocabulary if known is segment else 0
        self.mask_id = self.vocabulary
        lengths = torch.tensor([math.prod(segment.shape) for segment in segments])
        self.length = lengths.sum().item()
        self.modality = torch.arange(len(segments)).repeat_interleave(lengths)  # (N,) which segment a token is of
        ids = torch.arange(self.vocabulary)
        ranges = ((self._first[segment.name], segment.vocabulary) for segment in segments)
        self._owned = torch.stack([(ids >= first) & (ids < first + size) for first, size in ranges])  # (segments, V)

    def tokens(self, *names: str) -> Tensor:
        """Which tokens belong to the named segments, (N,) true or false."""
        numbers = torch.tensor([list(self.segments).index(self._known(name)) for name in names])
        return torch.isin(self.modality, numbers)

    def only(self, *names: str) -> "Layout":
        """The layout of the named segments alone: shorter sequences of the same ids, in the same order."""
        kept = self.tokens(*names)  # (N,)
        part = copy.copy(self)
        part.segments = {name: segment for name, segment in self.segments.items() if name in names}
        _, part.modality = self.modality[kept].unique(return_inverse=True)  # (tokens kept,) counted anew
        part.length = len(part.modality)
        part._owned = self._owned[self.modality[kept].unique()]
        return part

    def _known(self, name: str) -> str:
        if name not in self.segments:
            raise ValueError(f"There is no segment {name!r}; there are: {', '.join(self.segments)}.")
        return name

    def pack(self, **ids: Tensor) -> Tensor:
        """Ids of segments, (B, tokens) or (B, rows, columns), as one sequence (B, N); segments not given are hidden."""
        if not ids:
            raise ValueError(f"Give the ids of at least one segment: {', '.join(self.segments)}.")
        shapes = {name: tuple(part.shape) for name, part in ids.items()}
        if any(len(shape) < 2 or shape[0] != next(iter(shapes.values()))[0] for shape in shapes.values()):
            raise ValueError(f"Give each segment as (batch, …) with as many rows as the others; {shapes} came.")
        first = next(iter(ids.values()))
        x = torch.full((len(first), self.length), self.mask_id, device=first.device)
        for name, part in ids.items():
            segment = self.segments[self._known(name)]
            whole = not (part.is_floating_point() or part.dtype == torch.bool)
            if not whole or part.shape[1:] not in (segment.shape, (math.prod(segment.shape),)):
                raise ValueError(
                    f"{name} takes whole numbers of shape (batch, {', '.join(map(str, segment.shape))}); "
                    f"{part.dtype} of shape {tuple(part.shape)} came."
                )
            part = part.long().flatten(1)  # (B, tokens)
            if part.numel() and not 0 <= part.min() <= part.max() < segment.vocabulary:
                raise ValueError(
                    f"{name} takes ids in 0 … {segment.vocabulary - 1}; they span {part.min()} … {part.max()}."
                )
            x[:, self.tokens(name).to(x.device)] = part + self._first[name]
        return x

    def unpack(self, x: Tensor) -> dict[str, Tensor]:
        """The ids of every segment of sequences x (B, N), each (B, tokens) or (B, rows, columns); -1 where hidden."""
        if x.ndim != 2 or x.shape[1] != self.length or x.is_floating_point():
            raise ValueError(
                f"A sequence has {self.length} ids: (batch, {self.length}); {x.dtype} of {tuple(x.shape)} came."
            )
        parts = {}
        for name, segment in self.segments.items():
            part = x[:, self.tokens(name).to(x.device)]
            ids = part - self._first[name]
            if (((ids < 0) | (ids >= segment.vocabulary)) & (part != self.mask_id)).any():
                raise ValueError(f"The part of {name} holds ids of another segment.")
            parts[name] = ids.where(part != self.mask_id, -1).unflatten(1, segment.shape)
        return parts

    def positions(self, width: int) -> Tensor:
        """Where each token stands within its segment, as waves (N, width)."""
        rows = [
            sincos(torch.arange(float(*part.shape)), width) if len(part.shape) == 1 else sincos_grid(*part.shape, width)
            for part in self.segments.values()
        ]
        return torch.cat(rows)

    def times(self, n: int, generator: torch.Generator) -> Tensor:
        """Random times of each token, (n, N), for training: one segment of each row is to be learned, at a time that is
        uniform on (0, 1). Each other one is clean (t = 0), hidden (t = 1) or at a time of its own, with chances of
        a half, a quarter and a quarter.

        Source: independent times arXiv 2303.06555, section 3.2.
        """
        count = len(self.segments)
        learned = torch.randint(count, (n, 1), generator=generator) == torch.arange(count)  # (n, segments)
        kind = torch.rand(n, count, generator=generator)
        other = torch.rand(n, count, generator=generator).where(kind < 0.25, (kind < 0.5).double())
        t = stratified_times(n, generator)[:, None].where(learned, other.float())  # (n, segments)
        return t[:, self.modality]

    def denoiser(self, model: nn.Module, hide: tuple[str, ...] = ()) -> Denoiser:
        """A model of logits (B, N, V) as a denoiser that never leaves a token's own vocabulary.

        The time the model is told is the share of its tokens that are hidden. Segments named in `hide` are kept
        from it: with a condition among them, it serves as the unconditional side of guidance.
        """
        unseen, foreign = self.tokens(*hide), ~self._owned[self.modality]  # (N,), (N, V)

        def denoiser(x: Tensor, t: Tensor) -> Tensor:
            x = x.masked_fill(unseen.to(x.device), self.mask_id)
            logits = model(x, (x == self.mask_id).float().mean(1))  # (B, N, V)
            return logits.masked_fill(foreign.to(x.device), torch.finfo(logits.dtype).min)

        return denoiser


class TokenEmbedding(nn.Module):
    """Ids (B, N) of a layout as vectors (B, N, width): what a token is, which modality, and its code if it has one.

    Args:
        layout: says which id is what.
        width: features of a token.
        codebooks: for segments that come from a quantizer, their codes (vocabulary, D), which the model sees beside
            the ids, so that it need not learn which codes look alike.

    >>> layout = Layout(Segment("text", 12, (7,)), Segment("picture", 64, (6, 6)))
    >>> embedding = TokenEmbedding(layout, 32, picture=torch.randn(64, 8))
    >>> embedding(layout.pack(text=torch.zeros(2, 7, dtype=torch.long))).shape
    torch.Size([2, 43, 32])
    """

    def __init__(self, layout: Layout, width: int, **codebooks: Tensor):
        super().__init__()
        self.ids = nn.Embedding(layout.vocabulary + 1, width)
        self.modality = nn.Embedding(len(layout.segments), width)
        for table in (self.ids, self.modality):
            nn.init.normal_(table.weight, std=0.02)  # small beside the positions, as DiT's own tables start
        self.projections = nn.ModuleDict()
        for name, codes in codebooks.items():
            segment = layout.segments[layout._known(name)]
            if codes.ndim != 2 or len(codes) != segment.vocabulary:
                raise ValueError(
                    f"{name} has {segment.vocabulary} ids, so its codes are ({segment.vocabulary}, D); "
                    f"{tuple(codes.shape)} came."
                )
            table = codes.new_zeros(layout.vocabulary + 1, codes.shape[1])
            table[layout._first[name] : layout._first[name] + len(codes)] = codes.detach()
            self.register_buffer(f"codes_of_{name}", table)  # (V + 1, D), zero for other ids
            self.projections[name] = nn.Linear(codes.shape[1], width)
        self.register_buffer("segment", layout.modality, persistent=False)  # (N,)

    def forward(self, x: Tensor) -> Tensor:
        vectors = self.ids(x) + self.modality(self.segment)  # (B, N, width)
        for name, projection in self.projections.items():
            vectors = vectors + projection(getattr(self, f"codes_of_{name}")[x])
        return vectors


# ---------------------------------------------------------------- training on segments


def diffusion_of(layout: Layout) -> MaskedDiffusion:
    """The masked diffusion with which models of a layout are trained and asked."""
    return MaskedDiffusion(linear(), layout.mask_id, "bounded")


def joint_loss(
    layout: Layout, model: nn.Module, x0: Tensor, generator: torch.Generator, token_weight: Tensor | float = 1.0
) -> dict[str, Tensor]:
    """The loss of sequences x0 (B, N) of a layout, each segment at a time of its own, as {"loss": …}."""
    t = layout.times(len(x0), generator)
    return diffusion_of(layout).loss(layout.denoiser(model), x0, generator, t=t, token_weight=token_weight)


def balance_segments(layout: Layout) -> Tensor:
    """A weight of tokens, (N,), that lets a short segment count as much as a long one; on average 1."""
    lengths = layout.modality.bincount()
    return (layout.length / len(lengths) / lengths)[layout.modality]


Task = tuple[tuple[str, ...], tuple[str, ...]]  # the segments that are given, and those asked for


def task_times(layout: Layout, tasks: Sequence[Task], n: int, generator: torch.Generator) -> Tensor:
    """Times of each token (n, N) for training as in use: a task by chance; what it gives is clean, or in one row of ten
    hidden; what is asked for is at one time of all; the rest is hidden."""
    given, asked = (torch.stack([layout.tokens(*names) for names in side]) for side in zip(*tasks, strict=True))
    task = torch.randint(len(tasks), (n,), generator=generator)
    unknown = (torch.rand(n, 1, generator=generator) < 0.1).float()
    t = stratified_times(n, generator)[:, None]
    return torch.where(given[task], unknown, torch.where(asked[task], t, 1.0))  # (n, N)


def task_loss(
    layout: Layout, tasks: Sequence[Task], model: nn.Module, x0: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """The loss of sequences x0 (B, N) of a layout, at the times of tasks, as {"loss": …}."""
    t = task_times(layout, tasks, len(x0), generator)
    return diffusion_of(layout).loss(layout.denoiser(model), x0, generator, t=t)


# ---------------------------------------------------------------- asking


def fill_in(
    layout: Layout,
    model: nn.Module,
    x: Tensor,
    frozen: Tensor | None,
    generator: torch.Generator,
    steps: int,
    scale: float = 1.0,
    condition: tuple[str, ...] = (),
    unseen: tuple[str, ...] = (),
    temperature: float = 1.0,
    choice_temperature: float = 1.0,
) -> Tensor:
    """Sequences (B, N) of a layout, with all that is not frozen filled in by a joint model, surest tokens first.

    Guidance of `scale` leads away from what the model would say without the segments named in `condition`. It never
    sees the segments named in `unseen`.
    """
    denoiser = guided(layout.denoiser(model, unseen), layout.denoiser(model, (*unseen, *condition)), scale)
    *_, x = diffusion_of(layout).sample(
        denoiser,
        x,
        time_grid(steps, "cosine"),
        "confidence",
        generator=generator,
        frozen=frozen,
        temperature=temperature,
        choice_temperature=choice_temperature,
    )
    return x


def answer(
    layout: Layout,
    model: nn.Module,
    x: Tensor,
    given: tuple[str, ...],
    asked: tuple[str, ...],
    generator: torch.Generator,
    scale: float = 2.0,
    steps: int = 16,
    temperature: float = 1.0,
    choice_temperature: float = 1.0,
) -> Tensor:
    """Sequences (B, N) in which the segments `asked` are filled in from those `given`; all others are hidden.

    Guidance of `scale` leads away from what the model would say if nothing were given. Give x as a sequence in which
    the given segments are known.
    """
    idle = tuple(name for name in layout.segments if name not in given + asked)
    sought, known = layout.tokens(*asked).to(x.device), layout.tokens(*given).to(x.device)
    x = x.masked_fill(layout.tokens(*idle).to(x.device), 0)  # never seen: a frozen token needs some id
    steps = min(steps, sought.sum().item())
    chance = {"temperature": temperature, "choice_temperature": choice_temperature}
    filled = fill_in(layout, model, x, ~sought, generator, steps, scale, given, idle, **chance)
    return filled.where(sought | known, layout.mask_id)


def retry_until_consistent(
    x: Tensor, make: Callable[[Tensor], Tensor], describe: Callable[[Tensor], Tensor], words: Tensor, tries: int
) -> Tensor:
    """Sequences (B, N) that `make` makes from the words in x, the tokens (N,) that are true. Where a model's own words
    for what it made, by `describe`, are not those that were asked for, it tries again."""
    made, left, words = x.clone(), torch.arange(len(x), device=x.device), words.to(x.device)
    for attempt in range(1, tries + 1):
        made[left] = make(x[left])
        if attempt < tries:
            left = left[(describe(made[left]) != made[left])[:, words].any(1)]
        if len(left) == 0:
            break
    return made


def restrict_to_tokens(model: DiT, tokens: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """A model of a layout, as a model of the tokens (N,) that are true: the rest of the sequence is not there at all,
    which costs less than to hide it."""
    tokens = tokens.to(model.positions.device)
    kept = {"positions": model.positions[tokens], "embedding.segment": model.embedding.segment[tokens]}
    return lambda x, t: functional_call(model, kept, (x, t))
