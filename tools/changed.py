"""Run the tests of what has changed: python -m tools.changed [PYTEST OPTION …]

What differs from the last commit has changed, new files included; where nothing differs, what the branch holds beyond
origin/main. The contracts of the repository always run. Tests marked slow are left to `make test`.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tools.notebooks import ROOT
from tools.rooms import name_of

CONTRACTS = "tests/notebooks"
GRADERS = "tests/exercises/test_graders.py"
# Files of the library whose tests bear another name than theirs or their folder's.
TESTED_IN = {
    "__main__": "command_line",
    "app.doctor": "command_line",
    "app.files": "assistant",
    "attention": "transformer",
    "data.places": "pictures",
    "layout": "multimodal",
    "residual": "quantize",
}


def changed_files() -> list[str]:
    """What differs from the last commit or, where nothing does, from the place where the branch left origin/main."""
    here = _git("diff", "--name-only", "HEAD") + _git("ls-files", "--others", "--exclude-standard")
    has_main = subprocess.run(["git", "rev-parse", "-q", "--verify", "origin/main"], cwd=ROOT, capture_output=True)
    return here or (_git("diff", "--name-only", "origin/main...HEAD") if has_main.returncode == 0 else [])


def tests_of(file: str) -> set[str]:
    """The test files that a change of one file asks for.

    >>> tests_of("notebooks/03_forward_diffusion.ipynb"), tests_of("vqdit_lite/__main__.py"), tests_of("README.md")
    ({'tests/formulas/test_chapter03.py'}, {'tests/library/test_command_line.py'}, set())
    """
    path = Path(file)
    match path.parts[:2]:
        case ("vqdit_lite", "grade") | ("tests", "wrong_answers"):
            found = {GRADERS}
        case ("vqdit_lite", _):
            found = library_tests(name_of(ROOT / file))
        case ("notebooks", name):
            found = {f"tests/formulas/test_chapter{name[:2]}.py"}
        case ("exercises", _):
            found = {"tests/exercises/test_notebooks.py"}
        case ("data", "checkpoints"):
            found = {"tests/library/test_shipped.py", "tests/library/test_quality.py"}
        case ("tests", _) if path.match("test_*.py"):
            found = {file}
        case _:
            found = set()
    return {test for test in found if (ROOT / test).exists()}


def library_tests(name: str) -> set[str]:
    """The test files named after a file of the library or its folder, and the formulas that use it.

    >>> sorted(library_tests("schedule"))[-1], library_tests("app.learn.folder")
    ('tests/library/test_schedule.py', {'tests/library/test_learn.py'})
    """
    named = {f"tests/library/test_{stem}.py" for stem in TESTED_IN.get(name, name).split(".")}
    formulas = (ROOT / "tests" / "formulas").glob("test_*.py")
    uses = re.compile(rf"from vqdit_lite\.{name} import|from vqdit_lite import .*\b{name}\b")
    using = {path.relative_to(ROOT).as_posix() for path in formulas if uses.search(path.read_text(encoding="utf-8"))}
    return {test for test in named if (ROOT / test).exists()} | using


def selection(files: Iterable[str]) -> list[str]:
    """The arguments for pytest. Of the graders, those of the changed chapters run alone.

    >>> selection(["tests/wrong_answers/chapter03.py"])
    ['tests/exercises/test_graders.py', 'tests/notebooks', '-k', 'not test_graders or chapter03', '-m', 'not slow']
    """
    asked = {file: tests_of(file) for file in files}
    paths = sorted({CONTRACTS}.union(*asked.values()))
    graded = sorted({Path(file).stem for file, tests in asked.items() if GRADERS in tests})
    by_chapter = graded and all(name.startswith("chapter") for name in graded)
    only = ["-k", " or ".join(["not test_graders", *graded])] if by_chapter else []
    return [*paths, *only, "-m", "not slow"]


def _git(*command: str) -> list[str]:
    done = subprocess.run(["git", *command, "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"What has changed is asked of git, which says: {done.stderr.strip()}")
    return done.stdout.split("\0")[:-1]


if __name__ == "__main__":
    arguments = [*selection(changed_files()), *sys.argv[1:]]
    print("pytest", shlex.join(arguments), flush=True)
    sys.exit(pytest.main(arguments))
