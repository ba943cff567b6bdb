import math
import re
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdit_lite.metrics import (
    bits_per_token,
    edit_distance,
    frechet_distance,
    perplexity,
    psnr,
    recall_at,
    sliced_wasserstein,
    usage,
    word_error_rate,
)

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


@pytest.mark.parametrize("tokens", [0, -1, math.nan])
def test_bits_of_no_tokens_are_refused(tokens):
    with pytest.raises(ValueError, match=f"tokens must be above 0; it is {tokens}"):
        bits_per_token(torch.ones(2), tokens)


@pytest.mark.parametrize(("x", "y"), [((5, 2), (4, 2)), ((5, 2), (5, 3)), ((5,), (5,)), ((1, 5, 2), (1, 5, 2))])
def test_sets_of_points_that_do_not_match_are_named(x, y):
    with pytest.raises(ValueError, match=re.escape(f"equally many points (N, D); got {x} and {y}.")):
        sliced_wasserstein(torch.zeros(x), torch.zeros(y), torch.Generator())


@pytest.mark.parametrize(("x", "y"), [((5, 2), (5, 3)), ((1, 2), (5, 2)), ((5, 2), (1, 2)), ((5,), (5, 2))])
def test_features_that_do_not_match_or_have_no_covariance_are_named(x, y):
    with pytest.raises(ValueError, match=re.escape(f"at least two rows of each; got {x} and {y}.")):
        frechet_distance(torch.zeros(x), torch.zeros(y))


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
    with pytest.raises(ValueError, match=re.escape(f"k from 1 to Q; got {shape} and {k}.")):
        recall_at(k, torch.zeros(shape))


def distance_by_definition(said: str, heard: str) -> int:
    """The cheapest of all ways to change the last letter, after the cheapest way to change the rest."""

    @cache
    def of(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        if said[i - 1] == heard[j - 1]:
            return min(of(i - 1, j - 1), 1 + of(i - 1, j), 1 + of(i, j - 1))
        return 1 + min(of(i - 1, j - 1), of(i - 1, j), of(i, j - 1))

    return of(len(said), len(heard))


short = st.text("abc", max_size=7)


@settings(deadline=None, max_examples=150)
@given(short, short, short)
def test_the_edit_distance_is_a_distance_and_that_of_its_definition(one, other, third):
    found = edit_distance(one, other)
    assert found == distance_by_definition(one, other) == edit_distance(other, one)
    assert (found == 0) == (one == other)
    assert abs(len(one) - len(other)) <= found <= max(len(one), len(other))
    assert found <= edit_distance(one, third) + edit_distance(third, other)
    assert edit_distance(one + third, other + third) <= found


def test_edit_distances_that_are_known():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("intention", "execution") == 5
    assert edit_distance("a red circle".split(), "red large circle here".split()) == 3  # words, not letters
    assert edit_distance([], ["one", "two"]) == 2


def test_the_word_error_rate_counts_words_over_all_sentences():
    assert word_error_rate(["a b c", "d"], ["a c", "d"]) == 1 / 4  # not the mean of 1/3 and 0
    assert word_error_rate(["one"], ["one two three"]) == 2
    assert word_error_rate(["one two", ""], ["one  two", ""]) == 0


@pytest.mark.parametrize(("said", "heard"), [(["one"], ["one", "two"]), (["", " "], ["one", "two"]), ([], [])])
def test_sentences_that_do_not_match_or_hold_no_word_are_named(said, heard):
    with pytest.raises(ValueError, match=f"got {len(said)} said and {len(heard)} heard"):
        word_error_rate(said, heard)
