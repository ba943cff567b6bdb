"""Learn from your own pictures: a VQ-VAE, a diffusion transformer for its tokens, their scores, and a gallery."""

import difflib
import hashlib
import io
import json
import os
import platform
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.svm import SVC
from torch import Tensor, nn
from tqdm.auto import tqdm

from vqdit_lite import checkpoints, data, models, plot
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.gaussian import guided
from vqdit_lite.masked import MaskedDiffusion
from vqdit_lite.metrics import frechet_distance, psnr, usage
from vqdit_lite.multimodal import Layout, Segment, TokenEmbedding
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.recipes import loss_of_tasks
from vqdit_lite.schedule import linear, time_grid
from vqdit_lite.text import Tokenizer
from vqdit_lite.training import batches, fit
from vqdit_lite.transformer import DiT, sincos_grid

VERSION = 1  # of what a run leaves; one more when its models or files change
LONGEST = 16  # words of a caption that count
BATCH = 32  # pictures of a training step
DRAWINGS = 300  # that are scored
WIDTH = 128  # of the transformer
STEPS = 32  # of a drawing
CHANCE = 100.0  # in the order of its tokens: the surest first would be empty sky, and little else
_ASKED = (("text",), ("picture",))  # the one task of a model of captions


# ---------------------------------------------------------------- what is in a folder


class Examples(NamedTuple):
    """Pictures, and what is said of each."""

    kind: str  # "classes", "captions" or "pictures" (nothing is said)
    texts: list[str]  # (N) a class, a caption or ""
    pictures: Tensor  # (N, C, size, size) in 0 … 255


def find(folder: Path, out: Path) -> tuple[str, dict[Path, str], list[str]]:
    """The kind of a folder, its pictures with what is said of each, and sentences about what is left out.

    A file captions.txt or captions.csv says it ("name, caption" on each line), else the folders in which pictures lie.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise PermissionError(f"The folder {folder} may not be read: allow it, or copy the pictures.")
    known, files = data.picture_endings(), sorted(file for file in folder.rglob("*") if file.is_file())
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
    notes = [_left_out("files that are no pictures", [file for file in others if file != captions])]
    notes += [_left_out(f"pictures that {reason}", without)]
    return kind, texts, [note for note in notes if note]


def _captions(file: Path, pictures: set[Path]) -> dict[Path, str]:
    """What a captions file says of pictures, in small letters and without punctuation."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text in UTF-8: save it as such.") from error
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


def _left_out(what: str, files: Sequence[Path]) -> str:
    names = ", ".join(file.name for file in files[:10]) + (" …" if len(files) > 10 else "")
    return f"Left out {len(files)} {what}: {names}." if files else ""


def _read(kind: str, texts: dict[Path, str], size: int, say: Callable[[str], None]) -> Examples:
    """Read pictures; those that cannot be read are left out, with a sentence."""
    pictures, kept, broken = [], [], {}
    for file, text in tqdm(texts.items(), desc="Reading pictures", mininterval=1):
        try:
            pictures.append(data.read_picture(file, size))
            kept.append(text)
        except ValueError as error:
            broken[file] = error
    if not pictures:
        raise ValueError(f"None of {len(broken)} pictures can be read. The first: {next(iter(broken.values()))}")
    if broken:
        say(_left_out("pictures that cannot be read", list(broken)))
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


# ---------------------------------------------------------------- the models, and how to ask them


