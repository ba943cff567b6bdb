"""Several modalities in one sequence of tokens: words, pictures and more, each with a vocabulary of its own.

A `Layout` says which token and which id belongs to what. All else is for models of one: parts, loss, ways to ask.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vqdit_lite.gaussian import guided
from vqdit_lite.layout import Layout
from vqdit_lite.masked import Denoiser, MaskedDiffusion
from vqdit_lite.schedule import linear, stratified_times, time_grid
from vqdit_lite.transformer import DiT, sincos, sincos_grid

__all__ = [
    "TokenEmbedding",
    "answer",
    "balance_segments",
    "fill_in",
    "joint_loss",
    "pairwise_log_likelihoods",
    "restrict_to_tokens",
    "retry_until_consistent",
    "segment_denoiser",
    "segment_positions",
    "segment_times",
    "task_times",
]

# ---------------------------------------------------------------- what a model of a layout needs


class TokenEmbedding(nn.Module):
    """Ids (B, N) of a layout as vectors (B, N, width): what a token is, which modality, and its code if it has one.

    Args:
        layout: says which id is what.
        width: features of a token.
        codebooks: codes (vocabulary, D) of segments from a quantizer, so that it need not learn which look alike.

    >>> from vqdit_lite.layout import Segment
    >>> layout = Layout(Segment("text", 12, (7,)), Segment("picture", 64, (6, 6)))
    >>> embedding = TokenEmbedding(layout, 32, picture=torch.randn(64, 8))
    >>> embedding(layout.pack(text=torch.zeros(2, 7, dtype=torch.long))).shape
    torch.Size([2, 43, 32])
    """

    segment: Tensor

    def __init__(self, layout: Layout, width: int, **codebooks: Tensor):
        super().__init__()
        self.ids = nn.Embedding(layout.vocabulary + 1, width)
        self.modality = nn.Embedding(len(layout.segments), width)
        for table in (self.ids, self.modality):
            nn.init.normal_(table.weight, std=0.02)  # small beside the positions, as DiT's own tables start
        self.projections = nn.ModuleDict()
        for name, codes in codebooks.items():
            _check_codes(layout, name, codes)
            first, all_codes = layout.first_ids[name], codes.new_zeros(layout.vocabulary + 1, codes.shape[1])
            all_codes[first : first + len(codes)] = codes.detach()
            self.register_buffer(f"codes_of_{name}", all_codes)  # (V + 1, D), zero for other ids
            self.projections[name] = nn.Linear(codes.shape[1], width)
        self.register_buffer("segment", layout.modality, persistent=False)  # (N,)

    def forward(self, x: Tensor) -> Tensor:
        vectors = self.ids(x) + self.modality(self.segment)  # (B, N, width)
        for name, projection in self.projections.items():
            vectors = vectors + projection(getattr(self, f"codes_of_{name}")[x])
        return vectors


def segment_positions(layout: Layout, width: int) -> Tensor:
    """Where each token stands within its segment, as sinusoidal embeddings (N, width).

    >>> from vqdit_lite.layout import Segment
    >>> segment_positions(Layout(Segment("text", 12, (7,)), Segment("picture", 64, (6, 6))), width=32).shape
    torch.Size([43, 32])
    """
    rows = [
        sincos_grid(*part.shape, width) if len(part.shape) == 2 else sincos(torch.arange(float(part.shape[0])), width)
        for part in layout.segments.values()
    ]
    return torch.cat(rows)


def segment_denoiser(layout: Layout, model: Denoiser, hide: tuple[str, ...] = ()) -> Denoiser:
    """A model of logits (B, N, V) as a denoiser that never leaves a token's own vocabulary.

    The time the model is told is the share of its tokens that are hidden. Segments named in `hide` are kept from it:
    with a condition among them, it serves as the unconditional side of guidance.

    >>> from vqdit_lite.layout import Segment
    >>> layout = Layout(Segment("text", 2, (1,)), Segment("picture", 3, (1, 1)))
    >>> even = segment_denoiser(layout, lambda x, t: torch.zeros(*x.shape, 5))
    >>> even(torch.tensor([[5, 5]]), torch.ones(1)).softmax(-1)[0, 0]
    tensor([0.5000, 0.5000, 0.0000, 0.0000, 0.0000])
    """
    ids, unseen = torch.arange(layout.vocabulary), layout.tokens(*hide)  # (V,), (N,)
    ranges = [(layout.first_ids[name], segment.vocabulary) for name, segment in layout.segments.items()]
    own = torch.stack([(ids >= first) & (ids < first + count) for first, count in ranges])  # (segments, V)
    foreign = ~own[layout.modality]  # (N, V)

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        x = x.masked_fill(unseen.to(x.device), layout.mask_id)
        logits = model(x, (x == layout.mask_id).float().mean(1))  # (B, N, V)
        return logits.masked_fill(foreign.to(x.device), torch.finfo(logits.dtype).min)  # (9.2)

    return denoiser


def restrict_to_tokens(model: DiT, tokens: Tensor) -> Denoiser:
    """A model of a layout, as a model of the tokens (N,) that are true: the rest of the sequence is not there at all,
    which costs less than to hide it. `sub_layout` tells what is left.

    >>> from vqdit_lite.layout import Segment
    >>> layout = Layout(Segment("text", 12, (7,)), Segment("picture", 64, (6, 6)))
    >>> model = DiT(TokenEmbedding(layout, 32), 76, segment_positions(layout, 32), depth=1)
    >>> restrict_to_tokens(model, layout.tokens("text"))(torch.zeros(2, 7).long(), torch.zeros(2)).shape
    torch.Size([2, 7, 76])
    """
    tokens = tokens.to(model.positions.device)
    kept = {name: model.get_buffer(name)[tokens] for name in ("positions", "embedding.segment")}
    return lambda x, t: functional_call(model, kept, (x, t))


# ---------------------------------------------------------------- training and asking


def segment_times(layout: Layout, n: int, generator: torch.Generator) -> Tensor:
    """Times of each token (n, N) for training: one segment of each row is to be learned, at a time that is uniform on
    (0, 1). Each other one is clean (t = 0), hidden (t = 1) or at a time of its own, with chances of a half, a quarter
    and a quarter.

    Source: independent times arXiv 2303.06555, section 3.2.

    >>> from vqdit_lite.layout import Segment
    >>> layout = Layout(Segment("text", 12, (1,)), Segment("picture", 64, (1, 1)))
    >>> segment_times(layout, 3, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 2])
    """
    count = len(layout.segments)
    learned = torch.randint(count, (n, 1), generator=generator) == torch.arange(count)  # (n, segments)
    kind = torch.rand(n, count, generator=generator)
    other = torch.rand(n, count, generator=generator).where(kind < 0.25, (kind < 0.5).double())
    t = stratified_times(n, generator)[:, None].where(learned, other.float())  # (n, segments)
    return t[:, layout.modality]


Task = tuple[tuple[str, ...], tuple[str, ...]]  # the segments that are given, and those asked for


def task_times(layout: Layout, tasks: Sequence[Task], n: int, generator: torch.Generator) -> Tensor:
    """Times of each token (n, N) for training as in use: a task by chance; what it gives is clean, or in one row of ten
    hidden; what is asked for is at one time of all; the rest is hidden.

    >>> from vqdit_lite.layout import Segment
    >>> layout = Layout(Segment("text", 12, (1,)), Segment("picture", 64, (1, 1)))
    >>> task_times(layout, [(("text",), ("picture",))], 3, torch.Generator().manual_seed(0))[:, 0]
    tensor([0., 0., 0.])
    """
    given, asked = (torch.stack([layout.tokens(*names) for names in side]) for side in zip(*tasks, strict=True))
    task = torch.randint(len(tasks), (n,), generator=generator)
    unknown = (torch.rand(n, 1, generator=generator) < 0.1).float()
    t = stratified_times(n, generator)[:, None]
    return torch.where(given[task], unknown, torch.where(asked[task], t, 1.0))  # (n, N)


def balance_segments(layout: Layout) -> Tensor:
    """A weight of tokens, (N,), that lets a short segment count as much as a long one; on average 1.

    >>> from vqdit_lite.layout import Segment
    >>> balance_segments(Layout(Segment("text", 12, (1,)), Segment("sound", 512, (3,))))
    tensor([2.0000, 0.6667, 0.6667, 0.6667])
    """
    lengths = layout.modality.bincount()
    return (layout.length / len(lengths) / lengths)[layout.modality]


def joint_loss(
    layout: Layout,
    model: Denoiser,
    x0: Tensor,
    generator: torch.Generator,
    t: Tensor | None = None,
    token_weight: Tensor | float = 1.0,
    weighting: str = "bounded",
) -> dict[str, Tensor]:
    """The loss of a model of logits (B, N, V) on whole sequences x0 (B, N) of a layout, as {"loss": …}.

    Times t of tokens, (B, N), are drawn by `segment_times` unless they are given. Tokens of more `token_weight`, (N,),
    count for more; what a time counts is said by `weighting`, as in `MaskedDiffusion`.

    >>> from vqdit_lite.layout import Segment
    >>> layout = Layout(Segment("text", 2, (1,)), Segment("picture", 3, (1, 1)))
    >>> x0, generator = torch.tensor([[0, 2]] * 50), torch.Generator().manual_seed(0)
    >>> joint_loss(layout, lambda x, t: torch.zeros(*x.shape, 5), x0, generator)["loss"] > 0
    tensor(True)
    """
    t = segment_times(layout, len(x0), generator) if t is None else t
    diffusion = MaskedDiffusion(linear(), layout.mask_id, weighting)
    return diffusion.loss(segment_denoiser(layout, model), x0, generator, t=t, token_weight=token_weight)  # (9.1)


def fill_in(
    layout: Layout,
    model: Denoiser,
    x: Tensor,
    frozen: Tensor | None,
    generator: torch.Generator,
    steps: int,
    scale: float = 1.0,
    condition: tuple[str, ...] = (),
    hide: tuple[str, ...] = (),
    temperature: float = 1.0,
    choice_temperature: float = 1.0,
) -> Tensor:
    """Sequences (B, N) of a layout, with all that is not frozen filled in by a joint model, surest tokens first.

    What is `frozen`, (N,) or (B, N), stays; None freezes nothing. Guidance of `scale` leads away from what the model
    would say without the segments named in `condition`; it never sees those named in `hide`. Steps are small at the
    start, by the cosine grid; both temperatures are those of `MaskedDiffusion.sample`.

    >>> from vqdit_lite.layout import Segment
    >>> layout = Layout(Segment("text", 2, (1,)), Segment("picture", 3, (1, 1)))
    >>> x, even = layout.pack(text=torch.tensor([[1]])), lambda x, t: torch.zeros(*x.shape, 5)
    >>> x = fill_in(layout, even, x, layout.tokens("text"), torch.Generator().manual_seed(0), steps=1)
    >>> layout.unpack(x)["text"], layout.unpack(x)["picture"] >= 0
    (tensor([[1]]), tensor([[[True]]]))
    """
    without = segment_denoiser(layout, model, (*hide, *condition))
    denoiser = guided(segment_denoiser(layout, model, hide), without, scale)  # (9.3)
    diffusion, times = MaskedDiffusion(linear(), layout.mask_id), time_grid(steps, "cosine")
    sample = partial(diffusion.sample, temperature=temperature, choice_temperature=choice_temperature)
    *_, x = sample(denoiser, x, times, "confidence", generator=generator, frozen=frozen)
    return x


def answer(
    layout: Layout,
    model: Denoiser,
    x: Tensor,
    given: tuple[str, ...],
    asked: tuple[str, ...],
    generator: torch.Generator,
    steps: int = 16,
    scale: float = 2.0,
    temperature: float = 1.0,
    choice_temperature: float = 1.0,
) -> Tensor:
    """Sequences (B, N) in which the segments `asked` are filled in from those `given`; all others are hidden.

    Guidance of `scale` leads away from what the model would say if nothing were given. Give x as a sequence in which
    the given segments are known. There is at most one step for each token that is asked for.

    >>> from vqdit_lite.layout import Segment
    >>> layout = Layout(Segment("text", 2, (1,)), Segment("picture", 3, (1, 1)), Segment("sound", 2, (1,)))
    >>> x, even = layout.pack(text=torch.tensor([[1]])), lambda x, t: torch.zeros(*x.shape, 7)
    >>> x = answer(layout, even, x, ("text",), ("picture",), torch.Generator().manual_seed(0))
    >>> (x == layout.mask_id).tolist()
    [[False, False, True]]
    """
    idle = tuple(name for name in layout.segments if name not in given + asked)
    sought, known = layout.tokens(*asked).to(x.device), layout.tokens(*given).to(x.device)
    x = x.masked_fill(layout.tokens(*idle).to(x.device), 0)  # never seen: a frozen token needs some id
    steps = min(steps, int(sought.sum()))
    filled = fill_in(layout, model, x, ~sought, generator, steps, scale, given, idle, temperature, choice_temperature)
    return filled.where(sought | known, layout.mask_id)


def retry_until_consistent(
    x: Tensor, make: Callable[[Tensor], Tensor], describe: Callable[[Tensor], Tensor], words: Tensor, tries: int
) -> Tensor:
    """Sequences (B, N) that `make` makes from the words in x, the tokens (N,) that are true. Where a model's own words
    for what it made, by `describe`, are not those that were asked for, it tries again.

    >>> make = lambda x, count=iter(range(9)): torch.stack([x[:, 0], torch.full((len(x),), next(count))], 1)
    >>> retry_until_consistent(torch.tensor([[2, 9]]), make, lambda x: x[:, [1, 1]], torch.tensor([True, False]), 5)
    tensor([[2, 2]])
    """
    made, words = make(x).clone(), words.to(x.device)
    doubtful = torch.arange(len(x), device=x.device)
    for _ in range(tries - 1):
        doubtful = doubtful[(describe(made[doubtful]) != made[doubtful])[:, words].any(1)]
        if len(doubtful) == 0:
            break
        made[doubtful] = make(x[doubtful])
    return made


@torch.no_grad()
def pairwise_log_likelihoods(
    layout: Layout, model: Denoiser, x: Tensor, given: str, draws: int = 16, seed: int = 0
) -> Tensor:
    """log p(the other segments | the segment `given`) of every pairing of sequences x (B, N), by its bound: (B, B).

    In nats. Row i holds what is asked about in row i of x; column j the condition from row j. All share their masks.

    >>> from vqdit_lite.layout import Segment
    >>> layout = Layout(Segment("text", 2, (1,)), Segment("picture", 3, (1, 1)))
    >>> x, even = torch.tensor([[0, 2], [1, 3]]), lambda x, t: torch.zeros(*x.shape, 5)
    >>> pairwise_log_likelihoods(layout, even, x, "text").shape
    torch.Size([2, 2])
    """
    diffusion, denoiser = MaskedDiffusion(linear(), layout.mask_id), segment_denoiser(layout, model)
    frozen, columns = layout.tokens(given).to(x.device), []
    for row in x:
        masks = torch.Generator().manual_seed(seed)
        paired = row.where(frozen, x)  # (B, N)
        columns.append(-diffusion.nelbo(denoiser, paired, masks, draws, frozen=frozen))
    return torch.stack(columns, 1)


# ---------------------------------------------------------------- guards


def _check_codes(layout: Layout, name: str, codes: Tensor) -> None:
    layout.tokens(name)  # refuses a name that is not there
    count = layout.segments[name].vocabulary
    if codes.ndim != 2 or len(codes) != count:
        raise ValueError(f"{name} has {count} ids, so its codes are ({count}, D); got {tuple(codes.shape)}.")
