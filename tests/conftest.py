"""The tests of notebooks share the code that refreshes them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "notebooks"))
