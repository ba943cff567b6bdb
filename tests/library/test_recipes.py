import json

import pytest
import torch

from vqdit_lite import checkpoints, recipes

CPU = torch.device("cpu")
FIELDS = {"name", "about", "command", "settings", "parameters", "seconds", "machine", "scores_on_fresh_data", "licence"}


@pytest.fixture
def small(monkeypatch, small_recipe):
    """The small recipe with a save every second step."""
    recipe = small_recipe._replace(settings={"steps": 7, "lr": 1e-3, "seed": 0, "average": 0.9, "save_every": 2})
    monkeypatch.setitem(recipes.RECIPES, "small", recipe)
    return recipe


@pytest.mark.parametrize("name", list(recipes.RECIPES))
def test_every_recipe_builds_learns_and_has_a_shipped_checkpoint(name):
    recipe = recipes.RECIPES[name]
    torch.manual_seed(0)
    fresh, shipped = recipe.build(), recipes.load(name)
    assert not shipped.training
    assert not checkpoints.same(fresh, shipped)
    card = json.loads(recipes.card(name))
    assert set(card) >= FIELDS
    assert card["name"] == name
    assert card["about"] == recipe.about
    assert card["settings"] == {**recipe.settings, "batch": recipe.batch}
    assert card["parameters"] == sum(p.numel() for p in fresh.parameters())
    assert card["sha256"] == checkpoints.sha256(recipes.SHIPPED / f"{name}.safetensors")


def test_the_shipped_scenes_model_is_as_good_as_its_card_says():
    said = json.loads(recipes.card("vqvae_scenes"))["scores_on_fresh_data"]
    scores = recipes.score_vqvae_scenes(recipes.load("vqvae_scenes"), CPU, count=1000)
    assert scores["psnr_db"] == pytest.approx(said["psnr_db"], abs=0.2)
    assert scores["scenes_read_right"] == pytest.approx(said["scenes_read_right"], abs=0.005)
    assert scores["codes_used"] == pytest.approx(said["codes_used"], abs=0.005)


def test_train_writes_weights_and_card_and_removes_the_state(small, tmp_path):
    logs = list(recipes.train("small", tmp_path / "runs", CPU))
    assert [log["step"] for log in logs] == list(range(1, 8))
    assert sorted(file.name for file in (tmp_path / "runs").iterdir()) == ["small.json", "small.safetensors"]
    model = recipes.load("small", folder=tmp_path / "runs")
    scores = recipes.score_vqvae_scenes(model, CPU, count=8)
    card = checkpoints.read_card(tmp_path / "runs" / "small.safetensors")
    assert set(card) == FIELDS | {"sha256"}
    assert card["command"] == "python -m vqdit_lite train small"
    assert card["scores_on_fresh_data"] == pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize("stop_after", [1, 2, 5, 7])
def test_an_interrupted_train_goes_on_to_the_same_weights(small, tmp_path, stop_after):
    list(recipes.train("small", tmp_path / "whole", CPU))
    for log in recipes.train("small", tmp_path / "halves", CPU):
        if log["step"] == stop_after:
            break
    first = next(recipes.train("small", tmp_path / "halves", CPU), None)
    list(recipes.train("small", tmp_path / "halves", CPU))
    saved = 7 if stop_after == 7 else 2 * (stop_after // 2)
    assert first is None if saved == 7 else first["step"] == saved + 1
    whole, halves = (recipes.load("small", folder=tmp_path / name) for name in ("whole", "halves"))
    assert checkpoints.same(whole, halves)
    assert not list(tmp_path.rglob("*.state"))


def test_fewer_steps_stand_on_the_card(small, tmp_path):
    assert len(list(recipes.train("small", tmp_path, CPU, steps=3))) == 3
    card = checkpoints.read_card(tmp_path / "small.safetensors")
    assert card["command"] == "python -m vqdit_lite train small --steps 3"
    assert card["settings"]["steps"] == 3


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(small, tmp_path, steps):
    with pytest.raises(ValueError, match=f"steps must be at least 1; it is {steps}"):
        list(recipes.train("small", tmp_path, CPU, steps=steps))


@pytest.mark.parametrize("use", [recipes.load, lambda name: list(recipes.train(name, "runs", CPU))])
def test_an_unknown_checkpoint_is_named_with_those_there_are(use):
    with pytest.raises(ValueError, match=r"no checkpoint 'nonsense'; there are: .*vqvae_scenes"):
        use("nonsense")
