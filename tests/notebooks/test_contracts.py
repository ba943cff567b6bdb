"""What every notebook must keep, those present and those to come."""

import ast
import base64
import re
import subprocess
import sys
from functools import cache

import pytest

from tools.contract import again, must
from tools.notebooks import (
    NOTEBOOKS,
    ROOT,
    code_cells,
    definition,
    lines_of_code,
    private_names,
    python,
    read,
    shipped,
    taught,
)
from tools.refresh import ADDRESS, PICTURE, SETUP, badge, readme_picture
from tools.rooms import MATHEMATICS, path_of

# The longest a cell and a chapter may be, in lines (of a chapter: of code), and the chapters that are longer.
LONGEST_CELL, LONGEST_LESSON, LONGEST_CHAPTER = 40, 45, 350
LONGER_CHAPTERS = {
    "06_transformer_denoiser": "a transformer from nothing, and the judges of what it draws: half of it is library",
    "08_masked_diffusion": "the theory on a small world, then words, characters and pictures: one line of thought",
}
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

READ = {path: read(path) for path in NOTEBOOKS}
CONTROLLED = [path for path in NOTEBOOKS if path.stem < "06"]
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


tree = cache(ast.parse)


def cells(path):
    return code_cells(READ[path])


def prose(path):
    return "\n\n".join(cell.source for cell in READ[path].cells if cell.cell_type == "markdown")


def parsed(cell):
    return tree(python(cell))


def without_docstrings(node):
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner) is not None:
            inner.body = inner.body[1:] or [ast.Pass()]
    return ast.dump(node)


