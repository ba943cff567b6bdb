"""Bring every notebook up to date: python -m tools.refresh [--texts] [NOTEBOOK …]

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
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]
PICTURES = {  # of the README: file -> the notebook that shows it, and what the cell that draws it holds
    ROOT / ".github" / "any_to_any.png": ("00_start_here", "make_all(sentence)[0]"),
    ROOT / ".github" / "drawn.png": ("09_many_modalities", "for sentence in asked"),
}

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


def taught(cell: nbformat.NotebookNode) -> str | None:
    """What a cell teaches, as module.Name, or None."""
    names = [tag.removeprefix("taught:") for tag in cell.metadata.get("tags", []) if tag.startswith("taught:")]
    return names[0] if names else None


def definition(source: str, name: str) -> ast.AST:
    """The function or class of that name at the top level of some source."""
    return next(node for node in ast.parse(source).body if getattr(node, "name", None) == name)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def shipped_source(name: str, docstring: str | None) -> str:
    """The library's source of module.Name with its docstrings removed and one short docstring put in."""
    module, name = name.split(".")
    source = (ROOT / "vqdit_lite" / f"{module}.py").read_text(encoding="utf-8")
    node, lines = definition(source, name), source.splitlines()
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    gone = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and _is_docstring(inner.body[0]):
            gone |= set(range(inner.body[0].lineno, inner.body[0].end_lineno + 1))
    head = node.body[0].lineno
    kept = [line for number, line in enumerate(lines[: node.end_lineno], 1) if number >= first and number not in gone]
    if docstring:
        kept.insert(head - first, f'    """{docstring}"""')
        if isinstance(node, ast.ClassDef) and kept[head - first + 1].strip():
            kept.insert(head - first + 1, "")
    return "\n".join(kept)


def private_names(source: str, name: str) -> list[str]:
    """The private names of its own file that a definition uses: guards, and what else a page need not show."""
    tree = ast.parse(source)
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
    used = {node.id for node in ast.walk(definition(source, name)) if isinstance(node, ast.Name)}
    return sorted(name for name in own & used if name.startswith("_"))


def guard_import(name: str) -> str:
    """The line that a page needs before it defines module.Name, or nothing."""
    module, name = name.split(".")
    private = private_names((ROOT / "vqdit_lite" / f"{module}.py").read_text(encoding="utf-8"), name)
    return f"from vqdit_lite.{module} import {', '.join(private)}\n\n\n" if private else ""


def write_taught(cell: nbformat.NotebookNode) -> None:
    """Put the library's definition into the cell that teaches it; what stands before the definition stays."""
    name = taught(cell)
    module, own = name.split(".")
    node = definition(cell.source, own)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    before = "\n".join(cell.source.splitlines()[: first - 1])
    before = re.sub(rf"^from vqdit_lite\.{module} import (\([^)]*\)|_.*)$", "", before, flags=re.MULTILINE).strip("\n")
    before = guard_import(name) + (before + "\n\n\n" if before else "")
    cell.source = before + shipped_source(name, ast.get_docstring(node))


def write_texts(path: Path, notebook: nbformat.NotebookNode) -> None:
    """Address, set-up cell and taught definitions."""
    title, *rest = notebook.cells[0].source.split("\n")
    rest = "\n".join(rest).strip()
    rest = rest.split("\n", 1)[1].strip() if rest.startswith("[![Open in Colab]") else rest
    notebook.cells[0].source = f"{title}\n\n{badge(path)}\n\n{rest}"
    for cell in notebook.cells:
        if "setup" in cell.metadata.get("tags", []):
            cell.source = SETUP.rstrip()
        elif taught(cell):
            write_taught(cell)


def run(notebook: nbformat.NotebookNode) -> float:
    """Execute from a fresh kernel; returns the seconds it took."""
    start = time.perf_counter()
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    return time.perf_counter() - start


def normalise(notebook: nbformat.NotebookNode) -> None:
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
    notebook = nbformat.read(path, as_version=4)
    write_texts(path, notebook)
    nbformat.write(notebook, path)
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", path], check=True)
    if texts_only:
        return
    notebook = nbformat.read(path, as_version=4)
    seconds = run(notebook)
    normalise(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    print(f"{path.name}: {seconds:.0f} s, {path.stat().st_size / 1024:.0f} KiB", flush=True)


def readme_picture(notebook: str, holds: str) -> bytes:
    """The figure of a notebook's cell that holds a text, as stored."""
    cells = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    drawn = next(cell for cell in cells if cell.cell_type == "code" and holds in cell.source)
    return base64.b64decode(next(output.data["image/png"] for output in drawn.outputs if "data" in output))


def write_readme() -> None:
    """The project's address and the pictures."""
    readme = ROOT / "README.md"
    text = re.sub(
        r"https://github\.com/[\w.-]+/[\w.-]+?(?=\.git\b|[\s)/\"`])", ADDRESS, readme.read_text(encoding="utf-8")
    )
    readme.write_text(text, encoding="utf-8")
    for path, place in PICTURES.items():
        path.write_bytes(readme_picture(*place))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS)
    parser.add_argument("--texts", action="store_true", help="write addresses and taught code, run nothing")
    options = parser.parse_args()
    for notebook in options.notebooks:
        refresh(notebook.resolve(), options.texts)
    write_readme()
