"""Chapter 05: each numbered equation, checked numerically."""

import math

import pytest
import torch

from vqdit_lite.gaussian import (
    GaussianDiffusion,
    IdealDenoiser,
    ddim_step,
    dpm_solver_step,
    from_target,
    guided,
    heun_step,
    to_target,
)
from vqdit_lite.metrics import sliced_wasserstein
from vqdit_lite.schedule import cosine, flow

CLOUDS, STD = torch.tensor([[-1.5], [0.3], [1.2]], dtype=torch.float64), 0.3
GRID = torch.linspace(-8, 8, 40_001, dtype=torch.float64)[:, None]  # for integrals over x


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at(t, schedule=None):
    return (schedule or cosine()).level(torch.as_tensor(t, dtype=torch.float64))


def rates(schedule, t, h=1e-6):
    """The derivatives of signal and noise."""
    return [
        (later - earlier) / (2 * h) for earlier, later in zip(at(t - h, schedule), at(t + h, schedule), strict=True)
    ]


def half_log_snr(level):
    return (level[0] / level[1]).log()


def guesses(schedule, x, t):
    """What the exact denoiser of the three clouds says: x0 and eps."""
    diffusion = GaussianDiffusion(schedule)
    return diffusion.read(IdealDenoiser(diffusion, CLOUDS, STD), x, torch.tensor(t, dtype=torch.float64))


def velocity(schedule, x, t):
    (x0, eps), (signal_rate, noise_rate) = guesses(schedule, x, t), rates(schedule, t)
    return signal_rate * x0 + noise_rate * eps


def density(schedule, x, t):
    signal, noise = at(t, schedule)
    bells = torch.distributions.Normal(signal * CLOUDS.T, ((signal * STD) ** 2 + noise**2).sqrt())
    return bells.log_prob(x).exp().mean(1)


def below(schedule, x, t):
    signal, noise = at(t, schedule)
    return torch.special.ndtr((x - signal * CLOUDS.T) / ((signal * STD) ** 2 + noise**2).sqrt()).mean(1)


def pairs(n=400_000):
    """Clean points of the three clouds, and noise."""
    which = torch.randint(3, (n,), generator=torch.Generator().manual_seed(2))
    return CLOUDS[which] + STD * randn(n, 1), randn(n, 1, seed=1)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_equation_5_1_keeps_the_marginal_distribution(eta):
    level, next_level, x0 = at(0.7), at(0.5), torch.full((400_000,), 1.5, dtype=torch.float64)
    x = ddim_step(x0, randn(400_000), level, next_level, eta, randn(400_000, seed=1))
    assert math.isclose(x.mean(), next_level[0] * 1.5, abs_tol=0.005)
    assert math.isclose(x.std(), next_level[1], abs_tol=0.005)


def test_with_eta_one_a_ddim_step_is_the_posterior_of_chapter_04():
    (signal, noise), (next_signal, next_noise) = level, next_level = at(0.7), at(0.5)
    x0, eps, z = randn(5), randn(5, seed=1), randn(5, seed=2)
    step_var = noise**2 - (signal / next_signal * next_noise) ** 2  # (4.2)
    x = signal * x0 + noise * eps
    mean = (next_signal * step_var * x0 + signal / next_signal * next_noise**2 * x) / noise**2  # (4.3)
    expected = mean + (next_noise / noise) * step_var.sqrt() * z
    torch.testing.assert_close(ddim_step(x0, eps, level, next_level, 1.0, z), expected)


@pytest.mark.parametrize("schedule", [cosine(), flow()], ids=["cosine", "flow"])
def test_equation_5_2_moves_the_density_by_the_equation_of_continuity(schedule):
    h, t = 1e-4, 0.5  # d p / d t = - d (p u) / d x
    change = (density(schedule, GRID, t + h) - density(schedule, GRID, t - h)) / (2 * h)
    flux = density(schedule, GRID, t) * velocity(schedule, GRID, t)[:, 0]
    outflow = (flux[2:] - flux[:-2]) / (GRID[2:, 0] - GRID[:-2, 0])
    torch.testing.assert_close(change[1:-1], -outflow, atol=1e-5, rtol=0)


def test_the_probability_flow_in_its_form_with_the_score():
    (signal, noise), (signal_rate, noise_rate) = at(0.6), rates(cosine(), 0.6)
    x = randn(7, 1).requires_grad_()
    score = torch.autograd.grad(density(cosine(), x, 0.6).log().sum(), x)[0]
    f = signal_rate / signal
    g_squared = 2 * noise * noise_rate - 2 * f * noise**2
    form = f * x.detach() - g_squared / 2 * score  # arXiv 2011.13456, eq. 13
    torch.testing.assert_close(velocity(cosine(), x.detach(), 0.6), form, atol=1e-6, rtol=1e-6)


