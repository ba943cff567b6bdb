"""Measure every bound in the notebooks over five seeds: python -m tools.margins [NOTEBOOK …]

Runs each notebook with SEED = 0 … 4 and prints, for each check with a number, its lowest and highest value, and its
control's. The first belong into the check's `measured`; the control must lie beyond the bound in every run.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import nbformat

from tools.notebooks import NOTEBOOKS, read, run

SEEDS = range(5)
RECORD = """
import contextlib
import json
import vqdit_lite.check

_check = vqdit_lite.check.check

def _write(*row):
    with open({path!r}, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\\n")

def _recorded(claim, value=True, measured=None, control=None, **bounds):
    if bounds:
        _write(claim, measured, float(value), False)
    if control is not None:
        name, other = control
        try:
            with contextlib.redirect_stdout(None):
                _check(claim, other, **bounds)
            kept = True
        except AssertionError:
            kept = False
        _write(claim + "; control: " + name, None, float(other), kept)

vqdit_lite.check.check = _recorded
"""


def measure(path: Path, dataset: str) -> dict[tuple[str, str], list[tuple[float, bool]]]:
    """(claim or control, what the notebook says) -> (value, whether a control that keeps the bound), one a seed."""
    values: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "values"
        record.touch()
        for seed in SEEDS:
            notebook = read(path, SEED=seed, DATASET=dataset)
            notebook.cells.insert(0, nbformat.v4.new_code_cell(RECORD.format(path=str(record))))
            run(notebook)
        for line in record.read_text(encoding="utf-8").splitlines():
            claim, stated, number, kept = json.loads(line)
            values.setdefault((claim, str(stated)), []).append((number, kept))
    return values


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS)
    parser.add_argument("--dataset", default="scenes", help="what to set the switch DATASET to")
    options = parser.parse_args()
    for notebook in options.notebooks:
        print(notebook.name)
        for (claim, stated), rows in measure(notebook, options.dataset).items():
            numbers = [number for number, _ in rows]
            low, high = json.loads(stated) if stated != "None" else (-math.inf, math.inf)
            fine = low <= min(numbers) and max(numbers) <= high and not any(kept for _, kept in rows)
            print(
                f"  {claim}: {min(numbers):.4g} to {max(numbers):.4g} (the notebook says {stated})"
                + ("" if fine else "  <- fix the notebook"),
                flush=True,
            )
