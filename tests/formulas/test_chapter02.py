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


def test_equation_2_1_is_one_for_the_mean_picture_and_zero_for_a_perfect_one():
    x = rand(8, 3, 4, 4)
    assert math.isclose(F.mse_loss(torch.full_like(x, x.mean().item()), x) / x.var(correction=0), 1.0, rel_tol=1e-9)
    assert F.mse_loss(x, x) / x.var() == 0


def test_equation_2_2_equals_the_divergence_of_two_gaussians():
    mean, sigma = rand(100), rand(100, seed=1).exp()
    ours = (mean.square() + sigma.square() - 1 - sigma.square().log()) / 2
    torch.testing.assert_close(ours, kl_divergence(Normal(mean, sigma), Normal(0.0, 1.0)))


def test_equation_2_3_is_what_the_model_minimises():
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


def test_equation_2_4_is_constant_with_a_gradient_of_zero():
    logits = rand(50, 512).requires_grad_()
    one_hot = F.one_hot(logits.argmax(1), 512).double()
    kl = kl_divergence(
        Categorical(probs=one_hot), Categorical(probs=torch.full((50, 512), 1 / 512, dtype=torch.float64))
    )
    torch.testing.assert_close(kl, torch.full((50,), math.log(512), dtype=torch.float64))
    assert not kl.requires_grad


def test_equation_2_5_turns_the_vector_into_its_code_by_a_rotation_and_a_stretch():
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


def test_equation_2_6_numbers_every_combination_of_levels_once():
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


def test_equation_2_7_adds_up_to_the_code_and_leaves_less_at_every_stage():
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
