"""Chapter 02 with a cheat planted in it."""

import pytest

from tests.controls.planted import run_with


@pytest.mark.slow
def test_a_reader_that_accepts_everything_is_stopped():
    honest = "return (data.read_scenes(pictures) == objects).all(1).float().mean()"
    error = run_with("02_vq_vae", {honest: "return torch.ones(len(pictures)).mean()"})
    assert error.startswith("AssertionError: ✗ fresh scenes read exactly right")
    assert "should fail for the control, half faded" in error


@pytest.mark.slow
def test_a_model_that_trains_longer_than_its_rivals_is_stopped():
    honest = "logs = {name: train_for(one) for name, one in models.items()}"
    planted = 'logs = {name: train_for(one, 6 if name == "VQ-VAE" else 3) for name, one in models.items()}'
    error = run_with("02_vq_vae", {honest: planted})
    assert error.startswith("AssertionError: ✗ all three took as many steps")
