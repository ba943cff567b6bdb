"""Is everything here that the course needs?"""

import importlib
import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

_IMPORT_NAMES = {"scikit-learn": "sklearn"}
_Finding = tuple[bool, str]  # is it all right, and one line about it


def examine(in_notebook: bool = False) -> Iterator[_Finding]:
    """One (is it all right, one line) for each thing the course needs. Works where torch is missing.

    Args:
        in_notebook: some notebook is open already (Colab's, say), so JupyterLab may be missing.
    """
    yield from _packages(in_notebook)
    try:
        importlib.import_module("vqdit_lite.shipped")
    except Exception as error:
        yield False, f"the library does not import ({error}): fix the lines above first"
        return
    yield _device()
    yield _threads()
    yield from _models()
    if folder := os.environ.get("VQDIT_DATA"):
        there = Path(folder).is_dir()
        yield there, f"VQDIT_DATA is {folder}" + ("" if there else ", which is not a folder: fix or unset it")


def _packages(in_notebook: bool) -> Iterator[_Finding]:
    """Python and the packages that pyproject.toml asks for."""
    fine = sys.version_info >= (3, 10)
    yield fine, f"Python {sys.version.split()[0]}" + ("" if fine else ": install 3.10 or newer")
    try:
        needed = _needed(in_notebook)
    except PackageNotFoundError:
        yield False, "vqdit_lite is not installed: run `python -m pip install -e .` in its folder"
        return
    for name, least in needed.items():
        try:
            version = importlib.import_module(_IMPORT_NAMES.get(name, name)).__version__
            fine = _numbers(version) >= _numbers(least)
            yield fine, f"{name} {version}" + ("" if fine else f": at least {least} is needed; `pip install -U {name}`")
        except Exception as error:
            yield False, f"{name} does not import ({error}): run `python -m pip install {name}`"


def _needed(in_notebook: bool) -> dict[str, str]:
    """The packages and their lowest versions."""
    lines = [line for line in requires("vqdit_lite") or [] if "extra" not in line or "course" in line]
    lines = [line for line in lines if not (in_notebook and "extra" in line)]
    return dict(re.match(r"([\w.-]+)\s*>=\s*([\d.]+)", line).groups() for line in lines)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _device() -> _Finding:
    from vqdit_lite.training import pick_device

    try:
        return True, f"device {pick_device()}"
    except RuntimeError as error:
        return False, f"{error} Unset VQDIT_DEVICE, or install a CUDA build of torch."


def _threads() -> _Finding:
    """How many threads torch takes, and what else the environment says of them."""
    import torch

    said = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(("OMP_", "GOMP_"))]
    return True, f"threads: {torch.get_num_threads()} on {os.cpu_count()} cores, {', '.join(said)}"


def _models() -> Iterator[_Finding]:
    """Every shipped model: is it here, undamaged, and trained with the models that are here?"""
    from vqdit_lite.shipped import MODELS

    for name, model in MODELS.items():
        try:
            model.load()
            yield True, f"checkpoint {name}, {model.about}"
        except (OSError, ValueError) as error:
            yield False, f"checkpoint {name}: {error}"
