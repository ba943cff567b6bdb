"""What the repository must keep beside its notebooks."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
import zipfile

import pytest

from tools.changed import library_tests, selection
from tools.contract import must
from tools.notebooks import ROOT, docstring_lines, lines_of_code
from tools.refresh import PROJECT
from tools.rooms import FILES, LIBRARY, MATHEMATICS, ROOMS, imports_of, may_import, name_of, path_of, room_of

LONGEST_FILE, LONGEST_FUNCTION = 450, 45
each = pytest.mark.parametrize("name", FILES)


def source(name):
    return path_of(name).read_text(encoding="utf-8")


# ---------------------------------------------------------------- rooms


def test_every_file_of_the_library_stands_in_a_room():
    there = {name_of(path) for path in LIBRARY.rglob("*.py")}
    must(there >= set(FILES), f"{set(FILES) - there} stand in tools/rooms.py but nowhere else: take them out there.")
    must(there <= set(FILES), f"{there - set(FILES)} stand in no room: add them to the table in tools/rooms.py.")


def test_rooms_import_only_what_stands_above_them():
    above = []
    for room, (_, allowed) in ROOMS.items():
        must(set(allowed) <= set(above), f"{room} may import {set(allowed) - set(above)}, which must stand above it.")
        above.append(room)


@each
def test_arrows_between_files_point_one_way(name):
    wrong = sorted(other for other in imports_of(name) if not may_import(name, other))
    must(
        not wrong,
        f"{name} (of the room {room_of(name)}) imports {', '.join(wrong)}, against the table in tools/rooms.py: move "
        "what it needs to a file that stands above it.",
    )


def test_graders_stand_apart():
    """They use what the chapters teach; nothing of the library uses them."""
    must(ROOMS["grade"].may_import == ("mathematics",), "Graders import the mathematics alone: see tools/rooms.py.")
    users = [room for room, (_, allowed) in ROOMS.items() if "grade" in allowed]
    must(not users, f"Nothing of the library uses a grader, but tools/rooms.py lets {users} do so.")


# ---------------------------------------------------------------- sizes


@each
def test_files_are_short(name):
    lines = len(source(name).splitlines())
    must(
        lines <= LONGEST_FILE or name.startswith("grade.chapter"),
        f"{name} has {lines} lines, above {LONGEST_FILE}: cut it in two, and add both to tools/rooms.py.",
    )


@pytest.mark.parametrize("name", MATHEMATICS)
def test_functions_of_the_mathematics_are_short(name):
    for node in ast.walk(ast.parse(source(name))):
        if isinstance(node, ast.FunctionDef):
            own = node.end_lineno - node.lineno + 1 - len(docstring_lines(node))
            must(
                own <= LONGEST_FUNCTION,
                f"{name}.py: {node.name} has {own} lines, above {LONGEST_FUNCTION}, its docstring not counted: cut it.",
            )


def test_the_library_stays_small():
    """What only uses the library is counted apart: the shipped models, the commands, the graders of the exercises."""
    counted = [name for room in ("mathematics", "workshop", "data") for name in ROOMS[room].files]
    lines = sum(lines_of_code(source(name)) for name in counted)
    must(lines <= 2900, f"Mathematics, workshop and data have {lines} lines of code, above 2900: say it shorter.")


# ---------------------------------------------------------------- what to run after a change


@each
def test_every_file_has_tests_of_its_name(name):
    must(
        name.startswith("grade") or path_of(name).name == "__init__.py" or bool(library_tests(name)),
        f"`make check` finds no tests of {name}: name a file in tests/library after it or its folder, or say "
        "in tools/changed.py where they stand.",
    )


def test_what_changed_names_its_tests():
    paths = selection(["vqdit_lite/gaussian.py", "notebooks/08_masked_diffusion.ipynb", "README.md"])
    assert {"tests/library/test_gaussian.py", "tests/formulas/test_chapter08.py", "tests/notebooks"} <= set(paths)
    graders = selection(["vqdit_lite/grade/chapter01.py", "tests/wrong_answers/chapter02.py"])
    assert "not test_graders or chapter01 or chapter02" in graders
    assert "-k" not in selection(["vqdit_lite/grade/chapter01.py", "vqdit_lite/grade/grader.py"])
    assert selection([]) == ["tests/notebooks", "-m", "not slow"]


@pytest.mark.parametrize("module", ["tools.changed", "tools.notebooks", "tools.rooms"])
def test_the_examples_of_the_tools_are_true(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


# ---------------------------------------------------------------- what is shipped


def test_environment_yml_repeats_nothing_that_pyproject_says():
    lines = [line.strip(" -") for line in (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()]
    wanted = [f"python {PROJECT['requires-python']}", "pip", "pip:", "e .[course]"]
    must(
        lines[lines.index("dependencies:") + 1 :] == wanted, f"environment.yml must ask for {wanted} and nothing else."
    )


@pytest.mark.parametrize("file", ["Makefile", "README.md", "environment.yml"])
def test_jupyterlab_is_opened_on_the_whole_course(file):
    """Given a notebook alone, it would show that folder only, and links to the exercises would lead nowhere."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    doors = [line for line in lines if "jupyter lab" in line and "00_start_here.ipynb" in line]
    must(bool(doors), f"{file} opens chapter 00 nowhere.")
    whole = all("--ServerApp.root_dir=. notebooks/" in line for line in doors)
    must(whole, f"{file}: write `jupyter lab --ServerApp.root_dir=. notebooks/00_start_here.ipynb`.")


