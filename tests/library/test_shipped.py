import json

import pytest
import torch

from vqdit_lite import checkpoints, data, models, motion, recipes, sound
from vqdit_lite.autoencoder import LatentSpace

CPU = torch.device("cpu")
FIELDS = {"name", "about", "command", "settings", "parameters", "seconds", "machine", "scores_on_fresh_data", "licence"}


@pytest.fixture
def small(monkeypatch, small_recipe):
    """The small recipe with a save every second step."""
    recipe = small_recipe._replace(settings={"steps": 7, "lr": 1e-3, "seed": 0, "ema_decay": 0.9, "save_every": 2})
    monkeypatch.setitem(shipped.MODELS, "small", recipe)
    return recipe


@pytest.mark.parametrize("name", list(shipped.MODELS))
def test_every_recipe_builds_learns_and_has_a_shipped_checkpoint(name):
    recipe = shipped.MODELS[name]
    torch.manual_seed(0)
    fresh, shipped = models.build(name), shipped.load(name)
    assert not shipped.training
    assert not checkpoints.same(fresh, shipped)
    card = json.loads(shipped.card(name))
    assert set(card) >= FIELDS
    assert card["name"] == name
    assert card["about"] == recipe.about
    assert card["settings"] == {**recipe.settings, "batch": recipe.batch}
    assert card["parameters"] == sum(p.numel() for p in fresh.parameters())
    assert card["sha256"] == checkpoints.sha256(base.FOLDER / f"{name}.safetensors")


def test_the_shipped_scenes_model_is_as_good_as_its_card_says():
    said = json.loads(shipped.card("vqvae_scenes"))["scores_on_fresh_data"]
    scores = scenes.score_vqvae(shipped.load("vqvae_scenes"), CPU, count=1000)
    assert scores["psnr_db"] == pytest.approx(said["psnr_db"], abs=0.2)
    assert scores["scenes_read_right"] == pytest.approx(said["scenes_read_right"], abs=0.005)
    assert scores["codes_used"] == pytest.approx(said["codes_used"], abs=0.005)


@pytest.mark.parametrize(
    ("name", "classes", "scale"), [("dit_digits", 10, 1.5), ("dit_scenes", 12, 2.0), ("dit_mnist", 10, 2.0)]
)
@torch.no_grad()
def test_the_shipped_transformers_draw_what_is_asked_for(name, classes, scale):
    labels = torch.arange(20 * classes) % classes
    tokens = base.draw(shipped.load(name), labels, scale, torch.Generator().manual_seed(5))
    if name == "dit_digits":
        read = torch.as_tensor(judges.judge_digits().predict(handwriting.as_digits(tokens).flatten(1).numpy()))
    else:
        pictures = LatentSpace(shipped.load(name.replace("dit", "vqvae"))).decode(tokens)
        read = data.read_labels(pictures) if name == "dit_scenes" else shipped.load("judge_mnist")(pictures).argmax(1)
    assert (read == labels).float().mean() >= 0.96


@pytest.mark.parametrize(("name", "classes"), [("masked_scenes", 12), ("masked_mnist", 10)])
@torch.no_grad()
def test_the_shipped_masked_transformers_draw_what_is_asked_for(name, classes):
    labels, diffusion = torch.arange(10 * classes) % classes, getattr(models, name.upper())
    ids = base.draw_tokens(diffusion, shipped.load(name), labels, 2.0, torch.Generator().manual_seed(5))
    pictures = shipped.load(name.replace("masked", "vqvae")).decode(ids)
    read = data.read_labels(pictures) if classes == 12 else shipped.load("judge_mnist")(pictures).argmax(1)
    assert (read == labels).float().mean() >= 0.9


