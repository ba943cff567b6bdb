"""Learn from your own pictures: find them, train a VQ-VAE and a diffusion transformer, score and draw."""

from vqdit_lite.app.learn.drawing import load_run
from vqdit_lite.app.learn.learning import learn

__all__ = ["learn", "load_run"]
