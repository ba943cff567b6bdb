"""Bring notebooks up to date: python -m tools.refresh [--texts] [NOTEBOOK …]

Writes the address of pyproject.toml into the README, the badges and the set-up cells, and the library's code into
the cells that teach it; runs each notebook from a fresh kernel; and stores the outputs in a form that stays the same.
With --texts nothing is run.
"""

import argparse
import ast
import base64
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools.notebooks import (
    NOTEBOOKS,
    ROOT,
    code_cells,
    definition,
    docstring_lines,
    first_line,
    private_names,
    read,
    run,
    shipped,
    taught,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]
PICTURE = ROOT / ".github" / "any_to_any.png"  # of the README
PICTURE_FROM = ("00_start_here", "make_all(sentence)[0]")  # the notebook that shows it, and what its cell holds

SETUP = f"""\
# Set-up, the same in every chapter: installs the course if it is missing, picks the device, finds data.
import importlib.util
import pathlib

if importlib.util.find_spec("vqdit_lite") is None:
    here = pathlib.Path("../pyproject.toml").exists()
    source = ".." if here else "vqdit_lite @ git+{ADDRESS}"
    %pip install -q "{{source}}"

from vqdit_lite import data
from vqdit_lite.training import pick_device

device = pick_device()  # CUDA where there is any, or what the variable VQDIT_DEVICE says
print("✓ set up" if data.SHIPPED.is_dir() else "The course's data is missing: install the package again.")
"""


def badge(path: Path) -> str:
    opens = f"https://colab.research.google.com/github/{ADDRESS.removeprefix('https://github.com/')}/blob/main"
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    # Who opens a solution's badge wants the exercise.
    folder = "exercises" if "exercises" in path.parts else "notebooks"
    return f"[![Open in Colab]({picture})]({opens}/{folder}/{path.name})"


def shipped_source(name: str, docstring: str | None) -> str:
    """The library's source of module.Name with its docstrings removed and one short docstring put in."""
    source = shipped(name)
    node = definition(source, name.split(".")[1])
    first, head, gone = first_line(node), node.body[0].lineno, docstring_lines(node)
    lines = enumerate(source.splitlines()[: node.end_lineno], 1)
    kept = [line for number, line in lines if number >= first and number not in gone]
    if docstring:
        kept.insert(head - first, f'    """{docstring}"""')
        if isinstance(node, ast.ClassDef) and kept[head - first + 1].strip():
            kept.insert(head - first + 1, "")
    return "\n".join(kept)


def write_taught(cell: NotebookNode) -> None:
    """Put the library's definition into the cell that teaches it, under an import of the private names that it uses.

    What else stands before the definition stays.
    """
    module, own = taught(cell).split(".")
    node = definition(cell.source, own)
    before = "\n".join(cell.source.splitlines()[: first_line(node) - 1])
    private = r"(_\w+(, _\w+)*|\((\s*_\w+,?)+\s*\))"
    before = re.sub(rf"^from vqdit_lite\.{module} import {private}.*$", "", before, flags=re.MULTILINE).strip("\n")
    needed = private_names(taught(cell))
    imports = f"from vqdit_lite.{module} import {', '.join(needed)}" if needed else ""
    code = shipped_source(taught(cell), ast.get_docstring(node))
    cell.source = "\n\n\n".join(part for part in (imports, before, code) if part)


def write_texts(path: Path, notebook: NotebookNode) -> None:
    """Address, set-up cell and taught definitions."""
    title, *rest = notebook.cells[0].source.split("\n")
    rest = "\n".join(rest).strip()
    rest = rest.split("\n", 1)[1].strip() if rest.startswith("[![Open in Colab]") else rest
    notebook.cells[0].source = f"{title}\n\n{badge(path)}\n\n{rest}"
    for cell in code_cells(notebook):
        if "setup" in cell.metadata.get("tags", []):
            cell.source = SETUP.rstrip()
        elif taught(cell):
            try:
                write_taught(cell)
            except LookupError as error:
                sys.exit(
                    f"{path.name}, the cell tagged taught:{taught(cell)}: {error} Both the cell and the library must."
                )


def normalise(notebook: NotebookNode) -> None:
    """Remove what differs from run to run or means nothing without a kernel: times, versions, widgets."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in ("tags", "nbgrader") if cell.metadata.get(key)}
        if cell.cell_type == "code":
            widget = "application/vnd.jupyter.widget-view+json"
            cell.outputs = [output for output in cell.outputs if widget not in output.get("data", {})]


def refresh(path: Path, texts_only: bool = False) -> None:
    notebook = read(path)
    write_texts(path, notebook)
    nbformat.write(notebook, path)
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", path], check=True)
    if texts_only:
        return
    notebook = read(path)
    seconds = run(notebook)
    normalise(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    print(f"{path.name}: {seconds:.0f} s, {path.stat().st_size / 1024:.0f} KiB", flush=True)


def readme_picture() -> bytes:
    """The figure of the README, as its notebook stores it."""
    name, holds = PICTURE_FROM
    cells = code_cells(read(ROOT / "notebooks" / f"{name}.ipynb"))
    drawn = next(cell for cell in cells if holds in cell.source)
    return base64.b64decode(next(output.data["image/png"] for output in drawn.outputs if "data" in output))


def write_readme() -> None:
    """The project's address and the picture."""
    readme = ROOT / "README.md"
    text = re.sub(
        r"https://github\.com/[\w.-]+/[\w.-]+?(?=\.git\b|[\s)/\"`])", ADDRESS, readme.read_text(encoding="utf-8")
    )
    readme.write_text(text, encoding="utf-8")
    PICTURE.write_bytes(readme_picture())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS)
    parser.add_argument("--texts", action="store_true", help="write addresses and taught code, run nothing")
    options = parser.parse_args()
    for notebook in options.notebooks:
        refresh(notebook.resolve(), options.texts)
    write_readme()
