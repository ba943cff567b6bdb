"""Learn from a folder of pictures: train both models, score them, leave a gallery. It may be stopped at any time."""

import hashlib
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vqdit_lite import checkpoints
from vqdit_lite.app.learn.drawing import VERSION, Learned, describe, new_vqvae
from vqdit_lite.app.learn.folder import Examples, find_pictures, read_pictures, split
from vqdit_lite.app.learn.scores import draw_gallery, report, score_drawings, score_vqvae
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.training import batches, fit

BATCH = 32  # pictures of a training step


def learn(
    folder: str | Path,
    out: str | Path,
    device: torch.device,
    size: int = 32,
    steps: int = 2000,
    say: Callable[[str], None] = print,
) -> None:
    """Learn from a folder of pictures; leaves vqvae and dit (.safetensors, .json) and gallery.png in `out`.

    Stopped at any moment and started again with the same arguments, it goes on from the last save and ends with the
    same weights (bit for bit on the CPU).

    Args:
        folder: pictures alone; or in folders that name their classes; or with a file captions.txt or captions.csv.
        out: an empty or new folder, or that of this run.
        device: to train on.
        size: pixels a side to which pictures are scaled, a multiple of 4.
        steps: of the training of each of the two models.
        say: called with each sentence about what happens.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it.
        ValueError: the arguments, the pictures or a run that is in `out` do not do; the message says why.
        OSError: `out` cannot be written, or the disk is full. What was saved before is untouched.
    """
    folder, out = Path(folder), Path(out)
    _check_settings(folder, out, size, steps)
    kind, texts, notes = find_pictures(folder, out)
    _claim(out, {"version": VERSION, "size": size, "steps": steps, "pictures": _fingerprint(folder, kind, texts)})
    for note in notes:
        say(note)
    if not (out / "dit.json").is_file():
        _train(_examples(out, kind, texts, size, say), out, device, steps, say)
    for name in ("pictures", "vqvae", "dit"):  # of use only until the end
        (out / f"{name}.state").unlink(missing_ok=True)
    say(report(out))


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a new run to its folder; refuse a folder that holds another run, or anything else."""
    path = out / "run.json"
    there = {file.name for file in out.iterdir() if not file.name.startswith(".")} if out.is_dir() else set()
    made = {name for name in there if not name.endswith(".part")} - {path.name}
    if made and path.name not in there:
        raise ValueError(f"--out must be a new or empty folder, so that nothing is lost; {out} holds other files.")
    if not made:
        checkpoints.replace(path, json.dumps(settings, indent=2).encode())
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        differ = [name for name in settings if old.get(name) != settings[name]]
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}): learn again with a new --out.") from error
    if "version" in differ:
        raise ValueError(f"{out} was begun with another version of this library: learn again with a new --out.")
    if differ == ["pictures"]:
        raise ValueError(
            f"The pictures are not those with which the run in {out} began: some were added, changed or removed. "
            "Learn from them with a new --out; what is here stays."
        )
    if differ:
        both = " and ".join(f"{name} {old.get(name)} there, {settings[name]} here" for name in differ)
        raise ValueError(f"{out} holds a run with other settings ({both}): give the old ones, or a new --out.")


def _fingerprint(folder: Path, kind: str, texts: dict[Path, str]) -> str:
    """Changes when a picture, its time stamp or what is said of it changes."""
    lines = [kind]
    for file, text in texts.items():
        about = file.stat()
        lines.append(f"{file.relative_to(folder).as_posix()}\t{about.st_size}\t{about.st_mtime_ns}\t{text}")
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _examples(out: Path, kind: str, texts: dict[Path, str], size: int, say: Callable[[str], None]) -> Examples:
    """Read the pictures, or what an interrupted run read."""
    path = out / "pictures.state"
    if path.is_file():
        tensors, notes = checkpoints.read(path)
        return Examples(notes["kind"], notes["texts"], tensors["pictures"])
    needed, free = len(texts) * 3 * size**2 + 200_000_000, shutil.disk_usage(out).free
    if free < needed:
        raise OSError(f"The disk of {out} has {free / 1e6:.0f} MB left, and this takes {needed / 1e6:.0f}: make room.")
    examples = read_pictures(kind, texts, size, say)
    split(examples.kind, examples.texts)  # refuses too few, before long work
    checkpoints.write(path, {"pictures": examples.pictures}, {"kind": kind, "texts": examples.texts})
    return examples


def _train(examples: Examples, out: Path, device: torch.device, steps: int, say: Callable[[str], None]) -> None:
    """Train both models, each with its card, and draw the gallery."""
    about, texts, x = describe(examples), examples.texts, examples.pictures.to(device)
    train, held_out = split(examples.kind, texts)
    train_texts, held_texts = ([texts[row] for row in rows] for rows in (train, held_out))
    many = {
        "classes": f" in {len(about['names'])} classes",
        "captions": f" with captions of {len(about['names'])} words",
    }
    say(
        f"{len(texts):,} pictures{many.get(examples.kind, '')}, as {about['size']} × {about['size']} pixels "
        f"{'in grey' if about['channels'] == 1 else 'in colour'}; {len(held_out):,} are held out for the scores."
    )
    vqvae = _train_vqvae(about, x[train], x[held_out], out / "vqvae.safetensors", steps, say)
    torch.manual_seed(0)
    learned, path = Learned(about, vqvae), out / "dit.safetensors"
    say("2 of 2: a diffusion transformer learns to fill in tokens, until it draws pictures of its own.")
    ids = torch.cat([vqvae.encode(part.float() / 255) for part in x[train].split(500)])
    settings = _fit(learned.dit, learned.loss, learned.examples(ids, train_texts), path, steps, lr=2e-3)
    scores = score_drawings(learned, x[train], train_texts, x[held_out], held_texts)
    draw_gallery(out / "gallery.png", learned, x[held_out], held_texts)
    card = _card("diffusion transformer for the tokens of your pictures", learned.dit, about, settings, scores)
    checkpoints.save(path, learned.dit, {**card, "vqvae": checkpoints.sha256(out / "vqvae.safetensors")})


def _train_vqvae(
    about: dict[str, Any], train: Tensor, held_out: Tensor, path: Path, steps: int, say: Callable[[str], None]
) -> VQVAE:
    """Train the VQ-VAE, or load it where an interrupted run has finished it."""
    torch.manual_seed(0)
    vqvae = new_vqvae(about).to(train.device)
    if path.with_suffix(".json").is_file():
        checkpoints.load(path, vqvae)
        return vqvae.eval()
    say(f"1 of 2: a VQ-VAE learns to turn a picture into {(about['size'] // 4) ** 2} tokens and back.")
    settings = _fit(vqvae, lambda batch, _: vqvae.loss(batch.float() / 255), train, path, steps, lr=3e-3)
    scores = score_vqvae(vqvae, train, held_out)
    checkpoints.save(path, vqvae, _card("VQ-VAE for your pictures", vqvae, about, settings, scores))
    return vqvae


def _fit(model: nn.Module, loss: Callable, x: Any, path: Path, steps: int, lr: float) -> dict[str, Any]:
    """Train, with a save beside `path` after each twentieth of the steps; returns the settings."""
    settings = {"steps": steps, "lr": lr, "seed": 0, "ema_decay": 0.999}
    state, every = path.with_suffix(".state"), max(1, steps // 20)
    for _ in fit(model, loss, batches(x, BATCH), save_to=state, save_every=every, **settings):
        pass
    return {**settings, "batch": BATCH}


def _card(
    name: str, model: nn.Module, about: dict[str, Any], settings: dict[str, Any], scores: dict[str, float]
) -> dict[str, Any]:
    return {
        "about": name,
        "pictures": about,
        "settings": settings,
        "parameters": sum(p.numel() for p in model.parameters()),
        "machine": f"{torch.get_num_threads()} threads, torch {torch.__version__}, {platform.system()}",
        "scores_on_held_out_data": {key: round(value, 4) for key, value in scores.items()},
    }


def _check_settings(folder: Path, out: Path, size: int, steps: int) -> None:
    if size < 16 or size % 4:
        raise ValueError(f"size must be a multiple of 4 and at least 16; it is {size}.")
    if steps < 1:
        raise ValueError(f"steps must be at least 1; it is {steps}.")
    if folder.resolve() == out.resolve():
        raise ValueError(f"--out must be another folder than that of the pictures; both are {folder}.")
