"""The rooms of the library, in one table: which files each holds, and which rooms its files may import from.

A room imports only rooms that stand above it, and a file only files of its own room that stand before it. Every test of
imports, sizes and taught code reads this table. python -m tools.rooms ROOM prints the files of a room.
"""

import ast
import sys
from pathlib import Path
from typing import NamedTuple

LIBRARY = Path(__file__).parents[1] / "vqdit_lite"


class Room(NamedTuple):
    """Some files that belong together."""

    files: tuple[str, ...]  # dotted names below vqdit_lite
    may_import: tuple[str, ...] = ()  # other rooms


ROOMS = {
    "door": Room(("__init__",)),
    "mathematics": Room(
        (
            "metrics",
            "schedule",
            "text",
            "quantize",
            "residual",
            "attention",
            "transformer",
            "adapter",
            "audio",
            "autoencoder",
            "gaussian",
            "masked",
            "layout",
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
            "app.files",
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
    "command line": Room(("__main__",), ("workshop", "shipped", "app")),
}
FILES = tuple(name for room in ROOMS.values() for name in room.files)
MATHEMATICS = ROOMS["mathematics"].files


def path_of(name: str) -> Path:
    """The file of a dotted name.

    >>> path_of("data").name, path_of("data.scenes").name
    ('__init__.py', 'scenes.py')
    """
    path = LIBRARY.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def name_of(path: Path) -> str:
    """The dotted name of a file of the library.

    >>> name_of(LIBRARY / "data" / "__init__.py"), name_of(LIBRARY / "__init__.py")
    ('data', '__init__')
    """
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(name: str) -> str:
    """The room in which a file stands."""
    return next(room for room, (files, _) in ROOMS.items() if name in files)


def imports_of(name: str) -> set[str]:
    """The files of the library that a file imports, at its top or inside a function."""
    imported = set()
    for node in ast.walk(ast.parse(path_of(name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            files = {file for file in inside if file.removeprefix("vqdit_lite.") in FILES}
            imported |= files | ({node.module} if files != inside else set())
    own = {file for file in imported if file and file.split(".")[0] == "vqdit_lite"}
    return {file.removeprefix("vqdit_lite").removeprefix(".") or "__init__" for file in own}


def may_import(name: str, other: str) -> bool:
    """Whether the table lets a file import another one."""
    room, target = room_of(name), room_of(other)
    if room == target:
        files = ROOMS[room].files
        return files.index(other) < files.index(name)
    return target in ROOMS[room].may_import


if __name__ == "__main__":
    print(*(path_of(name) for name in ROOMS[sys.argv[1]].files))
