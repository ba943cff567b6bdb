"""The diffusion transformer: a denoiser that lets every token look at every other."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqdit_lite.attention import Attention, attention

__all__ = [
    "DiT",
    "DiTBlock",
    "LabelEmbedding",
    "SpaceTimeBlock",
    "TimeEmbedding",
    "attention_maps",
    "initialise",
    "modulate",
    "patchify",
    "sincos",
    "sincos_grid",
    "unpatchify",
]

# ---------------------------------------------------------------- pictures as tokens


def patchify(x: Tensor, size: int) -> Tensor:
    """Cut pictures (B, C, H, W) into patches (B, N, C · size²), row by row: N = H/size · W/size.

    Source: arXiv 2010.11929, section 3.1.

    >>> patchify(torch.rand(2, 1, 8, 8), size=2).shape
    torch.Size([2, 16, 4])
    """
    _check_pictures(x, size)
    x = x.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, C, H/s, s, W/s, s)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, H/s, W/s, C, s, s) -> (B, N, C·s²)


def unpatchify(tokens: Tensor, size: int, grid: tuple[int, int]) -> Tensor:
    """Put patches (B, N, C · size²) together again: pictures (B, C, H, W). `grid` is (H/size, W/size).

    >>> x = torch.rand(2, 3, 8, 12)
    >>> unpatchify(patchify(x, 4), 4, (2, 3)).equal(x)
    True
    """
    _check_patches(tokens, size, grid)
    x = tokens.unflatten(2, (-1, size, size)).unflatten(1, grid)  # (B, H/s, W/s, C, s, s)
    return x.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # (B, C, H/s, s, W/s, s) -> (B, C, H, W)


# ---------------------------------------------------------------- where a token stands, and when


def sincos(positions: Tensor, dim: int) -> Tensor:
    """Sinusoidal embeddings (N, dim) of numbers (N,): cosines, then sines, of frequencies from 1 to nearly 1/10,000.

    Source: arXiv 1706.03762, section 3.5.

    >>> sincos(torch.tensor([0.0]), 4)
    tensor([[1., 1., 0., 0.]])
    """
    _check_frequencies(dim)
    pairs = torch.arange(dim // 2, device=positions.device)
    frequencies = torch.exp(-math.log(10_000) * pairs * 2 / dim)  # (dim/2,)
    angles = positions[:, None] * frequencies  # (N, dim/2)
    return torch.cat([angles.cos(), angles.sin()], dim=1)  # (6.2)


def sincos_grid(height: int, width: int, dim: int) -> Tensor:
    """Fixed positions (height · width, dim) of a grid's cells, row by row: half says the column, half the row.

    Source: arXiv 2212.09748, as in arXiv 2111.06377.

    >>> sincos_grid(2, 3, 8).shape
    torch.Size([6, 8])
    """
    _check_grid(dim)
    row, column = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.cat([sincos(column.flatten(), dim // 2), sincos(row.flatten(), dim // 2)], dim=1)


# ---------------------------------------------------------------- what time it is, and what is wanted


class TimeEmbedding(nn.Sequential):
    """A vector for each time: the sinusoidal embedding of 1,000 · t with 256 features, then an MLP of two layers.

    Args:
        width: features of a vector.

    Source: arXiv 2006.11239, appendix B.

    >>> TimeEmbedding(64)(torch.tensor([0.1, 0.9])).shape
    torch.Size([2, 1, 64])
    """

    def __init__(self, width: int):
        super().__init__(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Vectors (B, 1, width) of times (B,) in [0, 1], or (B, N, width) of times (B, N)."""
        t = t if t.ndim == 2 else t[:, None]  # (B, 1 or N)
        features = sincos(1000 * t.flatten(), 256).to(next(self.parameters()).dtype)
        return super().forward(features).unflatten(0, t.shape)  # (B, 1 or N, width)


class LabelEmbedding(nn.Module):
    """A vector for each label, and one more for "no label", behind which some are hidden in training.

    Args:
        num_classes: how many labels there are.
        width: features of a vector.
        dropout: the share of labels hidden during training. With 0, there is no vector for "no label".

    Source: arXiv 2207.12598, algorithm 1.

    >>> embedding = LabelEmbedding(10, 64, dropout=0.1)
    >>> embedding(torch.tensor([3, 7])).shape, embedding(None).shape
    (torch.Size([2, 1, 64]), torch.Size([1, 1, 64]))
    """

    def __init__(self, num_classes: int, width: int, dropout: float):
        super().__init__()
        self.num_classes, self.dropout = num_classes, dropout
        self.weight = nn.Parameter(torch.randn(num_classes + (dropout > 0), width))

    def forward(self, labels: Tensor | None) -> Tensor:
        """Vectors (B, 1, width) of labels (B,), or (1, 1, width) of no label."""
        if labels is None:
            return self.weight[self.num_classes].view(1, 1, -1)  # the last row
        if self.training and self.dropout:
            hidden = (torch.rand(len(labels)) < self.dropout).to(labels.device)  # drawn on the CPU
            labels = labels.masked_fill(hidden, self.num_classes)
        return F.embedding(labels, self.weight)[:, None]  # (B, 1, width)


