"""What nbval compares: everything but this run's own number, which `check` keeps within its bound."""

import re
import subprocess
import sys

import nbformat

from tools.notebooks import ROOT

CHECK = 'check("accuracy", {value}, at_least={bound}, measured=({low}, 0.98), control=("guessing", {control}))'
STORED = "✓ accuracy: ⟨0.97⟩, at least 0.9 (five seeds: 0.96 to 0.98); guessing: ⟨0.1⟩"
RUNS = {  # what a cell runs -> whether nbval lets it pass beside the line that is stored
    "the same": ({}, True),
    "another number within the bound": ({"value": 0.951}, True),
    "another number of the control": ({"control": 0.2}, True),
    "a number outside the bound": ({"value": 0.89}, False),
    "a control within the bound": ({"control": 0.95}, False),
    "another bound": ({"bound": 0.8}, False),
    "another spread": ({"low": 0.95}, False),
}


def cell(source, stored):
    output = nbformat.v4.new_output("stream", name="stdout", text=stored)
    return nbformat.v4.new_code_cell(source, execution_count=1, outputs=[output] if stored else [])


def test_nbval_lets_only_numbers_within_their_bounds_differ(tmp_path):
    usual = {"value": 0.97, "bound": 0.9, "low": 0.96, "control": 0.1}
    cells = [cell(CHECK.format(**(usual | changed)), STORED + "\n") for changed, _ in RUNS.values()]
    cells.append(cell(CHECK.format(**usual).replace("accuracy", "precision"), STORED + "\n"))  # another claim
    cells.append(cell("print('⟨0.97⟩ of them')", "⟨0.98⟩ of all\n"))
    notebook = nbformat.v4.new_notebook(cells=[cell("from vqdit_lite.check import check", ""), *cells])
    nbformat.write(notebook, tmp_path / "page.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env"]
    sanitize = ["--nbval-sanitize-with", ROOT / "tests" / "notebooks" / "numbers.cfg"]
    said = subprocess.run([*command, *sanitize, tmp_path / "page.ipynb"], capture_output=True, text=True, cwd=ROOT)
    failed = {int(number) for number in re.findall(r"^FAILED .*::Cell (\d+)", said.stdout, re.MULTILINE)}
    wanted = [True, *(passes for _, passes in RUNS.values()), False, False]
    assert failed == {number for number, passes in enumerate(wanted) if not passes}, said.stdout


def test_only_check_writes_the_signs_that_nbval_reads_as_one():
    holding = [path.name for path in (ROOT / "vqdit_lite").rglob("*.py") if re.search("[⟨⟩]", path.read_text("utf-8"))]
    assert holding == ["check.py"]
