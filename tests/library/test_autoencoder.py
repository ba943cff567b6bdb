import pytest
import torch

from vqdit_lite.autoencoder import VQVAE, LatentSpace
from vqdit_lite.quantize import FiniteScalarQuantizer, VectorQuantizer, rotation
from vqdit_lite.residual import ResidualQuantizer

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
    with pytest.raises(ValueError, match=rf"divisible by 4; it is \({shape[0]}, {shape[1]}, {shape[2]}\)"):
        VQVAE(shape, VectorQuantizer(16, 4))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(2, 1, 8, 12), r"\(batch, 3, 8, 12\); got torch.float32 of shape \(2, 1, 8, 12\)"),
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


# ---------------------------------------------------------------- LatentSpace


@pytest.fixture
def space():
    """A space of two tokens a picture, whose codes are counted on `pictures(64, 3, 8, 16)`."""
    torch.manual_seed(0)
    model = VQVAE((3, 8, 16), VectorQuantizer(16, 4), width=8).eval()
    x = pictures(64, 3, 8, 16)
    model.quantizer.initialise(model.encoder(x).detach(), torch.Generator().manual_seed(0))
    model.quantizer.counts.copy_(model.encode(x).flatten().bincount(minlength=16))
    return LatentSpace(model)


def test_features_of_codes_have_mean_zero_and_variance_one(space):
    features = space.encode(pictures(64, 3, 8, 16)).unflatten(2, (4, 4)).transpose(0, 2).flatten(1)
    torch.testing.assert_close(features.mean(1), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.var(1, correction=0), torch.ones(4), atol=1e-3, rtol=0)


def test_mean_and_spread_are_those_of_the_codes_as_often_as_they_are_used(space):
    used = space.model.quantizer.codebook.repeat_interleave(space.model.quantizer.counts.long(), dim=0)
    torch.testing.assert_close(space.mean, used.mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(space.std, used.std(0, correction=0), atol=1e-5, rtol=1e-4)
    assert (used.mean(0) - space.model.quantizer.codebook.mean(0)).abs().max() > 1e-3


def test_a_token_holds_the_codes_of_two_by_two_neighbours(space):
    x = pictures(2, 3, 8, 16)
    tokens = space.encode(x)
    codes = ((space.model.quantize(x).codes - space.mean) / space.std).unflatten(1, (2, 4))
    assert tokens.shape == (2, 2, 16)
    assert not tokens.requires_grad
    for number in range(2):
        four = codes[:, :, 2 * number : 2 * number + 2].flatten(1, 2)
        torch.testing.assert_close(tokens[:, number], four.transpose(1, 2).flatten(1))


@pytest.mark.parametrize("shape", [(3, 8, 16), (1, 16, 8), (1, 8, 8)])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_way_through_the_space_is_the_way_through_the_ids(shape, batch):
    torch.manual_seed(0)
    space = LatentSpace(VQVAE(shape, VectorQuantizer(16, 4), width=8))
    x = pictures(batch, *shape)
    torch.testing.assert_close(space.decode(space.encode(x)), space.model.decode(space.model.encode(x)))


def test_what_lies_near_a_code_is_decoded_as_that_code(space, monkeypatch):
    x = pictures(2, 3, 8, 16)
    tokens, ids, codes = space.encode(x), space.model.encode(x), space.model.quantizer.codebook
    nearest = torch.cdist(codes, codes).fill_diagonal_(torch.inf).min()
    away = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(2))
    # No code moves by as much as half of the way to the next one.
    step = 0.49 * nearest / space.std.max() * away / away.norm(dim=-1, keepdim=True)
    monkeypatch.setattr(space.model, "decode", lambda ids: ids)
    assert torch.equal(space.decode(tokens + step), ids)
    assert not torch.equal(space.decode(-tokens), ids)


def test_a_space_leaves_training_mode_and_moves_no_code():
    torch.manual_seed(0)
    model = VQVAE((3, 8, 16), VectorQuantizer(16, 4), width=8).train()
    before = model.quantizer.codebook.clone()
    LatentSpace(model).encode(pictures(4, 3, 8, 16))
    assert not model.training
    assert torch.equal(model.quantizer.codebook, before)


@pytest.mark.parametrize(("shape", "grid"), [((3, 8, 12), "2 × 3"), ((3, 12, 8), "3 × 2"), ((3, 4, 4), "1 × 1")])
def test_a_grid_of_odd_height_or_width_is_named(shape, grid):
    with pytest.raises(ValueError, match=f"even height and width; it is {grid}"):
        LatentSpace(VQVAE(shape, VectorQuantizer(16, 4), width=8))


def test_a_quantizer_that_does_not_count_is_named():
    with pytest.raises(ValueError, match="needs a VectorQuantizer; it is a FiniteScalarQuantizer"):
        LatentSpace(VQVAE((3, 8, 16), FiniteScalarQuantizer([3, 3]), width=8))


@pytest.mark.parametrize("shape", [(2, 3, 16), (2, 2, 15), (2, 16)])
def test_tokens_of_another_grid_are_named(space, shape):
    with pytest.raises(ValueError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
        space.decode(torch.zeros(shape))


# ---------------------------------------------------------------- sounds and clips


@pytest.mark.parametrize(("shape", "tokens"), [((32, 40), 10), ((3, 16, 8), 8), ((3, 8, 16, 12), 24)])
def test_one_two_and_three_spatial_dims_work_alike(shape, tokens):
    torch.manual_seed(0)
    model = VQVAE(shape, VectorQuantizer(16, 4), width=8)
    x = torch.rand(2, *shape)
    ids = model.encode(x)
    assert ids.shape == (2, tokens)
    assert model.decode(ids).shape == x.shape
    model.loss(x)["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_token_of_a_clip_does_not_see_frames_far_away():
    """Convolutions are local: with random weights, changing the last frames leaves the first tokens' vectors alone."""
    torch.manual_seed(0)
    encoder = VQVAE((1, 64, 8, 8), VectorQuantizer(16, 4), width=8).encoder
    clip = torch.rand(1, 1, 64, 8, 8)
    changed = clip.clone()
    changed[:, :, -4:] = 0
    assert torch.equal(encoder(clip)[:, :4], encoder(changed)[:, :4])
    assert not torch.equal(encoder(clip)[:, -4:], encoder(changed)[:, -4:])


@pytest.mark.parametrize("shape", [(3,), (3, 4, 4, 4, 4), (3, 10), (3, 4, 6, 4)])
def test_shapes_of_other_sizes_are_named(shape):
    with pytest.raises(ValueError, match="one to three sizes, all divisible by 4"):
        VQVAE(shape, VectorQuantizer(16, 4))
