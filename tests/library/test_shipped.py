"""The shipped models: that each is what its card says, and made again by its recipe."""

import json
import shutil

import pytest
import torch

from vqdit_lite import checkpoints, data, shipped
from vqdit_lite.multimodal import answer, balance_segments, fill_in, joint_loss, pairwise_log_likelihoods, task_times
from vqdit_lite.shipped import base, clips, handwriting, judges, scenes, speech
from vqdit_lite.transformer import DiT

CPU = torch.device("cpu")
FIELDS = {
    *("name", "about", "parameters", "weights", "needs", "starts_from", "machine", "scores_on_fresh_data", "licence"),
    *("command", "settings", "seconds", "sha256"),
}
all_models = pytest.mark.parametrize("model", shipped.MODELS.values(), ids=list(shipped.MODELS))


# ---------------------------------------------------------------- all of them


@all_models
def test_each_model_has_weights_and_a_card_that_fits_them(model):
    torch.manual_seed(0)
    fresh, loaded, card = model.build(), model.load(), json.loads(shipped.card(model.name))
    assert not loaded.training
    assert not checkpoints.same(fresh, loaded)
    size = {"depth", "width", "heads"} if isinstance(fresh, DiT) else set()
    assert set(card) == FIELDS | size
    assert card["name"] == model.name
    assert card["about"] == model.about
    assert card["command"] == f"python -m vqdit_lite train {model.name}"
    assert card["settings"] == {**model.settings, "batch": model.batch}
    assert card["parameters"] == sum(weight.numel() for weight in fresh.parameters())
    assert card["sha256"] == checkpoints.sha256(base.FOLDER / f"{model.name}.safetensors")


