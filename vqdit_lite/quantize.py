"""Vector quantization: vectors to whole numbers and back, with gradients that pass through.

Numbers in brackets, such as (1.6), are those of the equations in the notebooks.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqdit_lite.metrics import perplexity

__all__ = [
    "FiniteScalarQuantizer",
    "LearnedCodebook",
    "Quantized",
    "VectorQuantizer",
    "ema_update",
    "kmeans",
    "nearest_code",
    "revive",
    "rotation",
    "smoothed_means",
    "straight_through",
]


class Quantized(NamedTuple):
    """What every quantizer returns for a batch of vectors (B, N, D)."""

    codes: Tensor  # (B, N, D) the chosen codes; gradients pass through them to the input
    ids: Tensor  # (B, N) which code was chosen; (B, N, stages) for a residual quantizer
    loss: Tensor  # () what to add to the reconstruction loss
    perplexity: Tensor  # () how many codes this batch uses, effectively


def nearest_code(z: Tensor, codebook: Tensor, max_elements: int = 1 << 22) -> Tensor:
    """The index of the code nearest to each vector. Ties go to the lowest index.

    Args:
        z: vectors, (..., D).
        codebook: one code a row, (K, D).
        max_elements: the largest table of distances held at once; more vectors go in several parts.

    Returns:
        ids, (...), whole numbers from 0 to K - 1. No gradient passes through them.

    Source: arXiv 1711.00937, eq. 1.

    >>> nearest_code(torch.tensor([[0.9, 0.1]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]])).tolist()
    [1]
    """
    _check_codebook(z, codebook)
    with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
        flat, codebook = z.reshape(-1, z.shape[-1]).float(), codebook.float()  # (M, D), (K, D)
        half_norms = codebook.square().sum(1) / 2  # (K,)
        parts = flat.split(max(1, max_elements // len(codebook)))
        # The bracket of (1.2) with its sign flipped, so that the smallest wins.
        ids = [torch.addmm(half_norms, part, codebook.T, alpha=-1).min(1).indices for part in parts]
        return torch.cat(ids).reshape(z.shape[:-1])


def kmeans(points: Tensor, num_codes: int, generator: torch.Generator, iterations: int = 10) -> Tensor:
    """A codebook fitted to points by Lloyd's algorithm: assign to the nearest code, move codes to the mean.

    Args:
        points: (M, D), with M at least `num_codes`.
        num_codes: K.
        generator: a CPU generator; it draws the points from which the codes start.
        iterations: how often to assign and move.

    Returns:
        The codebook, (K, D). A code that no point chooses stays where it is.

    Raises:
        ValueError: fewer points than codes.

    >>> points = torch.tensor([[0.0], [0.2], [5.0], [5.2]])
    >>> kmeans(points, 2, torch.Generator().manual_seed(0)).sort(0).values.flatten().tolist()
    [0.10000000149011612, 5.099999904632568]
    """
    _check_enough_points(points, num_codes)
    start = torch.randperm(len(points), generator=generator)[:num_codes]
    codebook = points[start.to(points.device)].clone()
    for _ in range(iterations):
        ids = nearest_code(points, codebook)
        counts = torch.bincount(ids, minlength=num_codes)[:, None]  # (K, 1), n_k of (1.3)
        sums = torch.zeros_like(codebook).index_add_(0, ids, points)  # (K, D)
        codebook = torch.where(counts > 0, sums / counts.clamp(min=1), codebook)
    return codebook


def straight_through(z: Tensor, codes: Tensor) -> Tensor:
    """The codes, with the gradient of z: forward as if quantized, backward as if not.

    Args:
        z: what was quantized, (..., D).
        codes: the chosen codes, shaped like z.

    Source: arXiv 1711.00937, section 3.2.

    >>> z = torch.tensor([0.3, 0.8], requires_grad=True)
    >>> straight_through(z, z.round()).sum().backward()
    >>> z.grad.tolist()
    [1.0, 1.0]
    """
    return z + (codes - z).detach()  # (1.6)


def rotation(z: Tensor, codes: Tensor) -> Tensor:
    """The codes, written as z turned and stretched, so that gradients are turned and stretched as well.

    Args:
        z: what was quantized, (..., D).
        codes: the chosen codes, shaped like z.

    Returns:
        The codes. Only z carries a gradient; turning and stretching count as constants. Where z and its code
        point in exactly opposite directions, or one of them is zero, no single turn joins them: there the
        straight-through gradient is used.

    Source: arXiv 2410.06424, section 4.2.

    >>> z = torch.tensor([[0.0, 2.0]], requires_grad=True)
    >>> rotation(z, torch.tensor([[3.0, 0.0]]))[0, 0].backward()   # a quarter turn, 1.5 times as long
    >>> [round(g, 3) for g in z.grad[0].tolist()]
    [0.0, 1.5]
    """
    with torch.no_grad():
        z_hat, q_hat = F.normalize(z, dim=-1), F.normalize(codes, dim=-1)
        middle = z_hat + q_hat
        r = F.normalize(middle, dim=-1)
        stretch = codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        turns = (middle.norm(dim=-1, keepdim=True) > 1e-2) & (stretch > 0) & (z_hat != 0).any(-1, keepdim=True)

    def dot(a, b):
        return (a * b).sum(-1, keepdim=True)

    # (2.11)
    turned = stretch * (z - 2 * r * dot(r, z) + 2 * q_hat * dot(z_hat, z))
    return torch.where(turns, turned, straight_through(z, codes))


def ema_update(counts: Tensor, sums: Tensor, z: Tensor, ids: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """Running counts and sums of the vectors of each code, after one more batch.

    Args:
        counts: how many vectors chose each code lately, (K,).
        sums: the sum of these vectors, (K, D).
        z: the vectors of a batch, (M, D).
        ids: which code each of them chose, (M,).
        decay: how much of the old counts and sums is kept, from 0 to 1.

    Returns:
        The new counts and sums.

    Source: arXiv 1711.00937, appendix A.1.

    >>> ema_update(torch.ones(2), torch.zeros(2, 1), torch.tensor([[3.0], [5.0]]), torch.tensor([0, 0]), decay=0.5)
    (tensor([1.5000, 0.5000]), tensor([[4.],
            [0.]]))
    """
    batch_counts = torch.bincount(ids, minlength=len(counts)).float()  # (K,), n_k of (1.8)
    batch_sums = torch.zeros_like(sums).index_add_(0, ids, z)  # (K, D)
    return counts.lerp(batch_counts, 1 - decay), sums.lerp(batch_sums, 1 - decay)  # (1.8)


def smoothed_means(counts: Tensor, sums: Tensor) -> Tensor:
    """The codes (K, D) that running counts (K,) and sums (K, D) stand for: their quotient, also for a count of 0.

    Source: the authors' code of arXiv 1711.00937.

    >>> smoothed_means(torch.tensor([2.0, 0.0]), torch.tensor([[6.0], [0.0]])).round(decimals=3).flatten().tolist()
    [3.0, 0.0]
    """
    total, eps = counts.sum(), 1e-5
    smoothed = (counts + eps) / (total + len(counts) * eps) * total  # (1.9), else 0 / 0
    return sums / smoothed[:, None]


def revive(codebook: Tensor, counts: Tensor, sums: Tensor, z: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Restart dead codes at random vectors of a batch, each given a fair share of the count.

    Args:
        codebook, counts, sums: the codes (K, D), and the running counts (K,) and sums (K, D) of their vectors.
        z: the vectors of the batch, (M, D). Which of them are taken is drawn from torch's CPU generator.
        share: a code that is used less than this share of its fair part, M / K, is dead.

    Returns:
        The new codebook, counts and sums.

    Source: arXiv 2107.03312, there below a fixed count.

    >>> codebook, counts = torch.tensor([[0.0], [9.0]]), torch.tensor([4.0, 0.1])
    >>> revive(codebook, counts, codebook * counts[:, None], torch.ones(4, 1), share=0.1)
    (tensor([[0.],
            [1.]]), tensor([4., 2.]), tensor([[0.],
            [2.]]))
    """
    fair = len(z) / len(codebook)
    dead = counts < share * fair  # (K,)
    fresh = z[torch.randint(len(z), (len(codebook),)).to(z.device)]  # (K, D)
    codebook = torch.where(dead[:, None], fresh, codebook)
    sums = torch.where(dead[:, None], fresh * fair, sums)
    return codebook, counts.masked_fill(dead, fair), sums


