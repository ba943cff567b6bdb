import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdit_lite.metrics import perplexity, psnr, usage

many_cases = settings(deadline=None, max_examples=25)


@many_cases
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=50).filter(any))
def test_perplexity_lies_between_one_and_the_number_of_codes_in_use(counts):
    value = perplexity(torch.tensor(counts)).item()
    assert 1 - 1e-5 <= value <= sum(count > 0 for count in counts) * (1 + 1e-5)


@many_cases
@given(used=st.integers(1, 40), unused=st.integers(0, 40), each=st.integers(1, 1000))
def test_perplexity_of_codes_used_alike_is_their_number(used, unused, each):
    counts = torch.tensor([each] * used + [0] * unused)
    assert perplexity(counts).item() == pytest.approx(used, rel=1e-5)


def test_perplexity_is_e_to_the_entropy():
    wanted = math.exp(-(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2)))
    assert perplexity(torch.tensor([5.0, 3.0, 2.0])).item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("ids", [[0], [0, 0, 0], [3, 1, 1], [0, 1, 2, 3, 3]])
def test_usage_is_the_share_of_codes_that_occur(ids):
    assert usage(torch.tensor(ids), 4) == len(set(ids)) / 4


def test_psnr_is_the_formula():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 3, 4, 4, generator=generator), torch.rand(2, 3, 4, 4, generator=generator)
    pairs = zip(x.flatten().tolist(), y.flatten().tolist(), strict=True)
    error = sum((a - b) ** 2 for a, b in pairs) / x.numel()
    assert psnr(x, y) == pytest.approx(10 * math.log10(1 / error), rel=1e-5)


def test_identical_pictures_have_infinite_psnr():
    assert psnr(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4)) == math.inf


def test_psnr_of_two_shapes_names_both():
    with pytest.raises(ValueError, match=r"\(3, 4, 4\), y \(1, 3, 4, 4\)"):
        psnr(torch.ones(3, 4, 4), torch.ones(1, 3, 4, 4))
