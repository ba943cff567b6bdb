"""Make the students' notebooks from the solutions: python -m tools.generate [--course FOLDER]

Without options it writes exercises/NN_topic.ipynb. With --course it lays out a course for nbgrader in FOLDER instead:
the solutions as its sources, one assignment a chapter.
"""

import argparse
import shutil
from pathlib import Path

import nbformat
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import SaveCells
from traitlets.config.loader import PyFileConfigLoader

from tools.notebooks import ROOT, SOLUTIONS, read

HERE = ROOT / "exercises"
CONFIG = HERE / "nbgrader_config.py"
# All that nbgrader itself does to a source, but for the record in a teacher's database.
STEPS = [step for step in GenerateAssignment.preprocessors.default() if step is not SaveCells]


def student_version(source: Path) -> str:
    """The notebook a student gets for a solution, as it is stored."""
    notebook, config = read(source), PyFileConfigLoader(str(CONFIG)).load_config()
    for step in STEPS:
        notebook, _ = step(config=config).preprocess(notebook, {"nbgrader": {}})
    return nbformat.writes(notebook) + "\n"


def lay_out(course: Path) -> None:
    """A folder in which nbgrader's own commands work."""
    for source in SOLUTIONS:
        assignment = course / "source" / source.stem
        assignment.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, assignment)
    shutil.copy(CONFIG, course)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--course", type=Path, metavar="FOLDER", help="lay out a course for nbgrader here")
    folder = parser.parse_args().course
    if folder:
        lay_out(folder)
    else:
        for source in SOLUTIONS:
            (HERE / source.name).write_text(student_version(source), encoding="utf-8")
