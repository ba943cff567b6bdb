"""Scores of what was learned, each with its floor, and a gallery."""

import io
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.svm import SVC
from torch import Tensor

from vqdit_lite import checkpoints, plot
from vqdit_lite.app.learn.drawing import Learned
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.metrics import frechet_distance, psnr, usage

DRAWINGS = 300  # that are scored


def some_of(x: Tensor, count: int) -> Tensor:
    """`count` rows of x by chance, in their order; only where x has fewer, some come twice or more."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order.repeat(-(-count // len(x)))[:count].sort().values.to(x.device)]


@torch.no_grad()
def coded(vqvae: VQVAE, x: Tensor) -> Tensor:
    """Pictures (B, C, size, size) in [0, 1] as tokens and back."""
    return torch.cat([vqvae.decode(vqvae.encode(part)) for part in x.split(500)])


def score_vqvae(vqvae: VQVAE, train: Tensor, held_out: Tensor) -> dict[str, float]:
    """PSNR of held-out pictures after coding; of the mean picture in their place, the floor; share of codes used."""
    sample, real = (some_of(x, min(len(x), 2000)).float() / 255 for x in (train, held_out))
    used = usage(torch.cat([vqvae.encode(part) for part in sample.split(500)]), vqvae.quantizer.num_codes)
    floor = psnr(sample.mean(0).expand_as(real), real)
    return {"psnr_db": psnr(coded(vqvae, real), real), "psnr_of_mean_db": floor, "codes_used": used}


def score_drawings(
    learned: Learned, train: Tensor, train_texts: Sequence[str], held_out: Tensor, held_texts: Sequence[str]
) -> dict[str, float]:
    """How drawings of what is said of held-out pictures compare with these pictures themselves.

    "read_as_asked": the share in which a classifier of real pictures (a support vector machine) reads the class, or
    whether a common word of the caption applies; "read_as_asked_real": the same of real ones, the floor.
    "frechet_over_real": the Fréchet distance of drawings to real pictures over that of real to real.
    "nearest_over_real": the distance of drawings to the nearest training picture over that of held-out ones after
    coding; near 0 they are copies.
    """
    rows = some_of(torch.arange(len(held_out)), DRAWINGS).tolist()
    asked, once = [held_texts[row] for row in rows], sorted(set(rows))
    held_out, held_texts = held_out[once], [held_texts[row] for row in once]
    made = learned.draw_each(asked, torch.Generator().manual_seed(0), bar="Drawing for the scores")
    some = some_of(torch.arange(len(train)), min(len(train), 3000)).tolist()
    pca = PCA(min(64, len(some) - 1), random_state=0).fit(train[some].flatten(1).cpu().numpy() / 255)

    def features(x: Tensor) -> Tensor:  # pictures in 0 … 255 by the directions in which they vary most, (B, up to 64)
        parts = [pca.transform(part.flatten(1).cpu().numpy() / 255) for part in x.split(1000)]
        return torch.from_numpy(np.concatenate(parts)).float()

    train, made, real, recoded = (
        features(x) for x in (train, made * 255, held_out, coded(learned.vqvae, held_out.float() / 255) * 255)
    )
    known, right = [train_texts[row] for row in some], []
    for question in _questions(learned.kind, known):
        judge = SVC(C=5).fit(train[some], [question(text) for text in known])
        for x, texts in ((made, asked), (real, held_texts)):
            right.append(np.mean(judge.predict(x) == [question(text) for text in texts]))
    scores = {"read_as_asked": np.mean(right[::2]), "read_as_asked_real": np.mean(right[1::2])} if right else {}
    same_number = some_of(train, len(real)), some_of(made, len(real))
    floor, distance = (frechet_distance(x, real) for x in same_number)
    far, near = (torch.cdist(x, train).amin(1).median().item() for x in (recoded, made))
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
    real = some_of(held_out, 10).float() / 255
    rows = {"real pictures, held out": real, "the same as tokens and back": coded(learned.vqvae, real)}
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


def report(out: Path) -> str:
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
        f"  Distance to the nearest training picture: {scores['nearest_over_real']:.2f} times that of new real "
        "pictures (near 0: copies).",
    ]
    return "\n".join(lines)
