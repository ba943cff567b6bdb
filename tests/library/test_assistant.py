import io

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from vqdit_lite import assistant as module
from vqdit_lite import data, models, motion, recipes, sound
from vqdit_lite.app.assistant import Assistant, in_motion, kind_of, panel, read_prompt, write

CPU = torch.device("cpu")
SENTENCE = "small red circle above large blue square"


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def helper():
    return Assistant()


@pytest.fixture(scope="module")
def scene():
    objects = torch.tensor([[0, data.object_id("circle", "red", "small"), 0, 0, 0, 0, 0, 0, 0]])
    objects[0, 7] = data.object_id("square", "blue", "large")
    return data.draw_scenes(objects, generator())[0]


# ---------------------------------------------------------------- the model


def test_before_training_it_says_exactly_what_joint_scenes_says():
    fresh = models.build("any_to_any")
    any_to_any.take_over_joint_scenes(fresh)
    names = ("text", "picture")
    old = scenes.pairs(data.scenes(3, generator()), CPU)
    new = any_to_any.LAYOUT.only(*names).pack(**scenes.LAYOUT.unpack(old))
    t = torch.tensor([0.1, 0.5, 0.9])
    with torch.no_grad():
        wanted = shipped.load("joint_scenes")(old, t)
        said = restrict_to_tokens(fresh.eval(), any_to_any.LAYOUT.tokens(*names))(new, t)
    assert torch.equal(said[..., :12], wanted[..., :12])
    assert torch.equal(said[..., 13:77], wanted[..., 12:76])


def test_an_excerpt_of_everything_is_the_model_itself():
    model, x = shipped.load("any_to_any"), torch.randint(any_to_any.LAYOUT.mask_id, (2, 95), generator=generator())
    t = torch.tensor([0.2, 0.8])
    with torch.no_grad():
        assert torch.equal(restrict_to_tokens(model, any_to_any.LAYOUT.tokens(*any_to_any.LAYOUT.segments))(x, t), model(x, t))


def test_what_is_cut_out_of_a_sequence_has_no_say():
    model, kept = shipped.load("any_to_any"), any_to_any.LAYOUT.tokens("text", "sound")
    x = any_to_any.triples(data.scenes(2, generator()), generator(), CPU)
    other = x.clone()
    other[:, any_to_any.LAYOUT.tokens("picture")] = any_to_any.LAYOUT.pack(picture=torch.zeros(2, 36, dtype=torch.long))[
        :, any_to_any.LAYOUT.tokens("picture")
    ]
    said = [any_to_any.tell(model, row, ("sound",), "text", generator()) for row in (x, other)]
    assert torch.equal(*said)
    assert (said[0][:, ~kept] == any_to_any.LAYOUT.mask_id).all()
    assert torch.equal(said[0][:, any_to_any.LAYOUT.tokens("sound")], x[:, any_to_any.LAYOUT.tokens("sound")])


def test_a_transformer_of_any_to_any_fits_its_bounds():
    model = shipped.load("any_to_any")
    assert sum(weight.numel() for weight in model.parameters()) <= 5_000_000
    assert (base.FOLDER / "any_to_any.safetensors").stat().st_size <= 20e6


@pytest.mark.parametrize(
    ("given", "asked", "least"),
    [
        ("text", "picture", 0.88),
        ("text", "sound", 0.85),
        ("picture", "text", 0.95),
        ("picture", "sound", 0.85),
        ("sound", "text", 0.95),
        ("sound", "picture", 0.88),
    ],
)
def test_the_shipped_model_goes_in_all_six_directions(given, asked, least):
    fresh = data.scenes(60, generator(5))
    x = any_to_any.triples(fresh, generator(5), CPU)
    made = any_to_any.translate(shipped.load("any_to_any"), x, given, asked, generator(5))
    assert any_to_any.share_right(made, asked, fresh, CPU) >= least


def test_trying_again_stops_where_all_is_well_and_keeps_the_words():
    made_of = []
    words = torch.tensor([True, True, False])
    x = torch.tensor([[0, 1, 9], [2, 3, 9], [4, 5, 9]])

    def make(rows):
        made_of.append(rows[:, 0].tolist())
        return torch.cat([rows[:, :2], torch.full((len(rows), 1), len(made_of))], 1)

    def describe(rows):  # the row that begins with 2 is never right, that with 4 at the second try
        wrong = (rows[:, 0] == 2) | ((rows[:, 0] == 4) & (rows[:, 2] < 2))
        return torch.cat([(rows[:, :1] + wrong[:, None].long()), rows[:, 1:]], 1)

    made = retry_until_consistent(x, make, describe, words, tries=3)
    assert made_of == [[0, 2, 4], [2, 4], [2]]
    assert made.tolist() == [[0, 1, 1], [2, 3, 3], [4, 5, 2]]