def test_equation_5_3_all_means_change_as_by_the_mean_velocity():
    (x0, eps), (signal, noise), (signal_rate, noise_rate), h = pairs(), at(0.5), rates(cosine(), 0.5), 1e-4
    for phi, slope in ((torch.sin, torch.cos), (torch.square, lambda x: 2 * x)):
        before, after = ((phi(GRID)[:, 0] * density(cosine(), GRID, t)).sum() for t in (0.5 - h, 0.5 + h))
        change = (after - before) / (2 * h) * (GRID[1] - GRID[0]).item()
        by_flow = (slope(GRID) * velocity(cosine(), GRID, 0.5))[:, 0] * density(cosine(), GRID, 0.5)
        assert math.isclose(by_flow.sum() * (GRID[1] - GRID[0]).item(), change, abs_tol=1e-5)
        by_pairs = slope(signal * x0 + noise * eps) * (signal_rate * x0 + noise_rate * eps)
        assert math.isclose(by_pairs.mean(), change, abs_tol=0.02)


@pytest.mark.parametrize("schedule", [cosine(), flow()], ids=["cosine", "flow"])
def test_equation_5_4_both_losses_of_flow_matching_differ_by_a_constant(schedule):
    (x0, eps), (signal, noise), (signal_rate, noise_rate) = pairs(), at(0.5, schedule), rates(schedule, 0.5)
    x, own = signal * x0 + noise * eps, signal_rate * x0 + noise_rate * eps
    u = velocity(schedule, x, 0.5)
    for f in (0 * x, u + 0.3, torch.sin(3 * x)):
        on_pairs, on_mean = (f - own).square().mean(), (f - u).square().mean()
        assert math.isclose(on_pairs - on_mean, (u - own).square().mean(), abs_tol=0.02)


def test_on_the_straight_schedule_a_pair_moves_by_the_target_flow():
    x0, eps = pairs(10)
    signal_rate, noise_rate = rates(flow(), 0.3)
    torch.testing.assert_close(signal_rate * x0 + noise_rate * eps, eps - x0)


def slopes_along_an_exact_curve(start, t=0.5, h=1e-3):
    """x / signal over noise / signal, and x / noise over signal / noise, along an exact curve."""
    share, ends = below(cosine(), start, t), []
    for time in (t - h, t + h):
        low, high = torch.full_like(start, -9), torch.full_like(start, 9)
        for _ in range(80):
            middle = (low + high) / 2
            right = (below(cosine(), middle, time) < share)[:, None]
            low, high = torch.where(right, middle, low), torch.where(right, high, middle)
        ends.append(middle)
    (signal, noise), (next_signal, next_noise) = at(t - h), at(t + h)
    first = (ends[1] / next_signal - ends[0] / signal) / (next_noise / next_signal - noise / signal)
    second = (ends[1] / next_noise - ends[0] / noise) / (next_signal / next_noise - signal / noise)
    return first, second


def test_equation_5_5_the_slope_of_x_over_signal_is_eps():
    start = torch.linspace(-1.5, 1.5, 9, dtype=torch.float64)[:, None]
    slope, _ = slopes_along_an_exact_curve(start)
    torch.testing.assert_close(slope, guesses(cosine(), start, 0.5)[1], atol=1e-4, rtol=0)


def test_equation_5_6_is_the_trapezoidal_rule_in_x_over_signal():
    level, next_level, x, eps, eps_trial = at(0.7), at(0.6), randn(5), randn(5, seed=1), randn(5, seed=2)
    width = next_level[1] / next_level[0] - level[1] / level[0]  # a step in noise / signal
    expected = next_level[0] * (x / level[0] + width * (eps + eps_trial) / 2)
    torch.testing.assert_close(heun_step(x, eps, eps_trial, level, next_level), expected)
    x0 = (x - level[1] * eps) / level[0]
    trial = next_level[0] * (x / level[0] + width * eps)
    torch.testing.assert_close(ddim_step(x0, eps, level, next_level), trial)


def test_equation_5_7_the_slope_of_x_over_noise_is_x0():
    start = torch.linspace(-1.5, 1.5, 9, dtype=torch.float64)[:, None]
    _, slope = slopes_along_an_exact_curve(start)  # over signal / noise = exp(lambda), so times exp(lambda) over lambda
    torch.testing.assert_close(slope, guesses(cosine(), start, 0.5)[0], atol=1e-4, rtol=0)


def test_equation_5_8_solves_the_differential_equation_for_a_constant_guess():
    level, next_level, x, x0 = at(0.7), at(0.4), randn(5), randn(5, seed=1)
    path, steps = x, 20_000
    times = torch.linspace(0.7, 0.4, steps + 1, dtype=torch.float64)
    signal, noise = cosine().signal(times), cosine().noise(times)
    for i in range(steps):  # Euler in x / noise over signal / noise, where the slope is x0
        path = noise[i + 1] * (path / noise[i] + (signal[i + 1] / noise[i + 1] - signal[i] / noise[i]) * x0)
    step = dpm_solver_step(x, x0, level, next_level, None)
    torch.testing.assert_close(step, path)
    torch.testing.assert_close(step, ddim_step(x0, (x - level[0] * x0) / level[1], level, next_level))


