import math

import pytest
import torch

from vqdit_lite.check import check

NAN = math.nan


@pytest.mark.parametrize(
    ("value", "bounds", "line"),
    [
        (True, {}, "✓ the claim"),
        (1.5, {"near": 1, "within": 0.5}, "✓ the claim"),
        (torch.tensor(2.0), {"near": 2, "within": 0}, "✓ the claim"),
        (torch.tensor(True), {}, "✓ the claim"),
        (0.9, {"at_least": 0.9}, "✓ the claim: ⟨0.9⟩, at least 0.9"),
        (3, {"at_most": 3}, "✓ the claim: ⟨3⟩, at most 3"),
        (2, {"at_least": 1, "at_most": 3}, "✓ the claim: ⟨2⟩, at least 1 and at most 3"),
        (
            0.97,
            {"at_least": 0.9, "measured": (0.96, 0.98)},
            "✓ the claim: ⟨0.97⟩, at least 0.9 (five seeds: 0.96 to 0.98)",
        ),
        (0.97, {"at_least": 0.9, "control": ("guessing", 0.1)}, "✓ the claim: ⟨0.97⟩, at least 0.9; guessing: ⟨0.1⟩"),
        (1, {"at_most": 2, "control": ("noise", torch.tensor(8.0))}, "✓ the claim: ⟨1⟩, at most 2; noise: ⟨8⟩"),
        (2, {"near": 2, "within": 1, "control": ("zero", 0)}, "✓ the claim; zero: ⟨0⟩"),
        (True, {"control": ("a copy", False)}, "✓ the claim; a copy: ⟨0⟩"),
    ],
)
def test_what_holds_prints_one_line(capsys, value, bounds, line):
    check("the claim", value, **bounds)
    assert capsys.readouterr().out == line + "\n"


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (False, {}, "✗ the claim: true was expected; got False"),
        (torch.tensor(False), {}, "True|true was expected; got False"),
        (1.6, {"near": 1, "within": 0.5}, r"1 ± 0.5 was expected; got 1.6"),
        (0.89, {"at_least": 0.9}, r"at least 0.9 was expected; got 0.89"),
        (torch.tensor(4), {"at_most": 3}, r"at most 3 was expected; got 4"),
        (0, {"at_least": 1, "at_most": 3}, r"at least 1 and at most 3 was expected; got 0"),
        (4, {"near": 4, "within": 0, "at_most": 3}, r"4 ± 0 and at most 3 was expected; got 4"),
    ],
)
def test_what_does_not_hold_raises_with_the_numbers_and_prints_nothing(capsys, value, bounds, message):
    with pytest.raises(AssertionError, match=message):
        check("the claim", value, **bounds)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("bounds", [{}, {"near": 0, "within": 1}, {"at_least": -1}, {"at_most": 1}])
@pytest.mark.parametrize("value", [NAN, torch.tensor(NAN)])
def test_nan_never_passes(value, bounds):
    with pytest.raises(AssertionError, match="got nan"):
        check("the claim", value, **bounds)


@pytest.mark.parametrize("bounds", [{"near": NAN, "within": 1}, {"near": 0, "within": NAN}, {"at_most": NAN}])
def test_no_number_passes_a_bound_that_is_nan(bounds):
    with pytest.raises(AssertionError, match="nan"):
        check("the claim", 0.0, **bounds)


@pytest.mark.parametrize(
    ("value", "bounds", "control"),
    [
        (0.97, {"at_least": 0.9}, 0.9),
        (0.97, {"at_least": 0.9}, torch.tensor(2.0)),
        (1, {"at_most": 2}, 0),
        (2, {"at_least": 1, "at_most": 3}, 3),
        (2, {"near": 2, "within": 1}, 1),
        (True, {}, True),
        (0.97, {"at_least": 0.9}, NAN),
        (True, {}, NAN),
    ],
)
def test_a_control_for_which_the_claim_holds_stops_it(capsys, value, bounds, control):
    with pytest.raises(AssertionError, match=r"✗ the claim: .* should fail for the control, the rival; that has"):
        check("the claim", value, **bounds, control=("the rival", control))
    assert capsys.readouterr().out == ""


def test_a_claim_that_fails_says_so_even_where_its_control_fails_too():
    with pytest.raises(AssertionError, match=r"at least 0\.9 was expected; got 0\.5"):
        check("the claim", 0.5, at_least=0.9, control=("guessing", 0.1))
