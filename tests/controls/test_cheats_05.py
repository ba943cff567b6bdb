"""Chapter 05: cheats in the steps, in the race and in the contest are stopped by the page's own checks."""

import pytest

from tests.controls.planted import run_with

CHAPTER = "05_samplers_and_guidance"
# Fewer points, budgets and steps than on the page: a cheat must be stopped just the same.
SHORT = {
    "POINTS, BUDGETS = 2000, (4, 6, 10, 20, 50, 100)": "POINTS, BUDGETS = 500, (4, 6, 10, 20)",
    "(10, 20, 40, 80, 160)": "(80, 160)",
}
WALK = "return x, sum(asked) / POINTS"
BUDGET = "every walk cost its budget"
START = "90 % of ends, apart by"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        # Fresh noise of half the variance that its eta says.
        ("(eta * next_noise / noise) ** 2 * step_var", "(eta * next_noise / noise) ** 2 * step_var / 2", "(4.3)"),
        # The solver with memory takes all steps for even.
        ("x0 = (1 + 1 / (2 * r)) * x0", "r = 1; x0 = (1 + 1 / (2 * r)) * x0", "(5.9)"),
        # Both second-order methods are DDIM.
        (
            "*_, x = curved.sample(",
            'method = "ddim"; *_, x = curved.sample(',
            "DDIM: error of 80 steps over that of 160",
        ),
        # DPM-Solver++ is Heun, at two calls a step.
        (
            "*_, x = curved.sample(",
            'method = {"dpm_solver": "heun"}.get(method, method); *_, x = curved.sample(',
            "cost 160 calls",
        ),
    ],
    ids=["half the fresh noise", "even steps", "first order", "two calls a step"],
)
def test_a_false_step_is_stopped(old, new, claim):
    error = run_with(CHAPTER, SHORT | {old: new})
    assert error.startswith("AssertionError"), error
    assert claim in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        # Heun counts steps, not calls, and pays nearly twice what it says.
        ('calls // 2 + 1 if method == "heun" else calls', "calls", BUDGET),
        # Samplers ask as often as they may, and one of them, once, returns points of the data.
        (WALK, WALK.replace("x,", 'truth[1] if (method, calls) == ("dpm_solver", 10) else x,'), START),
        # Three points in ten are points of the data.
        (
            WALK,
            WALK.replace("x,", "torch.where(torch.arange(POINTS)[:, None] % 10 < 3, truth[calls % 8], x),"),
            START,
        ),
        # The same where times are squared.
        (WALK, WALK.replace("x,", "truth[1] if power == 2 else x,"), START),
    ],
    ids=["more calls", "reads the truth once", "reads a part of the truth", "reads the truth when squared"],
)
def test_a_sampler_that_cheats_in_the_contest_is_stopped(old, new, claim):
    error = run_with(CHAPTER, SHORT | {old: new})
    assert error.startswith("AssertionError"), error
    assert claim in error
