"""Where data lies: what ships with the course, what was downloaded, and the reader's own copies."""

import os
from pathlib import Path

_package = Path(__file__).parents[1]
DOWNLOADS = Path.home() / ".cache" / "vqdit_lite"
SHIPPED = _package / "_data" if (_package / "_data").is_dir() else _package.parent / "data"  # a wheel, or a checkout


def roots() -> list[Path]:
    """Folders in which well-known data may lie: that named by the variable VQDIT_DATA, then that of downloads."""
    named = os.environ.get("VQDIT_DATA")
    return [*([Path(named)] if named else []), DOWNLOADS]
