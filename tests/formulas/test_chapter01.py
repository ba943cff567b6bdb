"""Chapter 01: each numbered equation, checked numerically."""

import itertools
import math

import torch
import torch.nn.functional as F
from torch.autograd import grad

from vqdit_lite.metrics import perplexity
from vqdit_lite.quantize import (
    VectorQuantizer,
    ema_update,
    kmeans,
    nearest_code,
    smoothed_means,
    straight_through,
)


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equation_1_1_no_other_code_is_nearer():
    z, codebook = rand(200, 3), rand(17, 3, seed=1)
    chosen = (z - codebook[nearest_code(z, codebook)]).norm(dim=1)
    for code in codebook:
        assert (chosen <= (z - code).norm(dim=1) + 1e-6).all()


def test_equation_1_2_squares_out():
    z, e = rand(100, 5), rand(100, 5, seed=1)
    left = (z - e).square().sum(1)
    right = z.square().sum(1) - 2 * ((z * e).sum(1) - e.square().sum(1) / 2)
    torch.testing.assert_close(left, right)


def test_equation_1_3_the_mean_has_the_least_squared_distance():
    points = rand(50, 4)
    code = rand(4, seed=1).requires_grad_()
    (slope,) = grad((points - code).square().sum(), code)
    torch.testing.assert_close(slope, -2 * len(points) * (points.mean(0) - code.detach()))
    settled = kmeans(points, 1, torch.Generator().manual_seed(0))
    torch.testing.assert_close(settled[0], points.mean(0))


def test_equation_1_4_ids_of_a_code_can_be_written_with_its_bits():
    for num_codes, dim in [(16, 2), (512, 48), (64, 8)]:
        bits = math.log2(num_codes)
        assert 2**bits == num_codes
        assert len(list(itertools.product((0, 1), repeat=int(bits)))) == num_codes
        assert bits / dim * dim == bits


def test_equation_1_5_is_reached_by_the_best_gaussian_channel_and_never_beaten():
    # The bound comes from rate = mutual information of x and its best reconstruction, x = y + error.
    for var, distortion in [(1.0, 0.25), (4.0, 0.1)]:
        var_y = var - distortion
        covariance = torch.tensor([[var, var_y], [var_y, var_y]], dtype=torch.float64)
        rate = 0.5 * math.log2(var * var_y / torch.linalg.det(covariance))
        assert math.isclose(distortion, var * 2 ** (-2 * rate), rel_tol=1e-9)
    x, fresh = rand(20_000, 1), rand(20_000, 1, seed=1)
    for bits in (1, 2, 3):
        codebook = kmeans(x, 2**bits, torch.Generator().manual_seed(0), 40)
        assert F.mse_loss(codebook[nearest_code(fresh, codebook)], fresh) > 2 ** (-2 * bits)
    # The count of balls: most long Gaussian vectors lie in a ball of radius sqrt(dim * var) and a little, and as many
    # balls of radius sqrt(dim * distortion) as (1.5) allows have its volume.
    dim, var, rate = 10_000, 2.0, 0.75
    assert (var**0.5 * rand(200, dim).norm(dim=1) < 1.04 * (dim * var) ** 0.5).all()
    distortion = var * 2 ** (-2 * rate)
    large, small = (dim / 2 * math.log2(dim * v) for v in (var, distortion))  # log2 of radius to the power dim
    assert math.isclose(large - small, dim * rate)  # log2 of K, as (1.4) has it


def test_equation_1_6_has_the_value_of_the_code_and_the_gradient_of_the_input():
    z, e = rand(6).requires_grad_(), rand(6, seed=1).requires_grad_()
    z_q = straight_through(z, e)
    torch.testing.assert_close(z_q, e)
    slope_z, slope_e = grad((z_q * torch.arange(6)).sum(), (z, e), allow_unused=True)
    assert torch.equal(slope_z, torch.arange(6, dtype=torch.float64))
    assert slope_e is None


def test_equation_1_7_is_a_mean_over_features_and_pulls_the_code_by_one_and_the_vector_by_beta():
    quantizer = VectorQuantizer(5, 3, learning="gradient", beta=0.25, revive_below=0)
    z = rand(1, 40, 3).float().requires_grad_()
    quantized = quantizer(z)
    ids = quantized.ids[0]
    distances = (z[0] - quantizer.codebook[ids]).norm(dim=1)
    torch.testing.assert_close(quantized.loss, ((1 + 0.25) * distances.square() / 3).mean())  # of all vectors
    slope_z, slope_e = grad(quantized.loss, (z, quantizer.codebook))
    difference = z[0].detach() - quantizer.codebook[ids].detach()  # (40, 3)
    torch.testing.assert_close(slope_z[0], 0.25 * 2 * difference / z.numel())
    torch.testing.assert_close(slope_e, torch.zeros(5, 3).index_add_(0, ids, -2 * difference / z.numel()))