# ---------------------------------------------------------------- prompts and files


def test_files_and_words_are_told_apart(tmp_path, scene):
    write(tmp_path / "scene.png", scene)
    write(tmp_path / "said.wav", data.speak([SENTENCE], generator())[0])
    assert read_prompt(SENTENCE) == SENTENCE
    picture, wave = read_prompt(str(tmp_path / "scene.png")), read_prompt(str(tmp_path / "said.wav"))
    assert torch.equal(data.read_scenes(picture[None]), data.read_scenes(scene[None]))
    assert wave.ndim == 1
    with pytest.raises(FileNotFoundError, match=r"no file missing\.png"):
        read_prompt("missing.png")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".gif", ".apng", ".wav", ".txt"])
def test_every_ending_can_be_written_and_read(tmp_path, ending, scene):
    kind = kind_of(f"out{ending}")
    clip = data.clips(1, generator()).frames[0]
    content = {"text": SENTENCE, "picture": scene, "sound": torch.rand(8000) - 0.5, "clip": clip}[kind]
    write(tmp_path / f"out{ending}", content)
    if kind == "text":
        assert (tmp_path / "out.txt").read_text(encoding="utf-8") == f"{SENTENCE}\n"
    elif kind == "sound":
        assert (data.read_wave(tmp_path / "out.wav") - content).abs().max() < 1e-3
    else:
        with Image.open(tmp_path / f"out{ending}") as picture:
            assert getattr(picture, "n_frames", 1) == (8 if kind == "clip" else 1)
            assert picture.width >= 120


def test_grey_pictures_can_be_written(tmp_path):
    write(tmp_path / "grey.png", torch.rand(1, 32, 32, generator=generator()))
    with Image.open(tmp_path / "grey.png") as picture:
        assert picture.size == (320, 320)


@pytest.mark.parametrize("name", ["out.mp4", "out", "out.PDF"])
def test_other_endings_get_a_sentence(name):
    with pytest.raises(ValueError, match=r"I cannot write .* I can write \.txt \(text\), \.png \(picture\)"):
        kind_of(name)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch, scene):
    path = tmp_path / "out.png"
    path.write_bytes(b"precious")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*untouched"):
        write(path, scene)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_words_are_named_with_the_nearest_known_ones(helper):
    with pytest.raises(ValueError, match=r'"smal" \(did you mean small\?\), "xyzzy"\. I know: small, large, red'):
        helper.ask("smal red circle xyzzy", "picture", generator())
    with pytest.raises(ValueError, match='"orange"'):
        helper.ask("small orange circle", "picture", generator())
    with pytest.raises(ValueError, match="empty"):
        helper.ask("  ", "picture", generator())
    with pytest.raises(ValueError, match="8 symbols; at most 7"):
        helper.ask(f"{SENTENCE} red", "picture", generator())


def test_a_scene_that_is_to_move_does_something_that_is_possible():
    for seed in range(30):
        sentence = in_motion(SENTENCE, generator(seed))
        assert sentence.startswith("small red circle ")
        assert sentence.endswith(" above large blue square")
        action = sentence.removeprefix("small red circle ").removesuffix(" above large blue square")
        assert action in set(data.ACTIONS) - {"shrinks", "becomes red", "turns"}
    assert in_motion("large red square turns", generator()) == "large red square turns"
    assert in_motion("red", generator()) == "red"


# ---------------------------------------------------------------- the assistant and its panel


def test_whatever_is_given_whatever_is_asked(helper, scene):
    wave = data.speak([SENTENCE], generator())[0]
    shapes = {"picture": (3, 24, 24), "sound": (data.SOUND_FRAMES * audio.HOP,), "clip": (3, 8, 24, 24)}
    for prompt in (SENTENCE, scene, wave):
        assert helper.ask(prompt, "text", generator()) == SENTENCE
        for asked, shape in shapes.items():
            made = helper.ask(prompt, asked, generator())
            assert made.shape == shape
            assert made.isfinite().all()