# ---------------------------------------------------------------- the transformer


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(1 + scale) · x + shift: a condition scales and shifts tokens x (B, N, width), which have been normalised.

    Args:
        shift, scale: (B, 1, width) for all tokens alike, or (B, N, width); zeros leave x as it is.

    Source: arXiv 2212.09748, section 3.2.

    >>> modulate(torch.ones(1, 1, 2), shift=torch.tensor([0.0, 0.5]), scale=torch.tensor([2.0, 0.0]))
    tensor([[[3.0000, 1.5000]]])
    """
    return torch.addcmul(shift, x, 1 + scale)  # (6.4)


class DiTBlock(nn.Module):
    """Tokens look at each other, then a per-token MLP; a condition steers both.

    Args:
        width, heads: as in `Attention`.
        conditioning: "adaln" (adaLN-Zero: the condition scales, shifts and gates), "cross" (tokens also look at the
            condition) or "in_context" (the condition stands among the tokens, and the block knows nothing of it).

    Source: arXiv 2212.09748, section 3.2.
    """

    def __init__(self, width: int, heads: int, conditioning: str = "adaln"):
        super().__init__()
        _check_conditioning(conditioning)
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width) if conditioning == "adaln" else None
        self.cross = Attention(width, heads) if conditioning == "cross" else None

    def forward(self, x: Tensor, condition: Tensor, angles: Tensor | None = None) -> Tensor:
        """Tokens x (B, N, width) and a condition: (B, 1 or N, width) for "adaln", else (B, M, width)."""
        if self.modulation:
            six = self.modulation(F.silu(condition)).chunk(6, dim=-1)  # 6 × (B, 1 or N, width)
            shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = six
            x = torch.addcmul(x, gate, self.attention(modulate(self.norm(x), shift, scale), angles=angles))  # (6.4)
            return torch.addcmul(x, gate_mlp, self.mlp(modulate(self.norm(x), shift_mlp, scale_mlp)))
        x = x + self.attention(self.norm(x), angles=angles)
        if self.cross:
            x = x + self.cross(self.norm(x), condition)
        return x + self.mlp(self.norm(x))


class SpaceTimeBlock(nn.Module):
    """A block for clips in which tokens look along one axis only: within their frame, or through time at their place.

    Args:
        block: does the work, with "adaln".
        frames: F of the clip; its tokens stand frame by frame, N = F · S.
        along: "space" or "time". A transformer takes one after the other in turn.

    Source: arXiv 2401.03048, figure 2, variant 1; divided attention inside one block arXiv 2102.05095.

    >>> block = SpaceTimeBlock(DiTBlock(width=32, heads=4), frames=8, along="time")
    >>> block(torch.rand(2, 8 * 36, 32), torch.rand(2, 1, 32)).shape
    torch.Size([2, 288, 32])
    """

    def __init__(self, block: DiTBlock, frames: int, along: str):
        super().__init__()
        _check_clip_block(frames, along)
        self.block, self.frames, self.along = block, frames, along

    def forward(self, x: Tensor, condition: Tensor, angles: Tensor | None = None) -> Tensor:
        """Tokens x (B, F · S, width) and a condition (B, 1 or F · S, width), as in `DiTBlock`."""
        _check_frames(x, self.frames)
        parts = self._split(x)  # (B · F, S, width) or (B · S, F, width)
        if condition.shape[1] == 1:
            count = self.frames if self.along == "space" else x.shape[1] // self.frames
            conditions = condition.repeat_interleave(count, dim=0)  # (B · F or B · S, 1, width)
        else:
            conditions = self._split(condition)
        return self._join(self.block(parts, conditions, angles), len(x))

    def _split(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (self.frames, -1))  # (B, F · S, width) -> (B, F, S, width)
        return (x if self.along == "space" else x.transpose(1, 2)).flatten(0, 1)  # (B · F, S, …) or (B · S, F, …)

    def _join(self, x: Tensor, batch: int) -> Tensor:
        x = x.unflatten(0, (batch, -1))  # (B, F, S, width) or (B, S, F, width)
        return (x if self.along == "space" else x.transpose(1, 2)).flatten(1, 2)  # (B, F · S, width)


def initialise(model: nn.Module) -> None:
    """Weights of a `DiT` as published: small where time and label come in, zero where it modulates and predicts.

    Source: arXiv 2212.09748, section 3.2.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for name, weight in model.named_parameters():
        if name in ("time.0.weight", "time.2.weight", "label.weight"):
            nn.init.normal_(weight, std=0.02)
        elif name == "head.weight" or name.endswith("modulation.weight"):
            nn.init.zeros_(weight)