def test_equation_1_8_moves_counts_and_sums_and_its_fixed_point_is_the_mean():
    quantizer = VectorQuantizer(3, 2, decay=0.9, revive_below=0)
    z = rand(1, 30, 2).float()
    before, ids = quantizer.codebook.clone(), nearest_code(z[0], quantizer.codebook)
    quantizer(z)
    counts, sums = ema_update(torch.ones(3), before, z[0], ids, decay=0.9)
    assert torch.equal(quantizer.counts, counts)
    assert torch.equal(quantizer.sums, sums)
    for k in range(3):
        count = 0.9 * 1 + 0.1 * (ids == k).sum()
        total = 0.9 * before[k] + 0.1 * z[0][ids == k].sum(0)
        torch.testing.assert_close(quantizer.counts[k], count)
        torch.testing.assert_close(quantizer.sums[k], total)
        torch.testing.assert_close(quantizer.codebook[k], total / count, atol=1e-4, rtol=1e-4)
    one = VectorQuantizer(1, 2, decay=0.5, revive_below=0)
    for _ in range(60):
        one(z)
    torch.testing.assert_close(one.codebook[0], z[0].mean(0), atol=1e-4, rtol=1e-4)


def test_equation_1_9_keeps_the_total_and_lets_no_count_be_zero():
    counts, eps = torch.tensor([0.0, 3.0, 97.0], dtype=torch.float64), 1e-5
    smoothed = (counts + eps) / (counts.sum() + 3 * eps) * counts.sum()
    torch.testing.assert_close(smoothed.sum(), counts.sum())
    assert (smoothed > 0).all()
    sums = rand(3, 2)
    torch.testing.assert_close(smoothed_means(counts, sums), sums / smoothed[:, None])
    quantizer = VectorQuantizer(3, 2, decay=0.0, revive_below=0)  # no memory: counts become exactly those of the batch
    far = torch.tensor([[0.0, 0.0], [9.0, 9.0], [-9.0, 9.0]])
    quantizer.place(far, quantizer.counts, far)
    quantizer(rand(1, 100, 2).float())
    total = quantizer.counts.sum()
    expected = quantizer.sums / ((quantizer.counts + eps) / (total + 3 * eps) * total)[:, None]
    torch.testing.assert_close(quantizer.codebook, expected)
    assert quantizer.codebook.isfinite().all()


def test_equation_1_10_is_the_number_of_equally_likely_codes():
    for used in (1, 2, 7, 16):
        counts = torch.zeros(16, dtype=torch.float64)
        counts[:used] = 5
        torch.testing.assert_close(perplexity(counts), torch.tensor(float(used), dtype=torch.float64))
    p = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
    torch.testing.assert_close(perplexity(p), torch.tensor(2.0, dtype=torch.float64) ** 1.75)


def test_equation_1_11_is_the_length_of_a_file_that_holds_codebook_and_ids():
    # Frequencies that are powers of 1/2 have names of exactly -log2(p) bits, of which none begins another.
    names = {0: "0", 1: "10", 2: "110", 3: "111"}
    ids = [0] * 8 + [1] * 4 + [2] * 2 + [3] * 2
    bits = "".join(names[k] for k in ids)
    entropy = perplexity(torch.bincount(torch.tensor(ids)).double()).log2().item()
    assert math.isclose(len(bits), len(ids) * entropy, rel_tol=1e-6)
    codebook = torch.zeros(4, 48, dtype=torch.uint8)  # a byte a number, for patches of 16 pixels
    pixels = len(ids) * 16
    file = len(bits) + 8 * len(codebook.numpy().tobytes())
    assert math.isclose(file / pixels, (len(ids) * entropy + 8 * 4 * 48) / pixels, rel_tol=1e-6)
    # and the names can be read back, so nothing was cut
    read, rest = [], bits
    while rest:
        k = next(k for k, name in names.items() if rest.startswith(name))
        read, rest = [*read, k], rest[len(names[k]) :]
    assert read == ids