def test_the_shipped_model_of_words_and_pictures_goes_both_ways():
    model, fresh = shipped.load("joint_scenes"), data.scenes(60, torch.Generator().manual_seed(5))
    x, generator = scenes.pairs(fresh, CPU), torch.Generator().manual_seed(5)
    words, picture = scenes.LAYOUT.tokens("text"), scenes.LAYOUT.tokens("picture")
    captioned = fill_in(scenes.LAYOUT, model, x, picture, generator, steps=7)
    sentences = scenes.TOKENIZER.decode(scenes.LAYOUT.unpack(captioned)["text"])
    assert data.true_of(sentences, fresh.objects).float().mean() >= 0.9
    drawn = fill_in(scenes.LAYOUT, model, x, words, generator, 16, base.GUIDANCE, ("text",))
    pictures = shipped.load("vqvae_scenes").decode(scenes.LAYOUT.unpack(drawn)["picture"].flatten(1))
    assert data.true_of(data.captions(fresh.objects), data.read_scenes(pictures)).float().mean() >= 0.85
    assert drawn[:, words].equal(x[:, words])


@torch.no_grad()
def test_the_shipped_model_of_words_and_speech_hears_and_speaks():
    model, judge = shipped.load("joint_speech"), shipped.load("judge_speech")
    generator, layout = torch.Generator().manual_seed(5), speech.LAYOUT
    spoken = data_speech.spoken_captions(200, generator)
    x = speech.spoken_sequences(spoken, CPU)
    heard = fill_in(layout, model, x, layout.tokens("sound"), generator, steps=7)
    assert heard[:, layout.tokens("sound")].equal(x[:, layout.tokens("sound")])
    assert word_error_rate(spoken.sentences, speech.TOKENIZER.decode(layout.unpack(heard)["text"])) <= 0.03
    said = speech.say(model, spoken.sentences, generator, CPU)
    assert word_error_rate(spoken.sentences, judges.listen(judge, mels_of(said))) <= 0.08


@torch.no_grad()
def test_the_shipped_model_of_speech_understands_people_from_tokens():
    people = data.spoken_digits("sample")
    heard = speech.heard_digits(shipped.load("joint_speech"), people.waves, CPU)
    assert (heard == people.labels).float().mean() >= 0.88


@torch.no_grad()
def test_the_judge_of_speech_knows_nothing_of_tokens_and_hears_fresh_words():
    spoken = data_speech.spoken_captions(60, torch.Generator().manual_seed(5))
    assert word_error_rate(spoken.sentences, judges.listen(shipped.load("judge_speech"), spoken.mels)) <= 0.01
    silence = torch.zeros(1, audio.BANDS, data.SOUND_FRAMES)
    assert judges.listen(shipped.load("judge_speech"), silence) == [""]


@pytest.mark.parametrize("task", ["animated", "between", "continued"])
def test_the_shipped_model_of_clips_does_every_task_with_frames(task):
    generator, fresh = torch.Generator().manual_seed(5), data.clips(40, torch.Generator().manual_seed(5))
    x, (given, asked) = clips.clips_to_tokens(fresh, CPU), clips.TASKS[task]
    made = answer(clips.LAYOUT, shipped.load("joint_clips"), x, given, asked, generator)
    known, sought = clips.LAYOUT.tokens(*given), clips.LAYOUT.tokens(*asked)
    assert made[:, known].equal(x[:, known])
    assert (made[:, ~(known | sought)] == clips.LAYOUT.mask_id).all()
    right = (data.read_clips(clips.tokens_to_clips(made, CPU)) == fresh.tracks).all(1)
    assert right.float().mean() >= 0.8


def test_the_shipped_model_makes_clips_of_words_and_captions_of_clips():
    generator, fresh = torch.Generator().manual_seed(6), data.clips(40, torch.Generator().manual_seed(6))
    x, model = clips.clips_to_tokens(fresh, CPU), shipped.load("joint_clips")
    first = x
    for task in ("still", "animated"):
        first = answer(clips.LAYOUT, model, first, *clips.TASKS[task], generator)
    for made, bound in ((first, 0.6), (clips.clips_from_words(model, x, generator), 0.7)):  # one try, up to three
        assert made[:, clips.LAYOUT.tokens("text")].equal(x[:, clips.LAYOUT.tokens("text")])
        tracks = data.read_clips(clips.tokens_to_clips(made, CPU))
        assert data.clip_true_of(data.clip_captions(fresh.tracks), tracks).float().mean() >= bound
    described = answer(clips.LAYOUT, model, x, *clips.TASKS["captions"], generator)
    said = clips.TOKENIZER.decode(clips.LAYOUT.unpack(described)["text"])
    assert data.clip_true_of(said, fresh.tracks).float().mean() >= 0.9


