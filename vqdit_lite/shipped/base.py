"""What a shipped model is: how it is built and trained, what it needs, how good it must be; and asking by label."""

import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vqdit_lite import checkpoints
from vqdit_lite.autoencoder import LatentSpace
from vqdit_lite.data import places
from vqdit_lite.gaussian import GaussianDiffusion, guided
from vqdit_lite.masked import MaskedDiffusion
from vqdit_lite.schedule import flow, linear, time_grid
from vqdit_lite.training import batches, fit
from vqdit_lite.transformer import DiT

FOLDER = places.SHIPPED / "checkpoints"
FRESH = 1_000_000  # the seed of data to score on: no training uses it


@dataclass(frozen=True)
class Shipped:
    """All it takes to make a model again, to load it, and to say whether it is good.

    Args:
        name: of its file in data/checkpoints.
        about: one line for its card.
        build: makes it with random weights.
        examples: called as examples(generator, device): what it learns from, tensors of rows.
        loss: called as loss(model, batch, generator).
        score: called as score(model, device, count): scores on about `count` fresh examples.
        at_least, at_most: the bounds that its scores keep.
        settings, batch: of its training by `fit`.
        needs: the models whose tokens it reads or writes; with others it is worth nothing.
        starts_from: the models whose weights it began with.
        start: puts their weights into the new one.
        learned_from: for the licence on its card.
        count: fresh examples for the scores on the card.
    """

    name: str
    about: str
    build: Callable[[], nn.Module]
    examples: Callable[[torch.Generator, torch.device], Any]
    loss: Callable[[Any, Any, torch.Generator], dict[str, Tensor]]
    score: Callable[[Any, torch.device, int], dict[str, float]]
    settings: dict[str, Any]
    batch: int
    at_least: dict[str, float]
    at_most: dict[str, float] = field(default_factory=dict)
    needs: tuple["Shipped", ...] = ()
    starts_from: tuple["Shipped", ...] = ()
    start: Callable[[Any], None] | None = None
    learned_from: str = "data that the course draws itself"
    count: int = 1000

    def load(self, device: torch.device | str = "cpu", folder: str | Path | None = None) -> Any:
        """The model with its weights, in evaluation mode; from another folder than the course's if one is given.

        Raises:
            FileNotFoundError: weights or card are missing.
            ValueError: they are damaged, of another model, or were trained with other models than those that ship.
        """
        path = Path(folder or FOLDER) / f"{self.name}.safetensors"
        trained_with = checkpoints.read_card(path).get("needs", {})
        for other, sha256 in _hashes(self.needs).items():
            if trained_with.get(other) != sha256:
                raise ValueError(
                    f"{path} was trained with another {other} than the one in {FOLDER}, so the two do not understand "
                    f"each other. Fetch both again, or run `python -m vqdit_lite train {self.name}`."
                )
        model = self.build()
        checkpoints.load(path, model)
        return model.to(device).eval()

    def card(self) -> dict[str, Any]:
        """The model card."""
        return checkpoints.read_card(FOLDER / f"{self.name}.safetensors")

    def train(self, folder: str | Path, device: torch.device, steps: int | None = None) -> Iterator[dict[str, float]]:
        """Make the model again: NAME.safetensors and its card NAME.json in `folder`. Yields what `fit` yields.

        Stopped and started again, it goes on from `folder`/NAME.state. Weights are stored in 16 bits, and scored so.
        """
        path = Path(folder) / f"{self.name}.safetensors"
        settings = self.settings | ({} if steps is None else {"steps": steps})
        torch.manual_seed(settings["seed"])
        model = self.build()
        if self.start:
            self.start(model)
        model = model.to(device)
        x = self.examples(torch.Generator().manual_seed(settings["seed"]), device)
        started, state = time.perf_counter(), path.with_suffix(".state")
        loss = partial(self.loss, model)
        yield from fit(model, loss, batches(x, self.batch), save_to=state, **settings)
        card = self.write_card(model, device) | {
            "command": f"python -m vqdit_lite train {self.name}" + (f" --steps {steps}" if steps else ""),
            "settings": {**settings, "batch": self.batch},
            "seconds": round(time.perf_counter() - started),
        }
        checkpoints.save(path, model, card, torch.float16)
        state.unlink()

    @torch.no_grad()
    def write_card(self, model: nn.Module, device: torch.device) -> dict[str, Any]:
        """The card of a trained model, whose weights are rounded to 16 bits first, as they will be stored."""
        for weight in model.state_dict().values():
            weight.copy_(weight.half())
        scores = self.score(model, device, self.count)
        return {
            "name": self.name,
            "about": self.about,
            **_size(model),
            "weights": "16 bits (float16); they load as 32 bits",
            "needs": _hashes(self.needs),
            "starts_from": _hashes(self.starts_from),
            "machine": f"{device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
            f"{platform.system()}",
            "scores_on_fresh_data": {key: round(value, 4) for key, value in scores.items()},
            "licence": f"MIT, like the course; learned from {self.learned_from}",
        }