class Learned:
    """A VQ-VAE and a diffusion transformer of its tokens, which draw what they are asked for.

    Args:
        about: what `describe` says of the pictures.
        vqvae: the trained VQ-VAE, on its device.
    """

    def __init__(self, about: dict[str, Any], vqvae: VQVAE):
        self.about, self.vqvae, self.layout = about, vqvae, None
        self.kind, self.names, self.codes = about["kind"], about["names"], vqvae.quantizer.num_codes
        grid = vqvae.decoder.grid
        if self.kind == "captions":
            self.words = Tokenizer(self.names)
            text = Segment("text", len(self.words), (about["longest"],))
            self.layout = Layout(text, Segment("picture", self.codes, grid))
            embedding = TokenEmbedding(self.layout, WIDTH, picture=vqvae.quantizer.codebook.cpu())
            self.dit = DiT(embedding, self.layout.vocabulary, self.layout.positions(WIDTH))
        else:
            embedding = nn.Embedding(self.codes + 1, WIDTH)
            self.dit = DiT(embedding, self.codes, sincos_grid(*grid, WIDTH), num_classes=len(self.names))
            self.diffusion = MaskedDiffusion(linear(), self.codes, "bounded")
        self.device = next(vqvae.parameters()).device
        self.dit.to(self.device)

    def draw(self, prompt: str, count: int, generator: torch.Generator) -> Tensor:
        """New pictures (count, C, size, size) in [0, 1], on the CPU.

        Args:
            prompt: a class, or a caption of known words; "" leaves the choice to the model.
            count: how many.
            generator: a CPU generator.

        Raises:
            ValueError: the prompt holds unknown words; the message suggests known ones.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1; it is {count}.")
        return self.draw_each([prompt] * count, generator)

    @torch.no_grad()
    def draw_each(self, prompts: Sequence[str], generator: torch.Generator, bar: str | None = None) -> Tensor:
        """One picture for each prompt, (B, C, size, size); either all or none of the prompts are empty."""
        asked, drawn = self.read_prompts(prompts), []
        for rows in tqdm(torch.arange(len(prompts)).split(50), desc=bar, disable=bar is None):
            ids = self._ids(None if asked is None else asked[rows].to(self.device), len(rows), generator)
            drawn.append(self.vqvae.decode(ids).cpu())
        return torch.cat(drawn)

    def read_prompts(self, prompts: Sequence[str]) -> Tensor | None:
        """Prompts as the transformer takes them: labels (B,), or ids of words (B, longest); None if all are empty."""
        parts = [words_of(prompt) if self.layout else [prompt] * bool(prompt) for prompt in prompts]
        if not any(parts):
            return None
        if self.kind == "pictures":
            raise ValueError("These pictures had neither classes nor captions, so only an empty prompt can be drawn.")
        unknown = sorted({word for part in parts for word in part} - set(self.names))
        if unknown:
            near = {word: difflib.get_close_matches(word, self.names, cutoff=0.5) for word in unknown}
            hints = [f"{word!r}" + (f" (nearest: {', '.join(names)})" if names else "") for word, names in near.items()]
            known = ", ".join(self.names[:20]) + (" …" if len(self.names) > 20 else "")
            raise ValueError(f"The prompt holds what was never seen: {', '.join(hints)}. Known are: {known}.")
        if self.layout:
            return self.words.encode([" ".join(part) for part in parts], self.about["longest"])
        return torch.tensor([self.names.index(name) for [name] in parts])

    def _ids(self, asked: Tensor | None, count: int, generator: torch.Generator) -> Tensor:
        """Tokens (count, N) of new pictures."""
        if self.layout:
            hidden = torch.full((count, self.layout.length), self.layout.mask_id, device=self.device)
            x, given = (hidden, ()) if asked is None else (self.layout.pack(text=asked), _ASKED[0])
            drawn = models.answer(self.layout, self.dit, x, given, _ASKED[1], generator, steps=STEPS, randomness=CHANCE)
            return self.layout.unpack(drawn)["picture"].flatten(1)
        denoiser = self.dit
        if asked is not None:
            denoiser = guided(partial(self.dit, labels=asked), self.dit, models.GUIDANCE)
        start = torch.full((count, len(self.dit.positions)), self.codes, device=self.device)
        times = time_grid(min(STEPS, len(self.dit.positions)), "cosine")
        *_, ids = self.diffusion.sample(denoiser, start, times, "confidence", generator=generator, randomness=CHANCE)
        return ids

    def examples(self, ids: Tensor, texts: Sequence[str]) -> Tensor | tuple[Tensor, ...]:
        """What `loss` takes batches of: tokens of pictures (B, N) on the device, with what is said of them."""
        asked = self.read_prompts(texts)
        if self.layout:
            return self.layout.pack(text=asked.to(self.device), picture=ids)
        return (ids,) if asked is None else (ids, asked.to(self.device))

    def loss(self, batch: Tensor | tuple[Tensor, ...], generator: torch.Generator) -> dict[str, Tensor]:
        """What to minimise for a batch of examples."""
        if self.layout:
            return loss_of_tasks(self.layout, [_ASKED])(self.dit, batch, generator)
        ids, *labels = batch
        return self.diffusion.loss(self.dit, ids, generator, **({"labels": labels[0]} if labels else {}))


def describe(examples: Examples) -> dict[str, Any]:
    """What the models must know of the pictures."""
    texts, channels, size = examples.texts, *examples.pictures.shape[1:3]
    said = {"pictures": [], "classes": set(texts), "captions": {word for text in texts for word in text.split()}}
    return {
        "version": VERSION,
        "kind": examples.kind,
        "names": sorted(said[examples.kind]),
        "longest": max(len(text.split()) for text in texts),
        "channels": channels,
        "size": size,
        "codes": 128 if channels == 1 else 512,
    }


def _new_vqvae(about: dict[str, Any]) -> VQVAE:
    shape = (about["channels"], about["size"], about["size"])
    return VQVAE(shape, VectorQuantizer(about["codes"], dim=8, decay=0.97), width=64)


def load(out: str | Path, device: torch.device | str = "cpu") -> Learned:
    """What a finished run of `learn` left in its folder, ready to draw.

    Raises:
        FileNotFoundError: the run is not finished, or was none.
        ValueError: the weights are damaged, or of another version of this library.
    """
    path = Path(out) / "dit.safetensors"
    if not path.with_suffix(".json").is_file():
        raise FileNotFoundError(
            f"{out} holds no finished run. `python -m vqdit_lite learn FOLDER --out {out}` makes or finishes one."
        )
    card = checkpoints.read_card(path)
    about = card.get("pictures", {})
    if about.get("version") != VERSION:
        raise ValueError(
            f"{path} is of another version of this library ({about.get('version')} there, {VERSION} here): "
            "learn again with a new --out, or use the version that made it."
        )
    vqvae = _new_vqvae(about).to(device)
    made_with = checkpoints.load(path.with_name("vqvae.safetensors"), vqvae)["sha256"]
    if made_with != card["vqvae"]:
        raise ValueError(f"vqvae.safetensors and dit.safetensors in {out} are of different runs: learn again.")
    learned = Learned(about, vqvae.eval())
    checkpoints.load(path, learned.dit)
    learned.dit.eval()
    return learned


# ---------------------------------------------------------------- learning


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
    if size < 16 or size % 4:
        raise ValueError(f"size must be a multiple of 4 and at least 16; it is {size}.")
    if steps < 1:
        raise ValueError(f"steps must be at least 1; it is {steps}.")
    if folder.resolve() == out.resolve():
        raise ValueError(f"--out must be another folder than that of the pictures; both are {folder}.")
    kind, texts, notes = find(folder, out)
    _claim(out, {"version": VERSION, "size": size, "steps": steps, "pictures": _fingerprint(folder, kind, texts)})
    for note in notes:
        say(note)
    if not (out / "dit.json").is_file():
        _learn(_examples(out, kind, texts, size, say), out, device, steps, say)
    for name in ("pictures", "vqvae", "dit"):  # of use only until the end
        (out / f"{name}.state").unlink(missing_ok=True)
    say(_report(out))


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
    examples = _read(kind, texts, size, say)
    split(examples.kind, examples.texts)  # refuses too few, before long work
    checkpoints.write(path, {"pictures": examples.pictures}, {"kind": kind, "texts": examples.texts})
    return examples


def _learn(examples: Examples, out: Path, device: torch.device, steps: int, say: Callable[[str], None]) -> None:
    about, texts = describe(examples), examples.texts
    shown, held_out = split(examples.kind, texts)
    x = examples.pictures.to(device)
    many = {
        "classes": f" in {len(about['names'])} classes",
        "captions": f" with captions of {len(about['names'])} words",
    }
    say(
        f"{len(texts):,} pictures{many.get(examples.kind, '')}, as {about['size']} × {about['size']} pixels "
        f"{'in grey' if about['channels'] == 1 else 'in colour'}; {len(held_out):,} are held out for the scores."
    )
    torch.manual_seed(0)
    vqvae = _new_vqvae(about).to(device)
    path = out / "vqvae.safetensors"
    if path.with_suffix(".json").is_file():
        checkpoints.load(path, vqvae)
        vqvae.eval()
    else:
        say(f"1 of 2: a VQ-VAE learns to turn a picture into {(about['size'] // 4) ** 2} tokens and back.")
        settings = _fit(vqvae, lambda batch, _: vqvae.loss(batch.float() / 255), x[shown], path, steps, lr=3e-3)
        scores = score_vqvae(vqvae, x[shown], x[held_out])
        checkpoints.save(path, vqvae, _card("VQ-VAE for your pictures", vqvae, about, settings, scores))
    torch.manual_seed(0)
    learned, path = Learned(about, vqvae), out / "dit.safetensors"
    say("2 of 2: a diffusion transformer learns to fill in tokens, until it draws pictures of its own.")
    ids = torch.cat([vqvae.encode(part.float() / 255) for part in x[shown].split(500)])
    shown_texts = [texts[row] for row in shown]
    settings = _fit(learned.dit, learned.loss, learned.examples(ids, shown_texts), path, steps, lr=2e-3)
    held_texts = [texts[row] for row in held_out]
    scores = score_drawings(learned, x[shown], shown_texts, x[held_out], held_texts)
    draw_gallery(out / "gallery.png", learned, x[held_out], held_texts)
    card = _card("diffusion transformer for the tokens of your pictures", learned.dit, about, settings, scores)
    checkpoints.save(path, learned.dit, {**card, "vqvae": checkpoints.sha256(out / "vqvae.safetensors")})


def _fit(model: nn.Module, loss: Callable, x: Any, path: Path, steps: int, lr: float) -> dict[str, Any]:
    """Train, with a save beside `path` after each twentieth of the steps; returns the settings."""
    settings = {"steps": steps, "lr": lr, "seed": 0, "average": 0.999}
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


# ---------------------------------------------------------------- scores, each with its floor


def _some(x: Tensor, count: int) -> Tensor:
    """`count` rows of x by chance, in their order; only where x has fewer, some come twice or more."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order.repeat(-(-count // len(x)))[:count].sort().values.to(x.device)]


