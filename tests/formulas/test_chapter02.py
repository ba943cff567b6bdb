"""Chapter 02: each numbered equation, checked numerically."""

import math

import torch
import torch.nn.functional as F
from torch.autograd import grad
from torch.distributions import Categorical, Normal, kl_divergence

from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.quantize import FiniteScalarQuantizer, VectorQuantizer, nearest_code, rotation
from vqdit_lite.residual import ResidualQuantizer


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normal(mean, std):
    return Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64))


def test_equation_2_1_is_one_for_the_mean_picture_and_zero_for_a_perfect_one():
    x = rand(8, 3, 4, 4)
    assert math.isclose(F.mse_loss(torch.full_like(x, x.mean().item()), x) / x.var(correction=0), 1.0, rel_tol=1e-9)
    assert F.mse_loss(x, x) / x.var() == 0


# A model in which everything is known: z is standard normal, and x is 2 z and noise of variance 1/2.
X, VAR = torch.tensor(1.5, dtype=torch.float64), 0.5
Z = torch.linspace(-12, 12, 24_001, dtype=torch.float64)  # integrals are sums over this grid
PRIOR, LIKELIHOOD = normal(0, 1), Normal(2 * Z, VAR**0.5)
EVIDENCE = normal(0, (4 + VAR) ** 0.5).log_prob(X)
POSTERIOR = normal(2 * X.item() / (4 + VAR), (VAR / (4 + VAR)) ** 0.5)
GUESSES = [normal(mean, std) for mean in (-1.0, 0.0, 0.7) for std in (0.2, 0.4, 1.0)]


def mean_under(q, values):
    return (q.log_prob(Z).exp() * values).sum() * (Z[1] - Z[0])


def elbo(q):
    return mean_under(q, LIKELIHOOD.log_prob(X)) - kl_divergence(q, PRIOR)


def test_equation_2_2_is_the_negative_log_likelihood_of_a_gaussian():
    x, x_hat, var = rand(20), rand(20, seed=1), 0.3
    by_hand = (x - x_hat).square().sum() / (2 * var) + 20 / 2 * math.log(2 * math.pi * var)
    torch.testing.assert_close(by_hand, -Normal(x_hat, var**0.5).log_prob(x).sum())


def test_equation_2_3_gives_the_likelihood_whatever_is_proposed():
    for q in GUESSES[1:]:  # the narrowest proposes too little
        ratio = (LIKELIHOOD.log_prob(X) + PRIOR.log_prob(Z) - q.log_prob(Z)).exp()
        inside = q.log_prob(Z) > -600  # where q does not vanish in double precision
        torch.testing.assert_close(mean_under(q, ratio.where(inside, 0)).log(), EVIDENCE, atol=1e-6, rtol=0)


def test_equation_2_4_bounds_the_likelihood_and_meets_it_at_the_posterior():
    assert all(elbo(q) < EVIDENCE for q in GUESSES)
    torch.testing.assert_close(elbo(POSTERIOR), EVIDENCE)


def test_equation_2_5_says_what_the_bound_loses():
    for q in GUESSES:
        torch.testing.assert_close(EVIDENCE - elbo(q), kl_divergence(q, POSTERIOR), atol=1e-6, rtol=0)


def test_equation_2_6_equals_the_divergence_of_two_gaussians():
    mean, sigma = rand(100), rand(100, seed=1).exp()
    ours = (mean.square() + sigma.square() - 1 - sigma.square().log()) / 2
    torch.testing.assert_close(ours, kl_divergence(Normal(mean, sigma), Normal(0.0, 1.0)))


def test_equation_2_7_draws_from_the_gaussian_and_gives_the_gradient_of_the_mean():
    mean = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    std = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    eps = rand(100_000)
    z = mean + std * eps
    assert math.isclose(z.mean().item(), 1, abs_tol=0.01)
    assert math.isclose(z.std().item(), 0.5, abs_tol=0.01)

    def f(z):
        return (z - 3).square()

    by_mean, by_std = grad(f(z).mean(), (mean, std))  # of (mean - 3)² + std²: 2 (mean - 3) and 2 std
    assert math.isclose(by_mean, -4, abs_tol=0.02)
    assert math.isclose(by_std, 1, abs_tol=0.1)
    h = 1e-4  # and the finite differences of the same mean
    assert math.isclose(by_mean, ((f(z + h) - f(z - h)).mean() / (2 * h)).item(), abs_tol=1e-6)
    assert math.isclose(by_std, ((f(z + h * eps) - f(z - h * eps)).mean() / (2 * h)).item(), abs_tol=1e-6)


