"""The shipped models are as good as their bounds, and a model without training is not."""

import pytest
import torch

from vqdit_lite import shipped
from vqdit_lite.data import pictures

CPU = torch.device("cpu")
# Fresh examples on which a model is scored here, where 100 would be too many for a test, or too few to tell.
COUNTS = {"any_to_any": 40, "joint_clips": 40, "judge_mnist": 1000, "vqvae_mnist": 1000}
UNTRAINED = 6  # a model that has learned nothing shows it soon
all_models = pytest.mark.parametrize("model", shipped.MODELS.values(), ids=list(shipped.MODELS))


def needs_mnist(model):
    if model.name in ("judge_mnist", "vqvae_mnist") and pictures._from_disk("mnist", "test") is None:
        pytest.skip("MNIST's test pictures are not on this machine")


def broken_bounds(model, scores):
    """The bounds of a model that scores do not keep."""
    low = [f"{name} {scores[name]:.4g} < {bound}" for name, bound in model.at_least.items() if scores[name] < bound]
    return low + [
        f"{name} {scores[name]:.4g} > {bound}" for name, bound in model.at_most.items() if scores[name] > bound
    ]


@all_models
def test_each_card_keeps_the_bounds_of_its_model(model):
    assert model.at_least or model.at_most
    assert broken_bounds(model, model.card()["scores_on_fresh_data"]) == []


@pytest.mark.slow
@all_models
def test_each_model_is_as_good_as_its_bounds(model):
    needs_mnist(model)
    assert broken_bounds(model, model.score(model.load(), CPU, COUNTS.get(model.name, 100))) == []


@pytest.mark.slow
@all_models
def test_a_model_without_training_is_not(model):
    needs_mnist(model)
    torch.manual_seed(0)
    assert broken_bounds(model, model.score(model.build().eval(), CPU, UNTRAINED))