def test_an_answer_does_not_depend_on_what_is_hidden():
    model, layout = shipped.load("joint_clips"), clips.LAYOUT
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


def test_pieces_of_a_clip_are_its_halves_between_two_stills():
    frames = torch.rand(2, 3, 8, 24, 24)
    start, first, second, end = clips.pieces_of(frames).unbind(1)
    assert clips.joined(torch.stack([first, second], 1).flatten(0, 1)).equal(frames)
    assert all(start[:, :, k].equal(frames[:, :, 0]) and end[:, :, k].equal(frames[:, :, 7]) for k in range(4))


def test_alike_lets_seven_words_count_as_much_as_fifty_two_sounds():
    counts = balance_segments(speech.LAYOUT)
    assert counts.mean() == pytest.approx(1)
    assert counts[:7].sum() == pytest.approx(counts[7:].sum())


def test_the_loss_of_a_joint_model_follows_importance():
    x0 = speech.LAYOUT.pack(text=torch.zeros(4, 7).long(), sound=torch.zeros(4, 52).long())

    def denoiser(x, t):
        return torch.zeros(*x.shape, speech.LAYOUT.vocabulary)

    only_words = speech.LAYOUT.tokens("text").float()
    one, words = (
        joint_loss(speech.LAYOUT, token_weight)(denoiser, x0, torch.Generator().manual_seed(0))["loss"]
        for token_weight in (1.0, only_words)
    )
    assert 0 < words < one


def test_word_error_counts_errors_for_each_word_said():
    assert word_error_rate(["small red circle", "two"], ["small circle", "two"]) == pytest.approx(1 / 4)
    assert word_error_rate(["two"], ["two two two"]) == 2


def test_likelihoods_prefer_what_belongs_together():
    x = scenes.pairs(data.scenes(6, torch.Generator().manual_seed(5)), CPU)
    for given in ("text", "picture"):
        table = scenes.log_likelihoods(shipped.load("joint_scenes"), x, given, draws=8)
        assert table.shape == (6, 6)
        assert table.diagonal().mean() > table.mean() + 1


def test_the_judges_read_real_digits_that_they_have_not_seen():
    held_out = data.digits_split()[1]
    assert judges.judge_digits().score(held_out.pictures.flatten(1).numpy(), held_out.labels.numpy()) >= 0.98
    if data._from_disk("mnist", "test") is None:
        pytest.skip("MNIST's test pictures are not on this machine")
    assert recipes.score_judge_mnist(shipped.load("judge_mnist"), CPU)["digits_read_right"] >= 0.98


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


def test_train_writes_weights_and_card_and_removes_the_state(small, tmp_path):
    logs = list(recipes.train("small", tmp_path / "runs", CPU))
    assert [log["step"] for log in logs] == list(range(1, 8))
    assert sorted(file.name for file in (tmp_path / "runs").iterdir()) == ["small.json", "small.safetensors"]
    model = shipped.load("small", folder=tmp_path / "runs")
    scores = scenes.score_vqvae(model, CPU, count=8)
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
    whole, halves = (shipped.load("small", folder=tmp_path / name) for name in ("whole", "halves"))
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


@pytest.mark.parametrize("use", [shipped.load, lambda name: list(recipes.train(name, "runs", CPU))])
def test_an_unknown_checkpoint_is_named_with_those_there_are(use):
    with pytest.raises(ValueError, match=r"no checkpoint 'nonsense'; there are: .*vqvae_scenes"):
        use("nonsense")