@torch.no_grad()
def _coded(vqvae: VQVAE, x: Tensor) -> Tensor:
    """Pictures (B, C, size, size) in [0, 1] as tokens and back."""
    return torch.cat([vqvae.decode(vqvae.encode(part)) for part in x.split(500)])


def score_vqvae(vqvae: VQVAE, shown: Tensor, held_out: Tensor) -> dict[str, float]:
    """PSNR of held-out pictures after coding; of the mean picture in their place, the floor; share of codes used."""
    sample, real = (_some(x, min(len(x), 2000)).float() / 255 for x in (shown, held_out))
    used = usage(torch.cat([vqvae.encode(part) for part in sample.split(500)]), vqvae.quantizer.num_codes)
    floor = psnr(sample.mean(0).expand_as(real), real)
    return {"psnr_db": psnr(_coded(vqvae, real), real), "psnr_of_mean_db": floor, "codes_used": used}


def score_drawings(
    learned: Learned, shown: Tensor, shown_texts: Sequence[str], held_out: Tensor, held_texts: Sequence[str]
) -> dict[str, float]:
    """How drawings of what is said of held-out pictures compare with these pictures themselves.

    "read_as_asked": the share in which a classifier of real pictures (a support vector machine) reads the class, or
    whether a common word of the caption applies; "read_as_asked_real": the same of real ones, the floor.
    "frechet_over_real": the Fréchet distance of drawings to real pictures over that of real to real.
    "nearest_over_real": the distance of drawings to the nearest picture shown over that of held-out ones after coding;
    near 0 they are copies.
    """
    rows = _some(torch.arange(len(held_out)), DRAWINGS).tolist()
    asked, once = [held_texts[row] for row in rows], sorted(set(rows))
    held_out, held_texts = held_out[once], [held_texts[row] for row in once]
    made = learned.draw_each(asked, torch.Generator().manual_seed(0), bar="Drawing for the scores")
    some = _some(torch.arange(len(shown)), min(len(shown), 3000)).tolist()
    pca = PCA(min(64, len(some) - 1), random_state=0).fit(shown[some].flatten(1).cpu().numpy() / 255)

    def features(x: Tensor) -> Tensor:  # pictures in 0 … 255 by the directions in which they vary most, (B, up to 64)
        parts = [pca.transform(part.flatten(1).cpu().numpy() / 255) for part in x.split(1000)]
        return torch.from_numpy(np.concatenate(parts)).float()

    shown, made, real, coded = (
        features(x) for x in (shown, made * 255, held_out, _coded(learned.vqvae, held_out.float() / 255) * 255)
    )
    known, right = [shown_texts[row] for row in some], []
    for question in _questions(learned.kind, known):
        judge = SVC(C=5).fit(shown[some], [question(text) for text in known])
        for x, texts in ((made, asked), (real, held_texts)):
            right.append(np.mean(judge.predict(x) == [question(text) for text in texts]))
    scores = {"read_as_asked": np.mean(right[::2]), "read_as_asked_real": np.mean(right[1::2])} if right else {}
    same_number = _some(shown, len(real)), _some(made, len(real))
    floor, distance = (frechet_distance(x, real) for x in same_number)
    far, near = (torch.cdist(x, shown).amin(1).median().item() for x in (coded, made))
    return scores | {"frechet_over_real": distance / max(floor, 1e-9), "nearest_over_real": near / max(far, 1e-9)}


