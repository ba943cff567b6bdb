"""Chapter 04: each numbered equation, checked numerically."""

import math

import pytest
import torch
from torch.autograd import grad
from torch.distributions import Normal, kl_divergence

from vqdit_lite.gaussian import GaussianDiffusion, IdealDenoiser, ddim_step, from_target, to_target
from vqdit_lite.schedule import cosine, ddpm, flow, linear

GRID = torch.linspace(-12, 12, 60_001, dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at(t, schedule=None):
    return (schedule or cosine()).level(torch.tensor(t, dtype=torch.float64))


def bell(x, mean, std):
    return torch.exp(-((x - mean) ** 2) / (2 * std**2)) / std


def step_var(level, next_level):
    return level[1] ** 2 - (level[0] / next_level[0] * next_level[1]) ** 2


def posterior(x0, x_t, level, next_level):
    """Mean and variance as (4.3) has them."""
    added, kept = step_var(level, next_level) / level[1] ** 2, next_level[1] ** 2 / level[1] ** 2
    return next_level[0] * added * x0 + level[0] / next_level[0] * kept * x_t, kept * step_var(level, next_level)


def moments(density):
    mean = (density * GRID).sum() / density.sum()
    return mean, (density * (GRID - mean) ** 2).sum() / density.sum()


@pytest.mark.parametrize("schedule", [cosine(), linear(), flow()])
def test_equation_4_1_and_the_mean_of_a_ddim_step_agree_on_a_grid(schedule):
    level, next_level, x0, x_t = at(0.7, schedule), at(0.4, schedule), -1.2, 0.9
    product = bell(x_t, level[0] / next_level[0] * GRID, step_var(level, next_level).sqrt()) * bell(
        GRID, next_level[0] * x0, next_level[1]
    )
    eps = (x_t - level[0] * x0) / level[1]
    zero = torch.zeros((), dtype=torch.float64)
    ours = ddim_step(torch.as_tensor(x0), eps, level, next_level, 1.0, zero)
    torch.testing.assert_close(ours, moments(product)[0], rtol=1e-6, atol=1e-6)


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
    one = torch.ones((), dtype=torch.float64)
    of_x0, var = posterior(one, 0 * one, level, next_level)
    of_x_t, _ = posterior(0 * one, one, level, next_level)
    torch.testing.assert_close(of_x0, before.sqrt() * beta / (1 - kept))  # arXiv 2006.11239, eq. 7
    torch.testing.assert_close(of_x_t, (1 - beta).sqrt() * (1 - before) / (1 - kept))
    torch.testing.assert_close(var, beta * (1 - before) / (1 - kept))
    # The bracket before the square is one over the variance.
    precision = kept / before / step_var(level, next_level) + 1 / next_level[1] ** 2
    torch.testing.assert_close(1 / precision, var)


def test_equation_4_4_splits_the_error_of_every_denoiser():
    p_x_t, p_x0 = torch.tensor([0.3, 0.7]).double(), torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]).double()
    x0, f = torch.tensor([-1.0, 0.5, 2.0]).double(), torch.tensor([1.3, -0.4]).double()

    def error(guess):
        return (p_x_t[:, None] * p_x0 * (guess[:, None] - x0) ** 2).sum()

    m = p_x0 @ x0
    torch.testing.assert_close(error(f), (p_x_t * (f - m) ** 2).sum() + error(m))
    assert error(f) > error(m)


@pytest.mark.parametrize("schedule", [cosine(), flow()])
def test_equation_4_5_is_bayes_rule_over_the_points(schedule):
    points, x = randn(7, 3), randn(5, 3, seed=1)
    signal, noise = at(0.6, schedule)
    likelihood = torch.stack([bell(x, signal * point, noise).prod(1) for point in points], 1)  # (5, 7)
    expected = likelihood / likelihood.sum(1, keepdim=True) @ points
    ideal = IdealDenoiser(GaussianDiffusion(schedule, predict="x0"), points)
    torch.testing.assert_close(ideal(x, torch.full((5,), 0.6, dtype=torch.float64)), expected)


