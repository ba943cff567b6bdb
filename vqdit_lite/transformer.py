"""The diffusion transformer: a denoiser that lets every token look at every other."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "Attention",
    "DiT",
    "DiTBlock",
    "SpaceTimeBlock",
    "attention",
    "attention_maps",
    "patchify",
    "rotary_angles",
    "rotate",
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
    if x.ndim != 4 or size < 1 or x.shape[2] % size or x.shape[3] % size:
        raise ValueError(f"Patches of {size} × {size} do not divide pictures of shape {tuple(x.shape)}.")
    x = x.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, C, H/s, s, W/s, s)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, H/s, W/s, C, s, s) -> (B, N, C·s²)


def unpatchify(tokens: Tensor, size: int, grid: tuple[int, int]) -> Tensor:
    """Put patches (B, N, C · size²) together again: pictures (B, C, H, W). `grid` is (H/size, W/size).

    >>> x = torch.rand(2, 3, 8, 12)
    >>> unpatchify(patchify(x, 4), 4, (2, 3)).equal(x)
    True
    """
    if size < 1 or tokens.ndim != 3 or tokens.shape[1] != math.prod(grid) or tokens.shape[2] % size**2:
        raise ValueError(
            f"A grid of {grid} patches of {size} × {size} needs tokens (batch, {math.prod(grid)}, channels · "
            f"{size**2}); they are {tuple(tokens.shape)}."
        )
    x = tokens.unflatten(2, (-1, size, size)).unflatten(1, grid)  # (B, H/s, W/s, C, s, s)
    return x.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # (B, C, H/s, s, W/s, s) -> (B, C, H, W)


# ---------------------------------------------------------------- where a token stands, and when


def sincos(positions: Tensor, dim: int) -> Tensor:
    """Numbers (N,) as waves (N, dim): cosines, then sines, of dim/2 frequencies from 1 down to nearly 1 / 10,000.

    Source: arXiv 1706.03762, section 3.5.

    >>> sincos(torch.tensor([0.0]), 4)
    tensor([[1., 1., 0., 0.]])
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"Each frequency takes a cosine and a sine, so dim must be even; it is {dim}.")
    waves = torch.arange(dim // 2, device=positions.device)
    frequencies = torch.exp(-math.log(10_000) * waves * 2 / dim)  # (dim/2,)
    angles = positions[:, None] * frequencies  # (N, dim/2)
    return torch.cat([angles.cos(), angles.sin()], dim=1)  # (6.2)


def sincos_grid(height: int, width: int, dim: int) -> Tensor:
    """Fixed positions (height · width, dim) of a grid's cells, row by row: half says the column, half the row.

    Source: arXiv 2212.09748, as in arXiv 2111.06377.

    >>> sincos_grid(2, 3, 8).shape
    torch.Size([6, 8])
    """
    if dim % 4:
        raise ValueError(f"Positions on a grid need a dim that divides by 4; it is {dim}.")
    row, column = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.cat([sincos(column.flatten(), dim // 2), sincos(row.flatten(), dim // 2)], dim=1)


def rotary_angles(positions: Tensor, dim: int) -> Tensor:
    """Angles (N, dim/2) by which `rotate` turns the tokens at positions (N,).

    Source: arXiv 2104.09864, eq. 15.

    >>> rotary_angles(torch.arange(3.0), 4)[:, 0]
    tensor([0., 1., 2.])
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"Rotary positions turn pairs of features, so dim must be even; it is {dim}.")
    pairs = torch.arange(dim // 2, device=positions.device)
    return positions[:, None] * torch.exp(-math.log(10_000) * pairs * 2 / dim)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn each pair of features of x (…, N, dim), feature i with feature i + dim/2, by angles (N, dim/2).

    The product of a turned query and a turned key depends on the difference of their positions alone.

    >>> rotate(torch.tensor([[1.0, 0.0]]), torch.tensor([[math.pi / 2]])).round()
    tensor([[-0., 1.]])
    """
    one, other = x.chunk(2, dim=-1)  # (…, N, dim/2)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([one * cos - other * sin, one * sin + other * cos], dim=-1)  # (6.3)


# ---------------------------------------------------------------- attention


def attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention by hand: softmax(q kᵀ / √d) v, and the softmax itself.

    Args:
        q: queries, (…, N, d).
        k, v: keys (…, M, d) and values (…, M, d).

    Returns:
        The values each query looks up, (…, N, d), and how much it looks at each key, (…, N, M): rows sum to 1.

    Source: arXiv 1706.03762, eq. 1.

    >>> attention(torch.zeros(1, 2), torch.rand(3, 2), torch.eye(3, 2))[1]
    tensor([[0.3333, 0.3333, 0.3333]])
    """
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (…, N, d) × (…, d, M) -> (…, N, M)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights  # (…, N, M) × (…, M, d) -> (…, N, d), (6.1)


class Attention(nn.Module):
    """Attention with several heads, among tokens or from tokens to a context.

    Args:
        width: features of a token.
        heads: how many lookups run side by side, each on width/heads features.

    >>> Attention(width=32, heads=4)(torch.rand(2, 10, 32)).shape
    torch.Size([2, 10, 32])
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"The heads share the width evenly: {heads} do not divide {width}.")
        self.heads = heads
        self.project_in = nn.Linear(width, 3 * width)  # queries, keys and values at once
        self.project_out = nn.Linear(width, width)

    def project_heads(self, x: Tensor, context: Tensor | None = None, angles: Tensor | None = None) -> list[Tensor]:
        """Queries (B, heads, N, d), keys and values (B, heads, M, d) of tokens x (B, N, width)."""
        if context is None:
            parts = self.project_in(x).chunk(3, dim=-1)  # 3 × (B, N, width)
        else:
            width = x.shape[-1]
            weight, bias = self.project_in.weight, self.project_in.bias
            keys_values = F.linear(context, weight[width:], bias[width:])  # (B, M, 2 · width)
            parts = F.linear(x, weight[:width], bias[:width]), *keys_values.chunk(2, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)  # (B, heads, N or M, d)
        return [q, k, v] if angles is None else [rotate(q, angles), rotate(k, angles), v]

    def forward(self, x: Tensor, context: Tensor | None = None, angles: Tensor | None = None) -> Tensor:
        """Tokens x (B, N, width) look at one another, or at a context (B, M, width)."""
        q, k, v = self.project_heads(x, context, angles)
        looked_up = F.scaled_dot_product_attention(q, k, v)  # (B, heads, N, d), as `attention`, in less memory
        return self.project_out(looked_up.transpose(1, 2).flatten(2))  # (B, N, width)


# ---------------------------------------------------------------- the transformer


class DiTBlock(nn.Module):
    """Tokens look at each other, then each thinks for itself; a condition steers both.

    Args:
        width, heads: as in `Attention`.
        conditioning: "adaln" (adaLN-Zero: the condition scales, shifts and gates), "cross" (tokens also look at the
            condition) or "in_context" (the condition stands among the tokens, and the block knows nothing of it).

    Source: arXiv 2212.09748, section 3.2.
    """

    def __init__(self, width: int, heads: int, conditioning: str = "adaln"):
        super().__init__()
        if conditioning not in ("adaln", "cross", "in_context"):
            raise ValueError(f'conditioning must be "adaln", "cross" or "in_context"; it is {conditioning!r}.')
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
            x = torch.addcmul(x, gate, self.attention(_modulate(self.norm(x), shift, scale), angles=angles))  # (6.4)
            return torch.addcmul(x, gate_mlp, self.mlp(_modulate(self.norm(x), shift_mlp, scale_mlp)))
        x = x + self.attention(self.norm(x), angles=angles)
        if self.cross:
            x = x + self.cross(self.norm(x), condition)
        return x + self.mlp(self.norm(x))


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, x, 1 + scale)


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
        if along not in ("space", "time") or frames < 1:
            raise ValueError(f'along must be "space" or "time" and frames at least 1; they are {along!r} and {frames}.')
        self.block, self.frames, self.along = block, frames, along

    def forward(self, x: Tensor, condition: Tensor, angles: Tensor | None = None) -> Tensor:
        """Tokens x (B, F · S, width) and a condition (B, 1 or F · S, width), as in `DiTBlock`."""
        if x.shape[1] % self.frames:
            raise ValueError(f"{x.shape[1]} tokens do not make {self.frames} frames of equal size.")
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

    Source: arXiv 2212.09748. Weights start as published there: as zero where a modulation or the output is made.

    >>> model = DiT(nn.Linear(4, 64), outputs=4, positions=sincos_grid(4, 4, 64), num_classes=10)
    >>> x, t, labels = torch.rand(2, 16, 4), torch.tensor([0.1, 0.9]), torch.tensor([3, 7])
    >>> model(x, t, labels).shape, model(x, t).abs().max()
    (torch.Size([2, 16, 4]), tensor(0., grad_fn=<MaxBackward1>))
    """

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
        if positions.ndim != 2 or depth < 0 or num_classes < 0 or outputs < 1:
            raise ValueError(
                f"positions must be (tokens, width), depth and num_classes at least 0 and outputs at least 1; they are "
                f"{tuple(positions.shape)}, {depth}, {num_classes} and {outputs}."
            )
        if not 0 <= label_dropout < 1:
            raise ValueError(f"label_dropout is a share from 0 to below 1; it is {label_dropout}.")
        width = positions.shape[-1]
        self.num_classes, self.label_dropout, self.conditioning = num_classes, label_dropout, conditioning
        self.embedding = embedding
        self.register_buffer("positions", positions, persistent=False)
        extra = {"in_context": 1 + (num_classes > 0)}.get(conditioning, 0)  # tokens for time and label
        self.register_buffer("angles", None if angles is None else F.pad(angles, (0, 0, 0, extra)), persistent=False)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(num_classes + (label_dropout > 0), width) if num_classes else None
        self.blocks = nn.ModuleList([DiTBlock(width, heads, conditioning) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, outputs)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for table in (self.time[0], self.time[2], self.label):
            if table is not None:
                nn.init.normal_(table.weight, std=0.02)
        for zero in (self.head, self.modulation, *(block.modulation for block in self.blocks)):
            if zero is not None:
                nn.init.zeros_(zero.weight)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predictions (B, N, outputs).

        Args:
            x: corrupted tokens, (B, N, features) or ids (B, N).
            t: times in [0, 1], (B,), or (B, N) for tokens with times of their own ("adaln" only).
            labels: (B,); None hides them all.
        """
        if not torch.compiler.is_compiling():
            self._check(x, t, labels)
        tokens = self.embedding(x) + self.positions  # (B, N, width)
        t = t if t.ndim == 2 else t[:, None]  # (B, 1 or N)
        time = self.time(sincos(1000 * t.flatten(), 256).to(tokens.dtype)).unflatten(0, t.shape)  # (B, 1 or N, width)
        label = self._embed(labels, x.shape[0])  # len(x) would fix the batch of an exported model
        if self.conditioning == "adaln":
            context = time if label is None else time + label
        else:
            context = time if label is None else torch.cat([time, label], dim=1)  # (B, 1 or 2, width)
        if self.conditioning == "in_context":
            tokens = torch.cat([tokens, context], dim=1)  # (B, N + 1 or 2, width)
        for block in self.blocks:
            tokens = block(tokens, context, self.angles)
        summary = time if label is None else time + label
        shift, scale = self.modulation(F.silu(summary)).chunk(2, dim=-1)  # (B, 1 or N, width) each
        return self.head(_modulate(self.norm(tokens[:, : len(self.positions)]), shift, scale))

    def _embed(self, labels: Tensor | None, batch: int) -> Tensor | None:
        """Labels as one token each, (B, 1, width); in training some are hidden behind the row after the last label."""
        if self.label is None:
            return None
        if labels is None:
            labels = torch.full((batch,), self.num_classes, device=self.positions.device)
        elif self.training and self.label_dropout:
            hidden = (torch.rand(batch) < self.label_dropout).to(labels.device)  # drawn on the CPU
            labels = labels.masked_fill(hidden, self.num_classes)
        return self.label(labels)[:, None]

    def _check(self, x: Tensor, t: Tensor, labels: Tensor | None) -> None:
        tokens = len(self.positions)
        if x.ndim < 2 or x.shape[1] != tokens or t.shape[:1] != x.shape[:1] or t.shape[1:] not in ((), (tokens,)):
            raise ValueError(
                f"This DiT takes x of shape (batch, {tokens}, …) and t of shape (batch,) or (batch, {tokens}); "
                f"they are {tuple(x.shape)} and {tuple(t.shape)}."
            )
        if t.ndim == 2 and self.conditioning != "adaln":
            raise ValueError('Only conditioning="adaln" gives every token a time of its own.')
        if x.is_floating_point() and x.dtype != self.positions.dtype:
            raise ValueError(f"The model computes in {self.positions.dtype}; x is {x.dtype}.")
        devices = {part.device for part in (x, t, labels, self.positions) if part is not None}
        if len(devices) > 1:
            raise ValueError(f"Model, x, t and labels must be on one device; they are on {sorted(map(str, devices))}.")
        if not ((t >= 0) & (t <= 1)).all():
            raise ValueError(f"Times must lie in [0, 1]; {t.min().item():g} to {t.max().item():g} came.")
        if labels is None:
            if self.num_classes and not self.label_dropout:
                raise ValueError(
                    "This DiT was made with label_dropout=0, so it knows nothing to do without a label: give labels. "
                    "Guidance needs a model that was trained with label dropout."
                )
        elif not self.num_classes:
            raise ValueError("This DiT was made with num_classes=0 and takes no labels.")
        elif labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(f"labels must be whole numbers; they are {labels.dtype}.")
        elif len(x) and (labels.shape != x.shape[:1] or labels.min() < 0 or labels.max() >= self.num_classes):
            raise ValueError(
                f"labels must be one number in 0 … {self.num_classes - 1} for each row of x; they are "
                f"{tuple(labels.shape)} and span {labels.min().item()} … {labels.max().item()}."
            )


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