class LearnedCodebook(nn.Module):
    """A table of codes that follows the vectors which choose them: what a `VectorQuantizer` keeps.

    The arguments, and where they come from, are those of `VectorQuantizer`.

    >>> table = LearnedCodebook(num_codes=2, dim=1, learning="ema", decay=0.5, revive_below=0, cosine=False)
    >>> table.place(torch.tensor([[0.0], [9.0]]), torch.ones(2), torch.tensor([[0.0], [9.0]]))
    >>> table.update(torch.tensor([[1.0]]), torch.tensor([0]))  # one vector, 1, has chosen code 0
    >>> table.codebook.round(decimals=3).flatten().tolist()
    [0.5, 9.0]
    """

    codebook: Tensor  # (K, D)
    sums: Tensor  # (K, D) running sum of the vectors of each code
    counts: Tensor  # (K,) running number of them

    def __init__(self, num_codes: int, dim: int, learning: str, decay: float, revive_below: float, cosine: bool):
        _check_settings(num_codes, dim, learning)
        super().__init__()
        self.num_codes, self.dim, self.learning = num_codes, dim, learning
        self.decay, self.revive_below, self.cosine = decay, revive_below, cosine
        codebook = self.project(torch.randn(num_codes, dim))
        if learning == "gradient":
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("sums", codebook.clone(), persistent=learning == "ema")  # gradients do without them
        self.register_buffer("counts", torch.ones(num_codes))  # not 0: they divide

    def project(self, x: Tensor) -> Tensor:
        """Vectors or codes (..., D) as they are compared: with `cosine` scaled to length 1."""
        return F.normalize(x, dim=-1) if self.cosine else x

    @torch.no_grad()
    def place(self, codebook: Tensor, counts: Tensor, sums: Tensor) -> None:
        """Set the codes (K, D), and with them the running counts (K,) and sums (K, D) of their vectors."""
        self.codebook.data.copy_(codebook)
        self.counts.copy_(counts)
        self.sums.copy_(sums)

    @torch.no_grad()
    def update(self, z: Tensor, ids: Tensor) -> None:
        """Move each code towards the mean of the vectors z (M, D) with its id, ids (M,); then revive the dead ones."""
        counts, sums = ema_update(self.counts, self.sums, z, ids, self.decay)
        codebook = self.project(smoothed_means(counts, sums)) if self.learning == "ema" else self.codebook
        if self.revive_below > 0:
            codebook, counts, sums = revive(codebook, counts, sums, z, self.revive_below)
            codebook = self.project(codebook)
        self.place(codebook, counts, sums)

    def lookup(self, ids: Tensor) -> Tensor:
        """The codes (..., D) of ids (...)."""
        _check_ids(ids, self.num_codes, self.counts.device)
        return self.project(F.embedding(ids, self.codebook))


