"""Measure every bound in the notebooks over five seeds: python -m tools.margins [NOTEBOOK …]

Runs each notebook with SEED = 0 … 4 and prints, for each check with a number, its lowest and highest value. These
figures belong into the check's `measured`.
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
import json
import vqdit_lite.check

def _recorded(claim, value=True, **bounds):
    number = float(value)
    if {{"near", "at_least", "at_most"}} & set(bounds):
        with open({path!r}, "a", encoding="utf-8") as file:
            file.write(json.dumps([claim, number, bounds.get("measured")]) + "\\n")

vqdit_lite.check.check = _recorded
"""


def measure(path: Path, dataset: str) -> dict[tuple[str, str], list[float]]:
    """(claim, what the notebook says was measured) -> its values, one a seed."""
    values: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "values"
        record.touch()
        for seed in SEEDS:
            notebook = read(path, SEED=seed, DATASET=dataset)
            notebook.cells.insert(0, nbformat.v4.new_code_cell(RECORD.format(path=str(record))))
            run(notebook)
        for line in record.read_text(encoding="utf-8").splitlines():
            claim, number, stated = json.loads(line)
            values.setdefault((claim, str(stated)), []).append(number)
    return values


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS)
    parser.add_argument("--dataset", default="scenes", help="what to set the switch DATASET to")
    options = parser.parse_args()
    for notebook in options.notebooks:
        print(notebook.name)
        for (claim, stated), numbers in measure(notebook, options.dataset).items():
            low, high = json.loads(stated) if stated != "None" else (-math.inf, math.inf)
            within = low <= min(numbers) and max(numbers) <= high
            print(
                f"  {claim}: {min(numbers):.4g} to {max(numbers):.4g} (the notebook says {stated})"
                + ("" if within else "  <- fix the notebook"),
                flush=True,
            )
