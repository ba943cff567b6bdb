"""Claims that prove themselves: the same printed sentence on every machine, or an error."""

import math

from torch import Tensor


def check(
    claim: str,
    value: float | bool | Tensor = True,
    *,
    near: float | None = None,
    within: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    measured: tuple[float, float] | None = None,
) -> None:
    """Print "✓ claim" where the claim holds, and raise where it does not.

    Args:
        claim: a sentence, in the words of the lesson.
        value: a truth value, or a number to compare.
        near, within: the number must lie at most `within` from `near`.
        at_least, at_most: the number must not lie below or above.
        measured: the lowest and highest value seen over five seeds. Every bound that depends on chance carries
            it, so that the reader sees real figures though the printed line is the same on every machine.

    Raises:
        AssertionError: the claim does not hold; the message says what came and what was expected.

    >>> check("two and two are four", 2 + 2, near=4, within=0)
    ✓ two and two are four
    >>> check("the score", 0.97, at_least=0.9, measured=(0.96, 0.98))
    ✓ the score: at least 0.9 (five seeds gave 0.96 to 0.98)
    """
    value = value.item() if isinstance(value, Tensor) else value
    bounds = []
    if near is not None:
        bounds.append((math.fabs(value - near) <= within, f"{near:g} ± {within:g}"))
    if at_least is not None:
        bounds.append((value >= at_least, f"at least {at_least:g}"))
    if at_most is not None:
        bounds.append((value <= at_most, f"at most {at_most:g}"))
    wanted = " and ".join(text for _, text in bounds) or "true"
    holds = all(ok for ok, _ in bounds) if bounds else value == value and bool(value)
    if not holds:
        raise AssertionError(f"✗ {claim}: {wanted} was expected; {value} came.")
    shown = f": {wanted}" if at_least is not None or at_most is not None else ""
    spread = " to ".join(dict.fromkeys(f"{value:g}" for value in measured or ()))
    seen = f" (five seeds gave {spread})" if measured else ""
    print(f"✓ {claim}{shown}{seen}")
