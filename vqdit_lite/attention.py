"""Attention: every token looks things up at others. Rotary positions tell it how far away they are."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Attention", "attention", "rotary_angles", "rotate"]


def rotary_angles(positions: Tensor, dim: int) -> Tensor:
    """Angles (N, dim/2) by which `rotate` turns the tokens at positions (N,).

    Source: arXiv 2104.09864, eq. 15.

    >>> rotary_angles(torch.arange(3.0), 4)[:, 0]
    tensor([0., 1., 2.])
    """
    _check_pairs(dim)
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


def _check_pairs(dim: int) -> None:
    if dim < 2 or dim % 2:
        raise ValueError(f"Rotary positions turn pairs of features, so dim must be even; it is {dim}.")
