"""The tests share the code that refreshes notebooks and the code that makes exercises."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS / "notebooks"), str(TESTS / "exercises"), str(TESTS.parent / "exercises")]
