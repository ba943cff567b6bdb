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
        (0.9, {"at_least": 0.9}, "✓ the claim: at least 0.9"),
        (3, {"at_most": 3}, "✓ the claim: at most 3"),
        (2, {"at_least": 1, "at_most": 3}, "✓ the claim: at least 1 and at most 3"),
        (0.97, {"at_least": 0.9, "measured": (0.96, 0.98)}, "✓ the claim: at least 0.9 (five seeds gave 0.96 to 0.98)"),
    ],
)
def test_what_holds_prints_one_line(capsys, value, bounds, line):
    check("the claim", value, **bounds)
    assert capsys.readouterr().out == line + "\n"


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (False, {}, "✗ the claim: true was expected; False came"),
        (torch.tensor(False), {}, "True|true was expected; False came"),
        (1.6, {"near": 1, "within": 0.5}, r"1 ± 0.5 was expected; 1.6 came"),
        (0.89, {"at_least": 0.9}, r"at least 0.9 was expected; 0.89 came"),
        (torch.tensor(4), {"at_most": 3}, r"at most 3 was expected; 4 came"),
        (0, {"at_least": 1, "at_most": 3}, r"at least 1 and at most 3 was expected; 0 came"),
        (4, {"near": 4, "within": 0, "at_most": 3}, r"4 ± 0 and at most 3 was expected; 4 came"),
    ],
)
def test_what_does_not_hold_raises_with_the_numbers_and_prints_nothing(capsys, value, bounds, message):
    with pytest.raises(AssertionError, match=message):
        check("the claim", value, **bounds)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("bounds", [{}, {"near": 0, "within": 1}, {"at_least": -1}, {"at_most": 1}])
@pytest.mark.parametrize("value", [NAN, torch.tensor(NAN)])
def test_nan_never_passes(value, bounds):
    with pytest.raises(AssertionError, match="nan came"):
        check("the claim", value, **bounds)


@pytest.mark.parametrize("bounds", [{"near": NAN, "within": 1}, {"near": 0, "within": NAN}, {"at_most": NAN}])
def test_no_number_passes_a_bound_that_is_nan(bounds):
    with pytest.raises(AssertionError, match="nan"):
        check("the claim", 0.0, **bounds)
