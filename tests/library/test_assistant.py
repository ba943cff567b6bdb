import pytest
import torch
from PIL import Image

from vqdit_lite import audio, data
from vqdit_lite.app.assistant import Assistant, in_motion
from vqdit_lite.app.files import kind_of, read_prompt, write
from vqdit_lite.layout import sub_layout
from vqdit_lite.masked import MaskedDiffusion
from vqdit_lite.multimodal import restrict_to_tokens, retry_until_consistent
from vqdit_lite.shipped import any_to_any, base, load, scenes

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
    fresh = any_to_any.ANY_TO_ANY.build()
    any_to_any.take_over_joint_scenes(fresh)
    names = ("text", "picture")
    old = scenes.pairs(data.scenes(3, generator()), CPU)
    new = sub_layout(any_to_any.LAYOUT, *names).pack(**scenes.LAYOUT.unpack(old))
    t = torch.tensor([0.1, 0.5, 0.9])
    with torch.no_grad():
        wanted = load("joint_scenes")(old, t)
        said = restrict_to_tokens(fresh.eval(), any_to_any.LAYOUT.tokens(*names))(new, t)
    assert torch.equal(said[..., :12], wanted[..., :12])
    assert torch.equal(said[..., 13:77], wanted[..., 12:76])


def test_a_model_restricted_to_all_tokens_is_the_model_itself():
    model, x = load("any_to_any"), torch.randint(any_to_any.LAYOUT.mask_id, (2, 95), generator=generator())
    t = torch.tensor([0.2, 0.8])
    whole = restrict_to_tokens(model, any_to_any.LAYOUT.tokens(*any_to_any.LAYOUT.segments))
    with torch.no_grad():
        assert torch.equal(whole(x, t), model(x, t))


def test_what_is_cut_out_of_a_sequence_has_no_say():
    model, layout = load("any_to_any"), any_to_any.LAYOUT
    picture, sound = layout.tokens("picture"), layout.tokens("sound")
    x = any_to_any.triples(data.scenes(2, generator()), generator(), CPU)
    other = x.clone()
    other[:, picture] = layout.pack(picture=torch.zeros(2, 36, dtype=torch.long))[:, picture]
    said = [any_to_any.tell(model, row, ("sound",), "text", generator()) for row in (x, other)]
    assert torch.equal(*said)
    assert (said[0][:, picture] == layout.mask_id).all()
    assert torch.equal(said[0][:, sound], x[:, sound])


def test_a_transformer_of_any_to_any_fits_its_bounds():
    model = load("any_to_any")
    assert sum(weight.numel() for weight in model.parameters()) <= 5_000_000
    assert (base.FOLDER / "any_to_any.safetensors").stat().st_size <= 20e6


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
    for asked in ("picture", "clip"):
        with pytest.raises(ValueError, match="empty"):
            helper.ask("  ", asked, generator())
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


# ---------------------------------------------------------------- the assistant


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
    sample = MaskedDiffusion.sample

    def watched(self, denoiser, start, times, *args, **kwargs):
        seen.append(len(times) - 1)
        return sample(self, denoiser, start, times, *args, **kwargs)

    monkeypatch.setattr(MaskedDiffusion, "sample", watched)
    helper.ask(SENTENCE, "picture", generator(), steps=5)
    assert seen[0] == 5