def imports(cell):
    """(module of the library, name) of everything that a cell imports from its files, as `from module import name`."""
    for node in ast.walk(parsed(cell)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vqdit_lite."):
            yield from ((node.module.removeprefix("vqdit_lite."), alias.name) for alias in node.names)


def checks(path):
    """Every call of check in a notebook."""
    for cell in cells(path):
        for node in ast.walk(parsed(cell)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "check":
                yield {keyword.arg: keyword.value for keyword in node.keywords}, ast.unparse(node)


# ---------------------------------------------------------------- 1. taught code is shipped code


def lessons():
    return [(path, cell, taught(cell)) for path in NOTEBOOKS for cell in cells(path) if taught(cell)]


each_lesson = pytest.mark.parametrize(("path", "cell", "name"), lessons(), ids=[name for *_, name in lessons()])


@each_lesson
def test_taught_code_is_shipped_code(path, cell, name):
    try:
        page, library = (definition(source, name.split(".")[1]) for source in (cell.source, shipped(name)))
    except (LookupError, FileNotFoundError) as error:
        pytest.fail(f"{path.name}: a cell has the tag taught:{name}, but: {error}", pytrace=False)
    must(
        without_docstrings(page) == without_docstrings(library),
        f"{path.name}: the cell that teaches {name} is not the library's: edit the library, and {again(path)}.",
    )


@each_lesson
def test_a_lesson_imports_just_the_private_names_that_it_uses(path, cell, name):
    private = [(module, own) for module, own in imports(cell) if own.startswith("_")]
    wanted = [(name.split(".")[0], own) for own in private_names(name)]
    must(private == wanted, f"{path.name}: the imports above {name} are not what it uses: {again(path)}.")


@each_lesson
def test_a_lesson_is_short(path, cell, name):
    lines = len(cell.source.splitlines())
    must(
        lines <= LONGEST_LESSON,
        f"{path.name}: the cell that teaches {name} has {lines} lines, above {LONGEST_LESSON}: cut {name} in the "
        f"library into smaller parts, give each a cell, and {again(path)}.",
    )


@each_lesson
def test_guards_stand_apart(path, cell, name):
    raised = [node for node in ast.walk(definition(cell.source, name.split(".")[1])) if isinstance(node, ast.Raise)]
    must(
        all(node.end_lineno == node.lineno for node in raised),
        f"{path.name}: {name} raises over several lines: move the check into a function _check_… at the end of "
        f"{name.split('.')[0]}.py, and {again(path)}.",
    )


@each
def test_private_names_stand_in_lessons_only(path):
    private = [own for cell in cells(path) if not taught(cell) for _, own in imports(cell) if own.startswith("_")]
    must(not private, f"{path.name} imports {', '.join(private)} outside a taught cell: make it public, or do without.")


@cache
def defined(module):
    """The public functions and classes of a file; its constants are no lesson."""
    nodes = ast.parse(path_of(module).read_text(encoding="utf-8")).body
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("module", MATHEMATICS)
def test_each_public_name_of_the_core_is_taught_once(module):
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    assigned = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    must("__all__" in assigned, f"{module}.py says nowhere what is public: write __all__ = [...].")
    public = set(ast.literal_eval(assigned["__all__"]))
    unlike = public ^ defined(module)
    must(not unlike, f"{module}.py: {unlike} must stand in __all__ and be defined, or begin with an underscore.")
    times = [name.removeprefix(f"{module}.") for *_, name in lessons() if name.split(".")[0] == module]
    for name in sorted({*public, *times}):
        must(
            times.count(name) == (name in public),
            f"{module}.{name} is taught {times.count(name)} times: a public name of the mathematics wants one cell "
            f"with the tag taught:{module}.{name}, a private one none. Fix that, and run `make notebook N=…`.",
        )


@each
def test_a_notebook_uses_only_what_has_been_taught(path):
    known = {name for other, _, name in lessons() if other <= path}
    for cell in cells(path):
        used = {f"{module}.{own}" for module, own in imports(cell) if module in MATHEMATICS and own in defined(module)}
        early = ", ".join(sorted(used - known))
        must(
            path.stem == "00_start_here" or not early,
            f"{path.name} imports {early} before any chapter teaches it: teach it here, or do without.",
        )


# ---------------------------------------------------------------- 2. strict outputs


@each
def test_every_cell_was_executed_in_order(path):
    counts = [cell.execution_count for cell in cells(path)]
    must(counts == list(range(1, len(counts) + 1)), f"{path.name} was not run from top to bottom: {again(path)}.")


@each
def test_nothing_is_ignored_skipped_or_left_over(path):
    text = "\n".join(f"{cell.source} {cell.metadata}" for cell in READ[path].cells)
    for pattern in (r"(?i)nbval|PYTEST_VALIDATE|raises-exception", r"(?i)TODO|FIXME|XXX|lorem ipsum"):
        found = re.search(pattern, text)
        must(not found, f"{path.name} holds {found and found[0]!r}: take it out, and {again(path)}.")


@each
def test_no_cell_ends_in_a_semicolon(path):
    ends = [cell.source.splitlines()[-1] for cell in cells(path) if cell.source.rstrip().endswith(";")]
    must(not ends, f"{path.name}: a cell ends in a semicolon, {ends}: take it away, and {again(path)}.")


@each
def test_outputs_hold_no_errors_warnings_or_widgets(path):
    for cell in cells(path):
        for output in cell.outputs:
            place = f"{path.name}, below {cell.source.splitlines()[0]!r}"
            must(output.output_type != "error", f"{place}: an error is stored. Fix the cell, and {again(path)}.")
            text = output.get("text")
            must(output.get("name") != "stderr", f"{place}: a warning is stored ({text}): fix it, and {again(path)}.")
            widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
            must(not widget, f"{place}: a widget is stored, which is empty without a kernel: {again(path)}.")


def plays(figure):
    """Whether a figure is an animated PNG."""
    return b"acTL" in base64.b64decode(figure.data["image/png"])[:100]


@each
def test_every_figure_says_what_to_see(path):
    for cell in cells(path):
        figures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        texts = "".join(output.get("text", "") for output in cell.outputs)
        still = [figure for figure in figures if not plays(figure)]
        place = f"{path.name}, below {cell.source.splitlines()[0]!r}"
        for clip, frames in zip(figures, [*figures, None][1:], strict=False):  # clips share the text of their frames
            must(not plays(clip) or frames in still, f"{place}: a clip without its frames: use plot.show_clips.")
        must(
            len(still) == texts.count("What to see: "),
            f'{place}: {len(still)} figures and {texts.count("What to see: ")} texts: use plot.show(figure, "…").',
        )
        for figure in figures:
            must(
                len(figure.metadata["image/png"]["alt"]) > 30,
                f"{place}: a figure says in fewer than 30 letters what to see: say more, and {again(path)}.",
            )


def test_nbval_collects_every_code_cell():
    command = [sys.executable, "-m", "pytest", "--collect-only", "--nbval", "--nbval-current-env"]
    listing = subprocess.run(
        [*command, ROOT / "notebooks"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    found, there = listing.count("::Cell "), sum(len(cells(path)) for path in NOTEBOOKS)
    must(
        found == there,
        f"nbval finds {found} of {there} code cells; `pytest --collect-only --nbval notebooks` lists them.",
    )


# ---------------------------------------------------------------- 3 and 4. devices and margins


@each
def test_random_numbers_come_from_the_cpu(path):
    for cell in cells(path):
        for node in ast.walk(parsed(cell)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("torch.rand", "torch.multinomial")):
                must(
                    "device" not in {keyword.arg for keyword in node.keywords},
                    f"{path.name}: {ast.unparse(node)} draws on a device: draw on the CPU, then move it.",
                )


@each
def test_every_bound_stands_beside_its_measured_spread_with_room_to_spare(path):
    measure = f"Measure with `python -m tools.margins notebooks/{path.name}`"
    for bounds, call in checks(path):
        if not {"at_least", "at_most"} & set(bounds):
            continue
        must("measured" in bounds, f"{path.name}: {call} has a bound and no measured=(lowest, highest). {measure}.")
        low, high = ast.literal_eval(bounds["measured"])
        room = (high - low) / 2
        lowest, highest = (ast.literal_eval(bounds.get(name, "None")) for name in ("at_least", "at_most"))
        must(
            (lowest is None or lowest <= low - room) and (highest is None or highest >= high + room),
            f"{path.name}: the bound of {call} lies within half a spread of what was measured: loosen it. {measure}.",
        )


@pytest.mark.parametrize("path", CONTROLLED, ids=[path.stem for path in CONTROLLED])
def test_every_bound_has_a_control(path):
    for bounds, call in checks(path):
        must(
            not {"at_least", "at_most"} & set(bounds) or "control" in bounds,
            f"{path.name}: {call} has a bound and no control: give it a value of this page that must break it.",
        )


@each
def test_nothing_but_check_prints_numbers_that_may_differ(path):
    for cell in cells(path):
        must(not re.search("[⟨⟩]", cell.source), f"{path.name}: a cell writes ⟨ or ⟩, which belong to check alone.")
        lines = [line for output in cell.outputs for line in output.get("text", "").splitlines() if "⟨" in line]
        must(
            all(line.startswith("✓ ") for line in lines),
            f"{path.name}, below {cell.source.splitlines()[0]!r}: ⟨…⟩ stands in a line that check did not print.",
        )


# ---------------------------------------------------------------- 5 to 7. form


@each
def test_a_chapter_opens_and_closes_as_all_do(path):
    text = prose(path)
    must(text.startswith(f"# {path.stem[:2]} · "), f"{path.name} must begin with `# {path.stem[:2]} · ` and its title.")
    for part in ("**You will be able to**", "**You need**", "**It gives**", "**Time**", "the cells run in about"):
        must(part in READ[path].cells[0].source, f"{path.name}: its first cell lacks {part!r}: see another chapter's.")
    recap = text.partition("## Recap")[2]
    lines = len(re.findall(r"^\d\. ", recap, re.MULTILINE))
    must(lines == 5, f"{path.name}: the section `## Recap` has {lines} numbered lines; it takes five.")
    must("**Next:**" in recap, f"{path.name}: after the recap, **Next:** is missing.")
    sources = re.search(r"\*\*Sources:\*\*.*arXiv \d{4}\.\d{4,5}", recap, re.DOTALL)
    must(bool(sources), f"{path.name}: after the recap, **Sources:** with numbers of arXiv is missing.")


@each
def test_set_up_and_badge_carry_the_address_of_the_project(path):
    first = READ[path].cells[0].source
    must(cells(path)[0].source == SETUP.rstrip(), f"{path.name}: the set-up cell is out of date: {again(path)}.")
    must(badge(path) in first, f"{path.name}: the badge has another address than pyproject.toml: {again(path)}.")


def test_the_readme_shows_pictures_of_the_chapters():
    name = PICTURE.relative_to(ROOT).as_posix()
    must(PICTURE.read_bytes() == readme_picture(), f"{name} is not what chapter 00 draws: run `make notebook N=00`.")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    must(f"({name})" in readme, f"README.md does not show {name}.")


def test_the_readme_carries_the_address_of_the_project():
    addresses = re.findall(r"https://github\.com/[\w.-]+/[\w.-]+", (ROOT / "README.md").read_text(encoding="utf-8"))
    must(
        {address.removesuffix(".git") for address in addresses} == {ADDRESS},
        f"README.md has the addresses {set(addresses)}, pyproject.toml has {ADDRESS}: run `make notebook N=00`.",
    )


def test_the_readme_fits_a_screen():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    must(len(lines) <= 65, f"README.md has {len(lines)} lines, above 65: say it shorter, or elsewhere.")
    code = "\n".join(lines).split("```")[1::2]
    wide = [line for block in code for line in block.splitlines() if len(line) > 80]
    must(not wide, f"README.md: code is cut off where it is wider than 80 letters: {wide}.")


@each
def test_the_readme_says_how_long_a_chapter_takes(path):
    times = r"(\d+) minutes to read and try; the cells run in about (\d+) seconds"
    head = READ[path].cells[0].source
    stated = re.search(times, head)
    must(bool(stated), f"{path.name} must say in its first cell how long it takes, as other chapters do.")
    title, (minutes, seconds) = head.splitlines()[0].removeprefix("# "), stated.groups()
    row = rf"\| \[{re.escape(title)}\]\(notebooks/{path.name}\) \|.*\| {minutes} min \| {seconds} s \|"
    must(
        bool(re.search(row, (ROOT / "README.md").read_text(encoding="utf-8"))),
        f"README.md wants a row `| [{title}](notebooks/{path.name}) | … | {minutes} min | {seconds} s |`, as the "
        "chapter's first cell says.",
    )


@each
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", prose(path))
    dead = [link for link in links if not (path.parent / link).exists()]
    must(not dead, f"{path.name}: nothing is where these links lead: {', '.join(dead)}.")


@each
def test_cells_are_short_and_the_page_is_light(path):
    long = [cell.source for cell in cells(path) if not taught(cell) and len(cell.source.splitlines()) > LONGEST_CELL]
    first = [source.splitlines()[0] for source in long]
    must(not long, f"{path.name}: these cells have more than {LONGEST_CELL} lines, cut them in two: {first}.")
    size = path.stat().st_size / 2**20
    must(size <= 1.5, f"{path.name} has {size:.1f} MiB, above 1.5: draw fewer or smaller figures, and {again(path)}.")


@each
def test_a_chapter_is_short(path):
    lines = sum(lines_of_code(python(cell)) for cell in cells(path))
    must(
        lines <= LONGEST_CHAPTER or path.stem in LONGER_CHAPTERS,
        f"{path.name} has {lines} lines of code, above {LONGEST_CHAPTER}: move what is no lesson into the library.",
    )
    must(
        lines > LONGEST_CHAPTER or path.stem not in LONGER_CHAPTERS,
        f"{path.name} has only {lines} lines of code: take it out of LONGER_CHAPTERS in tests/notebooks.",
    )


@each
def test_names_are_those_of_the_course(path):
    used = {node.id for cell in cells(path) for node in ast.walk(parsed(cell)) if isinstance(node, ast.Name)}
    other = [f"{OTHER_NAMES[name]} for {name}" for name in sorted(used) if name in OTHER_NAMES]
    must(not other, f"{path.name}: say {', '.join(other)}, as the other chapters do, and {again(path)}.")


@each
def test_equations_are_numbered_in_order_and_used_in_code(path):
    numbers = re.findall(r"\\tag\{(\d+\.\d+)\}", prose(path))
    wanted = [f"{int(path.stem[:2])}.{count}" for count in range(1, len(numbers) + 1)]
    must(numbers == wanted, f"{path.name}: its equations are numbered {numbers}: number them {wanted}.")
    code = "\n".join(cell.source for cell in cells(path))
    unused = [f"({number})" for number in numbers if f"({number})" not in code]
    must(not unused, f"{path.name}: write {', '.join(unused)} beside the lines of code that use it, and {again(path)}.")


def test_each_equation_has_one_test_and_each_test_an_equation():
    numbered = {number for path in NOTEBOOKS for number in re.findall(r"\\tag\{(\d+\.\d+)\}", prose(path))}
    files = (ROOT / "tests" / "formulas").glob("test_*.py")
    tested = re.findall(r"def test_equation_(\d+_\d+)_", "\n".join(file.read_text(encoding="utf-8") for file in files))
    for number in sorted(numbered | {name.replace("_", ".") for name in tested}):
        count = tested.count(number.replace(".", "_"))
        must(
            count == (number in numbered),
            f"Equation {number} has {count} tests: one test_equation_{number.replace('.', '_')}_… in tests/formulas "
            "goes with each numbered equation of the chapters, and none with any other.",
        )
