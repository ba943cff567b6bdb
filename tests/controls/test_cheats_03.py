"""Cheats planted in chapter 03, each of which the page's own check stops."""

import pytest

from tests.controls.planted import run_with

CHAPTER = "03_forward_diffusion"
READER = "reader = label_probabilities(x_t, level)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cheat", "stopped_by"),
    [
        # It has seen the very noisy pictures that it is asked about.
        ({READER: "reader = torch.eye(10)[truth]"}, "minus its expected accuracy"),
        # It looks up the labels of 8 pictures in 100, and reads the others as it should.
        (
            {READER: f"{READER} + (torch.rand(30_000, 1, generator=generator) < 0.08) * torch.eye(10)[truth]"},
            "minus its expected accuracy",
        ),
        # Everything counts as right.
        ({"probabilities.argmax(1) == labels": "labels == labels"}, "a 3 or an 8"),
        # It does not see the first two rows of pixels, and is called the best there can be.
        (
            {READER: "reader = label_probabilities(x_t[:, 16:], level, known[:, 16:], known_labels)"},
            "minus its expected accuracy",
        ),
    ],
    ids=["saw the noisy pictures", "peeks at the labels", "counts all as right", "a lazier reader"],
)
def test_a_reader_that_cheats_is_caught(cheat, stopped_by):
    assert stopped_by in run_with(CHAPTER, cheat)


@pytest.mark.slow
def test_two_steps_merged_by_their_standard_deviations_are_caught():
    merged = "merged = math.sqrt(kept) * 2 + math.sqrt(1 - kept) * randn(n)"
    added = "merged = math.sqrt(kept) * 2 + (math.sqrt((1 - beta_2) * beta_1) + math.sqrt(beta_2)) * randn(n)"
    assert "two steps and one jump" in run_with(CHAPTER, {merged: added})


@pytest.mark.slow
def test_times_without_any_chance_are_caught():
    grid = '"even": lambda: (torch.arange(64) + 0.5) / 64'
    fewer = {"torch.linspace(0.02, 0.98, 25)": "torch.linspace(0.02, 0.98, 2)"}  # of a curve, to be quick
    assert "each even time" in run_with(CHAPTER, {'"even": lambda: stratified_times(64, generator)': grid} | fewer)
