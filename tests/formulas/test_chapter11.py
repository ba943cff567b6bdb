"""Every numbered equation of chapter 11, checked numerically."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.transformer import DiTBlock, SpaceTimeBlock


@pytest.mark.parametrize(("shape", "tokens"), [((3, 8, 24, 24), 72), ((3, 4, 24, 24), 36), ((3, 12, 8, 16), 24)])
def test_equation_11_1_counts_the_tokens_of_a_clip(shape, tokens):
    model = VQVAE(shape, VectorQuantizer(16, 4), width=8)
    assert math.prod(side // 4 for side in shape[1:]) == tokens
    assert model.encode(torch.rand(1, *shape)).shape == (1, tokens)


def products(block, tokens, width, condition):
    """Multiplications of one block for one clip, as PyTorch counts them, less those for the condition."""
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        block(torch.rand(1, tokens, width), condition)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(("frames", "places"), [(8, 36), (3, 5), (1, 7)])
def test_equation_11_2_counts_the_multiplications_of_attention(frames, places):
    width, tokens, condition = 64, frames * places, torch.zeros(1, 1, 64)
    pairs = {"full": tokens**2, "space": frames * places**2, "time": places * frames**2}
    for along, count in pairs.items():
        block = DiTBlock(width, 4) if along == "full" else SpaceTimeBlock(DiTBlock(width, 4), frames, along)
        parts = {"full": 1, "space": frames, "time": places}[along]
        steering = parts * 6 * width**2  # once for each part
        assert products(block, tokens, width, condition) - steering == 12 * tokens * width**2 + 2 * width * count


@pytest.mark.parametrize("along", ["space", "time"])
def test_equation_11_3_is_where_a_change_can_be_felt(along):
    """Tokens whose input changes the output of token i are those with A_ij = 1."""
    torch.manual_seed(0)
    block = SpaceTimeBlock(DiTBlock(16, 2), frames=3, along=along)
    for p in block.parameters():
        torch.nn.init.normal_(p, std=0.3)
    frame, place = torch.arange(12) // 4, torch.arange(12) % 4
    allowed = frame[:, None] == frame if along == "space" else place[:, None] == place
    x, condition = torch.randn(1, 12, 16), torch.randn(1, 1, 16)
    felt = torch.autograd.functional.jacobian(lambda x: block(x, condition), x)[0, :, :, 0]  # (12, 16, 12, 16)
    assert torch.equal(felt.abs().amax((1, 3)) > 0, allowed)
