"""What every exercise notebook must keep, and the round a teacher goes with nbgrader."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tools import generate
import nbformat
import pytest
from nbgrader.api import Gradebook
from tools.refresh import NOTEBOOKS, SETUP, badge
from test_graders import GRADERS

SOLUTIONS = generate.SOLUTIONS
READ = {path: nbformat.read(path, as_version=4) for path in SOLUTIONS}
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


def test_every_chapter_from_01_to_08_has_exercises():
    chapters = [path.name for path in NOTEBOOKS if "01" <= path.name[:2] <= "08"]
    assert [path.name for path in SOLUTIONS] == chapters
    assert sum(len(tasks(path)) for path in SOLUTIONS) >= 48


@each
def test_generating_again_changes_nothing(path):
    assert (generate.HERE / path.name).read_text(encoding="utf-8") == generate.student_version(path)


@each
def test_the_chapter_leads_to_its_exercises_and_back(path):
    chapter = next(other for other in NOTEBOOKS if other.name == path.name)
    assert f"(../exercises/{path.name})" in chapter.read_text(encoding="utf-8")
    assert f"(../notebooks/{path.name})" in READ[path].cells[0].source


@each
def test_students_see_no_solution(path):
    student = (generate.HERE / path.name).read_text(encoding="utf-8")
    assert "SOLUTION" not in student
    gaps = path.read_text(encoding="utf-8").count("### BEGIN SOLUTION")
    assert student.count("raise NotImplementedError") == gaps + 1  # once more in the opening text
    assert '"outputs": []' in student
    assert '"output_type"' not in student


@each
def test_every_exercise_is_graded_and_every_grader_has_an_exercise(path):
    graders = GRADERS[f"chapter{path.name[:2]}"]
    assert list(marked(path, solution=True, grade=False)) == list(graders)
    assert list(marked(path, locked=True)) == [f"grade_{name}" for name in graders]
    assert len(tasks(path)) == len(graders) >= 6
    for name, cell in marked(path, locked=True).items():
        assert cell.source.startswith(f"grade.{name.removeprefix('grade_')}(")


@each
def test_levels_minutes_and_points_are_stated_and_true(path):
    about = [ABOUT.search(text) for text in tasks(path)]
    assert all(about)
    for line in about:
        assert re.fullmatch(LEVELS[int(line[1])], line[2])
        assert int(line[4]) == int(line[1])
    assert {line[1] for line in about} == {"1", "2", "3"}
    assert any(line[2] == "find and mend" for line in about)
    points = [cell.metadata["nbgrader"]["points"] for cell in marked(path, locked=True).values()]
    assert points == [int(line[4]) for line in about]
    written = marked(path, solution=True, grade=True)
    assert [cell.metadata["nbgrader"]["points"] for cell in written.values()] == [int(x[5]) for x in about if x[5]]
    minutes, total = sum(int(x[3]) for x in about), sum(points) + sum(int(x[5] or 0) for x in about)
    assert f"{len(about)} exercises, {minutes} minutes, {total} points." in READ[path].cells[0].source
    page = (generate.HERE / "README.md").read_text(encoding="utf-8")
    title = READ[path].cells[0].source.splitlines()[0].removeprefix("# Exercises ")
    assert f"| [{title}]({path.name}) | {len(about)} | {minutes} | {total} |" in page


@each
def test_hints_come_in_layers_and_solutions_explain(path):
    for text in tasks(path):
        assert len(re.findall(r"<details><summary>Hint \d: .+</summary>\n\n", text)) >= 2
        assert text.count("<details>") == text.count("</details>")
    for cell in marked(path, solution=True, grade=False).values():
        solution = cell.source.split("### BEGIN SOLUTION")[1]
        assert "# " in solution.split("### END SOLUTION")[0]


@each
def test_solutions_were_executed_in_order_and_set_up_like_the_chapters(path):
    code = [cell for cell in READ[path].cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert code[0].source == SETUP.rstrip()
    assert badge(path) in READ[path].cells[0].source


# ---------------------------------------------------------------- nbgrader


def submit(course, student, source, answers):
    """Hand in the released notebook with these answers in place of the stubs."""
    released = nbformat.read(course / "release" / source.stem / source.name, as_version=4)
    for cell in released.cells:
        cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
    folder = course / "submitted" / student / source.stem
    folder.mkdir(parents=True)
    nbformat.write(released, folder / source.name)


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