class VectorQuantizer(LearnedCodebook):
    """A learned codebook: each vector is replaced by its nearest code.

    Args:
        num_codes: K, how many codes.
        dim: D, the dimension of a code.
        learning: "ema" moves each code to the running mean of the vectors that choose it;
            "gradient" learns the codes by the codebook loss, the first term of (1.7).
        beta: weight of the commitment loss, the second term, which keeps the encoder near its codes.
        decay: how slowly the running means move ("ema"), and how long a code may rest before it is dead.
        revive_below: a code used less than this share of its fair part (tokens / K) is dead and restarts at a
            random vector of the batch. 0 never revives. The draw comes from torch's CPU generator.
        cosine: compare directions only: vectors and codes are scaled to length 1.
        estimator: how gradients pass: `straight_through` or `rotation`.

    Sources: arXiv 1711.00937 (loss eq. 3, running means in appendix A.1; the smoothing is from the authors' code),
    arXiv 2107.03312 (revival, there below a fixed count), arXiv 2110.04627 (cosine codes).

    >>> quantizer = VectorQuantizer(num_codes=8, dim=4)
    >>> quantized = quantizer(torch.randn(2, 5, 4))
    >>> quantized.codes.shape, quantized.ids.shape
    (torch.Size([2, 5, 4]), torch.Size([2, 5]))
    >>> torch.equal(quantizer.eval().lookup(torch.tensor([[3]]))[0, 0], quantizer.codebook[3])
    True
    """

    def __init__(
        self,
        num_codes: int,
        dim: int,
        *,
        learning: str = "ema",
        beta: float = 0.25,
        decay: float = 0.99,
        revive_below: float = 0.1,
        cosine: bool = False,
        estimator: Callable[[Tensor, Tensor], Tensor] = straight_through,
    ):
        super().__init__(num_codes, dim, learning, decay, revive_below, cosine)
        self.beta, self.estimator = beta, estimator

    def forward(self, z: Tensor) -> Quantized:
        """Quantize vectors (B, N, D); in training mode with gradients on, also move the codebook."""
        _check_vectors(z, self.dim, self.counts.device)
        z, codebook = self.project(z.float()), self.project(self.codebook.clone())  # a copy, as update overwrites it
        ids = nearest_code(z, codebook)  # (B, N)
        codes = F.embedding(ids, codebook)  # (B, N, D)
        loss = self.beta * F.mse_loss(z, codes.detach())  # (1.7), commitment loss
        if self.learning == "gradient":
            loss = loss + F.mse_loss(codes, z.detach())  # (1.7), codebook loss
        if self.training and torch.is_grad_enabled():
            self.update(z.detach().flatten(0, -2), ids.flatten())
        counts = torch.bincount(ids.flatten(), minlength=self.num_codes).float()  # (K,)
        return Quantized(self.estimator(z, codes.detach()), ids, loss, perplexity(counts))

    @torch.no_grad()
    def initialise(self, z: Tensor, generator: torch.Generator) -> None:
        """Set the codebook by k-means on vectors (..., D), at least K of them, and the running means with it."""
        _check_vectors(z, self.dim, self.counts.device)
        z = self.project(z.detach().float().reshape(-1, self.dim))  # (M, D)
        codebook = self.project(kmeans(z, self.num_codes, generator))  # (K, D)
        counts = torch.bincount(nearest_code(z, codebook), minlength=self.num_codes).clamp(min=1)  # (K,)
        self.place(codebook, counts, codebook * counts[:, None])


