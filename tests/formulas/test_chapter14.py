"""Chapter 14: each numbered equation, checked numerically."""

import math
from itertools import pairwise, product

import pytest
import torch
import torch.nn.functional as F

from vqdit_lite import masked
from vqdit_lite.attention import attention
from vqdit_lite.gaussian import GaussianDiffusion, IdealDenoiser, ddim_step, guided
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.residual import ResidualQuantizer
from vqdit_lite.schedule import ddpm, linear, time_grid


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equation_14_1_is_for_each_query_a_mean_of_values_weighted_by_its_scores():
    q, k, v = randn(5, 3), randn(7, 3, seed=1), randn(7, 2, seed=2)  # no two sizes are equal
    expected = []
    for query in q:
        weights = [math.exp(sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(3)) for key in k]
        expected.append(sum(weight * value for weight, value in zip(weights, v, strict=True)) / sum(weights))
    formula = torch.softmax(q @ k.T / math.sqrt(3), dim=-1) @ v
    torch.testing.assert_close(formula, torch.stack(expected))
    torch.testing.assert_close(attention(q, k, v)[0], formula)
    torch.testing.assert_close(attention(q, k, torch.full_like(v, 7))[0], torch.full((5, 2), 7.0).double())


def test_equation_14_2_keeps_unit_variance_for_any_betas():
    betas = torch.rand(30, generator=torch.Generator().manual_seed(0)).tolist()
    x = randn(200_000)
    for step, beta in enumerate(betas, 1):
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * randn(200_000, seed=step)
        assert abs(x.var() - 1) < 0.03


@pytest.mark.parametrize("T", [1, 2, 50, 1000])
def test_equation_14_3_leaves_one_minus_t_after_every_step(T):
    betas = torch.tensor([1 / (T - i + 1) for i in range(1, T + 1)], dtype=torch.float64)
    times = torch.arange(1, T + 1, dtype=torch.float64) / T
    torch.testing.assert_close((1 - betas).cumprod(0), linear().alpha_bar(times), rtol=1e-9, atol=1e-12)


def test_equation_14_4_gives_every_path_the_probability_that_the_forward_process_gives_it():
    """A chain of four states in time, three values each, small enough to add up all paths."""
    generator = torch.Generator().manual_seed(0)
    start = torch.rand(3, generator=generator).double()
    start /= start.sum()
    forward = torch.rand(3, 3, 3, generator=generator).double()  # (step, from, to)
    forward /= forward.sum(-1, keepdim=True)
    marginals = [start]
    for step in forward:
        marginals.append(marginals[-1] @ step)
    # Bayes' rule: p(x_(i-1) | x_i), indexed (step, x_i, x_(i-1))
    back = [
        (before[:, None] * step / after).T for step, (before, after) in zip(forward, pairwise(marginals), strict=True)
    ]
    for path in product(range(3), repeat=4):
        there = start[path[0]] * math.prod(forward[i][path[i], path[i + 1]] for i in range(3))
        formula = marginals[-1][path[3]] * math.prod(back[i][path[i + 1], path[i]] for i in range(3))
        torch.testing.assert_close(formula, there)


@pytest.mark.parametrize("K", [2, 8, 512])
def test_equation_14_5_is_log_k_whichever_code_is_chosen(K):
    q = F.one_hot(torch.arange(K), K).double()  # every possible answer
    formula = torch.special.xlogy(q, q / (1 / K)).sum(1)
    torch.testing.assert_close(formula, torch.full((K,), math.log(K)).double())
    uniform = torch.distributions.OneHotCategorical(torch.full((K,), 1 / K).double())
    trusted = torch.distributions.kl_divergence(torch.distributions.OneHotCategorical(q), uniform)
    torch.testing.assert_close(formula, trusted, rtol=1e-6, atol=1e-6)


