"""The rooms of the library, in one table: which files each holds, and which rooms its files may import from.

Inside a room, a file imports only files that stand before it.
"""

from pathlib import Path
from typing import NamedTuple

LIBRARY = Path(__file__).parents[1] / "vqdit_lite"


class Room(NamedTuple):
    """Some files that belong together."""

    files: tuple[str, ...]  # dotted names below vqdit_lite
    may_import: tuple[str, ...] = ()  # other rooms


ROOMS = {
    "mathematics": Room(
        (
            "metrics",
            "schedule",
            "text",
            "quantize",
            "transformer",
            "adapter",
            "audio",
            "autoencoder",
            "gaussian",
            "masked",
            "multimodal",
        )
    ),
    "workshop": Room(("check", "checkpoints", "plot", "training"), ("mathematics",)),
    "data": Room(
        ("data.places", "data.pictures", "data.scenes", "data.speech", "data.clips", "data"), ("mathematics",)
    ),
    "shipped": Room(
        (
            "shipped.base",
            "shipped.judges",
            "shipped.scenes",
            "shipped.handwriting",
            "shipped.speech",
            "shipped.clips",
            "shipped.any_to_any",
            "shipped",
        ),
        ("mathematics", "workshop", "data"),
    ),
    "app": Room(
        (
            "app",
            "app.doctor",
            "app.assistant",
            "app.panel",
            "app.learn.folder",
            "app.learn.drawing",
            "app.learn.scores",
            "app.learn.learning",
            "app.learn",
        ),
        ("mathematics", "workshop", "data", "shipped"),
    ),
    "grade": Room(
        ("grade", "grade.grader", *sorted(f"grade.{path.stem}" for path in (LIBRARY / "grade").glob("chapter*.py"))),
        ("mathematics",),
    ),
    "command line": Room(("__main__",), ("shipped", "app", "workshop")),
}
MATHEMATICS = ROOMS["mathematics"].files


def path_of(name: str) -> Path:
    """The file of a dotted name.

    >>> path_of("data").name, path_of("data.scenes").name
    ('__init__.py', 'scenes.py')
    """
    path = LIBRARY.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def room_of(name: str) -> str:
    """The room in which a file stands."""
    return next(room for room, (files, _) in ROOMS.items() if name in files)
