"""Keeps a notebook honest while it is tested: no network, and no change to the checkout it lies in.

Python imports this file by itself at start where its folder is on PYTHONPATH.
"""

import os
import sys
from pathlib import Path

CHECKOUT = str(Path(__file__).resolve().parents[3])
LOCAL = ("127.", "::1", "localhost", "0.0.0.0")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "shutil.rmtree"}


def _guarded(path: object) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    path = os.path.abspath(os.fsdecode(path))
    return path.startswith(CHECKOUT + os.sep) and not path.startswith(os.path.join(CHECKOUT, ".venv"))


def _watch(event: str, details: tuple) -> None:
    if event == "open" and details[2] & WRITES and _guarded(details[0]):
        raise PermissionError(f"A notebook tried to write to {details[0]}: the checkout is read-only in tests.")
    if event in CHANGES and _guarded(details[0]):
        raise PermissionError(f"A notebook tried to change {details[0]}: the checkout is read-only in tests.")
    if event == "socket.connect" and isinstance(details[1], tuple) and not str(details[1][0]).startswith(LOCAL):
        raise PermissionError(f"A notebook tried to reach {details[1][0]}: there is no network in tests.")
    if event == "socket.getaddrinfo" and details[0] and not str(details[0]).startswith(LOCAL):
        raise PermissionError(f"A notebook tried to look up {details[0]}: there is no network in tests.")


# Only for the kernels: pytest itself, which starts them, may write as it likes.
if any("ipykernel" in argument for argument in sys.orig_argv):
    sys.addaudithook(_watch)
