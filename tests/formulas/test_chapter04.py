"""Chapter 04: each numbered equation, checked numerically."""

import math

import pytest
import torch
from torch.autograd import grad

from vqdit_lite.gaussian import GaussianDiffusion, IdealDenoiser, ddim_step, from_target, to_target
from vqdit_lite.schedule import cosine, flow, linear

GRID = torch.linspace(-12, 12, 60_001, dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at(t, schedule=None):
    return (schedule or cosine()).level(torch.tensor(t, dtype=torch.float64))


def bell(x, mean, std):
    return torch.exp(-((x - mean) ** 2) / (2 * std**2)) / std


def step_var(level, next_level):
    return level[1] ** 2 - (level[0] / next_level[0] * next_level[1]) ** 2


@pytest.mark.parametrize("schedule", [cosine(), linear(), flow()])
def test_equation_4_1_and_the_mean_of_a_ddim_step_agree_on_a_grid(schedule):
    level, next_level, x0, x_t = at(0.7, schedule), at(0.4, schedule), -1.2, 0.9
    product = bell(x_t, level[0] / next_level[0] * GRID, step_var(level, next_level).sqrt()) * bell(
        GRID, next_level[0] * x0, next_level[1]
    )
    mean = (product * GRID).sum() / product.sum()
    eps = (x_t - level[0] * x0) / level[1]
    zero = torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(
        ddim_step(torch.as_tensor(x0), eps, level, next_level, 1.0, zero), mean, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("schedule", [cosine(), linear(), flow()])
def test_equation_4_2_joins_two_closed_forms(schedule):
    level, next_level = at(0.8, schedule), at(0.3, schedule)
    ratio = level[0] / next_level[0]
    # Noise of x_t': var' of it, scaled by the ratio, plus the step's, is the noise of x_t.
    torch.testing.assert_close(ratio**2 * next_level[1] ** 2 + step_var(level, next_level), level[1] ** 2)
    x = next_level[0] * 1.5 + next_level[1] * randn(200_000)
    x = ratio * x + step_var(level, next_level).sqrt() * randn(200_000, seed=1)
    assert math.isclose(x.mean(), level[0] * 1.5, abs_tol=0.01)
    assert math.isclose(x.std(), level[1], abs_tol=0.01)


def test_equation_4_3_is_ddpm_s_posterior():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha_bar = (1 - betas).cumprod(0)
    i = 499
    beta, kept, before = betas[i], alpha_bar[i], alpha_bar[i - 1]
    level, next_level = (kept.sqrt(), (1 - kept).sqrt()), (before.sqrt(), (1 - before).sqrt())
    torch.testing.assert_close(step_var(level, next_level), beta)
    of_x0 = next_level[0] * step_var(level, next_level) / level[1] ** 2
    of_x_t = level[0] / next_level[0] * next_level[1] ** 2 / level[1] ** 2
    torch.testing.assert_close(of_x0, before.sqrt() * beta / (1 - kept))  # arXiv 2006.11239, eq. 7
    torch.testing.assert_close(of_x_t, (1 - beta).sqrt() * (1 - before) / (1 - kept))
    var = next_level[1] ** 2 / level[1] ** 2 * step_var(level, next_level)
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
    signal, noise = at(0.6, schedule)
    likelihood = torch.stack([bell(x, signal * point, noise).prod(1) for point in points], 1)  # (5, 7)
    expected = likelihood / likelihood.sum(1, keepdim=True) @ points
    ideal = IdealDenoiser(GaussianDiffusion(schedule, predict="x0"), points)
    torch.testing.assert_close(ideal(x, torch.full((5,), 0.6, dtype=torch.float64)), expected)


def test_equation_4_6_is_the_gradient_of_the_log_density():
    points, x = randn(6, 2), randn(4, 2, seed=1).requires_grad_()
    signal, noise = at(0.5)
    density = torch.stack([bell(x, signal * point, noise).prod(1) for point in points], 1).sum(1)
    score = grad(density.log().sum(), x)[0]
    eps = IdealDenoiser(GaussianDiffusion(cosine(), predict="eps"), points)(x.detach(), torch.full((4,), 0.5).double())
    torch.testing.assert_close(score, -eps / noise)


def test_equation_4_7_names_four_mixtures():
    x0, eps = randn(10), randn(10, seed=1)
    signal, noise = at(0.3)
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
    signal, noise = at(0.3, schedule)
    y = to_target(predict, x0, eps, signal, noise)
    again = from_target(predict, y, signal * x0 + noise * eps, signal, noise)
    torch.testing.assert_close(again[0], x0)
    torch.testing.assert_close(again[1], eps)


def test_equation_4_9_is_smallest_for_the_ideal_denoiser():
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
def test_equation_4_10_gives_the_published_weights(predict, published):
    t = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
    for gamma in (1.0, 5.0):
        weight = GaussianDiffusion(cosine(), predict, min_snr=gamma).weight(t)
        torch.testing.assert_close(weight, published(cosine().snr(t), gamma))
