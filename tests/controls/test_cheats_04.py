"""Cheats planted in chapter 04: samples that are training points, all or some, as they are or with a little noise."""

import pytest

from tests.controls.planted import run_with

NETWORK = "walk(process, train(process), start)"
FEWER = {"start, samples = randn(2000, 2), {}": "start, samples = randn(400, 2), {}"}  # to be quick


@pytest.mark.slow
def test_a_memoriser_in_the_place_of_the_networks_is_stopped_by_novelty():
    memoriser = "walk(process, IdealDenoiser(process, moons), start)"
    message = run_with("04_reverse_diffusion", {**FEWER, NETWORK: memoriser})
    assert message.startswith("AssertionError: ✗ novelty, the lowest of four networks")


@pytest.mark.slow
def test_training_points_with_a_little_noise_pass_novelty_and_are_stopped_by_copying():
    copies = "moons[torch.randint(500, (2000,), generator=generator)] + 0.025 * randn(2000, 2)"
    message = run_with("04_reverse_diffusion", {**FEWER, NETWORK: copies})
    assert message.startswith("AssertionError: ✗ copying, the highest of eps, v and flow")


@pytest.mark.slow
def test_fresh_data_with_one_copy_in_five_passes_novelty_and_is_stopped_by_copying():
    draw = "moons[torch.randint(500, (400,), generator=generator)]"
    some = f'torch.cat([data.points("moons", 1600, generator), {draw}])'
    message = run_with("04_reverse_diffusion", {**FEWER, NETWORK: some})
    assert message.startswith("AssertionError: ✗ copying, the highest of eps, v and flow")
