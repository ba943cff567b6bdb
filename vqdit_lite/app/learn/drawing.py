"""What a run of `learn` makes: a VQ-VAE and a diffusion transformer of its tokens, which draw what is asked for."""

import difflib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from vqdit_lite import checkpoints
from vqdit_lite.app.learn.folder import Examples, words_of
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.gaussian import guided
from vqdit_lite.layout import Layout, Segment
from vqdit_lite.masked import MaskedDiffusion
from vqdit_lite.multimodal import TokenEmbedding, answer, joint_loss, segment_positions, task_times
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.schedule import linear, time_grid
from vqdit_lite.shipped.base import GUIDANCE
from vqdit_lite.text import Tokenizer
from vqdit_lite.transformer import DiT, sincos_grid

VERSION = 2  # of what a run leaves; one more when its models or files change
WIDTH = 128  # of the transformer
STEPS = 32  # of a drawing
CHANCE = 100.0  # in the order of its tokens: the surest first would be empty sky, and little else
_ASKED = (("text",), ("picture",))  # the one task of a model of captions


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
            self.dit = DiT(embedding, self.layout.vocabulary, segment_positions(self.layout, WIDTH))
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
        _check_count(count)
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
        _check_known(self, {word for part in parts for word in part})
        if self.layout:
            return self.words.encode([" ".join(part) for part in parts], self.about["longest"])
        return torch.tensor([self.names.index(name) for [name] in parts])

    def _ids(self, asked: Tensor | None, count: int, generator: torch.Generator) -> Tensor:
        """Tokens (count, N) of new pictures."""
        if self.layout:
            hidden = torch.full((count, self.layout.length), self.layout.mask_id, device=self.device)
            x, given = (hidden, ()) if asked is None else (self.layout.pack(text=asked), _ASKED[0])
            drawn = answer(
                self.layout, self.dit, x, given, _ASKED[1], generator, steps=STEPS, choice_temperature=CHANCE
            )
            return self.layout.unpack(drawn)["picture"].flatten(1)
        denoiser = self.dit
        if asked is not None:
            denoiser = guided(partial(self.dit, labels=asked), self.dit, GUIDANCE)
        start = torch.full((count, len(self.dit.positions)), self.codes, device=self.device)
        times = time_grid(min(STEPS, len(self.dit.positions)), "cosine")
        *_, ids = self.diffusion.sample(
            denoiser, start, times, "confidence", generator=generator, choice_temperature=CHANCE
        )
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
            t = task_times(self.layout, [_ASKED], len(batch), generator)
            return joint_loss(self.layout, self.dit, batch, generator, t)
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


def new_vqvae(about: dict[str, Any]) -> VQVAE:
    shape = (about["channels"], about["size"], about["size"])
    return VQVAE(shape, VectorQuantizer(about["codes"], dim=8, decay=0.97), width=64)


def load_run(out: str | Path, device: torch.device | str = "cpu") -> Learned:
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
    vqvae = new_vqvae(about).to(device)
    made_with = checkpoints.load(path.with_name("vqvae.safetensors"), vqvae)["sha256"]
    if made_with != card["vqvae"]:
        raise ValueError(f"vqvae.safetensors and dit.safetensors in {out} are of different runs: learn again.")
    learned = Learned(about, vqvae.eval())
    checkpoints.load(path, learned.dit)
    learned.dit.eval()
    return learned


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"count must be at least 1; it is {count}.")


def _check_known(learned: Learned, words: set[str]) -> None:
    if learned.kind == "pictures":
        raise ValueError("These pictures had neither classes nor captions, so only an empty prompt can be drawn.")
    unknown = sorted(words - set(learned.names))
    if unknown:
        near = {word: difflib.get_close_matches(word, learned.names, cutoff=0.5) for word in unknown}
        hints = [f"{word!r}" + (f" (nearest: {', '.join(names)})" if names else "") for word, names in near.items()]
        known = ", ".join(learned.names[:20]) + (" …" if len(learned.names) > 20 else "")
        raise ValueError(f"The prompt holds what was never seen: {', '.join(hints)}. Known are: {known}.")