class DiT(nn.Module):
    """The diffusion transformer: corrupted tokens, a time and a label to a prediction for each token.

    Args:
        embedding: turns the input into tokens (B, N, width): `nn.Linear(features, width)` for patches and latents,
            `nn.Embedding(vocabulary, width)` for ids.
        outputs: numbers to predict for each token: features, or the size of the vocabulary.
        positions: added to the tokens, (N, width). Zeros leave the order unknown.
        depth: how many blocks.
        heads: attention heads of each block.
        num_classes: how many labels there are; 0 for none.
        label_dropout: the share of labels hidden during training, so that the model also learns to do without.
        conditioning: how time and label reach the blocks, as in `DiTBlock`.
        angles: rotary positions, (N, width/heads/2), as `rotary_angles` makes them.

    Source: arXiv 2212.09748. Weights start as published there, by `initialise`.

    >>> model = DiT(nn.Linear(4, 64), outputs=4, positions=sincos_grid(4, 4, 64), num_classes=10)
    >>> x, t, labels = torch.rand(2, 16, 4), torch.tensor([0.1, 0.9]), torch.tensor([3, 7])
    >>> model(x, t, labels).shape, model(x, t).abs().max()
    (torch.Size([2, 16, 4]), tensor(0., grad_fn=<MaxBackward1>))
    """

    positions: Tensor
    angles: Tensor | None

    def __init__(
        self,
        embedding: nn.Module,
        outputs: int,
        positions: Tensor,
        depth: int = 4,
        heads: int = 4,
        num_classes: int = 0,
        label_dropout: float = 0.1,
        conditioning: str = "adaln",
        angles: Tensor | None = None,
    ):
        super().__init__()
        _check_sizes(positions, outputs, depth, num_classes, label_dropout)
        self.embedding, self.conditioning, width = embedding, conditioning, positions.shape[-1]
        self.register_buffer("positions", positions, persistent=False)
        extra = {"in_context": 1 + (num_classes > 0)}.get(conditioning, 0)  # tokens for time and label
        self.register_buffer("angles", None if angles is None else F.pad(angles, (0, 0, 0, extra)), persistent=False)
        self.time = TimeEmbedding(width)
        self.label = LabelEmbedding(num_classes, width, label_dropout) if num_classes else None
        self.blocks = nn.ModuleList([DiTBlock(width, heads, conditioning) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation, self.head = nn.Linear(width, 2 * width), nn.Linear(width, outputs)
        initialise(self)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predictions (B, N, outputs).

        Args:
            x: corrupted tokens, (B, N, features) or ids (B, N).
            t: times in [0, 1], (B,), or (B, N) for tokens with times of their own ("adaln" only).
            labels: (B,); None hides them all.
        """
        _check_input(self, x, t, labels)
        tokens = self.embedding(x) + self.positions  # (B, N, width)
        conditions = [self.time(t)] if self.label is None else [self.time(t), self.label(labels)]
        summary = sum(conditions)  # (B, 1 or N, width)
        context = summary if self.conditioning == "adaln" else torch.cat(torch.broadcast_tensors(*conditions), dim=1)
        tokens = torch.cat([tokens, context], dim=1) if self.conditioning == "in_context" else tokens  # 1 or 2 more
        for block in self.blocks:
            tokens = block(tokens, context, self.angles)
        shift, scale = self.modulation(F.silu(summary)).chunk(2, dim=-1)  # (B, 1 or N, width) each
        return self.head(modulate(self.norm(tokens[:, : len(self.positions)]), shift, scale))


@torch.no_grad()
def attention_maps(model: nn.Module, *inputs: Tensor) -> list[Tensor]:
    """Who looks at whom: the weights (B, heads, N, N) of every self-attention in a model, for one input.

    With conditioning "in_context", N counts the tokens for time and label as well.

    >>> model = DiT(nn.Linear(4, 64), outputs=4, positions=sincos_grid(4, 4, 64), depth=3)
    >>> maps = attention_maps(model, torch.rand(2, 16, 4), torch.tensor([0.1, 0.9]))
    >>> len(maps), maps[0].shape
    (3, torch.Size([2, 4, 16, 16]))
    """
    maps: list[Tensor] = []

    def keep(layer: Attention, args: tuple, kwargs: dict, _: Tensor) -> None:
        maps.append(attention(*layer.project_heads(*args, **kwargs))[1])

    layers = [block.attention for block in model.modules() if isinstance(block, DiTBlock)]
    hooks = [layer.register_forward_hook(keep, with_kwargs=True) for layer in layers]
    try:
        model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return maps


# ---------------------------------------------------------------- what is checked


def _check_pictures(x: Tensor, size: int) -> None:
    if x.ndim != 4 or size < 1 or x.shape[2] % size or x.shape[3] % size:
        raise ValueError(f"Patches of {size} × {size} do not divide pictures of shape {tuple(x.shape)}.")


def _check_patches(tokens: Tensor, size: int, grid: tuple[int, int]) -> None:
    if size < 1 or tokens.ndim != 3 or tokens.shape[1] != math.prod(grid) or tokens.shape[2] % size**2:
        raise ValueError(
            f"A grid of {grid} patches of {size} × {size} needs tokens (batch, {math.prod(grid)}, channels · "
            f"{size**2}); they are {tuple(tokens.shape)}."
        )


def _check_frequencies(dim: int) -> None:
    if dim < 2 or dim % 2:
        raise ValueError(f"Each frequency takes a cosine and a sine, so dim must be even; it is {dim}.")


def _check_grid(dim: int) -> None:
    if dim % 4:
        raise ValueError(f"Positions on a grid need a dim divisible by 4; it is {dim}.")


def _check_conditioning(conditioning: str) -> None:
    if conditioning not in ("adaln", "cross", "in_context"):
        raise ValueError(f'conditioning must be "adaln", "cross" or "in_context"; it is {conditioning!r}.')


def _check_clip_block(frames: int, along: str) -> None:
    if along not in ("space", "time") or frames < 1:
        raise ValueError(f'along must be "space" or "time" and frames at least 1; they are {along!r} and {frames}.')


def _check_frames(x: Tensor, frames: int) -> None:
    if x.shape[1] % frames:
        raise ValueError(f"{x.shape[1]} tokens do not make {frames} frames of equal size.")


def _check_sizes(positions: Tensor, outputs: int, depth: int, num_classes: int, label_dropout: float) -> None:
    if positions.ndim != 2 or depth < 0 or num_classes < 0 or outputs < 1:
        raise ValueError(
            f"positions must be (tokens, width), depth and num_classes at least 0 and outputs at least 1; they are "
            f"{tuple(positions.shape)}, {depth}, {num_classes} and {outputs}."
        )
    if not 0 <= label_dropout < 1:
        raise ValueError(f"label_dropout is a share from 0 to below 1; it is {label_dropout}.")


def _check_input(model: DiT, x: Tensor, t: Tensor, labels: Tensor | None) -> None:
    """Steps aside while a model is compiled or exported: a graph cannot hold what depends on values."""
    if torch.compiler.is_compiling():
        return
    tokens = len(model.positions)
    if x.ndim < 2 or x.shape[1] != tokens or t.shape[:1] != x.shape[:1] or t.shape[1:] not in ((), (tokens,)):
        raise ValueError(
            f"This DiT takes x of shape (batch, {tokens}, …) and t of shape (batch,) or (batch, {tokens}); "
            f"they are {tuple(x.shape)} and {tuple(t.shape)}."
        )
    if t.ndim == 2 and model.conditioning != "adaln":
        raise ValueError('Only conditioning="adaln" gives every token a time of its own.')
    if x.is_floating_point() and x.dtype != model.positions.dtype:
        raise ValueError(f"The model computes in {model.positions.dtype}; x is {x.dtype}.")
    devices = {part.device for part in (x, t, labels, model.positions) if part is not None}
    if len(devices) > 1:
        raise ValueError(f"Model, x, t and labels must be on one device; they are on {sorted(map(str, devices))}.")
    if not ((t >= 0) & (t <= 1)).all():
        raise ValueError(f"Times must lie in [0, 1]; got {t.min().item():g} to {t.max().item():g}.")
    _check_labels(model.label, labels, len(x))


def _check_labels(embedding: LabelEmbedding | None, labels: Tensor | None, batch: int) -> None:
    if labels is None:
        if embedding is not None and not embedding.dropout:
            raise ValueError(
                "This DiT was made with label_dropout=0, so it knows nothing to do without a label: give labels. "
                "Guidance needs a model that was trained with label dropout."
            )
    elif embedding is None:
        raise ValueError("This DiT was made with num_classes=0 and takes no labels.")
    elif labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be whole numbers; they are {labels.dtype}.")
    elif batch and (labels.shape != (batch,) or labels.min() < 0 or labels.max() >= embedding.num_classes):
        raise ValueError(
            f"labels must be one number in 0 … {embedding.num_classes - 1} for each row of x; they are "
            f"{tuple(labels.shape)} and span {labels.min().item()} … {labels.max().item()}."
        )