@all_models
def test_weights_are_stored_in_16_bits(model):
    tensors, _ = checkpoints.read(base.FOLDER / f"{model.name}.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert {weight.dtype for weight in model.load().state_dict().values()} == {torch.float32}


@pytest.fixture
def reversed_codebook(tmp_path, monkeypatch):
    """The shipped models, with a vqvae_scenes whose codes stand in another order, and whose card says so."""
    folder = shutil.copytree(base.FOLDER, tmp_path / "checkpoints")
    model = scenes.VQVAE_SCENES.load()
    model.quantizer.codebook.copy_(model.quantizer.codebook.flip(0))
    checkpoints.save(folder / "vqvae_scenes.safetensors", model, scenes.VQVAE_SCENES.card(), torch.float16)
    monkeypatch.setattr(base, "FOLDER", folder)


def test_a_model_refuses_another_tokenizer_than_its_own(reversed_codebook):
    scenes.VQVAE_SCENES.load()  # nothing is wrong with it in itself
    for name in ("dit_scenes", "masked_scenes", "joint_scenes"):
        with pytest.raises(ValueError, match=rf"{name}.safetensors was trained with another vqvae_scenes than"):
            shipped.load(name)
    shipped.load("joint_speech")


@all_models
def test_what_a_model_needs_stands_on_its_card(model):
    card = model.card()
    for key, others in (("needs", model.needs), ("starts_from", model.starts_from)):
        assert card[key] == {other.name: other.card()["sha256"] for other in others}


@pytest.mark.parametrize("use", [shipped.load, shipped.card, shipped.find])
def test_an_unknown_checkpoint_is_named_with_those_there_are(use):
    with pytest.raises(ValueError, match=r"no checkpoint 'nonsense'; there are: .*vqvae_scenes"):
        use("nonsense")


# ---------------------------------------------------------------- asking them


@torch.no_grad()
def test_the_judge_of_speech_hears_nothing_in_silence():
    silence = torch.zeros(1, judges.BANDS, data.SOUND_FRAMES)
    assert judges.listen(judges.JUDGE_SPEECH.load(), silence) == [""]


def test_filling_in_leaves_what_is_given():
    x = scenes.pairs(data.scenes(4, torch.Generator().manual_seed(5)), CPU)
    words, drawn = scenes.LAYOUT.tokens("text"), torch.Generator().manual_seed(5)
    model = scenes.JOINT_SCENES.load()
    assert fill_in(scenes.LAYOUT, model, x, words, drawn, 16, 2.0, ("text",))[:, words].equal(x[:, words])


@pytest.mark.parametrize("task", list(clips.TASKS))
def test_an_answer_keeps_what_is_given_and_hides_what_is_in_neither(task):
    generator, fresh = torch.Generator().manual_seed(5), data.clips(2, torch.Generator().manual_seed(5))
    x, (given, asked) = clips.clips_to_tokens(fresh, CPU), clips.TASKS[task]
    made = answer(clips.LAYOUT, clips.JOINT_CLIPS.load(), x, given, asked, generator)
    known, sought = clips.LAYOUT.tokens(*given), clips.LAYOUT.tokens(*asked)
    assert made[:, known].equal(x[:, known])
    assert (made[:, ~(known | sought)] == clips.LAYOUT.mask_id).all()


def test_an_answer_does_not_depend_on_what_is_hidden():
    model, layout = clips.JOINT_CLIPS.load(), clips.LAYOUT
    x = clips.clips_to_tokens(data.clips(2, torch.Generator().manual_seed(7)), CPU)
    given, asked = clips.TASKS["still"]
    other = x.where(layout.tokens(*given), layout.mask_id)
    answers = [answer(layout, model, row, given, asked, torch.Generator().manual_seed(0)) for row in (x, other)]
    assert answers[0].equal(answers[1])


def test_each_example_of_clips_is_of_one_task_with_what_is_given_clean_or_in_one_of_ten_hidden():
    layout, n = clips.LAYOUT, 5000
    t = task_times(layout, list(clips.TASKS.values()), n, torch.Generator().manual_seed(0))
    assert t.shape == (n, layout.length)
    fits, hidden = [], []
    for given, asked in clips.TASKS.values():
        known, sought = layout.tokens(*given), layout.tokens(*asked)
        one_time = (t[:, sought] == t[:, sought][:, :1]).all(1)
        clean, unknown = (t[:, known] == 0).all(1), (t[:, known] == 1).all(1)
        fits.append((clean | unknown) & one_time & (t[:, ~(known | sought)] == 1).all(1))
        hidden.append(fits[-1] & unknown)
    fits, hidden = torch.stack(fits), torch.stack(hidden)  # (tasks, n)
    assert (fits.sum(0) == 1).all()
    assert ((fits.float().mean(1) - 1 / len(clips.TASKS)).abs() < 0.025).all()
    assert 0.08 < hidden.float().sum() / n < 0.12


# ---------------------------------------------------------------- parts of them


def test_pieces_of_a_clip_are_its_halves_between_two_stills():
    frames = torch.rand(2, 3, 8, 24, 24)
    start, first, second, end = clips.pieces_of(frames).unbind(1)
    assert clips.joined(torch.stack([first, second], 1).flatten(0, 1)).equal(frames)
    assert all(start[:, :, k].equal(frames[:, :, 0]) and end[:, :, k].equal(frames[:, :, 7]) for k in range(4))


def test_balanced_segments_let_seven_words_count_as_much_as_fifty_two_sounds():
    counts = balance_segments(speech.LAYOUT)
    assert counts.mean() == pytest.approx(1)
    assert counts[:7].sum() == pytest.approx(counts[7:].sum())


def test_the_loss_of_a_joint_model_follows_the_weights_of_tokens():
    x0 = speech.LAYOUT.pack(text=torch.zeros(4, 7).long(), sound=torch.zeros(4, 52).long())

    def denoiser(x, t):
        return torch.zeros(*x.shape, speech.LAYOUT.vocabulary)

    only_words = speech.LAYOUT.tokens("text").float()
    one, words = (
        joint_loss(speech.LAYOUT, denoiser, x0, torch.Generator().manual_seed(0), token_weight=weight)["loss"]
        for weight in (1.0, only_words)
    )
    assert 0 < words < one


def test_likelihoods_prefer_what_belongs_together():
    x = scenes.pairs(data.scenes(6, torch.Generator().manual_seed(5)), CPU)
    for given in ("text", "picture"):
        table = pairwise_log_likelihoods(scenes.LAYOUT, scenes.JOINT_SCENES.load(), x, given, draws=8)
        assert table.shape == (6, 6)
        assert table.diagonal().mean() > table.mean() + 1


def test_the_judge_of_digits_reads_real_ones_that_it_has_not_seen():
    held_out = data.digits_split()[1]
    assert judges.judge_digits().score(held_out.pictures.flatten(1).numpy(), held_out.labels.numpy()) >= 0.98


def test_the_split_of_the_digits_keeps_apart_what_is_shown_and_held_out():
    shown, held_out = data.digits_split()
    assert len(shown.pictures) + len(held_out.pictures) == 1797
    pairs = torch.cdist(held_out.pictures.flatten(1), shown.pictures.flatten(1))
    assert (pairs.min(1).values > 0).all()


def test_the_frechet_score_is_about_one_for_real_digits_and_high_for_noise():
    shown, held_out = data.digits_split()
    real = shown.pictures.flatten(1)
    assert handwriting.frechet_over_real(real, shown, held_out) == pytest.approx(1)
    assert handwriting.frechet_over_real(torch.rand(900, 64) * 2 - 1, shown, held_out) > 10


# ---------------------------------------------------------------- making them again


def test_train_writes_weights_and_card_and_removes_the_state(small, tmp_path):
    logs = list(small.train(tmp_path / "runs", CPU))
    assert [log["step"] for log in logs] == list(range(1, 8))
    assert sorted(file.name for file in (tmp_path / "runs").iterdir()) == ["small.json", "small.safetensors"]
    model = shipped.load("small", folder=tmp_path / "runs")
    scores = scenes.score_vqvae(model, CPU, count=8)
    card = checkpoints.read_card(tmp_path / "runs" / "small.safetensors")
    assert set(card) == FIELDS
    assert card["command"] == "python -m vqdit_lite train small"
    assert card["scores_on_fresh_data"] == pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize("stop_after", [1, 2, 5, 7])
def test_an_interrupted_train_goes_on_to_the_same_weights(small, tmp_path, stop_after):
    list(small.train(tmp_path / "whole", CPU))
    for log in small.train(tmp_path / "halves", CPU):
        if log["step"] == stop_after:
            break
    first = next(small.train(tmp_path / "halves", CPU), None)
    list(small.train(tmp_path / "halves", CPU))
    saved = 7 if stop_after == 7 else 2 * (stop_after // 2)
    assert first is None if saved == 7 else first["step"] == saved + 1
    whole, halves = (shipped.load("small", folder=tmp_path / name) for name in ("whole", "halves"))
    assert checkpoints.same(whole, halves)
    assert not list(tmp_path.rglob("*.state"))


def test_fewer_steps_stand_on_the_card(small, tmp_path):
    assert len(list(small.train(tmp_path, CPU, steps=3))) == 3
    card = checkpoints.read_card(tmp_path / "small.safetensors")
    assert card["command"] == "python -m vqdit_lite train small --steps 3"
    assert card["settings"]["steps"] == 3


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(small, tmp_path, steps):
    with pytest.raises(ValueError, match=f"steps must be at least 1; it is {steps}"):
        list(small.train(tmp_path, CPU, steps=steps))