def test_torch_is_bounded_from_below_only():
    bounds = [line for line in PROJECT["dependencies"] if line.startswith("torch")]
    lower = len(bounds) == 2 and all(re.fullmatch(r"torch(vision)?>=[\d.]+", bound) for bound in bounds)
    must(lower, f"pyproject.toml has {bounds}: lower bounds only, or Colab's torch would be replaced.")


def test_the_wheel_carries_the_data(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        sizes = {entry.filename: entry.file_size for entry in wheel.infolist()}
    here = [path.relative_to(ROOT / "data") for path in (ROOT / "data").rglob("*") if path.is_file()]
    missing = {f"vqdit_lite/_data/{path.as_posix()}" for path in here} - set(sizes)
    must(bool(here) and not missing, f"The wheel lacks {missing}: see [tool.hatch.build] in pyproject.toml.")
    size = sum(sizes.values()) / 1e6
    must(size <= 40, f"Installed, the package takes {size:.0f} MB, above 40: store less in data/.")


def test_every_card_names_how_its_weights_were_made():
    from vqdit_lite import checkpoints, shipped  # here, as torch takes longer to load than all contracts together
    from vqdit_lite.shipped import base

    files = {path.stem for path in base.FOLDER.glob("*.safetensors")}
    must(files == set(shipped.MODELS), f"{files ^ set(shipped.MODELS)}: weights without a model, or a model without.")
    wanted = (
        "name about parameters weights needs starts_from settings seconds machine scores_on_fresh_data licence command "
        "sha256"
    ).split()
    for name, model in shipped.MODELS.items():
        path = base.FOLDER / f"{name}.safetensors"
        train = f"run `python -m vqdit_lite train {name} --out data/checkpoints`"
        card = checkpoints.read_card(path)
        sizes = ["depth", "width", "heads"] if "transformer" in model.about else []
        missing = [line for line in [*wanted, *sizes] if line not in card]
        must(not missing, f"The card of {name} lacks {missing}: {train}.")
        must(card["sha256"] == checkpoints.sha256(path), f"{name} is not the file its card describes: {train}.")
        must(card["command"].endswith(name), f"The card of {name} names the command {card['command']!r}: {train}.")


def test_the_guard_keeps_a_notebook_offline_and_off_the_checkout(tmp_path):
    guard = ROOT / "tests" / "notebooks" / "guard" / "sitecustomize.py"

    def refused(statement):
        start = "import sys; sys.orig_argv.append('ipykernel')"
        code = f"{start}; exec(open({str(guard)!r}).read(), dict(__file__={str(guard)!r}))"
        run = subprocess.run([sys.executable, "-c", f"{code}\n{statement}"], capture_output=True, text=True, cwd=ROOT)
        return "PermissionError" in run.stderr

    assert refused("open('written.txt', 'w')")
    assert refused("import os; os.mkdir('folder')")
    assert refused("import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)")
    assert not refused(f"open({str(tmp_path / 'written.txt')!r}, 'w')")
    assert not refused("open('README.md')")
