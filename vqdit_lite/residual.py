"""Residual quantization: several quantizers in a row, each for what the ones before it left over."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vqdit_lite.quantize import Quantized, nearest_code, straight_through

__all__ = ["ResidualQuantizer"]


class ResidualQuantizer(nn.Module):
    """Several quantizers in a row, each for what the ones before it left over.

    Args:
        stages: quantizers of one dimension D.
        estimator: how gradients pass the whole row: `straight_through` or `rotation`.

    Source: arXiv 2107.03312, algorithm 1.

    >>> from vqdit_lite.quantize import VectorQuantizer
    >>> quantizer = ResidualQuantizer([VectorQuantizer(16, 4) for _ in range(3)])
    >>> quantizer(torch.randn(2, 5, 4)).ids.shape
    torch.Size([2, 5, 3])
    """

    stages: Any  # an nn.ModuleList of quantizers

    def __init__(self, stages: Sequence[nn.Module], estimator: Callable[[Tensor, Tensor], Tensor] = straight_through):
        _check_stages(stages)
        super().__init__()
        self.stages, self.estimator = nn.ModuleList(stages), estimator
        self.dim, self.num_codes = stages[0].dim, stages[0].num_codes

    def forward(self, z: Tensor) -> Quantized:
        """Quantize vectors (B, N, D) to ids (B, N, stages). The perplexity is the mean over the stages."""
        rest, results = z, []
        for stage in self.stages:
            results.append(stage(rest))
            rest = rest.float() - results[-1].codes.detach()  # (2.13); else z, and its gradient, would cancel
        codes, ids, losses, perplexities = zip(*results, strict=True)
        total = torch.stack(codes).sum(0).detach()  # (B, N, D)
        loss, used = torch.stack(losses).sum(), torch.stack(perplexities).mean()
        return Quantized(self.estimator(z.float(), total), torch.stack(ids, dim=-1), loss, used)

    @torch.no_grad()
    def initialise(self, z: Tensor, generator: torch.Generator) -> None:
        """Set every stage by k-means on what the stages before it leave of vectors (..., D)."""
        for stage in self.stages:
            stage.initialise(z, generator)
            z = z - stage.lookup(nearest_code(z, stage.codebook))

    def lookup(self, ids: Tensor) -> Tensor:
        """The codes (..., D) of ids (..., stages): the sum of what the stages look up."""
        _check_stage_ids(ids, len(self.stages))
        return sum(stage.lookup(ids[..., i]) for i, stage in enumerate(self.stages))


def _check_stages(stages: Sequence[nn.Module]) -> None:
    if not stages or len({stage.dim for stage in stages}) > 1:
        raise ValueError(
            "stages must be quantizers of one dimension, at least one; "
            f"their dimensions are {[stage.dim for stage in stages]}."
        )


def _check_stage_ids(ids: Tensor, stages: int) -> None:
    if ids.shape[-1] != stages:
        raise ValueError(f"ids must end in one number for each of {stages} stages; their shape is {tuple(ids.shape)}.")
