import pytest
import torch

from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.quantize import FiniteScalarQuantizer, ResidualQuantizer, VectorQuantizer, rotation

QUANTIZERS = {
    "ema": lambda: VectorQuantizer(16, 4),
    "gradient": lambda: VectorQuantizer(16, 4, learning="gradient"),
    "cosine": lambda: VectorQuantizer(16, 4, cosine=True),
    "rotation": lambda: VectorQuantizer(16, 4, estimator=rotation),
    "fsq": lambda: FiniteScalarQuantizer([4, 3, 8, 5]),
    "residual": lambda: ResidualQuantizer([VectorQuantizer(16, 4) for _ in range(3)]),
}


@pytest.fixture(params=QUANTIZERS)
def model(request):
    torch.manual_seed(0)
    return VQVAE((3, 8, 12), QUANTIZERS[request.param](), width=8)


def pictures(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def test_pictures_become_one_token_a_patch_and_pictures_again(model):
    ids = model.encode(pictures(2, 3, 8, 12))
    decoded = model.decode(ids)
    assert ids.shape[:2] == (2, 6)
    assert decoded.shape == (2, 3, 8, 12)
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_decoding_ids_gives_the_reconstruction(model):
    x = pictures(2, 3, 8, 12)
    reconstruction, quantized = model.eval()(x)
    assert torch.equal(model.encode(x), quantized.ids)
    torch.testing.assert_close(model.decode(quantized.ids), reconstruction.clamp(0, 1), atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_weight_of_the_encoder(model):
    model.loss(pictures(4, 3, 8, 12))["error"].backward()
    assert all(weight.grad.abs().sum() > 0 for weight in model.encoder.parameters())


def test_encoding_in_training_mode_moves_no_code(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train().encode(pictures(2, 3, 8, 12))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_loss_is_the_scaled_error_and_the_quantizers_loss(model):
    x = pictures(4, 3, 8, 12)
    reconstruction, quantized = model.eval()(x)
    parts = model.loss(x)
    torch.testing.assert_close(parts["error"], (reconstruction - x).square().mean() / x.var())
    torch.testing.assert_close(parts["loss"], parts["error"] + quantized.loss)
    assert torch.equal(parts["perplexity"], quantized.perplexity)


def test_blank_pictures_have_a_finite_loss(model):
    assert model.loss(torch.ones(2, 3, 8, 12))["loss"].isfinite()


def test_tokens_stand_row_by_row():
    model = VQVAE((1, 16, 24), VectorQuantizer(16, 4), width=8).eval()
    x, changed = pictures(1, 1, 16, 24), pictures(1, 1, 16, 24)
    changed[..., :4, 20:] = 1 - changed[..., :4, 20:]
    moved = (model.encoder(x) - model.encoder(changed)).abs().sum(-1).unflatten(1, (4, 6))[0]
    assert moved.argmax() == 5
    codes = torch.zeros(1, 24, 4)
    codes[0, 5] = 100
    drawn = (model.decoder(codes) - model.decoder(torch.zeros(1, 24, 4))).abs()[0, 0]
    middles = drawn.unfold(0, 4, 4).unfold(1, 4, 4).sum((-1, -2))
    assert middles.argmax() == 5


@pytest.mark.parametrize("shape", [(3, 10, 8), (3, 8, 10), (3, 0, 8), (0, 8, 8), (3, -4, 8)])
def test_sizes_that_do_not_divide_by_four_are_named(shape):
    with pytest.raises(ValueError, match=rf"divide by 4.*\({shape[0]}, {shape[1]}, {shape[2]}\)"):
        VQVAE(shape, VectorQuantizer(16, 4))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(2, 1, 8, 12), r"\(batch, 3, 8, 12\); torch.float32 of shape \(2, 1, 8, 12\)"),
        (torch.rand(3, 8, 12), r"shape \(3, 8, 12\)"),
        (torch.rand(2, 3, 8, 8), r"shape \(2, 3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 12, dtype=torch.uint8), "torch.uint8"),
        (torch.zeros(2, 3, 8, 12, dtype=torch.float64), "torch.float64|float64"),
        (torch.full((2, 3, 8, 12), float("nan")), "NaN"),
        (torch.zeros(0, 3, 8, 12), r"\(0, "),
    ],
    ids=["channels", "no batch", "size", "whole numbers", "double", "NaN", "empty batch"],
)
def test_bad_pictures_are_named(x, message):
    with pytest.raises(ValueError, match=message):
        VQVAE((3, 8, 12), VectorQuantizer(16, 4), width=8)(x)


@pytest.mark.parametrize("shape", [(2, 5), (6,)])
def test_ids_of_another_grid_are_named(shape):
    with pytest.raises(ValueError, match=r"6|2 × 3|\(2, 3\)"):
        VQVAE((3, 8, 12), VectorQuantizer(16, 4), width=8).decode(torch.zeros(shape, dtype=torch.long))
