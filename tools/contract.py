"""How a broken contract speaks: one sentence that names the place and the command that mends it, and no traceback."""

from pathlib import Path

import pytest


def must(holds: bool, sentence: str) -> None:
    """Fail the test that is running, in a sentence, unless something holds."""
    if not holds:
        pytest.fail(sentence, pytrace=False)


def again(path: Path) -> str:
    """The command that writes and runs a notebook again."""
    return "run `make exercises`" if "exercises" in path.parts else f"run `make notebook N={path.name[:2]}`"