def test_equation_2_8_is_the_bound_scaled_with_its_constants_left_out():
    x, mean, log_var, eps = rand(30), rand(4, seed=1), rand(4, seed=2), rand(4, seed=3)
    tau, weights = 0.1, rand(30, 4, seed=4)
    mean, log_var = mean.requires_grad_(), log_var.requires_grad_()
    z = mean + (log_var / 2).exp() * eps
    total = (x - x.mean()).square().sum()
    kl = kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(0.0, 1.0)).sum()
    bound = Normal(weights @ z, (tau * total / 30).sqrt()).log_prob(x).sum() - kl
    loss = (x - weights @ z).square().sum() / total + 2 * tau / 30 * kl
    for of_loss, of_bound in zip(
        grad(loss, (mean, log_var), retain_graph=True), grad(bound, (mean, log_var)), strict=True
    ):
        torch.testing.assert_close(of_loss, -2 * tau / 30 * of_bound)


def test_equation_2_9_is_what_the_model_minimises():
    torch.manual_seed(0)
    model = VQVAE((1, 8, 8), VectorQuantizer(16, 4, learning="gradient", beta=0.25, revive_below=0), width=8)
    x = torch.rand(6, 1, 8, 8)
    z_e = model.encoder(x)
    e = model.quantizer.codebook[nearest_code(z_e, model.quantizer.codebook)]
    x_hat = model.decoder(e)
    share = (x - x_hat).square().mean() / x.var()
    codebook, commitment = (z_e.detach() - e).square().mean(), (z_e - e.detach()).square().mean()
    torch.testing.assert_close(model.loss(x)["loss"], share + codebook + 0.25 * commitment)
    with_gradient = grad(model.loss(x)["loss"], model.quantizer.codebook)[0]
    torch.testing.assert_close(with_gradient, grad(codebook, model.quantizer.codebook)[0])


def test_equation_2_10_is_constant_with_a_gradient_of_zero():
    logits = rand(50, 512).requires_grad_()
    one_hot = F.one_hot(logits.argmax(1), 512).double()
    kl = kl_divergence(
        Categorical(probs=one_hot), Categorical(probs=torch.full((50, 512), 1 / 512, dtype=torch.float64))
    )
    torch.testing.assert_close(kl, torch.full((50,), math.log(512), dtype=torch.float64))
    assert not kl.requires_grad


def test_equation_2_11_turns_the_vector_into_its_code_by_a_rotation_and_a_stretch():
    z, e = rand(200, 6).requires_grad_(), rand(200, 6, seed=1)
    torch.testing.assert_close(rotation(z, e), e)
    z_hat, e_hat = F.normalize(z.detach(), dim=1), F.normalize(e, dim=1)
    r = F.normalize(z_hat + e_hat, dim=1)
    eye = torch.eye(6, dtype=torch.float64)
    turn = eye - 2 * torch.einsum("bi,bj->bij", r, r) + 2 * torch.einsum("bi,bj->bij", e_hat, z_hat)
    torch.testing.assert_close(turn @ turn.mT, eye.expand_as(turn))  # a rotation keeps all angles
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(200, dtype=torch.float64))
    upstream = rand(200, 6, seed=2)
    (slope,) = grad((rotation(z, e) * upstream).sum(), z)
    stretch = e.norm(dim=1, keepdim=True) / z.detach().norm(dim=1, keepdim=True)
    torch.testing.assert_close(slope, stretch * torch.einsum("bij,bi->bj", turn, upstream))


def test_equation_2_12_numbers_every_combination_of_levels_once():
    for levels in ([8, 5, 5, 5], [3, 4], [4], [5, 5, 3]):
        quantizer = FiniteScalarQuantizer(levels)
        ids = torch.arange(math.prod(levels))
        codes = quantizer.lookup(ids)
        digits = (
            codes * torch.tensor([length // 2 for length in levels]) + torch.tensor([n // 2 for n in levels])
        ).round()
        weights = [math.prod(levels[:d]) for d in range(len(levels))]
        assert len(codes.unique(dim=0)) == len(ids)
        assert (digits >= 0).all()
        assert (digits < torch.tensor(levels)).all()
        assert torch.equal((digits.long() * torch.tensor(weights)).sum(1), ids)


def test_equation_2_13_adds_up_to_the_code_and_leaves_less_at_every_stage():
    z = rand(1, 500, 4).float()
    errors = []
    for count in (1, 2, 3, 4):
        torch.manual_seed(0)
        quantizer = ResidualQuantizer([VectorQuantizer(8, 4) for _ in range(count)])
        quantizer.initialise(z, torch.Generator().manual_seed(0))
        quantizer.eval()
        quantized = quantizer(z)
        rest = z
        for i, stage in enumerate(quantizer.stages):
            assert torch.equal(quantized.ids[..., i], nearest_code(rest, stage.codebook))
            rest = rest - stage.lookup(quantized.ids[..., i])
        torch.testing.assert_close(z - rest, quantized.codes)
        errors.append(rest.square().mean().item())
    assert errors == sorted(errors, reverse=True)
