"""Cheats planted in chapter 00, and the checks of the page that stop them."""

import pytest

from tests.controls.planted import run_with

CHAPTER = "00_start_here"


@pytest.mark.slow
def test_a_reader_that_finds_something_in_everything_is_stopped():
    never_no = 'import sys\nsys.modules["vqdit_lite.data.scenes"]._TOLERANCE = float("inf")\n'
    reading = "read = data.read_scenes(fresh.pictures)"
    assert "✗ share of blobs and of shifted scenes that it takes for a scene" in run_with(
        CHAPTER, {reading: never_no + reading}
    )


@pytest.mark.slow
def test_a_decoder_that_draws_the_mean_picture_is_stopped():
    mean = "fresh.pictures.mean(0, keepdim=True).expand_as(fresh.pictures)"
    lazy = {"same, same_broken = (": f"again = {mean}\nsame, same_broken = ("}
    assert "✗ scenes that read the same after 36 tokens and back" in run_with(CHAPTER, lazy)