def test_equation_14_6_pulls_the_code_fully_and_the_encoder_by_beta():
    beta, codebook = 0.25, randn(4, 2).float()
    quantizer = VectorQuantizer(4, 2, learning="gradient", beta=beta, revive_below=0)
    quantizer.codebook.data.copy_(codebook)
    z = randn(1, 6, 2, seed=1).float().requires_grad_()
    quantized = quantizer(z)
    e = codebook[quantized.ids]
    gap = (z - e).detach()
    torch.testing.assert_close(quantized.loss, (1 + beta) * gap.square().mean())
    to_z, to_codes = torch.autograd.grad(quantized.loss, [z, quantizer.codebook])
    torch.testing.assert_close(to_z, beta * 2 * gap / gap.numel())
    expected = torch.zeros(4, 2).index_add(0, quantized.ids.flatten(), -2 * gap[0] / gap.numel())
    torch.testing.assert_close(to_codes, expected)
    # The first term reaches the encoder through the code, straight through; neither of the others is it.
    x = randn(1, 6, 2, seed=2).float()
    (through,) = torch.autograd.grad(F.mse_loss(quantizer(z).codes, x), z)
    torch.testing.assert_close(through, 2 * (e - x) / x.numel())


def test_equation_14_7_lets_every_stage_pull_on_the_encoder():
    stages = [VectorQuantizer(8, 2, learning="gradient", revive_below=0) for _ in range(3)]
    for number, stage in enumerate(stages):
        stage.codebook.data.copy_(randn(8, 2, seed=number).float() / 2**number)
    z = randn(1, 20, 2, seed=9).float().requires_grad_()
    rest, expected, ids = z.detach(), torch.zeros(1, 20, 2), []
    for stage in stages:  # the gradients of all commitment losses, added up by hand
        ids.append(torch.cdist(rest, stage.codebook[None]).argmin(-1))
        code = stage.codebook[ids[-1]].detach()
        expected += 0.25 * 2 * (rest - code) / rest.numel()
        rest = rest - code
    quantized = ResidualQuantizer(stages)(z)
    assert torch.equal(quantized.ids, torch.stack(ids, -1))
    torch.testing.assert_close(torch.autograd.grad(quantized.loss, z)[0], expected)