class FiniteScalarQuantizer(nn.Module):
    """No codebook to learn: each feature is squashed and rounded to one of a few levels.

    Args:
        levels: how many levels each feature has; D = len(levels), K = their product. Each at
            least 3; the source advises 5 or more.

    Codes lie in [-1, 1]. The loss is zero: there is no codebook that could lag behind.

    Source: arXiv 2309.15505, section 3 and appendix A.1.

    >>> FiniteScalarQuantizer([8, 5, 5, 5]).num_codes
    1000
    """

    levels: Tensor  # (D,)
    centre: Tensor  # (D,) the level of 0
    steps: Tensor  # (D,) what one level adds to the id

    def __init__(self, levels: Sequence[int]):
        _check_levels(levels)
        super().__init__()
        self.dim, self.num_codes = len(levels), math.prod(levels)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("centre", self.levels // 2, persistent=False)
        self.register_buffer("steps", self.levels.cumprod(0) // self.levels, persistent=False)

    def forward(self, z: Tensor) -> Quantized:
        """Quantize vectors (B, N, D)."""
        _check_vectors(z, self.dim, self.levels.device)
        # An even number of levels has no middle one: half a step of offset makes room for one more below zero.
        offset = (self.levels % 2 == 0) / 2
        reach = (self.levels - 1) / 2
        bounded = (z.float() + (offset / reach).atanh()).tanh() * reach - offset
        rounded = straight_through(bounded, bounded.round())
        ids = ((rounded.detach().long() + self.centre) * self.steps).sum(-1)  # (B, N), (2.12)
        counts = torch.bincount(ids.flatten(), minlength=self.num_codes).float()
        return Quantized(rounded / self.centre, ids, z.new_zeros(()), perplexity(counts))

    def lookup(self, ids: Tensor) -> Tensor:
        """The codes (..., D) of ids (...)."""
        _check_ids(ids, self.num_codes, self.levels.device)
        return (ids[..., None] // self.steps % self.levels - self.centre) / self.centre


def _check_codebook(z: Tensor, codebook: Tensor) -> None:
    if codebook.ndim != 2 or len(codebook) == 0 or z.shape[-1:] != codebook.shape[-1:]:
        raise ValueError(
            "nearest_code needs vectors (..., D) and codes (K, D), at least one of them; "
            f"z is {tuple(z.shape)} and the codebook {tuple(codebook.shape)}."
        )


def _check_enough_points(points: Tensor, num_codes: int) -> None:
    if not 1 <= num_codes <= len(points):
        raise ValueError(f"num_codes must lie in 1 … {len(points)}, the number of points; it is {num_codes}.")


def _check_settings(num_codes: int, dim: int, learning: str) -> None:
    if num_codes < 1 or dim < 1:
        raise ValueError(f"num_codes and dim must be at least 1; they are {num_codes} and {dim}.")
    if learning not in ("ema", "gradient"):
        raise ValueError(f'learning must be "ema" or "gradient"; it is {learning!r}.')


def _check_vectors(z: Tensor, dim: int, device: torch.device) -> None:
    if z.ndim < 2 or z.shape[-1] != dim or z.numel() == 0 or not z.is_floating_point():
        raise ValueError(
            f"A quantizer of dimension {dim} needs floating-point vectors of shape (batch, tokens, {dim}), at "
            f"least one of them; z is {z.dtype} of shape {tuple(z.shape)}."
        )
    if z.device != device:
        raise ValueError(f"The quantizer is on {device}, but z is on {z.device}: move one of them.")
    if not z.sum(dtype=torch.float32).isfinite():
        raise ValueError("z holds NaN or infinity: the network before the quantizer has diverged.")


def _check_ids(ids: Tensor, num_codes: int, device: torch.device) -> None:
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise ValueError(f"ids must be whole numbers (torch.int64); they are {ids.dtype}.")
    if ids.device != device:
        raise ValueError(f"The quantizer is on {device}, but ids are on {ids.device}: move one of them.")
    if ids.numel() and not (ids.min() >= 0 and ids.max() < num_codes):
        raise ValueError(
            f"ids must lie in 0 … {num_codes - 1} for {num_codes} codes; they span "
            f"{ids.min().item()} … {ids.max().item()}."
        )


def _check_levels(levels: Sequence[int]) -> None:
    if not levels or min(levels) < 3:
        raise ValueError(f"levels must be whole numbers, one a feature, each at least 3; they are {levels}.")