def test_equation_5_9_extrapolates_a_straight_line_to_the_middle_of_the_step():
    level, next_level, before = at(0.6), at(0.45), at(0.7)

    def line(at):
        return 2 + 3 * at

    middle = (half_log_snr(level) + half_log_snr(next_level)) / 2
    x, guess, guess_before = randn(1), line(half_log_snr(level)), line(half_log_snr(before))
    expected = dpm_solver_step(x, line(middle), level, next_level, None)
    torch.testing.assert_close(dpm_solver_step(x, guess, level, next_level, (guess_before, before)), expected)


def test_the_middle_of_a_step_stands_for_a_straight_line_up_to_third_order():
    errors = []
    for h in (0.2, 0.1, 0.05):
        lam = torch.linspace(0, h, 20_001, dtype=torch.float64)
        exact = torch.trapezoid(lam.exp() * (2 + 3 * lam), lam)  # (5.7), with a guess that follows a line
        errors.append((exact - (math.exp(h) - 1) * (2 + 3 * h / 2)).abs())
    assert all(coarse / fine == pytest.approx(8, rel=0.1) for coarse, fine in zip(errors, errors[1:], strict=False))


def test_equation_5_10_is_the_gap_of_a_shift_and_of_a_stretch():
    x, generator = randn(2000, 2), torch.Generator().manual_seed(0)
    shifted = sliced_wasserstein(x[:20], x[:20] + torch.tensor([3.0, 4.0]), generator, projections=20_000)
    assert math.isclose(shifted, 5 / math.sqrt(2), rel_tol=0.02)  # the mean of cos² over directions is 1/2
    lines = torch.randn(2, 100, generator=torch.Generator().manual_seed(7))
    lines = (lines / lines.norm(dim=0)).double()
    y = randn(2000, 2, seed=1) * 2
    gaps = [(x @ line).sort().values - (y @ line).sort().values for line in lines.T]
    ours = sliced_wasserstein(x, y, torch.Generator().manual_seed(7))
    assert math.isclose(ours, torch.stack(gaps).square().mean().sqrt(), rel_tol=1e-6)


@pytest.mark.parametrize("t", [0.1, 0.01])
def test_the_last_step_keeps_the_stated_share_of_a_clouds_width(t):
    diffusion, (signal, noise) = GaussianDiffusion(flow()), at(t, flow())
    x_t = signal * STD * randn(200_000, 1) + noise * randn(200_000, 1, seed=1)
    one = IdealDenoiser(diffusion, torch.zeros(1, 1), STD)
    *_, x = diffusion.sample(one, x_t, torch.tensor([t, 0.0], dtype=torch.float64), "ddim")
    share = signal * STD / (signal**2 * STD**2 + noise**2).sqrt()
    assert math.isclose(x.std() / STD, share, rel_tol=0.01)


def test_equation_5_11_adds_the_score_of_the_labels_posterior():
    diffusion = GaussianDiffusion(flow(), "eps")
    clouds, t = torch.tensor([[-0.7, 0.0], [0.7, 0.3]], dtype=torch.float64), torch.full((5,), 0.4).double()
    free, label = IdealDenoiser(diffusion, clouds, 0.7), IdealDenoiser(diffusion, clouds[:1], 0.7)
    (signal, noise), x = flow().level(t[0]), randn(5, 2).requires_grad_()
    bells = torch.distributions.Normal(signal * clouds, ((0.7 * signal) ** 2 + noise**2).sqrt())
    posterior = bells.log_prob(x[:, None]).sum(2).log_softmax(1)[:, 0]
    push = torch.autograd.grad(posterior.sum(), x)[0]
    x = x.detach()
    for s in (0.0, 1.0, 4.0):  # with s = 1, the conditional denoiser; else what (5.12) makes of both
        expected = free(x, t) + s * (label(x, t) - free(x, t))
        torch.testing.assert_close(free(x, t) - s * noise * push, expected)


def test_equation_5_12_is_the_other_way_of_writing_guidance():
    label, free = randn(5, 2), randn(5, 2, seed=1)
    t = torch.full((5,), 0.5)
    for s in (0.0, 1.0, 1.5, 4.0):
        w = s - 1  # arXiv 2207.12598, eq. 6: (1 + w) · conditional - w · unconditional
        ours = guided(lambda x, t: label, lambda x, t: free, s)(label, t)
        torch.testing.assert_close(ours, (1 + w) * label - w * free)


@pytest.mark.parametrize("predict", ["eps", "x0", "v", "flow"])
def test_guidance_means_the_same_for_every_target(predict):
    x, label, free, level = randn(5, 2), randn(5, 2, seed=1), randn(5, 2, seed=2), at(0.4)
    y_label, y_free = (to_target(predict, (x - level[1] * eps) / level[0], eps, *level) for eps in (label, free))
    _, eps = from_target(predict, y_free + 3 * (y_label - y_free), x, *level)
    torch.testing.assert_close(eps, free + 3 * (label - free))
