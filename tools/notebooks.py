"""Where the notebooks lie, what their cells teach, and running one."""

import ast
import re
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from tools.rooms import path_of

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "exercises" / "solutions").glob("*.ipynb"))


def read(path: Path, **settings: object) -> NotebookNode:
    """A notebook in which lines such as SEED = 0 are set otherwise: read(path, SEED=1)."""
    notebook = nbformat.read(path, as_version=4)
    for name, value in settings.items():
        for cell in code_cells(notebook):
            cell.source = re.sub(rf'^{name} = (\d+|"\w+")', f"{name} = {value!r}", cell.source, flags=re.MULTILINE)
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def run(notebook: NotebookNode) -> float:
    """Execute from a fresh kernel; returns the seconds it took."""
    start = time.perf_counter()
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    return time.perf_counter() - start


def taught(cell: NotebookNode) -> str | None:
    """What a cell teaches, as module.Name, or None."""
    names = [tag.removeprefix("taught:") for tag in cell.metadata.get("tags", []) if tag.startswith("taught:")]
    return names[0] if names else None


def shipped(name: str) -> str:
    """The source of the file of the library in which module.Name stands."""
    return path_of(name.split(".")[0]).read_text(encoding="utf-8")


def definition(source: str, name: str) -> ast.FunctionDef | ast.ClassDef:
    """The function or class of that name at the top level of some source."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
    raise LookupError(f"Nothing here defines {name}.")


def first_line(node: ast.FunctionDef | ast.ClassDef) -> int:
    """Where a definition begins, its decorators included."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def docstring_lines(tree: ast.AST) -> set[int]:
    """The numbers of all lines that belong to a docstring."""
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            lines |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def private_names(name: str) -> list[str]:
    """The private names of its own file that module.Name uses: guards, and what else a page need not show."""
    source, name = shipped(name), name.split(".")[1]
    own = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            own |= {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    used = {node.id for node in ast.walk(definition(source, name)) if isinstance(node, ast.Name)}
    return sorted(name for name in own & used if name.startswith("_"))


def python(cell: NotebookNode) -> str:
    """The source of a cell in which lines that belong to IPython do nothing."""
    return re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.MULTILINE)


def lines_of_code(source: str) -> int:
    """How many lines are neither empty nor a comment nor part of a docstring.

    >>> lines_of_code('# Half of x.\\ndef half(x):\\n    \"\"\"The half.\"\"\"\\n\\n    return x / 2\\n')
    2
    """
    documented = docstring_lines(ast.parse(source))
    lines = enumerate(source.splitlines(), 1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and number not in documented for number, line in lines)
