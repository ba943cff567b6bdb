"""The shipped checkpoints: how each was made, and how to load it."""

import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vqdit_lite import checkpoints, data
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.metrics import psnr, usage
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.training import batches, fit

SHIPPED = data.SHIPPED / "checkpoints"


class Recipe(NamedTuple):
    """All it takes to make a checkpoint again."""

    about: str
    build: Callable[[], nn.Module]
    learns_from: Callable[[torch.Generator], Tensor]
    loss: Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]]
    scores: Callable[[nn.Module, torch.device], dict[str, float]]
    settings: dict[str, Any]  # for `fit`
    batch: int


def _vqvae_scenes() -> VQVAE:
    return VQVAE((3, 24, 24), VectorQuantizer(num_codes=64, dim=8, decay=0.97), width=64)


@torch.no_grad()
def score_vqvae_scenes(model: VQVAE, device: torch.device, count: int = 2000) -> dict[str, float]:
    """PSNR, use of the codebook and share of scenes that read the same after coding, on fresh scenes."""
    fresh = data.scenes(count, torch.Generator().manual_seed(1_000_000))
    ids = model.encode(fresh.pictures.to(device))
    decoded = model.decode(ids).cpu()
    same = (data.read_scenes(decoded) == fresh.objects).all(1).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, fresh.pictures), "codes_used": used, "scenes_read_right": same}


RECIPES = {
    "vqvae_scenes": Recipe(
        about="VQ-VAE for scenes of 24 × 24 pixels: 36 tokens, 64 codes of dimension 8",
        build=_vqvae_scenes,
        learns_from=lambda generator: data.scenes(50_000, generator).pictures,
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_scenes,
        settings={"steps": 10_000, "lr": 3e-3, "seed": 0, "average": 0.999},
        batch=32,
    ),
}


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ValueError(f"There is no checkpoint {name!r}; there are: {', '.join(RECIPES)}.")
    return RECIPES[name]


def train(name: str, folder: str | Path, device: torch.device, steps: int | None = None) -> Iterator[dict[str, float]]:
    """Make a checkpoint again by its recipe: NAME.safetensors and its card NAME.json in `folder`.

    Stopped and started again, it goes on from `folder`/NAME.state. Yields what `fit` yields.
    """
    recipe, path = _recipe(name), Path(folder) / f"{name}.safetensors"
    settings = recipe.settings | ({} if steps is None else {"steps": steps})
    torch.manual_seed(settings["seed"])
    model = recipe.build().to(device)
    x = recipe.learns_from(torch.Generator().manual_seed(settings["seed"])).to(device)
    start, state = time.perf_counter(), path.with_suffix(".state")

    def loss(batch, generator):
        return recipe.loss(model, batch, generator)

    yield from fit(model, loss, batches(x, recipe.batch), save_to=state, **settings)
    scores = recipe.scores(model, device)
    card = {
        "name": name,
        "about": recipe.about,
        "command": f"python -m vqdit_lite train {name}" + (f" --steps {steps}" if steps else ""),
        "settings": {**settings, "batch": recipe.batch},
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(time.perf_counter() - start),
        "machine": f"{device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}, {platform.system()}",
        "scores_on_fresh_data": {key: round(value, 4) for key, value in scores.items()},
        "licence": "MIT, like the course; trained on data that the course draws itself",
    }
    checkpoints.save(path, model, card)
    state.unlink()


def load(name: str, device: torch.device | str = "cpu", folder: str | Path = SHIPPED) -> nn.Module:
    """A shipped model with its weights, in evaluation mode.

    >>> load("vqvae_scenes").encode(torch.rand(1, 3, 24, 24)).shape
    torch.Size([1, 36])
    """
    model = _recipe(name).build()
    checkpoints.load(Path(folder) / f"{name}.safetensors", model)
    return model.to(device).eval()


def card(name: str) -> str:
    """The model card of a shipped checkpoint, as text."""
    return json.dumps(checkpoints.read_card(SHIPPED / f"{name}.safetensors"), indent=2, ensure_ascii=False)