def score_of_points(points, x, level):
    x = x.detach().requires_grad_()
    density = torch.stack([bell(x, level[0] * point, level[1]).prod(1) for point in points], 1).sum(1)
    return grad(density.log().sum(), x)[0]


@pytest.mark.parametrize("schedule", [cosine(), flow()])
def test_equation_4_6_is_the_gradient_of_the_log_density(schedule):
    points, x, t = randn(6, 2), randn(4, 2, seed=1), torch.full((4,), 0.5).double()
    signal, noise = at(0.5, schedule)
    score = score_of_points(points, x, (signal, noise))
    eps, x0 = (IdealDenoiser(GaussianDiffusion(schedule, name), points)(x, t) for name in ("eps", "x0"))
    torch.testing.assert_close(score, -eps / noise)
    torch.testing.assert_close(score, (signal * x0 - x) / noise**2)


def test_equation_4_7_gives_the_posterior_mean_of_a_density_that_is_no_mixture():
    signal, noise = at(0.4)
    x0 = GRID[(GRID >= -1) & (GRID <= 2)]  # uniform on an interval

    def log_density(x):
        return Normal(signal * x0, noise).log_prob(x[:, None]).logsumexp(1)

    x = torch.linspace(-1, 2, 7, dtype=torch.float64, requires_grad=True)
    score = grad(log_density(x).sum(), x)[0]
    shares = Normal(signal * x0, noise).log_prob(x[:, None]).softmax(1)
    torch.testing.assert_close((x + noise**2 * score) / signal, shares @ x0)


def test_equation_4_8_names_four_mixtures():
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
def test_equation_4_9_solves_the_two_equations(predict, schedule):
    x0, eps = randn(10), randn(10, seed=1)
    signal, noise = at(0.3, schedule)
    y = to_target(predict, x0, eps, signal, noise)
    again = from_target(predict, y, signal * x0 + noise * eps, signal, noise)
    torch.testing.assert_close(again[0], x0)
    torch.testing.assert_close(again[1], eps)


