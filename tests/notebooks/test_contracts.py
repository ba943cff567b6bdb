"""What every notebook must keep, those present and those to come."""

import ast
import base64
import re
import subprocess
import sys

import nbformat
import pytest
from tools.refresh import ADDRESS, NOTEBOOKS, PICTURES, ROOT, SETUP, badge, definition, readme_picture, taught

# The modules that hold the mathematics: each public name of theirs is taught in exactly one chapter.
CORE = [
    name
    for name in "schedule quantize transformer metrics autoencoder gaussian masked multimodal".split()
    if (ROOT / "vqdit_lite" / f"{name}.py").exists()
]
# Names that papers and codebases use for what this course calls otherwise: one name for one thing.
OTHER_NAMES = {
    "n_embed": "num_codes",
    "num_embeddings": "num_codes",
    "codebook_size": "num_codes",
    "embedding_dim": "dim",
    "embed_dim": "dim",
    "indices": "ids",
    "x_start": "x0",
    "x_0": "x0",
    "alphas_cumprod": "alpha_bar",
    "alphabar": "alpha_bar",
    "noise_pred": "eps",
    "cfg_scale": "guidance scale s",
    "sigma2": "var",
    "sigma_squared": "var",
    "device_name": "device",
}

READ = {path: nbformat.read(path, as_version=4) for path in NOTEBOOKS}
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def code_cells(path):
    return [cell for cell in READ[path].cells if cell.cell_type == "code"]


def prose(path):
    return "\n\n".join(cell.source for cell in READ[path].cells if cell.cell_type == "markdown")


def parsed(cell):
    """The cell's syntax tree; lines that belong to IPython are left out."""
    lines = ["pass" if re.match(r"\s*[%!]", line) else line for line in cell.source.splitlines()]
    indents = [re.match(r"\s*", line).group() for line in cell.source.splitlines()]
    return ast.parse(
        "\n".join(i + line.strip() if line == "pass" else line for i, line in zip(indents, lines, strict=True))
    )


def without_docstrings(node):
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner) is not None:
            inner.body = inner.body[1:] or [ast.Pass()]
    return ast.dump(node)


