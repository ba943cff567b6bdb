"""Scores: how many codes are in use, and how close a reconstruction is."""

import torch
from torch import Tensor

__all__ = ["perplexity", "psnr", "usage"]


def perplexity(counts: Tensor) -> Tensor:
    """How many codes are in use, effectively: e to the entropy of the code frequencies.

    Args:
        counts: how often each code was used, (K,).

    Returns:
        A scalar between 1 (one code does all the work) and K (all codes are used alike). It depends on how
        many tokens were counted: compare only figures taken over the same number.

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
    if x.shape != y.shape:
        raise ValueError(f"psnr compares pictures of one shape; x is {tuple(x.shape)}, y {tuple(y.shape)}.")
    return (-10 * (x - y).square().mean().log10()).item()
