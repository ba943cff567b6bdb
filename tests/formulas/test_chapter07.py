"""Chapter 07: each numbered equation, checked numerically."""

import math

import torch

from vqdit_lite.autoencoder import VQVAE, LatentSpace
from vqdit_lite.quantize import VectorQuantizer


def test_equation_7_1_gives_mean_0_and_variance_1_over_the_codes_as_they_are_used():
    torch.manual_seed(0)
    model = VQVAE((1, 16, 16), VectorQuantizer(8, 4, revive_below=0), width=8)
    x = torch.rand(64, 1, 16, 16)
    ids = model.eval().encode(x)
    model.quantizer.counts.copy_(torch.bincount(ids.flatten(), minlength=8))
    tokens = LatentSpace(model).encode(x)  # (64, 4, 16): each token holds 4 features of 2 × 2 codes
    features = tokens.unflatten(2, (4, 4)).transpose(2, 3).flatten(0, 2)  # (codes, 4)
    used = model.quantizer.codebook[ids.unique()]
    varied = used.std(0, correction=0) > 0
    torch.testing.assert_close(features.mean(0)[varied], torch.zeros(int(varied.sum())), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std(0, correction=0)[varied], torch.ones(int(varied.sum())), atol=1e-3, rtol=0)


def test_equation_7_2_is_the_spread_of_a_share_over_many_draws():
    for p, n in ((0.5, 100), (0.97, 1000)):
        draws = torch.rand(4000, n, generator=torch.Generator().manual_seed(0)) < p
        spread = draws.float().mean(1).std().item()
        assert math.isclose(spread, math.sqrt(p * (1 - p) / n), rel_tol=0.05)