def test_the_same_seed_gives_the_same_answer(helper):
    assert torch.equal(*(helper.ask(SENTENCE, "picture", generator(3)) for _ in range(2)))


@pytest.mark.parametrize("gain", [0.1, 1.0, 5.0])
def test_quiet_and_loud_voices_are_understood(helper, gain):
    assert helper.ask(gain * data.speak([SENTENCE], generator(1))[0], "text", generator()) == SENTENCE


def test_steps_and_guidance_reach_the_sampler(helper, monkeypatch):
    seen = []
    sample = models.MaskedDiffusion.sample

    def watched(self, denoiser, start, times, *args, **kwargs):
        seen.append(len(times) - 1)
        return sample(self, denoiser, start, times, *args, **kwargs)

    monkeypatch.setattr(models.MaskedDiffusion, "sample", watched)
    helper.ask(SENTENCE, "picture", generator(), steps=5)
    assert seen[0] == 5


def texts(widget):
    """All that a widget and those inside it show as text."""
    own = [widget.value] if isinstance(widget, ipywidgets.HTML) else []
    return own + [text for child in getattr(widget, "children", ()) for text in texts(child)]


def find(widget, kind):
    """All widgets of a kind, in order."""
    own = [widget] if type(widget) is kind else []
    return own + [found for child in getattr(widget, "children", ()) for found in find(child, kind)]


def test_the_panel_answers_in_every_kind(helper, monkeypatch):
    asked_for = []
    answers = {
        "text": "red",
        "picture": torch.rand(3, 24, 24),
        "sound": torch.rand(800),
        "clip": torch.rand(3, 8, 24, 24),
    }

    def ask(prompt, asked, generator, scale, steps):
        asked_for.append((prompt if isinstance(prompt, str) else tuple(prompt.shape), asked, scale, steps))
        return answers[asked]

    monkeypatch.setattr(helper, "ask", ask)
    shown = panel(helper)
    [kinds], [tabs] = find(shown, ipywidgets.ToggleButtons), find(shown, ipywidgets.Tab)
    for kind in ("text", "sound", "clip"):
        kinds.value = kind
    assert [kind for _, kind, *_ in asked_for] == ["picture", "text", "sound", "clip"]
    assert asked_for[0] == (SENTENCE, "picture", 2.0, 52)
    kinds.value = "text"
    assert any("“red”" in text for text in texts(shown))
    tabs.selected_index = 1
    answer = next(button for button in find(shown, ipywidgets.Button) if button.description == "Answer")
    answer.click()
    tabs.selected_index = 2
    answer.click()
    assert [prompt for prompt, *_ in asked_for[-2:]] == [(3, 24, 24), (data.SOUND_FRAMES * audio.HOP,)]
    find(shown, ipywidgets.FloatSlider)[0].value = 3
    find(shown, ipywidgets.IntSlider)[0].value = 7
    kinds.value = "picture"
    assert asked_for[-1][1:] == ("picture", 3.0, 7)


def test_the_panel_draws_where_one_clicks(helper):
    scene = module._Scene(seed=0)
    assert data.captions(scene.objects) == ["small red circle"]
    scene.menus[0].value, scene.menus[1].value, scene.menus[2].value = "large", "blue", "square"
    scene.places[8].click()
    assert data.captions(scene.objects) == ["small red circle above large blue square"]
    scene.places[4].click()
    assert data.captions(data.read_scenes(scene.prompt()[None])) == ["large blue square"]


@pytest.mark.parametrize("version", [7, 8])
def test_the_panel_takes_files(version, scene):
    content = io.BytesIO()
    Image.fromarray((255 * scene).round().byte().permute(1, 2, 0).numpy()).save(content, "PNG")

    class Upload:
        value = (
            {"mine.png": {"content": content.getvalue(), "metadata": {"name": "mine.png"}}}
            if version == 7
            else ({"name": "mine.png", "content": memoryview(content.getvalue())},)
        )

    assert np.abs(module._uploaded(Upload).numpy() - scene.numpy()).max() < 0.01


def test_the_panel_says_what_is_wrong(helper):
    shown = panel(helper)
    find(shown, ipywidgets.Text)[0].value = "small purpel circle"
    next(button for button in find(shown, ipywidgets.Button) if button.description == "Answer").click()
    assert any("I do not know" in text for text in texts(shown))
