"""Scores: how many codes are in use, how close a reconstruction is, how alike two sets are."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "bits_per_token",
    "edit_distance",
    "frechet_distance",
    "perplexity",
    "psnr",
    "recall_at",
    "sliced_wasserstein",
    "usage",
    "word_error_rate",
]


def perplexity(counts: Tensor) -> Tensor:
    """How many codes are in use, effectively: e to the entropy of the code frequencies.

    Args:
        counts: how often each code was used, (K,).

    Returns:
        A scalar between 1 (one code does all the work) and K (all codes are used alike). Its logarithm to base 2 is
        the entropy, the least number of bits that an id can cost on average. It depends on how many tokens were
        counted: compare only figures taken over the same number.

    Source: arXiv 1711.00937, section 4; the entropy is Shannon's.

    >>> perplexity(torch.tensor([5.0, 5.0, 0.0, 0.0])).item()
    2.0
    """
    p = counts / counts.sum()
    return torch.special.entr(p).sum().exp()  # (1.10)


def usage(ids: Tensor, num_codes: int) -> float:
    """The share of the codes that occur in `ids` at least once, from 0 to 1.

    >>> usage(torch.tensor([[0, 1], [1, 1]]), num_codes=4)
    0.5
    """
    return ids.unique().numel() / num_codes


def psnr(x: Tensor, y: Tensor) -> float:
    """Peak signal-to-noise ratio of two pictures (or batches) with values in [0, 1], in decibels.

    Ten decibels more mean a tenth of the mean squared error. Identical pictures give infinity.

    >>> round(psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1)), 3)
    20.0
    """
    _check_same_shape(x, y)
    return (-10 * (x - y).square().mean().log10()).item()


def sliced_wasserstein(x: Tensor, y: Tensor, generator: torch.Generator, projections: int = 100) -> float:
    """How far apart two sets of points are: the root mean square gap when both are sorted along a random line.

    Args:
        x, y: as many points each, (N, D).
        generator: a CPU generator, for the lines.
        projections: how many lines.

    Source: arXiv 1902.00434, eq. 6, of order 2.

    >>> x = torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
    >>> round(sliced_wasserstein(x, x + 3, torch.Generator()), 4)
    3.0
    """
    _check_points(x, y)
    lines = torch.randn(x.shape[1], projections, generator=generator)
    lines = (lines / lines.norm(dim=0)).to(x)  # (D, projections), each of length 1
    gaps = (x @ lines).sort(dim=0).values - (y @ lines).sort(dim=0).values  # (N, projections)
    return gaps.square().mean().sqrt().item()  # (5.10)


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """How far apart two sets of features are when each is taken for a Gaussian: 0 for the same mean and covariance.

    It is higher for fewer rows. Compare only figures of equal sizes, and beside the figure of real against real.

    Args:
        x, y: features, (N, D) and (M, D): of pictures, their pixels or what a classifier makes of them.

    Source: arXiv 1706.08500, eq. 6.

    >>> x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> round(frechet_distance(x, x + 2), 3)
    12.0
    """
    _check_features(x, y)
    x, y = x.double().cpu(), y.double().cpu()
    cov_x, cov_y = x.T.cov().reshape(len(x.T), -1), y.T.cov().reshape(len(y.T), -1)  # (D, D)
    shared = torch.linalg.eigvals(cov_x @ cov_y).real.clamp(min=0).sqrt().sum()  # the trace of the root
    gap = (x.mean(0) - y.mean(0)).square().sum()
    return (gap + cov_x.trace() + cov_y.trace() - 2 * shared).item()  # (6.6)


def bits_per_token(nats: Tensor, tokens: float) -> float:
    """The mean of -log p of sequences, (B,), in nats, as bits for each of their `tokens` (a mean, where they differ).

    >>> round(bits_per_token(torch.tensor([8.0, 8.0]).log(), tokens=3), 6)
    1.0
    """
    _check_tokens(tokens)
    return nats.double().mean().item() / (tokens * math.log(2))  # (8.8)


def recall_at(k: int, scores: Tensor) -> float:
    """The share of queries whose own candidate is among the k best.

    Args:
        scores: of each query with each candidate, (Q, Q); the own one stands on the diagonal. Of equal scores, the
            own one counts as the worst.

    >>> recall_at(1, torch.tensor([[0.9, 0.1], [0.8, 0.2]])), recall_at(2, torch.eye(2))
    (0.5, 1.0)
    """
    _check_scores(k, scores)
    better = (~(scores < scores.diagonal()[:, None])).sum(1) - 1  # (Q,) others that are not worse
    return (better < k).float().mean().item()  # (9.5)


def edit_distance(said: Sequence[str], heard: Sequence[str]) -> int:
    """How few words (or letters) must be inserted, left out or replaced to make one sequence the other.

    Source: Wagner and Fischer, Journal of the ACM 21(1), 1974.

    >>> edit_distance("small red circle".split(), "red large circle".split())
    2
    """
    row = list(range(len(heard) + 1))  # distances of nothing to the beginnings of `heard`
    for i, one in enumerate(said, 1):
        before, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (one != other)))  # (10.5)
    return row[-1]


def word_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Words to insert, leave out or replace, for each word that was said. It exceeds 1 if many are made up.

    Args:
        said, heard: as many sentences each, in the same order.

    >>> word_error_rate(["small red circle", "two"], ["small circle", "two"])
    0.25
    """
    _check_sentences(said, heard)
    pairs = [(one.split(), other.split()) for one, other in zip(said, heard, strict=True)]
    return sum(edit_distance(*pair) for pair in pairs) / sum(len(words) for words, _ in pairs)


def _check_same_shape(x: Tensor, y: Tensor) -> None:
    if x.shape != y.shape:
        raise ValueError(f"psnr compares pictures of the same shape; x is {tuple(x.shape)}, y {tuple(y.shape)}.")


def _check_points(x: Tensor, y: Tensor) -> None:
    if x.shape != y.shape or x.ndim != 2:
        raise ValueError(
            "sliced_wasserstein needs two sets of equally many points (N, D); "
            f"got {tuple(x.shape)} and {tuple(y.shape)}."
        )


def _check_features(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(
            "frechet_distance compares features (N, D) and (M, D), at least two rows of each; "
            f"got {tuple(x.shape)} and {tuple(y.shape)}."
        )


def _check_tokens(tokens: float) -> None:
    if not tokens > 0:
        raise ValueError(f"tokens must be above 0; it is {tokens}.")


def _check_scores(k: int, scores: Tensor) -> None:
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not 1 <= k <= len(scores):
        raise ValueError(f"recall_at takes scores (Q, Q) and k from 1 to Q; got {tuple(scores.shape)} and {k}.")


def _check_sentences(said: Sequence[str], heard: Sequence[str]) -> None:
    if len(said) != len(heard) or not any(sentence.split() for sentence in said):
        raise ValueError(
            "word_error_rate needs as many sentences heard as said, and at least one word in those said; "
            f"got {len(said)} said and {len(heard)} heard."
        )