def checks(path):
    """Every call of check in a notebook."""
    for cell in code_cells(path):
        for node in ast.walk(parsed(cell)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "check":
                yield {keyword.arg: keyword.value for keyword in node.keywords}, ast.unparse(node)


# ---------------------------------------------------------------- 1. taught code is shipped code


def lessons():
    return [(path, cell, taught(cell)) for path in NOTEBOOKS for cell in code_cells(path) if taught(cell)]


@pytest.mark.parametrize(("path", "cell", "name"), lessons(), ids=[name for *_, name in lessons()])
def test_taught_code_is_shipped_code(path, cell, name):
    module, name = name.split(".")
    shipped = (ROOT / "vqdit_lite" / f"{module}.py").read_text(encoding="utf-8")
    assert without_docstrings(definition(cell.source, name)) == without_docstrings(definition(shipped, name))


@pytest.mark.parametrize("module", CORE)
def test_each_public_name_of_the_core_is_taught_once(module):
    tree = ast.parse((ROOT / "vqdit_lite" / f"{module}.py").read_text(encoding="utf-8"))
    names = next(node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__")
    public = sorted(f"{module}.{name}" for name in ast.literal_eval(names))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert {name for name in defined if not name.startswith("_")} == {name.split(".")[1] for name in public}
    assert sorted(name for *_, name in lessons() if name.split(".")[0] == module) == public


@each
def test_a_notebook_uses_only_what_has_been_taught(path):
    known = {name for other, _, name in lessons() if other <= path}
    for cell in code_cells(path):
        for node in ast.walk(parsed(cell)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").removeprefix("vqdit_lite.") in CORE:
                module = node.module.removeprefix("vqdit_lite.")
                used = {f"{module}.{alias.name}" for alias in node.names if not alias.name.startswith("_")}
                assert path.stem == "00_start_here" or used <= known, f"{used - known} come before they are taught"


# ---------------------------------------------------------------- 2. strict outputs


@each
def test_every_cell_was_executed_in_order(path):
    assert [cell.execution_count for cell in code_cells(path)] == list(range(1, len(code_cells(path)) + 1))


@each
def test_nothing_is_ignored_skipped_or_left_over(path):
    text = "\n".join(f"{cell.source} {cell.metadata}" for cell in READ[path].cells)
    assert not re.search(r"nbval|PYTEST_VALIDATE|raises-exception", text, re.IGNORECASE)
    assert not re.search(r"TODO|FIXME|XXX|lorem ipsum", text)


@each
def test_no_cell_ends_in_a_semicolon(path):
    assert not [cell.source for cell in code_cells(path) if cell.source.rstrip().endswith(";")]


@each
def test_outputs_hold_no_errors_warnings_or_widgets(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def plays(figure):
    """Whether a figure is an animated PNG."""
    return b"acTL" in base64.b64decode(figure.data["image/png"])[:100]


@each
def test_every_figure_says_what_to_see(path):
    for cell in code_cells(path):
        figures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        texts = "".join(output.get("text", "") for output in cell.outputs)
        still = [figure for figure in figures if not plays(figure)]
        for clip, frames in zip(figures, [*figures, None][1:], strict=False):  # clips share the text of their frames
            assert not plays(clip) or frames in still
        assert len(still) == texts.count("What to see: "), cell.source
        for figure in figures:
            assert len(figure.metadata["image/png"]["alt"]) > 30


def test_nbval_collects_every_code_cell():
    command = [sys.executable, "-m", "pytest", "--collect-only", "--nbval", "--nbval-current-env"]
    listing = subprocess.run(
        [*command, ROOT / "notebooks"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert listing.count("::Cell ") == sum(len(code_cells(path)) for path in NOTEBOOKS)


# ---------------------------------------------------------------- 3 and 4. devices and margins


@each
def test_random_numbers_come_from_the_cpu(path):
    for cell in code_cells(path):
        for node in ast.walk(parsed(cell)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("torch.rand", "torch.multinomial")):
                assert "device" not in {keyword.arg for keyword in node.keywords}, ast.unparse(node)


@each
def test_every_bound_stands_beside_its_measured_spread_with_room_to_spare(path):
    for bounds, call in checks(path):
        if not {"at_least", "at_most"} & set(bounds):
            continue
        low, high = ast.literal_eval(bounds["measured"])
        room = (high - low) / 2
        if "at_least" in bounds:
            assert ast.literal_eval(bounds["at_least"]) <= low - room, call
        if "at_most" in bounds:
            assert ast.literal_eval(bounds["at_most"]) >= high + room, call


# ---------------------------------------------------------------- 5 to 7. form


@each
def test_a_chapter_opens_and_closes_as_all_do(path):
    text = prose(path)
    number, title = path.stem[:2], text.split("\n")[0]
    assert title.startswith(f"# {number} · ")
    for part in ("**You will be able to**", "**You need**", "**It gives**", "**Time**", "the cells run in about"):
        assert part in READ[path].cells[0].source, part
    recap = text.split("## Recap")[1]
    assert len(re.findall(r"^\d\. ", recap, re.MULTILINE)) == 5
    assert "**Next:**" in recap
    assert re.search(r"\*\*Sources:\*\*.*arXiv \d{4}\.\d{4,5}", recap, re.DOTALL)


@each
def test_set_up_and_badge_carry_the_address_of_the_project(path):
    assert code_cells(path)[0].source == SETUP.rstrip()
    assert badge(path) in READ[path].cells[0].source


@pytest.mark.parametrize("path", PICTURES, ids=[path.stem for path in PICTURES])
def test_the_readme_shows_pictures_of_the_chapters(path):
    assert path.read_bytes() == readme_picture(*PICTURES[path])
    assert f"({path.relative_to(ROOT).as_posix()})" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_carries_the_address_of_the_project():
    addresses = re.findall(r"https://github\.com/[\w.-]+/[\w.-]+", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert addresses
    assert {address.removesuffix(".git") for address in addresses} == {ADDRESS}


@each
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", prose(path))
    assert not [link for link in links if not (path.parent / link).exists()]


@each
def test_cells_are_short_and_the_page_is_light(path):
    long = [cell.source for cell in code_cells(path) if not taught(cell) and len(cell.source.splitlines()) > 40]
    assert not long
    assert path.stat().st_size <= 1.5 * 2**20


@each
def test_names_are_those_of_the_course(path):
    used = {node.id for cell in code_cells(path) for node in ast.walk(parsed(cell)) if isinstance(node, ast.Name)}
    assert not [f"{name}: say {OTHER_NAMES[name]}" for name in used if name in OTHER_NAMES]


@each
def test_equations_are_numbered_in_order_and_used_in_code(path):
    numbers = re.findall(r"\\tag\{(\d+\.\d+)\}", prose(path))
    assert numbers == [f"{int(path.stem[:2])}.{count}" for count in range(1, len(numbers) + 1)]
    code = "\n".join(cell.source for cell in code_cells(path))
    assert not [number for number in numbers if f"({number})" not in code]


def test_each_equation_has_one_test_and_each_test_an_equation():
    numbered = {number for path in NOTEBOOKS for number in re.findall(r"\\tag\{(\d+\.\d+)\}", prose(path))}
    files = (ROOT / "tests" / "formulas").glob("test_*.py")
    tested = re.findall(r"def test_equation_(\d+_\d+)_", "\n".join(file.read_text(encoding="utf-8") for file in files))
    assert sorted(tested) == sorted(number.replace(".", "_") for number in numbered)
