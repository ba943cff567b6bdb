"""Claims that prove themselves: a sentence, this run's number, the bound it keeps, and a control that must break it."""

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
    control: tuple[str, float | bool | Tensor] | None = None,
) -> None:
    """Print "✓ claim" where the claim holds, and raise where it does not.

    Args:
        claim: a sentence, in the words of the lesson.
        value: a truth value, or a number to compare.
        near, within: the number must lie at most `within` from `near`.
        at_least, at_most: the number must not lie below or above.
        measured: the lowest and highest value seen over five seeds, of this line alone.
        control: the name and the value of something for which the claim must fail: the memoriser, the mean picture,
            an untrained model. If the claim held for it, too, the check would prove nothing.

    What differs from machine to machine stands in ⟨…⟩, which tests read as one sign; nothing else prints these signs.

    Raises:
        AssertionError: the claim does not hold, or holds for its control; the message says what came.

    >>> check("two and two are four", 2 + 2, near=4, within=0)
    ✓ two and two are four
    >>> check("accuracy", 0.97, at_least=0.9, measured=(0.96, 0.98), control=("guessing", 0.1))
    ✓ accuracy: ⟨0.97⟩, at least 0.9 (five seeds: 0.96 to 0.98); guessing: ⟨0.1⟩
    """
    tests = []
    if near is not None:
        tests.append((f"{near:g} ± {within:g}", lambda x: math.fabs(x - near) <= within))
    if at_least is not None:
        tests.append((f"at least {at_least:g}", lambda x: x >= at_least))
    if at_most is not None:
        tests.append((f"at most {at_most:g}", lambda x: x <= at_most))
    wanted = " and ".join(text for text, _ in tests) or "true"

    def holds(x: float | bool) -> bool:
        return all(test(x) for _, test in tests) if tests else x == x and bool(x)

    value = _number(value)
    if not holds(value):
        raise AssertionError(f"✗ {claim}: {wanted} was expected; got {value}.")
    line = f"✓ {claim}"
    if at_least is not None or at_most is not None:
        spread = " to ".join(dict.fromkeys(f"{x:g}" for x in measured or ()))
        line += f": ⟨{value:.3g}⟩, {wanted}" + (f" (five seeds: {spread})" if measured else "")
    if control is not None:
        name, other = control[0], _number(control[1])
        if holds(other) or other != other:
            raise AssertionError(f"✗ {claim}: {wanted} should fail for the control, {name}; that has {other}.")
        line += f"; {name}: ⟨{other:.3g}⟩"
    print(line)


def _number(value: float | bool | Tensor) -> float | bool:
    return value.item() if isinstance(value, Tensor) else value
