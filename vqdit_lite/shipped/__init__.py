"""The models that ship with the course, by their names."""

from pathlib import Path

import torch
from torch import nn

from vqdit_lite.shipped import any_to_any, base, clips, handwriting, judges, scenes, speech

MODELS = {
    model.name: model for family in (judges, scenes, handwriting, speech, clips, any_to_any) for model in family.MODELS
}


def find(name: str) -> base.Shipped:
    """What there is to know about a model.

    >>> find("joint_scenes").needs[0].name
    'vqvae_scenes'
    """
    if name not in MODELS:
        raise ValueError(f"There is no checkpoint {name!r}; there are: {', '.join(MODELS)}.")
    return MODELS[name]


def load(name: str, device: torch.device | str = "cpu", folder: str | Path | None = None) -> nn.Module:
    """A shipped model with its weights, in evaluation mode.

    >>> load("vqvae_scenes").encode(torch.rand(1, 3, 24, 24)).shape
    torch.Size([1, 36])
    """
    return find(name).load(device, folder)


def card(name: str) -> str:
    """The model card of a shipped model, as text."""
    return base.as_text(find(name).card())
