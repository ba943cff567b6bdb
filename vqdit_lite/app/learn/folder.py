"""What is in a folder: its pictures, and what is said of each."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from vqdit_lite.data import picture_endings, read_picture

LONGEST = 16  # words of a caption that count


class Examples(NamedTuple):
    """Pictures, and what is said of each."""

    kind: str  # "classes", "captions" or "pictures" (nothing is said)
    texts: list[str]  # (N) a class, a caption or ""
    pictures: Tensor  # (N, C, size, size) in 0 … 255


def find_pictures(folder: Path, out: Path) -> tuple[str, dict[Path, str], list[str]]:
    """The kind of a folder, its pictures with what is said of each, and sentences about what is left out.

    A file captions.txt or captions.csv says it ("name, caption" on each line), else the folders in which pictures lie.
    """
    _check_folder(folder)
    known, files = picture_endings(), sorted(file for file in folder.rglob("*") if file.is_file())
    runs = {file.parent.resolve() for file in files if file.name == "run.json"} | {out.resolve()}
    hidden = (".", "__")  # folders of notebooks and archives
    files = [file for file in files if not any(part.startswith(hidden) for part in file.relative_to(folder).parts)]
    files = [file for file in files if file.parent.resolve() not in runs]  # the gallery of a run is nothing to learn
    pictures = [file for file in files if file.suffix.lower() in known]
    others = [file for file in files if file.suffix.lower() not in known]
    captions = next((file for file in others if file in (folder / "captions.txt", folder / "captions.csv")), None)
    if not pictures:
        raise FileNotFoundError(
            f"There is no picture in {folder}: it holds {len(others)} other files. "
            "Pictures end in .png, .jpg, .webp, .gif and the like."
        )
    if captions:
        kind, texts = "captions", _captions(captions, set(pictures))
    else:
        kind, texts = "classes", {file: file.relative_to(folder).parts[0] for file in pictures if file.parent != folder}
        if len(set(texts.values())) < 2:
            kind, texts = "pictures", dict.fromkeys(pictures, "")
    without = [file for file in pictures if file not in texts]
    reason = f"{captions.name} does not name" if captions else "lie outside the folders of the classes"
    notes = [left_out("files that are not pictures", [file for file in others if file != captions])]
    notes += [left_out(f"pictures that {reason}", without)]
    return kind, texts, [note for note in notes if note]


def _captions(file: Path, pictures: set[Path]) -> dict[Path, str]:
    """What a captions file says of pictures, in small letters and without punctuation."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not text in UTF-8: save it as such.") from error
    captions = {}
    for line in lines:
        name, _, caption = line.partition("\t" if "\t" in line else ",")
        picture, words = file.parent / name.strip().strip('"'), words_of(caption)[:LONGEST]
        if picture in pictures and words:
            captions.setdefault(picture, " ".join(words))
    if not captions:
        raise ValueError(
            f"{file} names none of the {len(pictures)} pictures beside it. Each line holds the name of a file, a tab "
            "or a comma, and a caption."
        )
    return captions


def words_of(caption: str) -> list[str]:
    """The words of a caption, in small letters.

    >>> words_of("A cat, half-asleep.")
    ['a', 'cat', 'half-asleep']
    """
    return re.findall(r"\w+(?:['’-]\w+)*", caption.lower())


def left_out(what: str, files: Sequence[Path]) -> str:
    names = ", ".join(file.name for file in files[:10]) + (" …" if len(files) > 10 else "")
    return f"Left out {len(files)} {what}: {names}." if files else ""


def read_pictures(kind: str, texts: dict[Path, str], size: int, say: Callable[[str], None]) -> Examples:
    """Read pictures; those that cannot be read are left out, with a sentence."""
    pictures, kept, broken = [], [], {}
    for file, text in tqdm(texts.items(), desc="Reading pictures", mininterval=1):
        try:
            pictures.append(read_picture(file, size))
            kept.append(text)
        except ValueError as error:
            broken[file] = error
    if not pictures:
        raise ValueError(f"None of {len(broken)} pictures can be read. The first: {next(iter(broken.values()))}")
    if broken:
        say(left_out("pictures that cannot be read", list(broken)))
    x = torch.stack(pictures)  # (N, 3, size, size)
    grey = (x.amax(1) - x.amin(1)).max() <= 8  # but for the rounding of JPEG
    return Examples(kind, kept, x[:, :1].clone() if grey else x)


def split(kind: str, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Rows to learn from, and rows held out: a tenth, at most about 1,000, and never all of a class.

    >>> [len(rows) for rows in split("classes", ["cat"] * 60 + ["dog"] * 40)]
    [90, 10]
    """
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0)).tolist()
    if kind == "classes":
        counts = Counter(texts)
        order = sorted((row for row in order if counts[texts[row]] > 1), key=lambda row: texts[row])
    every = max(10, len(order) // 1000)
    held_out = order[every - 1 :: every]
    if len(held_out) < 2:
        raise ValueError(
            f"{len(texts)} pictures are too few to learn from and to hold some out: it takes at least 20"
            + (", and two of a class." if kind == "classes" else ".")
        )
    return torch.tensor(sorted(set(range(len(texts))) - set(held_out))), torch.tensor(sorted(held_out))


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise PermissionError(f"The folder {folder} may not be read: allow it, or copy the pictures.")
