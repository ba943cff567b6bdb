"""Chapter 05: each numbered equation, checked numerically."""

import math

import pytest
import torch

from vqdit_lite.gaussian import ddim_step, dpm_solver_step, guided, heun_step
from vqdit_lite.metrics import sliced_wasserstein
from vqdit_lite.schedule import cosine


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at(t):
    return cosine().level(torch.tensor(t, dtype=torch.float64))


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_equation_5_1_keeps_the_marginal_distribution(eta):
    level, next_level, x0 = at(0.7), at(0.5), torch.full((400_000,), 1.5, dtype=torch.float64)
    x = ddim_step(x0, randn(400_000), level, next_level, eta, randn(400_000, seed=1))
    assert math.isclose(x.mean(), next_level[0] * 1.5, abs_tol=0.005)
    assert math.isclose(x.std(), next_level[1], abs_tol=0.005)


def test_equation_5_2_is_the_trapezoidal_rule_in_x_over_signal():
    level, next_level, x, eps, eps_trial = at(0.7), at(0.6), randn(5), randn(5, seed=1), randn(5, seed=2)
    width = next_level[1] / next_level[0] - level[1] / level[0]  # a step in noise / signal
    expected = next_level[0] * (x / level[0] + width * (eps + eps_trial) / 2)
    torch.testing.assert_close(heun_step(x, eps, eps_trial, level, next_level), expected)
    x0 = (x - level[1] * eps) / level[0]
    trial = next_level[0] * (x / level[0] + width * eps)
    torch.testing.assert_close(ddim_step(x0, eps, level, next_level), trial)


def test_equation_5_3_solves_the_differential_equation_for_a_constant_guess():
    level, next_level, x, x0 = at(0.7), at(0.4), randn(5), randn(5, seed=1)
    path, steps = x, 20_000
    times = torch.linspace(0.7, 0.4, steps + 1, dtype=torch.float64)
    signal, noise = cosine().signal(times), cosine().noise(times)
    for i in range(steps):  # Euler in x / noise over signal / noise, where the slope is x0
        path = noise[i + 1] * (path / noise[i] + (signal[i + 1] / noise[i + 1] - signal[i] / noise[i]) * x0)
    torch.testing.assert_close(dpm_solver_step(x, x0, level, next_level, None), path)


def test_equation_5_4_extrapolates_a_straight_line_to_the_middle_of_the_step():
    level, next_level, before = at(0.6), at(0.45), at(0.7)

    def half_log_snr(pair):
        return (pair[0] / pair[1]).log()

    def line(at):
        return 2 + 3 * at

    middle = (half_log_snr(level) + half_log_snr(next_level)) / 2
    x, guess, guess_before = randn(1), line(half_log_snr(level)), line(half_log_snr(before))
    expected = dpm_solver_step(x, line(middle), level, next_level, None)
    torch.testing.assert_close(dpm_solver_step(x, guess, level, next_level, (guess_before, before)), expected)


def test_equation_5_5_is_the_gap_of_a_shift_and_of_a_stretch():
    x, generator = randn(2000, 2), torch.Generator().manual_seed(0)
    shifted = sliced_wasserstein(x[:20], x[:20] + torch.tensor([3.0, 4.0]), generator, projections=20_000)
    assert math.isclose(shifted, 5 / math.sqrt(2), rel_tol=0.02)  # the mean of cos² over directions is 1/2
    lines = torch.randn(2, 100, generator=torch.Generator().manual_seed(7))
    lines = (lines / lines.norm(dim=0)).double()
    y = randn(2000, 2, seed=1) * 2
    gaps = [(x @ line).sort().values - (y @ line).sort().values for line in lines.T]
    ours = sliced_wasserstein(x, y, torch.Generator().manual_seed(7))
    assert math.isclose(ours, torch.stack(gaps).square().mean().sqrt(), rel_tol=1e-6)


def test_equation_5_6_is_the_other_way_of_writing_guidance():
    label, free = randn(5, 2), randn(5, 2, seed=1)
    t = torch.full((5,), 0.5)
    for s in (0.0, 1.0, 1.5, 4.0):
        w = s - 1  # arXiv 2207.12598, eq. 6: (1 + w) · conditional - w · unconditional
        ours = guided(lambda x, t: label, lambda x, t: free, s)(label, t)
        torch.testing.assert_close(ours, (1 + w) * label - w * free)