def _questions(kind: str, texts: Sequence[str]) -> list[Callable[[str], Any]]:
    """What to read from pictures: the class; or whether a word applies, for up to ten that many captions, but not all,
    hold."""
    if kind == "captions":
        counts = Counter(word for text in texts for word in set(text.split()))
        often = sorted(counts, key=lambda word: (abs(counts[word] / len(texts) - 0.5), word))[:10]
        often = [word for word in often if 0.1 <= counts[word] / len(texts) <= 0.9]
        return [lambda text, word=word: word in text.split() for word in often]
    return [lambda text: text] if len(set(texts)) > 1 else []


def draw_gallery(path: Path, learned: Learned, held_out: Tensor, held_texts: Sequence[str]) -> None:
    """Real pictures, the same after coding, and new ones: a row for each of up to ten classes or six captions."""
    real = _some(held_out, 10).float() / 255
    rows = {"real pictures, held out": real, "the same as tokens and back": _coded(learned.vqvae, real)}
    prompts = {"classes": learned.names[:10], "captions": list(dict.fromkeys(held_texts))[:6]}
    generator = torch.Generator().manual_seed(1)
    for prompt in prompts.get(learned.kind, [""]):
        rows[f"new: {prompt}" if prompt else "new"] = learned.draw(prompt, 10, generator)
    figure, axes = plot.figure(rows=len(rows), size=(8, 1.1))
    for axis, (title, pictures) in zip(axes, rows.items(), strict=True):
        plot.draw_pictures(axis, pictures, title.replace("$", r"\$"))
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font does not have
        figure.savefig(content, format="png")
    plt.close(figure)
    checkpoints.replace(path, content.getvalue())


def _report(out: Path) -> str:
    """The scores of a finished run, in words."""
    scores = {}
    for name in ("vqvae", "dit"):
        scores |= checkpoints.read_card(out / f"{name}.safetensors")["scores_on_held_out_data"]
    lines = [
        f"Done: {out / 'gallery.png'} shows what was learned; vqvae and dit (.safetensors, .json) hold it.",
        f"  Held-out pictures after coding: {scores['psnr_db']:.1f} dB (the mean picture in place of each: "
        f"{scores['psnr_of_mean_db']:.1f}); {scores['codes_used']:.0%} of the codes are used.",
    ]
    if "read_as_asked" in scores:
        lines.append(
            f"  {DRAWINGS} drawings: a classifier reads {scores['read_as_asked']:.1%} as asked for (of real pictures, "
            f"{scores['read_as_asked_real']:.1%} as they are)."
        )
    lines += [
        f"  Fréchet distance in pixels: {scores['frechet_over_real']:.1f} times that of real pictures to real ones.",
        f"  Distance to the nearest picture shown: {scores['nearest_over_real']:.2f} times that of new real pictures "
        "(near 0: copies).",
    ]
    return "\n".join(lines)
