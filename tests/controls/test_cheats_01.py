"""Chapter 01: cheats that its own checks stop."""

import pytest

from tests.controls.planted import run_with

CHAPTER = "01_vector_quantization"
# Shorter runs of what comes before or beside, so that a test is quick.
QUICK = {
    "fit_gauss(2, (1, 1.5, 2, 2.5, 3))": "fit_gauss(2, (1, 2))",
    "fit_gauss(4, (1, 1.5, 2), rounds=20)": "fit_gauss(4, (1,), rounds=5)",
    "for K in (2, 4, 8, 16, 32, 64)]": "for K in (4, 64)]",
    "for K in (8, 32, 128, 512)]": "for K in (512,)]",
}


@pytest.mark.slow
def test_a_codebook_judged_on_what_it_was_fitted_to_is_caught():
    judged = "half, held_out = patches[order].chunk(2)"
    message = run_with(CHAPTER, {**QUICK, judged: judged + "\nheld_out = half"})
    assert "✗ 512 codes: fitted less held out" in message


@pytest.mark.slow
def test_a_revival_that_resets_the_code_alone_is_caught():
    whole = "return codebook, counts.masked_fill(dead, fair), sums"
    kept = "    sums = torch.where(dead[:, None], fresh * fair, sums)\n"
    message = run_with(CHAPTER, {**QUICK, kept: "", whole: "return codebook, counts, sums"})
    assert "✗ usage with revival" in message


@pytest.mark.slow
def test_codes_thrown_at_random_points_are_caught():
    measured = "used = {name: usage("
    thrown = 'tries["code, sum, count"] = clusters[:32], tries["code, sum, count"][1]\n'
    assert "✗ distortion with revival" in run_with(CHAPTER, {**QUICK, measured: thrown + measured})


@pytest.mark.slow
def test_a_comparison_on_data_without_the_cause_is_caught():
    second = "0.95 * first + math.sqrt(1 - 0.95**2) * second"
    assert "✗ correlated: error of singles over pairs" in run_with(CHAPTER, {**QUICK, second: "second"})
