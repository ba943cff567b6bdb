"""Weights on disk: safetensors, written whole or not at all, with a model card beside them."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn


def write(
    path: str | Path, tensors: dict[str, Tensor], notes: dict[str, Any], dtype: torch.dtype | None = None
) -> None:
    """Write tensors and notes to one safetensors file, all or nothing: what stood there stays until the end.

    Floating-point numbers are stored as `dtype` where one is given, else as they are.

    Raises:
        OSError: no space, no permission and the like; the message says that the old file is untouched.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if dtype:
        tensors = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    content = safetensors.torch.save(tensors, metadata={"notes": json.dumps(notes)})
    replace(path, content)


def replace(path: Path, content: bytes) -> None:
    """Write a file, all or nothing: what stood there stays until the end.

    Raises:
        OSError: as in `write`.
    """
    half = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with half.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            half.unlink()
        old = "what stood there before is untouched" if os.path.exists(path) else "nothing was written"
        raise OSError(f"Could not write {len(content):,} bytes to {path} ({error.strerror}); {old}.") from error


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and notes that `write` put into a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut short, or no safetensors file of this course.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {})["notes"])
            return {name: file.get_tensor(name).clone() for name in file.keys()}, notes  # noqa: SIM118
    except (SafetensorError, KeyError, OSError) as error:
        raise ValueError(f"{path} is cut short, or is not a file of this course ({error}).") from error


def save(path: str | Path, model: nn.Module, card: dict[str, Any], dtype: torch.dtype | None = None) -> None:
    """Write a model's weights to `path` (NAME.safetensors) and its card, with the hash, to NAME.json beside it.

    A `dtype` such as torch.float16 halves the file; the weights are rounded to it.
    """
    path = Path(path)
    write(path, model.state_dict(), {"name": path.stem}, dtype)
    card = {**card, "sha256": sha256(path)}
    replace(path.with_suffix(".json"), (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())


def load(path: str | Path, model: nn.Module) -> dict[str, Any]:
    """Load the weights at `path` into a model of the right shape, and return the card.

    Raises:
        FileNotFoundError: weights or card are not there.
        ValueError: the weights do not have the hash on the card, or belong to another model.
    """
    path = Path(path)
    card = read_card(path)
    tensors, _ = read(path)
    if sha256(path) != card["sha256"]:
        raise ValueError(f"{path} is not the file its card describes: the hash differs. Fetch or train it again.")
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    there = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wanted != there:
        name = next(name for name in {**wanted, **there} if wanted.get(name) != there.get(name))
        raise ValueError(
            f"{path} holds another model: {name} is {there.get(name, 'missing')} there, "
            f"and {wanted.get(name, 'missing')} in the {type(model).__name__} that was to load it."
        )
    model.load_state_dict(tensors)
    return card


def read_card(path: str | Path) -> dict[str, Any]:
    """The model card beside the weights at `path`."""
    card = Path(path).with_suffix(".json")
    if not card.is_file():
        raise FileNotFoundError(f"There is no model card {card} beside {Path(path).name}.")
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
        content["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{card} is damaged, or is no model card ({error!r}).") from error
    return content


def sha256(path: str | Path) -> str:
    """The SHA-256 hash of a file, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def same(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models hold exactly the same numbers."""
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
