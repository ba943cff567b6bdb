"""Chapter 03: each numbered equation, checked numerically."""

import math

import torch

from vqdit_lite.gaussian import GaussianDiffusion
from vqdit_lite.schedule import (
    cosine,
    ddpm,
    flow,
    linear,
    sigmoid,
    stratified_times,
    zero_terminal_snr,
)

TIMES = torch.linspace(0, 1, 101, dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equation_3_1_keeps_mean_and_variance_of_what_it_should():
    beta, x = 0.3, 2 + randn(200_000)
    stepped = math.sqrt(1 - beta) * x + math.sqrt(beta) * randn(200_000, seed=1)
    assert math.isclose(stepped.var(), 1, abs_tol=0.02)
    assert math.isclose(stepped.mean(), 2 * math.sqrt(1 - beta), abs_tol=0.01)


def test_equation_3_2_merges_two_steps_into_one():
    for first, second in ((0.3, 0.5), (1e-4, 0.02), (0.0, 0.9), (0.7, 0.0)):
        x1 = torch.tensor([math.sqrt(1 - first), math.sqrt(first), 0], dtype=torch.float64)  # of x0, eps_1, eps_2
        x2 = math.sqrt(1 - second) * x1 + math.sqrt(second) * torch.tensor([0, 0, 1], dtype=torch.float64)  # (3.1)
        kept = (1 - first) * (1 - second)
        assert math.isclose(x2[0], math.sqrt(kept), rel_tol=1e-12)
        assert math.isclose(x2[1:].norm(), math.sqrt(1 - kept), rel_tol=1e-12)


def test_equation_3_3_is_the_product_of_what_every_step_keeps():
    for steps in (1, 7, 50, 1000):
        kept, alpha_bar = 1.0, [1.0]
        for i in range(steps):
            beta = (1e-4 + (0.02 - 1e-4) * i / max(steps - 1, 1)) * 1000 / steps
            kept *= 1 - min(beta, 0.999)
            alpha_bar.append(kept)
        times = torch.arange(steps + 1, dtype=torch.float64) / steps
        torch.testing.assert_close(ddpm(steps).alpha_bar(times), torch.tensor(alpha_bar, dtype=torch.float64))


def test_equation_3_4_has_mean_and_variance_of_many_single_steps():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    mean, var = 1.0, 0.0  # of x, from x0 = 1, followed exactly through (3.1)
    for i, beta in enumerate(betas.tolist(), 1):
        mean, var = math.sqrt(1 - beta) * mean, (1 - beta) * var + beta
        if i % 250 == 0:
            t = torch.tensor(i / 1000, dtype=torch.float64)
            assert math.isclose(ddpm().signal(t), mean, rel_tol=1e-9)
            assert math.isclose(ddpm().noise(t), math.sqrt(var), rel_tol=1e-9)
    x0, eps, t = torch.full((100_000, 1), 2.0), randn(100_000, 1).float(), torch.full((100_000,), 0.3)
    x_t = GaussianDiffusion(ddpm()).corrupt(x0, t, eps)
    assert math.isclose(x_t.mean(), 2 * ddpm().signal(t)[0], abs_tol=0.01)
    assert math.isclose(x_t.std(), ddpm().noise(t)[0], abs_tol=0.01)


def test_equation_3_5_is_the_quotient_of_the_two_variances():
    for schedule in (linear(), cosine(), sigmoid(), flow(), ddpm()):
        t = TIMES[1:-1]
        ratio = schedule.signal(t).square() / schedule.noise(t).square()
        torch.testing.assert_close(schedule.snr(t), ratio)
        torch.testing.assert_close(schedule.log_snr(t), ratio.log())
        assert (ratio.diff() < 0).all()


def test_equation_3_6_has_the_roots_of_one_minus_t_and_t():
    torch.testing.assert_close(linear().signal(TIMES), (1 - TIMES).sqrt())
    torch.testing.assert_close(linear().noise(TIMES), TIMES.sqrt())


def test_equation_3_7_is_a_squared_cosine():
    f = torch.cos((TIMES + 0.008) / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(cosine().alpha_bar(TIMES), f / f[0], rtol=1e-9, atol=1e-12)
    assert cosine().alpha_bar(TIMES)[-1] == 0


def test_equation_3_8_is_a_stretched_logistic_function():
    def logistic(u):
        return 1 / (1 + torch.exp(-torch.as_tensor(u, dtype=torch.float64)))

    expected = (logistic(3 - 6 * TIMES) - logistic(-3)) / (logistic(3) - logistic(-3))
    torch.testing.assert_close(sigmoid().alpha_bar(TIMES), expected, rtol=1e-9, atol=1e-12)


def test_equation_3_9_is_the_straight_line():
    torch.testing.assert_close(flow().signal(TIMES), 1 - TIMES)
    torch.testing.assert_close(flow().noise(TIMES), TIMES)


def test_equation_3_10_has_mean_and_variance_of_many_steps_without_roots():
    for beta in (0.001, 0.02, 0.5):
        mean, var = 1.0, 0.0  # of x, from x0 = 1
        for i in range(1, 20_001):
            mean, var = (1 - beta) * mean, (1 - beta) ** 2 * var + beta**2
            if i in (1, 2, 200, 20_000):
                assert math.isclose((1 - beta) ** i, mean, rel_tol=1e-9)
                assert math.isclose(beta / (2 - beta) * (1 - (1 - beta) ** (2 * i)), var, rel_tol=1e-9)
        assert math.isclose(math.sqrt(var), math.sqrt(beta / (2 - beta)), rel_tol=1e-9)  # where it settles


def test_equation_3_11_is_bayes_rule_in_a_finite_world():
    world, labels, (a, sigma) = randn(12, 3), torch.arange(12) % 4, (0.6, 0.8)
    x_t = a * world[5] + sigma * randn(200, 3, seed=1)
    weights = (-torch.cdist(x_t, a * world).square() / (2 * sigma**2)).softmax(1)  # (200, 12)
    density = torch.distributions.Normal(a * world, sigma).log_prob(x_t[:, None]).sum(-1).exp()  # (200, 12)
    for label in range(4):
        by_bayes = density[:, labels == label].mean(1) * (3 / 12) / density.mean(1)  # likelihood · prior / evidence
        torch.testing.assert_close(weights[:, labels == label].sum(1), by_bayes)


def test_equation_3_12_shifts_and_stretches_the_root():
    root = ddpm().alpha_bar(TIMES).sqrt()
    expected = (root - root[-1]) / (1 - root[-1])
    torch.testing.assert_close(zero_terminal_snr(ddpm()).alpha_bar(TIMES).sqrt(), expected)


def test_equation_3_13_shifts_evenly_spaced_times_together():
    generator = torch.Generator().manual_seed(3)
    u = torch.rand(1, generator=torch.Generator().manual_seed(3))
    expected = torch.tensor([(u.item() + b / 10) % 1 for b in range(10)])
    torch.testing.assert_close(stratified_times(10, generator), expected)
    many = torch.stack([stratified_times(8, generator) for _ in range(4000)])  # every single time is uniform
    torch.testing.assert_close(many.mean(0), torch.full((8,), 0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(many.var(0), torch.full((8,), 1 / 12), atol=0.005, rtol=0)
