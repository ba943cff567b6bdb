"""A recipe small enough to train within a test."""

import pytest

from vqdit_lite import data, models, recipes
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.quantize import VectorQuantizer


@pytest.fixture
def small_recipe(monkeypatch):
    """The recipe for scenes, for a small model "small" and few scenes; each test file chooses its own settings."""
    monkeypatch.setitem(shipped.MODELS, "small", lambda: VQVAE((3, 24, 24), VectorQuantizer(16, 4), width=8))
    return shipped.MODELS["vqvae_scenes"]._replace(
        learns_from=lambda generator, device: data.scenes(64, generator).pictures.to(device),
        scores=lambda model, device: scenes.score_vqvae(model, device, count=8),
        batch=4,
    )
