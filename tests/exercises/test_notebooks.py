"""What every exercise notebook must keep, and the round a teacher goes with nbgrader."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from test_graders import GRADERS

from tools import generate
from tools.contract import again, must
from tools.notebooks import NOTEBOOKS, ROOT, SOLUTIONS, code_cells, read
from tools.refresh import SETUP, badge

READ = {path: read(path) for path in SOLUTIONS}
each = pytest.mark.parametrize("path", SOLUTIONS, ids=[path.stem for path in SOLUTIONS])
LEVELS = {1: "recall", 2: "(?:implement|find and mend)", 3: "investigate"}
ABOUT = re.compile(
    rf"^\*\*Level (\d): ({'|'.join(LEVELS.values())})\*\* · (?:★☆☆|★★☆|★★★) · (\d+) minutes · "
    r"(\d) points?(?: and (\d) for the explanation)? · practises ",
    re.MULTILINE,
)


def marked(path, **wanted):
    """Cells with these values in what nbgrader notes about them, by id."""
    found = {}
    for cell in READ[path].cells:
        note = cell.metadata.get("nbgrader", {})
        if note and all(note[key] == value for key, value in wanted.items()):
            found[note["grade_id"]] = cell
    return found


def tasks(path):
    """The text of each exercise: the cells that begin with a numbered heading."""
    return [cell.source for cell in READ[path].cells if re.match(r"## \d+ · ", cell.source)]


def tasks_of_a_set(path):
    """The texts of a full set of exercises: that of a page, or of the two pages of chapters 04 and 05 together."""
    pages = [other for other in SOLUTIONS if other.name[:2] in ("04", "05")]
    return [text for page in (pages if path in pages else [path]) for text in tasks(page)]


def test_every_chapter_from_01_to_09_has_exercises():
    chapters = {path.name for path in NOTEBOOKS if "01" <= path.name[:2] <= "09"}
    unlike = chapters ^ {path.name for path in SOLUTIONS}
    must(not unlike, f"{sorted(unlike)} must stand both in notebooks and in exercises/solutions.")
    number = sum(len(tasks(path)) for path in SOLUTIONS)
    must(number >= 48, f"There are {number} exercises, fewer than 48: exercises/README.md says how to add one.")


@each
def test_generating_again_changes_nothing(path):
    stored = generate.HERE / path.name
    fresh = stored.exists() and stored.read_text(encoding="utf-8") == generate.student_version(path)
    must(fresh, f"exercises/{path.name} is not what its solution makes: run `python -m tools.generate`.")


@each
def test_the_chapter_leads_to_its_exercises_and_back(path):
    chapter = (ROOT / "notebooks" / path.name).read_text(encoding="utf-8")
    must(f"(../exercises/{path.name})" in chapter, f"notebooks/{path.name} has no link to ../exercises/{path.name}.")
    back = f"(../notebooks/{path.name})" in READ[path].cells[0].source
    must(back, f"solutions/{path.name} has no link to ../notebooks/{path.name} in its first cell.")


@each
def test_students_see_no_solution(path):
    student = (generate.HERE / path.name).read_text(encoding="utf-8")
    gaps = path.read_text(encoding="utf-8").count("### BEGIN SOLUTION")
    must("SOLUTION" not in student, f"exercises/{path.name} shows a solution: run `python -m tools.generate`.")
    stubs = student.count("raise NotImplementedError") - 1  # once more in the opening text
    must(stubs == gaps, f"exercises/{path.name} has {stubs} stubs for {gaps} solutions: see nbgrader's marks.")
    empty = '"outputs": []' in student and '"output_type"' not in student
    must(empty, f"exercises/{path.name} stores outputs: run `python -m tools.generate`.")


@each
def test_every_exercise_is_graded_and_every_grader_has_an_exercise(path):
    graders = list(GRADERS[f"chapter{path.name[:2]}"])
    answers, graded = list(marked(path, solution=True, grade=False)), list(marked(path, locked=True))
    must(answers == graders, f"{path.name} asks for {answers}; grade/chapter{path.name[:2]}.py grades {graders}.")
    must(graded == [f"grade_{name}" for name in graders], f"{path.name}: its grading cells are {graded}, of {graders}.")
    texts = len(tasks(path))
    must(texts == len(graders), f"{path.name} has {texts} texts for {len(graders)} exercises.")
    must(len(tasks_of_a_set(path)) >= 6, f"{path.name} has fewer than six exercises.")
    for name, cell in marked(path, locked=True).items():
        call = f"grade.{name.removeprefix('grade_')}("
        must(cell.source.startswith(call), f"{path.name}: the cell {name} must begin with `{call}`.")


@each
def test_levels_minutes_and_points_are_stated_and_true(path):
    about = [ABOUT.search(text) for text in tasks(path)]
    for text, line in zip(tasks(path), about, strict=True):
        name = f"{path.name}, {text.splitlines()[0]!r}"
        must(bool(line), f"{name}: its second line is not like `**Level 1: recall** · ★☆☆ · 5 minutes · 1 point · …`.")
        level = int(line[1])
        must(bool(re.fullmatch(LEVELS[level], line[2])), f"{name}: level {level} is not called {line[2]!r}.")
        must(int(line[4]) == level, f"{name}: level {level} gives {level} points, not {line[4]}.")
    in_all = [ABOUT.search(text) for text in tasks_of_a_set(path)]
    levels = {line[1] for line in in_all if line}
    must(levels == {"1", "2", "3"}, f"{path.name} has the levels {sorted(levels)}; it wants 1, 2 and 3.")
    must(any(line[2] == "find and mend" for line in in_all if line), f"{path.name}: no exercise is to find and mend.")
    points = [cell.metadata["nbgrader"]["points"] for cell in marked(path, locked=True).values()]
    stated = [int(line[4]) for line in about]
    must(points == stated, f"{path.name}: the texts state {stated} points, nbgrader's marks {points}.")
    for_words = [cell.metadata["nbgrader"]["points"] for cell in marked(path, solution=True, grade=True).values()]
    stated = [int(line[5]) for line in about if line[5]]
    must(
        for_words == stated,
        f"{path.name}: explanations give {stated} points by text, {for_words} by nbgrader's marks.",
    )
    minutes, total = sum(int(line[3]) for line in about), sum(points) + sum(for_words)
    summary = f"{len(about)} exercises, {minutes} minutes, {total} points."
    must(summary in READ[path].cells[0].source, f"{path.name}: its first cell must say {summary!r}.")
    page = (generate.HERE / "README.md").read_text(encoding="utf-8")
    title = READ[path].cells[0].source.splitlines()[0].removeprefix("# Exercises ")
    row = f"| [{title}]({path.name}) | {len(about)} | {minutes} | {total} |"
    must(row in page, f"exercises/README.md wants the row `{row}`.")


@each
def test_hints_come_in_layers_and_solutions_explain(path):
    for text in tasks(path):
        name = f"{path.name}, {text.splitlines()[0]!r}"
        hints = len(re.findall(r"<details><summary>Hint \d: .+</summary>\n\n", text))
        must(hints >= 2, f"{name}: {hints} hints, fewer than two.")
        must(text.count("<details>") == text.count("</details>"), f"{name}: a hint is not closed by </details>.")
    for name, cell in marked(path, solution=True, grade=False).items():
        solution = cell.source.split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
        must("# " in solution, f"{path.name}: the solution of {name} explains nothing: write a comment.")


@each
def test_solutions_were_executed_in_order_and_set_up_like_the_chapters(path):
    code = code_cells(READ[path])
    in_order = [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    must(in_order, f"solutions/{path.name} was not run from top to bottom: {again(path)}.")
    errors = [cell.source.splitlines()[0] for cell in code if any(x.output_type == "error" for x in cell.outputs)]
    must(not errors, f"solutions/{path.name} stores errors below {errors}: fix them, and {again(path)}.")
    must(code[0].source == SETUP.rstrip(), f"solutions/{path.name}: the set-up cell is out of date: {again(path)}.")
    badged = badge(path) in READ[path].cells[0].source
    must(badged, f"solutions/{path.name}: the badge has another address than pyproject.toml: {again(path)}.")


# ---------------------------------------------------------------- nbgrader


def submit(course, student, source, answers):
    """Hand in the released notebook with these answers in place of the stubs."""
    released = nbformat.read(course / "release" / source.stem / source.name, as_version=4)
    for cell in released.cells:
        cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
    folder = course / "submitted" / student / source.stem
    folder.mkdir(parents=True)
    nbformat.write(released, folder / source.name)


@pytest.mark.slow
def test_a_round_with_nbgrader(tmp_path):
    """Assign, hand in a right, a partly wrong and an empty notebook, grade, and read the points."""
    source = SOLUTIONS[0]
    generate.lay_out(tmp_path)

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # nbgrader calls a program there

    def nbgrader(*command):
        run = [sys.executable, "-m", "nbgrader", *command, source.stem]
        done = subprocess.run(run, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    nbgrader("generate_assignment")
    right = {name: cell.source for name, cell in marked(source, solution=True).items()}
    wrong = "def straight_through(z, codes):\n    return codes.detach()"
    tampered = {"grade_vq_loss": "print('✓')", "vq_loss": "def vq_loss(z, codes, beta):\n    return 0"}
    submit(tmp_path, "right", source, right)
    submit(tmp_path, "partly_wrong", source, right | {"straight_through": wrong} | tampered)
    submit(tmp_path, "empty", source, {})
    nbgrader("autograde")
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db", "vqdit_lite") as gradebook:
        parts = {
            student: {
                grade.name: (grade.auto_score, grade.max_score, grade.needs_manual_grade)
                for grade in gradebook.find_submission_notebook(source.stem, source.stem, student).grades
            }
            for student in ("right", "partly_wrong", "empty")
        }
    graded = {name: cell.metadata["nbgrader"]["points"] for name, cell in marked(source, locked=True).items()}
    for name, points in graded.items():
        assert parts["right"][name] == (points, points, False)
        lost = name in ("grade_straight_through", "grade_vq_loss")  # a changed grader cell is put back before grading
        assert parts["partly_wrong"][name] == (0 if lost else points, points, False)
        assert parts["empty"][name] == (0, points, False)
    assert parts["right"]["explain_held_out_gap"] == (None, 2, True)  # the teacher reads it
    assert parts["empty"]["explain_held_out_gap"] == (0, 2, False)
