"""What the repository must keep beside its notebooks."""

import ast
import re
import subprocess
import sys
import zipfile

import pytest
from tools.refresh import PROJECT, ROOT

MODULES = [path.stem for path in sorted((ROOT / "vqdit_lite").glob("*.py"))]
# No file imports one that stands after it here.
ORDER = (
    "__init__ check checkpoints metrics schedule quantize transformer data motion text sound autoencoder gaussian "
    "masked multimodal models training plot recipes assistant learn doctor __main__"
).split()


def test_environment_yml_repeats_nothing_that_pyproject_says():
    lines = [line.strip(" -") for line in (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()]
    assert lines[lines.index("dependencies:") + 1 :] == [
        f"python {PROJECT['requires-python']}",
        "pip",
        "pip:",
        "e .[course]",
    ]


@pytest.mark.parametrize("file", ["Makefile", "README.md", "environment.yml"])
def test_jupyterlab_is_opened_on_the_whole_course(file):
    """Given a notebook alone, it would show that folder only, and links to the exercises would lead nowhere."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    doors = [line for line in lines if "jupyter lab" in line and "00_start_here.ipynb" in line]
    assert doors
    assert all("--ServerApp.root_dir=. notebooks/" in line for line in doors)


def test_torch_is_bounded_from_below_only():
    bounds = [line for line in PROJECT["dependencies"] if line.startswith("torch")]
    assert len(bounds) == 2
    assert all(re.fullmatch(r"torch(vision)?>=[\d.]+", bound) for bound in bounds)


def test_the_wheel_carries_the_data(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        inside = set(wheel.namelist())
    here = [path.relative_to(ROOT / "data") for path in (ROOT / "data").rglob("*") if path.is_file()]
    assert here
    assert {f"vqdit_lite/_data/{path.as_posix()}" for path in here} <= inside


@pytest.mark.parametrize("module", MODULES)
def test_arrows_between_files_point_one_way(module):
    tree = ast.parse((ROOT / "vqdit_lite" / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vqdit_lite"):
            below = node.module.removeprefix("vqdit_lite").removeprefix(".")
            targets = [below] if below else [alias.name for alias in node.names]
            assert all(ORDER.index(target) < ORDER.index(module) for target in targets), ast.unparse(node)


def test_graders_stand_apart():
    """They use what the chapters teach; nothing of the library uses them."""
    core = {
        "data",
        "metrics",
        "schedule",
        "quantize",
        "transformer",
        "text",
        "autoencoder",
        "gaussian",
        "masked",
        "multimodal",
    }
    for path in (ROOT / "vqdit_lite").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vqdit_lite"):
                name = node.module.removeprefix("vqdit_lite").strip(".")
                if path.parent.name == "grade":
                    assert name == "grade.grader" or ({name} if name else {alias.name for alias in node.names}) <= core
                else:
                    assert not name.startswith("grade")


def lines_of_code(source):
    """Lines that are neither empty nor a comment nor part of a docstring."""
    documented = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and number not in documented for number, line in lines)


def test_the_library_stays_small():
    """What only uses the library is counted apart: the shipped models, their recipes, the commands, the graders of
    the exercises."""
    apart = ("models", "recipes", "assistant", "learn", "doctor", "__main__")
    files = [path for path in (ROOT / "vqdit_lite").glob("*.py") if path.stem not in apart]
    assert sum(lines_of_code(path.read_text(encoding="utf-8")) for path in files) <= 2300


def test_every_card_names_how_its_weights_were_made():
    from vqdit_lite import checkpoints, models, recipes

    shipped = sorted(path.stem for path in base.FOLDER.glob("*.safetensors"))
    assert shipped == sorted(shipped.MODELS)
    for name in shipped:
        path = base.FOLDER / f"{name}.safetensors"
        card = checkpoints.read_card(path)
        assert card["sha256"] == checkpoints.sha256(path)
        assert card["command"].endswith(name)
        assert {"settings", "seconds", "machine", "parameters", "scores_on_fresh_data", "licence"} <= set(card)


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