def test_equation_14_8_follows_counts_and_sums_and_leaves_unused_codes():
    gamma, codebook = 0.9, torch.tensor([[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]])
    quantizer = VectorQuantizer(3, 2, decay=gamma, revive_below=0)
    quantizer.codebook.copy_(codebook)
    quantizer.sums.copy_(codebook)
    N, m, e = [1.0] * 3, [code.double() for code in codebook], codebook.double()  # N = 1 and m = e at the start
    for step in range(20):
        z = (0.5 + 0.5 * randn(40, 2, seed=step)).clamp(max=3)
        chosen = torch.cdist(z, e).argmin(1)
        for k in range(3):
            N[k] = gamma * N[k] + (1 - gamma) * (chosen == k).sum().item()
            m[k] = gamma * m[k] + (1 - gamma) * z[chosen == k].sum(0)
        e = torch.stack([total / count for total, count in zip(m, N, strict=True)])
        quantizer(z[None].float())
        torch.testing.assert_close(quantizer.codebook, e.float(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(quantizer.codebook[2], codebook[2], rtol=1e-3, atol=1e-3)
    assert (quantizer.codebook[:2] - codebook[:2]).abs().max() > 0.1  # those in use have moved


@pytest.mark.parametrize("T", [50, 200, 1000])
def test_equation_14_9_ends_in_noise_for_any_number_of_steps(T):
    betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    scaled = 1000 / T * betas
    kept = (1 - scaled).cumprod(0)
    assert kept[-1] < 1e-4
    assert abs(scaled.sum() - torch.linspace(1e-4, 0.02, 1000).sum()) < 1e-3
    times = torch.arange(1, T + 1, dtype=torch.float64) / T
    torch.testing.assert_close(ddpm(T).alpha_bar(times), kept)
    assert T == 1000 or (1 - betas).prod() > 0.1  # not scaled, much is left


@pytest.mark.parametrize("n", [4, 10])
def test_equation_14_10_is_the_temperature_of_maskgits_order(n, monkeypatch):
    """Where all tokens are equally likely, only Gumbel noise tells them apart: its spread shows the temperature."""
    start_value, seen = 3.0, []

    def confidence_step(x, drawn, mask_id, confidence, left):
        seen.append(confidence.std().item() / (math.pi / math.sqrt(6)))  # Gumbel's standard deviation
        return confidence_step_of_the_library(x, drawn, mask_id, confidence, left)

    confidence_step_of_the_library = masked.confidence_step
    monkeypatch.setattr(masked, "confidence_step", confidence_step)
    diffusion = masked.MaskedDiffusion(linear(), mask_id=4)
    for _ in diffusion.sample(
        lambda x, t: torch.zeros(*x.shape, 4),
        torch.full((2000, 20), 4),
        time_grid(n),
        "confidence",
        generator=torch.Generator().manual_seed(0),
        choice_temperature=start_value,
    ):
        pass
    for i, temperature in enumerate(seen, 1):
        assert abs(temperature - start_value * (1 - i / n)) < 0.05


def test_equation_14_11_is_one_rule_with_two_names_for_its_scale():
    eps_c, eps_free = randn(6, 4), randn(6, 4, seed=1)
    for w in (-1.0, 0.0, 0.5, 3.0):
        s = 1 + w
        formula = (1 + w) * eps_c - w * eps_free
        torch.testing.assert_close(eps_free + s * (eps_c - eps_free), formula)
        rule = guided(lambda x, t: eps_c, lambda x, t: eps_free, s)
        torch.testing.assert_close(rule(torch.zeros(6, 4), torch.full((6,), 0.5)), formula)
    # Between two normal distributions with means 0 and 2, the guided samples have mean 2 s.
    diffusion = GaussianDiffusion(linear())
    label, free = (IdealDenoiser(diffusion, torch.full((1, 1), mean), std=1.0) for mean in (2.0, 0.0))
    noise = randn(500, 1)
    *_, x = diffusion.sample(guided(label, free, 1.5), torch.cat([noise, -noise]), time_grid(10), "ddim")
    assert abs(x.mean() - 3) < 1e-6


def test_equation_14_12_has_mean_and_variance_of_ddpms_posterior():
    schedule = ddpm()
    x0, eps = randn(50), randn(50, seed=1)
    for i in (2, 10, 500, 1000):
        t, next_t = (torch.tensor(step / 1000, dtype=torch.float64) for step in (i, i - 1))
        a, sigma = schedule.signal(t), schedule.noise(t)
        next_a, next_sigma = schedule.signal(next_t), schedule.noise(next_t)
        var = next_sigma**2 / sigma**2 * (sigma**2 - a**2 / next_a**2 * next_sigma**2)
        mean = next_a * x0 + (next_sigma**2 - var).sqrt() * eps
        # arXiv 2006.11239, eq. 6 and 7
        alpha_bar, next_alpha_bar = schedule.alpha_bar(t), schedule.alpha_bar(next_t)
        beta = 1 - alpha_bar / next_alpha_bar
        x_t = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps
        from_x0 = next_alpha_bar.sqrt() * beta / (1 - alpha_bar)
        from_x_t = (1 - beta).sqrt() * (1 - next_alpha_bar) / (1 - alpha_bar)
        torch.testing.assert_close(mean, from_x0 * x0 + from_x_t * x_t)
        torch.testing.assert_close(var, beta * (1 - next_alpha_bar) / (1 - alpha_bar))
        # the library's step adds the root of it
        z = randn(50, seed=2)
        stepped = ddim_step(x0, eps, (a, sigma), (next_a, next_sigma), 1.0, z)
        torch.testing.assert_close(stepped, mean + var.sqrt() * z)
