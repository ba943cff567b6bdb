import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdit_lite.metrics import bits_per_token, perplexity, psnr, recall_at, usage

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


@many_cases
@given(st.lists(st.floats(0, 1000), min_size=1, max_size=20), st.integers(1, 50))
def test_bits_are_counted_for_each_token(bits, tokens):
    nats = torch.tensor(bits, dtype=torch.float64) * math.log(2)
    assert bits_per_token(nats, tokens) == pytest.approx(sum(bits) / len(bits) / tokens, rel=1e-9, abs=1e-12)


def test_even_chances_cost_the_logarithm_of_their_number():
    nats = torch.full((3,), 10 * math.log(8))  # ten tokens of eight values
    assert bits_per_token(nats, 10) == pytest.approx(3, rel=1e-6)
    assert bits_per_token(nats, 2.5) == pytest.approx(12, rel=1e-6)


def recalled_by_hand(k: int, scores: list[list[float]]) -> float:
    found = 0
    for query, row in enumerate(scores):
        others = sorted((score for place, score in enumerate(row) if place != query), reverse=True)
        found += len(others) < k or row[query] > others[k - 1]
    return found / len(scores)


@many_cases
@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 10**6))
def test_recall_is_that_of_counting_by_hand(size, values, seed):
    scores = torch.randint(values, (size, size), generator=torch.Generator().manual_seed(seed)).float()  # many ties
    for k in range(1, size + 1):
        assert recall_at(k, scores) == pytest.approx(recalled_by_hand(k, scores.tolist()))
    assert recall_at(size, scores) == 1


def test_ties_count_against_the_own_candidate():
    assert recall_at(1, torch.zeros(4, 4)) == 0
    assert recall_at(3, torch.zeros(4, 4)) == 0
    assert recall_at(4, torch.zeros(4, 4)) == 1
    assert recall_at(1, torch.full((4, 4), -torch.inf)) == 0
    assert recall_at(1, torch.tensor([[1.0, 1.0], [0.0, 1.0]])) == 0.5
    assert recall_at(1, torch.zeros(4, 4).fill_diagonal_(1e-6)) == 1


def test_recall_looks_along_rows_and_is_one_for_a_single_query():
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    assert recall_at(1, scores) == 0.5
    assert recall_at(1, scores.T) == 1
    assert recall_at(1, torch.zeros(1, 1)) == 1


def test_scores_that_are_no_numbers_are_not_found():
    assert recall_at(1, torch.full((3, 3), math.nan)) == 0


@pytest.mark.parametrize(
    ("k", "shape"), [(0, (3, 3)), (4, (3, 3)), (1, (2, 3)), (1, (3,)), (1, (2, 2, 2)), (1, (0, 0))]
)
def test_scores_that_are_no_square_and_odd_ks_are_named(k, shape):
    with pytest.raises(ValueError, match=re.escape(f"k from 1 to Q; {shape} and {k} came")):
        recall_at(k, torch.zeros(shape))
