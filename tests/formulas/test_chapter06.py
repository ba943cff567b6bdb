"""Chapter 06: each numbered equation, checked numerically."""

import math

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vqdit_lite.attention import attention, rotary_angles, rotate
from vqdit_lite.metrics import frechet_distance
from vqdit_lite.transformer import DiT, DiTBlock, sincos, sincos_grid


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equation_6_1_is_a_sum_over_keys_by_loops():
    q, k, v = randn(3, 4), randn(5, 4, seed=1), randn(5, 2, seed=2)
    for i in range(3):
        scores = [math.exp(sum(q[i, c] * k[j, c] for c in range(4)) / math.sqrt(4)) for j in range(5)]
        looked_up = sum(scores[j] * v[j] for j in range(5)) / sum(scores)
        torch.testing.assert_close(attention(q, k, v)[0][i], looked_up)


def test_equation_6_2_is_a_list_of_cosines_and_sines():
    ours = sincos(torch.tensor([0.0, 3.0, 17.0], dtype=torch.float64), 6)
    for row, p in zip(ours, (0, 3, 17), strict=True):
        frequencies = [10_000 ** (-2 * i / 6) for i in range(3)]
        expected = [math.cos(f * p) for f in frequencies] + [math.sin(f * p) for f in frequencies]
        torch.testing.assert_close(row, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-5)


def test_equation_6_3_depends_on_the_difference_of_positions():
    q, k = randn(1, 8), randn(1, 8, seed=1)

    def turned(x, p):
        return rotate(x, rotary_angles(torch.tensor([float(p)], dtype=torch.float64), 8))

    for m, n in ((0, 4), (3, 7), (20, 24)):
        torch.testing.assert_close((turned(q, m) * turned(k, n)).sum(), (q * turned(k, 4)).sum())


def test_equation_6_4_is_what_a_block_does():
    torch.manual_seed(0)
    block = DiTBlock(16, 2).double()
    nn.init.normal_(block.modulation.weight, std=0.3)
    h, condition = randn(2, 5, 16), randn(2, 1, 16, seed=1)
    b1, c1, g1, b2, c2, g2 = block.modulation(nn.functional.silu(condition)).split(16, dim=-1)

    def norm(x):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()

    expected = h + g1 * block.attention((1 + c1) * norm(h) + b1)
    expected = expected + g2 * block.mlp((1 + c2) * norm(expected) + b2)
    torch.testing.assert_close(block(h, condition), expected)


def test_equation_6_5_counts_the_multiply_adds_of_the_blocks():
    depth, tokens, width = 3, 16, 64
    model = DiT(nn.Linear(4, width), 4, sincos_grid(4, 4, width), depth, heads=4)
    h, condition = torch.rand(1, tokens, width), torch.rand(1, 1, width)
    # The plain product of matrices: some versions of torch do not count their fused attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for block in model.blocks:
            h = block(h, condition)
    modulation = depth * 6 * width**2  # once a picture, not for each token
    by_formula = depth * tokens * (12 * width**2 + 2 * tokens * width)
    assert counter.get_total_flops() / 2 - modulation == by_formula


def test_the_count_gives_the_published_cost_of_the_largest_model():
    published = 118.6e9  # DiT-XL/2 at 256 × 256, arXiv 2212.09748, table 4
    assert math.isclose(28 * 256 * (12 * 1152**2 + 2 * 256 * 1152), published, rel_tol=0.03)


def test_equation_6_6_by_the_root_of_a_matrix():
    x, y = randn(300, 5) @ randn(5, 5, seed=1), randn(400, 5, seed=2) @ randn(5, 5, seed=3) + 1

    def root(matrix):
        values, vectors = torch.linalg.eigh(matrix)
        return vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T

    cov_x, cov_y = x.T.cov(), y.T.cov()
    shared = root(root(cov_x) @ cov_y @ root(cov_x)).trace()
    expected = (x.mean(0) - y.mean(0)).square().sum() + cov_x.trace() + cov_y.trace() - 2 * shared
    assert math.isclose(frechet_distance(x, y), expected, rel_tol=1e-6)
    assert abs(frechet_distance(x, x)) < 1e-6