def _hashes(models: tuple[Shipped, ...]) -> dict[str, str]:
    return {model.name: checkpoints.sha256(FOLDER / f"{model.name}.safetensors") for model in models}


def _size(model: nn.Module) -> dict[str, int]:
    """How many weights a model has and, of a transformer, its depth, width and heads."""
    size = {"parameters": sum(weight.numel() for weight in model.parameters())}
    if isinstance(model, DiT):
        size |= {
            "depth": len(model.blocks),
            "width": model.positions.shape[-1],
            "heads": model.blocks[0].attention.heads,
        }
    return size


def as_text(card: dict[str, Any]) -> str:
    """A model card as text."""
    return json.dumps(card, indent=2, ensure_ascii=False)


# ---------------------------------------------------------------- pictures by label, from latents and from tokens

DIFFUSION = GaussianDiffusion(flow(), predict="flow")  # of all shipped denoisers of latents
GUIDANCE = 2.0  # scale at which shipped models are asked


def latents(vqvae: Shipped, pictures: Tensor, device: torch.device) -> Tensor:
    """Pictures as tokens in the latent space of a shipped VQ-VAE, a thousand at a time."""
    space = LatentSpace(vqvae.load(device))
    return torch.cat([space.encode(part.to(device)) for part in pictures.split(1000)])


def tokens(vqvae: Shipped, x: Tensor, device: torch.device) -> Tensor:
    """Pictures, sounds or clips as ids (B, N) of a shipped VQ-VAE, a thousand at a time."""
    model = vqvae.load(device)
    return torch.cat([model.encode(part.to(device)) for part in x.split(1000)])


def latent_loss(model: DiT, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """The loss of a denoiser of latents, for latents and their labels."""
    x0, labels = batch
    return DIFFUSION.loss(model, x0, generator, labels=labels)


def masked_loss(
    diffusion: MaskedDiffusion, model: DiT, batch: tuple[Tensor, Tensor], generator: torch.Generator
) -> dict[str, Tensor]:
    """The loss of a denoiser of tokens, for ids and their labels."""
    x0, labels = batch
    return diffusion.loss(model, x0, generator, labels=labels)


def masked_diffusion(num_codes: int) -> MaskedDiffusion:
    """The masked diffusion of all shipped denoisers of tokens."""
    return MaskedDiffusion(linear(), num_codes, "bounded")


def draw(model: DiT, labels: Tensor, scale: float, generator: torch.Generator, steps: int = 20) -> Tensor:
    """Latents (B, N, features) of new pictures with the given labels, by guided sampling."""
    noise = torch.randn(len(labels), len(model.positions), model.head.out_features, generator=generator)
    denoiser = guided(partial(model, labels=labels), model, scale)
    *_, x = DIFFUSION.sample(denoiser, noise.to(labels.device), time_grid(steps))
    return x


def draw_tokens(model: DiT, labels: Tensor, scale: float, generator: torch.Generator, steps: int = 16) -> Tensor:
    """ids (B, N) of new pictures with the given labels, by guided sampling in the order of confidence."""
    diffusion = masked_diffusion(model.head.out_features)
    start = torch.full((len(labels), len(model.positions)), diffusion.mask_id, device=labels.device)
    denoiser = guided(partial(model, labels=labels), model, scale)
    times = time_grid(steps, "cosine")
    *_, x = diffusion.sample(denoiser, start, times, "confidence", generator=generator, choice_temperature=1.0)
    return x


def labels_to_draw(classes: int, count: int, device: torch.device) -> tuple[Tensor, torch.Generator]:
    """Labels (count,) in turn, for scores, and a generator for the drawings."""
    return torch.arange(count, device=device) % classes, torch.Generator().manual_seed(FRESH)
