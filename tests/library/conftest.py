"""A shipped model small enough to train within a test."""

from dataclasses import replace

import pytest

from vqdit_lite import data, shipped
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.shipped import scenes


@pytest.fixture
def small(monkeypatch):
    """vqvae_scenes in small, named "small", which learns from few scenes; one of the shipped models during a test."""
    model = replace(
        scenes.VQVAE_SCENES,
        name="small",
        build=lambda: VQVAE((3, 24, 24), VectorQuantizer(16, 4), width=8),
        examples=lambda generator, device: data.scenes(64, generator).pictures.to(device),
        settings={"steps": 7, "lr": 1e-3, "seed": 0, "ema_decay": 0.9, "save_every": 2},
        batch=4,
        count=8,
    )
    monkeypatch.setitem(shipped.MODELS, "small", model)
    return model
