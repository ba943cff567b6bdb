"""Chapter 04: each numbered equation, checked numerically."""

import math

import pytest
import torch
from torch.autograd import grad

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
from vqdit_lite.schedule import cosine, flow, linear

GRID = torch.linspace(-12, 12, 60_001, dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def level(t, schedule=None):
    t, schedule = torch.tensor(t, dtype=torch.float64), schedule or cosine()
    return schedule.signal(t), schedule.noise(t)


def bell(x, mean, std):
    return torch.exp(-((x - mean) ** 2) / (2 * std**2)) / std


def step_var(now, then):
    return now[1] ** 2 - (now[0] / then[0] * then[1]) ** 2


@pytest.mark.parametrize("schedule", [cosine(), linear(), flow()])
def test_equation_4_1_and_the_mean_of_a_ddim_step_agree_on_a_grid(schedule):
    now, then, x0, x_t = level(0.7, schedule), level(0.4, schedule), -1.2, 0.9
    product = bell(x_t, now[0] / then[0] * GRID, step_var(now, then).sqrt()) * bell(GRID, then[0] * x0, then[1])
    mean = (product * GRID).sum() / product.sum()
    eps = (x_t - now[0] * x0) / now[1]
    zero = torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(ddim_step(torch.as_tensor(x0), eps, now, then, 1.0, zero), mean, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("schedule", [cosine(), linear(), flow()])
def test_equation_4_2_joins_two_closed_forms(schedule):
    now, then = level(0.8, schedule), level(0.3, schedule)
    ratio = now[0] / then[0]
    # Noise of x_t': var' of it, scaled by the ratio, plus the step's, is the noise of x_t.
    torch.testing.assert_close(ratio**2 * then[1] ** 2 + step_var(now, then), now[1] ** 2)
    x = then[0] * 1.5 + then[1] * randn(200_000)
    x = ratio * x + step_var(now, then).sqrt() * randn(200_000, seed=1)
    assert math.isclose(x.mean(), now[0] * 1.5, abs_tol=0.01)
    assert math.isclose(x.std(), now[1], abs_tol=0.01)


def test_equation_4_3_is_ddpm_s_posterior():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha_bar = (1 - betas).cumprod(0)
    i = 499
    beta, kept, before = betas[i], alpha_bar[i], alpha_bar[i - 1]
    now, then = (kept.sqrt(), (1 - kept).sqrt()), (before.sqrt(), (1 - before).sqrt())
    torch.testing.assert_close(step_var(now, then), beta)
    of_x0 = then[0] * step_var(now, then) / now[1] ** 2
    of_x_t = now[0] / then[0] * then[1] ** 2 / now[1] ** 2
    torch.testing.assert_close(of_x0, before.sqrt() * beta / (1 - kept))  # arXiv 2006.11239, eq. 7
    torch.testing.assert_close(of_x_t, (1 - beta).sqrt() * (1 - before) / (1 - kept))
    var = then[1] ** 2 / now[1] ** 2 * step_var(now, then)
    torch.testing.assert_close(var, beta * (1 - before) / (1 - kept))


def test_equation_4_4_is_minimal_at_the_conditional_mean():
    x0 = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    guess = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    mean = (weights * x0).sum()
    slope = grad((weights * (mean.detach() + guess - x0) ** 2).sum(), guess)[0]
    torch.testing.assert_close(slope, torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize("schedule", [cosine(), flow()])
def test_equation_4_5_is_bayes_rule_over_the_points(schedule):
    points, x = randn(7, 3), randn(5, 3, seed=1)
    signal, noise = level(0.6, schedule)
    likelihood = torch.stack([bell(x, signal * point, noise).prod(1) for point in points], 1)  # (5, 7)
    expected = likelihood / likelihood.sum(1, keepdim=True) @ points
    ideal = IdealDenoiser(GaussianDiffusion(schedule, predict="x0"), points)
    torch.testing.assert_close(ideal(x, torch.full((5,), 0.6, dtype=torch.float64)), expected)


def test_equation_4_6_is_the_gradient_of_the_log_density():
    points, x = randn(6, 2), randn(4, 2, seed=1).requires_grad_()
    signal, noise = level(0.5)
    density = torch.stack([bell(x, signal * point, noise).prod(1) for point in points], 1).sum(1)
    score = grad(density.log().sum(), x)[0]
    eps = IdealDenoiser(GaussianDiffusion(cosine(), predict="eps"), points)(x.detach(), torch.full((4,), 0.5).double())
    torch.testing.assert_close(score, -eps / noise)


def test_equation_4_7_names_four_mixtures():
    x0, eps = randn(10), randn(10, seed=1)
    signal, noise = level(0.3)
    torch.testing.assert_close(to_target("eps", x0, eps, signal, noise), eps)
    torch.testing.assert_close(to_target("x0", x0, eps, signal, noise), x0)
    torch.testing.assert_close(to_target("v", x0, eps, signal, noise), signal * eps - noise * x0)
    torch.testing.assert_close(to_target("flow", x0, eps, signal, noise), eps - x0)
    # v is the speed along the circle of (signal, noise), flow that along the straight line.
    angle = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    speed = torch.stack([grad(angle.cos() * a + angle.sin() * b, angle)[0] for a, b in zip(x0, eps, strict=True)])
    torch.testing.assert_close(to_target("v", x0, eps, angle.detach().cos(), angle.detach().sin()), speed)


@pytest.mark.parametrize("predict", ["eps", "x0", "v", "flow"])
@pytest.mark.parametrize("schedule", [cosine(), flow()])
def test_equation_4_8_solves_the_two_equations(predict, schedule):
    x0, eps = randn(10), randn(10, seed=1)
    signal, noise = level(0.3, schedule)
    y = to_target(predict, x0, eps, signal, noise)
    again = from_target(predict, y, signal * x0 + noise * eps, signal, noise)
    torch.testing.assert_close(again[0], x0)
    torch.testing.assert_close(again[1], eps)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_equation_4_9_keeps_the_marginal_distribution(eta):
    now, then, x0 = level(0.7), level(0.5), torch.full((400_000,), 1.5, dtype=torch.float64)
    x = ddim_step(x0, randn(400_000), now, then, eta, randn(400_000, seed=1))
    assert math.isclose(x.mean(), then[0] * 1.5, abs_tol=0.005)
    assert math.isclose(x.std(), then[1], abs_tol=0.005)


def test_equation_4_10_is_the_trapezoidal_rule_in_x_over_signal():
    now, then, x, eps, eps_there = level(0.7), level(0.6), randn(5), randn(5, seed=1), randn(5, seed=2)
    width = then[1] / then[0] - now[1] / now[0]  # a step in noise / signal
    expected = then[0] * (x / now[0] + width * (eps + eps_there) / 2)
    trial = []

    def eps_at(there):
        trial.append(there)
        return eps_there

    torch.testing.assert_close(heun_step(x, eps, now, then, eps_at), expected)
    torch.testing.assert_close(trial[0], then[0] * (x / now[0] + width * eps))


def test_equation_4_11_solves_the_differential_equation_for_a_constant_guess():
    now, then, x, x0 = level(0.7), level(0.4), randn(5), randn(5, seed=1)
    path, steps = x, 20_000
    times = torch.linspace(0.7, 0.4, steps + 1, dtype=torch.float64)
    signal, noise = cosine().signal(times), cosine().noise(times)
    for i in range(steps):  # Euler in x / noise over signal / noise, where the slope is x0
        path = noise[i + 1] * (path / noise[i] + (signal[i + 1] / noise[i + 1] - signal[i] / noise[i]) * x0)
    torch.testing.assert_close(dpm_solver_step(x, x0, now, then, None), path)


def test_equation_4_12_extrapolates_a_straight_line_to_the_middle_of_the_step():
    now, then, before = level(0.6), level(0.45), level(0.7)

    def half_log_snr(pair):
        return (pair[0] / pair[1]).log()

    def line(at):
        return 2 + 3 * at

    middle = (half_log_snr(now) + half_log_snr(then)) / 2
    x, guess, guess_before = randn(1), line(half_log_snr(now)), line(half_log_snr(before))
    expected = dpm_solver_step(x, line(middle), now, then, None)
    torch.testing.assert_close(dpm_solver_step(x, guess, now, then, (guess_before, before)), expected)


def test_equation_4_13_is_smallest_for_the_ideal_denoiser():
    points = randn(4, 2)
    diffusion = GaussianDiffusion(cosine())
    ideal = IdealDenoiser(diffusion, points)
    x0 = points.repeat(5000, 1)

    def loss(denoiser):
        return diffusion.loss(denoiser, x0, torch.Generator().manual_seed(0))["loss"]

    least = loss(ideal)
    for shift in (-0.1, 0.1):
        torch.testing.assert_close(loss(lambda x, t, d=shift: ideal(x, t) + d) - least, torch.tensor(0.01).double(),
                                   atol=0.002, rtol=0)  # fmt: skip


@pytest.mark.parametrize(
    ("predict", "published"),
    [("eps", lambda s, g: s.clamp(max=g) / s), ("x0", lambda s, g: s.clamp(max=g)),
     ("v", lambda s, g: s.clamp(max=g) / (s + 1))],
)  # fmt: skip
def test_equation_4_14_gives_the_published_weights(predict, published):
    t = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
    for gamma in (1.0, 5.0):
        weight = GaussianDiffusion(cosine(), predict, min_snr=gamma).weight(t)
        torch.testing.assert_close(weight, published(cosine().snr(t), gamma))


def test_equation_4_15_is_the_gap_of_a_shift_and_of_a_stretch():
    x, generator = randn(2000, 2), torch.Generator().manual_seed(0)
    shifted = sliced_wasserstein(x, x + torch.tensor([3.0, 4.0]), generator, projections=20_000)
    assert math.isclose(shifted, 5 / math.sqrt(2), rel_tol=0.02)  # the mean of cos² over directions is 1/2
    lines = torch.randn(2, 100, generator=torch.Generator().manual_seed(7))
    lines = (lines / lines.norm(dim=0)).double()
    y = randn(2000, 2, seed=1) * 2
    gaps = [(x @ line).sort().values - (y @ line).sort().values for line in lines.T]
    ours = sliced_wasserstein(x, y, torch.Generator().manual_seed(7))
    assert math.isclose(ours, torch.stack(gaps).square().mean().sqrt(), rel_tol=1e-6)


def test_equation_4_16_is_the_other_way_of_writing_guidance():
    label, free = randn(5, 2), randn(5, 2, seed=1)
    t = torch.full((5,), 0.5)
    for s in (0.0, 1.0, 1.5, 4.0):
        w = s - 1  # arXiv 2207.12598, eq. 6: (1 + w) · conditional - w · unconditional
        ours = guided(lambda x, t: label, lambda x, t: free, s)(label, t)
        torch.testing.assert_close(ours, (1 + w) * label - w * free)