@pytest.mark.parametrize("schedule", [cosine(), linear(), flow()])
def test_equation_4_10_has_the_moments_of_the_true_step_back(schedule):
    points, shares, x_t = torch.tensor([-1.0, 0.2, 1.4]).double(), torch.tensor([0.5, 0.2, 0.3]).double(), 0.3
    level, next_level = at(0.6, schedule), at(0.25, schedule)
    marginal = sum(
        share * bell(GRID, next_level[0] * x0, next_level[1]) for share, x0 in zip(shares, points, strict=True)
    )
    true = bell(x_t, level[0] / next_level[0] * GRID, step_var(level, next_level).sqrt()) * marginal
    meant = shares * bell(x_t, level[0] * points, level[1])
    meant = meant / meant.sum()
    m = (meant * points).sum()
    mean, var = posterior(m, x_t, level, next_level)
    second = (next_level[0] * step_var(level, next_level) / level[1] ** 2) ** 2 * (meant * (points - m) ** 2).sum()
    torch.testing.assert_close(moments(true)[0], mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(moments(true)[1], var + second, rtol=1e-6, atol=1e-6)


def gaussian_kl(mean, var, other_mean, other_var):
    return kl_divergence(Normal(mean, var.sqrt()), Normal(other_mean, other_var.sqrt()))


def test_equation_4_11_is_the_ratio_of_the_joint_densities_sorted_anew():
    """Both sides, averaged over the same forward walks; the right side takes its KL divergences in closed form."""
    x0, levels = torch.tensor(0.7).double(), [at(t) for t in (0.0, 0.3, 0.6, 0.9)]
    n, x = 400_000, [x0]
    for i, (before, level) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        x.append(level[0] / before[0] * x[-1] + step_var(level, before).sqrt() * randn(n, seed=i))

    def model(x_next, i):  # p(x_{i-1} | x_i), of some other denoiser: a guess of 0.2
        mean, var = posterior(0.2, x_next, levels[i], levels[i - 1])
        return mean, var if i > 1 else torch.tensor(0.3).double()

    unit = torch.ones((), dtype=torch.float64)
    left = -Normal(0 * unit, unit).log_prob(x[3])
    for i in (1, 2, 3):
        mean, var = model(x[i], i)
        forward = Normal(levels[i][0] / levels[i - 1][0] * x[i - 1], step_var(levels[i], levels[i - 1]).sqrt())
        left = left - Normal(mean, var.sqrt()).log_prob(x[i - 1]) + forward.log_prob(x[i])
    mean, var = model(x[1], 1)
    right = gaussian_kl(levels[3][0] * x0, levels[3][1] ** 2, 0 * unit, unit) - Normal(mean, var.sqrt()).log_prob(x0)
    for i in (2, 3):
        right = right + gaussian_kl(*posterior(x0, x[i], levels[i], levels[i - 1]), *model(x[i], i))
    assert math.isclose(left.mean(), right.mean(), abs_tol=5 * left.std() / math.sqrt(n))


def test_equation_4_12_is_the_integral():
    for mean, other, std in ((0.3, -0.5, 0.7), (2.0, 1.0, 0.2)):
        p, q = Normal(mean, std), Normal(other, std)
        weights = p.log_prob(GRID).softmax(0)
        integral = (weights * (p.log_prob(GRID) - q.log_prob(GRID))).sum()
        assert math.isclose(integral, (mean - other) ** 2 / (2 * std**2), rel_tol=1e-6)


@pytest.mark.parametrize("schedule", [cosine(), linear(), ddpm(), flow()])
def test_equation_4_13_weighs_by_differences_of_the_signal_to_noise_ratio(schedule):
    x_t, x0, guess = torch.tensor([0.4, -1.1, 0.8]).double()
    level, next_level = at(0.6, schedule), at(0.45, schedule)
    (mean, var), (other, _) = (posterior(x, x_t, level, next_level) for x in (x0, guess))
    kl = gaussian_kl(mean, var, other, var)
    snr, next_snr = (schedule.snr(torch.tensor(t, dtype=torch.float64)) for t in (0.6, 0.45))
    torch.testing.assert_close(kl, (next_snr - snr) * (x0 - guess) ** 2 / 2)
    eps, eps_guess = ((x_t - level[0] * x) / level[1] for x in (x0, guess))
    torch.testing.assert_close(kl, (next_snr / snr - 1) * (eps - eps_guess) ** 2 / 2)


def test_the_weight_of_4_13_is_ddpm_s():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = (1 - betas).cumprod(0)
    snr = ddpm().snr(torch.linspace(0, 1, 1001, dtype=torch.float64)[1:])
    var = betas[1:] * (1 - kept[:-1]) / (1 - kept[1:])
    published = betas[1:] ** 2 / (2 * var * (1 - betas[1:]) * (1 - kept[1:]))  # arXiv 2006.11239, eq. 12
    torch.testing.assert_close((snr[:-1] / snr[1:] - 1) / 2, published)


def test_equation_4_14_is_smallest_for_the_ideal_denoiser():
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
def test_equation_4_15_gives_the_published_weights(predict, published):
    t = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
    for gamma in (1.0, 5.0):
        weight = GaussianDiffusion(cosine(), predict, min_snr=gamma).weight(t)
        torch.testing.assert_close(weight, published(cosine().snr(t), gamma))


@pytest.mark.parametrize("schedule", [cosine(), flow()])
def test_equation_4_16_is_the_mean_over_all_points_of_the_clouds(schedule):
    points, std, (signal, noise) = torch.tensor([-1.5, 0.3, 1.0]).double(), 0.4, at(0.5, schedule)
    ideal = IdealDenoiser(GaussianDiffusion(schedule, "x0"), points[:, None], std)
    for x_t in (-1.0, 0.1, 2.0):
        density = sum(bell(GRID, point, std) for point in points) * bell(x_t, signal * GRID, noise)
        ours = ideal(torch.tensor([[x_t]]).double(), torch.tensor([0.5]).double())[0, 0]
        torch.testing.assert_close(ours, moments(density)[0])
