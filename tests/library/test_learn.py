import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from vqdit_lite import checkpoints
from vqdit_lite.app.learn import drawing, learning, load_run, scores
from vqdit_lite.app.learn.folder import Examples, find_pictures, split

CPU = torch.device("cpu")
COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 160, 30)}
WEIGHTS = ("vqvae.safetensors", "dit.safetensors")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A small transformer and few drawings to score, so that a run takes a second."""
    monkeypatch.setattr(drawing, "WIDTH", 32)
    monkeypatch.setattr(scores, "DRAWINGS", 20)


def picture(colour: tuple[int, ...], number: int) -> Image.Image:
    """A square of a colour, at a place of its own, on white."""
    one = Image.new("RGB", (20, 20), "white")
    one.paste(colour, (number % 5, number % 7, number % 5 + 10, number % 7 + 10))
    return one


def write_pictures(folder, count=12, colours=("red", "blue"), inside="{colour}"):
    for colour in colours:
        place = folder / inside.format(colour=colour)
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture(COLOURS[colour], number).save(place / f"{colour}{number:02}.png")
    return folder


@pytest.fixture
def classes(tmp_path):
    return write_pictures(tmp_path / "pictures")


@pytest.fixture
def captions(tmp_path):
    folder = write_pictures(tmp_path / "pictures", inside="")
    lines = [f"{file.name}, A {file.stem[:-2].capitalize()} square." for file in sorted(folder.glob("*.png"))]
    (folder / "captions.csv").write_text("\n".join(["file,caption", *lines]), encoding="utf-8-sig")
    return folder


@pytest.fixture
def alone(tmp_path):
    return write_pictures(tmp_path / "pictures", inside="")


def run(folder, out, steps=2, size=16):
    """Learn a little, and return what was said."""
    said = []
    learning.learn(folder, out, CPU, size, steps, said.append)
    return said


def seeded():
    return torch.Generator().manual_seed(3)


def weights(out):
    return [(out / name).read_bytes() for name in WEIGHTS]


# ---------------------------------------------------------------- what is in a folder


def test_the_folders_in_which_pictures_lie_are_their_classes(classes, tmp_path):
    (classes / "red" / "more").mkdir()
    picture(COLOURS["red"], 1).save(classes / "red" / "more" / "deep.png")
    picture(COLOURS["red"], 1).save(classes / "loose.png")
    kind, texts, [note] = find_pictures(classes, tmp_path / "out")
    assert kind == "classes"
    assert {file.name: text for file, text in texts.items()}["deep.png"] == "red"
    assert sorted(texts.values()) == ["blue"] * 12 + ["red"] * 13
    assert note == "Left out 1 pictures that lie outside the folders of the classes: loose.png."


@pytest.mark.parametrize("inside", ["", "all"])
def test_pictures_in_one_place_have_no_classes(tmp_path, inside):
    folder = write_pictures(tmp_path / "pictures", inside=inside)
    kind, texts, notes = find_pictures(folder, tmp_path / "out")
    assert kind == "pictures"
    assert list(texts.values()) == [""] * 24
    assert notes == []


@pytest.mark.parametrize("name", ["captions.txt", "captions.csv"])
def test_a_captions_file_says_what_pictures_show(tmp_path, name):
    folder = write_pictures(tmp_path / "pictures", count=3)
    lines = ["red/red00.png\tA red square, large.", 'red/red01.png\t"It\'s RED"', "nowhere.png\ta ghost", "", "odd"]
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    kind, texts, [note] = find_pictures(folder, tmp_path / "out")
    assert kind == "captions"
    assert {file.name: text for file, text in texts.items()} == {
        "red00.png": "a red square large",
        "red01.png": "it's red",
    }
    assert note.startswith(f"Left out 4 pictures that {name} does not name: blue00.png, blue01.png, blue02.png")


def test_a_captions_file_that_names_no_picture_or_is_no_text_is_named(alone, tmp_path):
    (alone / "captions.txt").write_text("cat.png, a cat")
    with pytest.raises(ValueError, match=r"captions\.txt names none of the 24 pictures .* a tab or a comma"):
        find_pictures(alone, tmp_path / "out")
    (alone / "captions.txt").write_bytes(b"red00.png, \xff\xfe\xfa")
    with pytest.raises(ValueError, match=r"captions\.txt is not text in UTF-8"):
        find_pictures(alone, tmp_path / "out")


def test_hidden_folders_and_earlier_runs_are_nothing_to_learn_from(classes):
    for name in (".ipynb_checkpoints", "__MACOSX", "runs/old", "runs/new"):
        (classes / name).mkdir(parents=True)
        picture(COLOURS["red"], 1).save(classes / name / "gallery.png")
    (classes / "runs" / "old" / "run.json").write_text("{}")
    _, texts, notes = find_pictures(classes, classes / "runs" / "new")
    assert set(texts.values()) == {"red", "blue"}
    assert notes == []


def test_a_missing_folder_and_one_without_pictures_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere"):
        run(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(FileNotFoundError, match=r"no picture in .*1 other files"):
        run(tmp_path, tmp_path / "out")


def test_held_out_rows_are_a_tenth_and_never_all_of_a_class():
    texts = ["a"] * 300 + ["b"] * 50 + ["c", "d", "d"]
    train, held_out = split("classes", texts)
    assert sorted(train.tolist() + held_out.tolist()) == list(range(353))
    assert len(held_out) == 35
    assert {texts[row] for row in train} == {"a", "b", "c", "d"}
    assert 29 <= sum(texts[row] == "a" for row in held_out) <= 31
    assert len(split("pictures", [""] * 30_000)[1]) == 1000


# ---------------------------------------------------------------- a run


def test_classes_are_learned_and_drawn(classes, tmp_path):
    said = run(classes, tmp_path / "out")
    assert said[0].startswith("24 pictures in 2 classes, as 16 × 16 pixels in colour; 2 are held out")
    assert re.search(r"20 drawings: a classifier reads [\d.]+% as asked .* real pictures, [\d.]+%", said[-1])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "dit.json",
        "dit.safetensors",
        "gallery.png",
        "run.json",
        "vqvae.json",
        "vqvae.safetensors",
    ]
    learned = load_run(tmp_path / "out")
    assert learned.names == ["blue", "red"]
    red, blue, free = (learned.draw(prompt, 3, seeded()) for prompt in ("red", "blue", ""))
    assert red.shape == blue.shape == free.shape == (3, 3, 16, 16)
    assert red.min() >= 0
    assert red.max() <= 1
    assert torch.equal(red, learned.draw("red", 3, seeded()))
    with Image.open(tmp_path / "out" / "gallery.png") as gallery:
        assert min(gallery.size) > 300


def test_captions_are_learned_and_drawn(captions, tmp_path):
    said = run(captions, tmp_path / "out")
    assert said[0].startswith("24 pictures with captions of 4 words")
    learned = load_run(tmp_path / "out")
    assert learned.names == ["a", "blue", "red", "square"]
    for prompt in ("a red square", "Red!", ""):
        assert learned.draw(prompt, 2, seeded()).shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="5 symbols; at most 3"):
        learned.draw("a red red red square", 1, seeded())


def test_pictures_alone_are_learned_and_drawn(alone, tmp_path):
    said = run(alone, tmp_path / "out")
    assert "as asked" not in said[-1]
    learned = load_run(tmp_path / "out")
    assert learned.draw("", 2, seeded()).shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="neither classes nor captions"):
        learned.draw("red", 1, seeded())


@pytest.mark.parametrize("kind", ["classes", "captions"])
def test_unknown_words_are_named_with_the_nearest_known_ones(request, tmp_path, kind):
    run(request.getfixturevalue(kind), tmp_path / "out")
    learned = load_run(tmp_path / "out")
    with pytest.raises(ValueError, match=r"'bleu' \(nearest: blue\)\. Known are: .*blue, red"):
        learned.draw("bleu", 1, seeded())
    with pytest.raises(ValueError, match="count must be at least 1; it is 0"):
        learned.draw("red", 0, seeded())


def untrained(kind, texts):
    examples = Examples(kind, texts, torch.zeros(len(texts), 3, 16, 16, dtype=torch.uint8))
    about = drawing.describe(examples)
    return drawing.Learned(about, drawing.new_vqvae(about).eval())


class Obedient(torch.nn.Module):
    """A transformer that is sure of the token whose number is the label; without a label, of token 7."""

    positions = torch.zeros(16, 32)

    def forward(self, x, t, labels=None):
        wanted = torch.full((len(x),), 7) if labels is None else labels
        return 20.0 * torch.nn.functional.one_hot(wanted, 512)[:, None].expand(-1, 16, -1)


def test_each_prompt_is_drawn_in_its_place():
    learned = untrained("classes", ["b", "a", "c", "a"])
    learned.dit, seen = Obedient(), []
    learned.vqvae.decode = lambda ids: seen.append(ids) or ids
    learned.draw_each(["c", "a", "b"] * 20, seeded())
    learned.draw("", 2, seeded())
    assert torch.equal(torch.cat(seen[:2]), torch.tensor([2, 0, 1] * 20)[:, None].expand(-1, 16))
    assert (seen[2] == 7).all()


def test_examples_keep_pictures_beside_what_is_said_of_them():
    ids = torch.arange(3)[:, None].expand(-1, 16)
    tokens, labels = untrained("classes", ["b", "a", "c"]).examples(ids, ["b", "a", "c"])
    assert torch.equal(tokens, ids)
    assert labels.tolist() == [1, 0, 2]
    texts = ["red square", "blue", "red"]
    learned = untrained("captions", texts)
    parts = learned.layout.unpack(learned.examples(ids, texts))
    assert torch.equal(parts["picture"].flatten(1), ids)
    assert learned.words.decode(parts["text"]) == texts


@pytest.mark.parametrize("kind", ["classes", "captions"])
def test_scores_tell_good_drawings_from_wrong_ones_and_from_copies(kind):
    draw = torch.Generator().manual_seed(0)
    texts = ["red", "blue"] * 60
    pictures = torch.zeros(120, 3, 16, 16)
    pictures[::2, 0], pictures[1::2, 2] = 200, 200
    pictures = (pictures + 20 * torch.rand(pictures.shape, generator=draw)).byte()
    learned = untrained(kind, texts)
    learned.vqvae.encode = learned.vqvae.decode = lambda x: x  # coding without loss

    def score(made):
        learned.draw_each = lambda prompts, generator, bar: torch.stack([made(prompt) for prompt in prompts])
        return scores.score_drawings(learned, pictures[:80], texts[:80], pictures[80:], texts[80:])

    fresh = {
        name: iter((pictures[texts.index(name) + 80 :: 2].float() / 255).repeat(20, 1, 1, 1)) for name in texts[:2]
    }
    good = score(lambda prompt: next(fresh[prompt]))
    wrong = score(lambda prompt: next(fresh["red" if prompt == "blue" else "blue"]))
    copies = score(lambda prompt: pictures[texts.index(prompt)] / 255)
    assert good["read_as_asked"] == good["read_as_asked_real"] == copies["read_as_asked"] == 1
    assert wrong["read_as_asked"] == 0
    grey = score(lambda prompt: torch.full((3, 16, 16), 0.5))
    assert good["frechet_over_real"] < 2 < 10 < grey["frechet_over_real"]
    assert copies["nearest_over_real"] < 0.1 < 0.9 < good["nearest_over_real"]


# ---------------------------------------------------------------- stopped and started again


@pytest.fixture
def unscored(monkeypatch):
    """Scores and gallery are told elsewhere, and take longest."""
    monkeypatch.setattr(learning, "score_drawings", lambda *_: {"frechet_over_real": 1.0, "nearest_over_real": 1.0})
    monkeypatch.setattr(learning, "draw_gallery", lambda path, *_: checkpoints.replace(path, b"gallery"))


@pytest.fixture
def undisturbed(classes, tmp_path, unscored):
    run(classes, tmp_path / "undisturbed")
    return weights(tmp_path / "undisturbed")


def test_a_run_that_is_stopped_in_the_middle_of_every_file_ends_with_the_same_weights(
    classes, tmp_path, undisturbed, monkeypatch
):
    """Every second time that a file is to be put in place, the run stops instead, with the file half written."""
    out, write, tries, stops = tmp_path / "out", os.replace, Counter(), 0

    def put_every_second(half, path):
        tries[path.name] += 1
        if tries[path.name] % 2:
            raise KeyboardInterrupt
        write(half, path)

    monkeypatch.setattr(os, "replace", put_every_second)
    while stops < 30:
        try:
            run(classes, out)
        except KeyboardInterrupt:
            stops += 1
        else:
            break
    assert weights(out) == undisturbed
    assert all(count >= 2 for count in tries.values())
    assert set(tries) == {"pictures.state", "vqvae.state", "dit.state", *(file.name for file in out.iterdir())}
    assert stops >= 10


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(classes, tmp_path, undisturbed):
    """Ten kills (signal 9) at random moments, of copies of a process that has imported all it needs."""
    program = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from vqdit_lite import checkpoints
from vqdit_lite.app.learn import drawing, learning, scores

drawing.WIDTH, scores.DRAWINGS, draw = 32, 5, random.Random(0)
for kills in range(11):
    child = os.fork()
    if child == 0:
        learning.learn(Path(sys.argv[1]), Path(sys.argv[2]), torch.device("cpu"), 16, 2)
        os._exit(0)
    if kills < 10:
        time.sleep(draw.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # threads do not survive a fork
    command = [sys.executable, "-c", program, str(classes), str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True, env=alone)
    assert weights(tmp_path / "out") == undisturbed


def test_a_finished_run_is_not_repeated(classes, tmp_path, monkeypatch):
    first = run(classes, tmp_path / "out")
    before = weights(tmp_path / "out")
    monkeypatch.setattr(learning, "fit", None)
    assert run(classes, tmp_path / "out") == first[-1:]
    assert weights(tmp_path / "out") == before


def stopped_run(classes, out, monkeypatch):
    """A run that got as far as its pictures."""
    with monkeypatch.context() as patch:
        patch.setattr(learning, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(classes, out)


def test_a_changed_folder_is_refused_and_nothing_is_lost(classes, tmp_path, undisturbed, monkeypatch):
    out = tmp_path / "out"
    stopped_run(classes, out, monkeypatch)
    picture(COLOURS["red"], 1).save(classes / "red" / "new.png")
    with pytest.raises(ValueError, match="some were added, changed or removed"):
        run(classes, out)
    (classes / "red" / "new.png").unlink()
    run(classes, out)
    assert weights(out) == undisturbed
    os.utime(classes / "red" / "red00.png", (0, 0))
    with pytest.raises(ValueError, match="some were added, changed or removed"):
        run(classes, out)
    assert weights(out) == undisturbed


def test_other_settings_are_named_and_refused(classes, tmp_path, monkeypatch):
    stopped_run(classes, tmp_path / "out", monkeypatch)
    with pytest.raises(ValueError, match=r"out holds a run with other settings \(steps 2 there, 3 here\)"):
        run(classes, tmp_path / "out", steps=3)
    with pytest.raises(ValueError, match=r"size 16 there, 20 here"):
        run(classes, tmp_path / "out", size=20)


def test_a_run_of_another_version_or_with_damaged_settings_is_refused(classes, tmp_path, monkeypatch):
    stopped_run(classes, tmp_path / "out", monkeypatch)
    settings = json.loads((tmp_path / "out" / "run.json").read_text())
    (tmp_path / "out" / "run.json").write_text(json.dumps(settings | {"version": 0}))
    with pytest.raises(ValueError, match="out was begun with another version of this library"):
        run(classes, tmp_path / "out")
    (tmp_path / "out" / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        run(classes, tmp_path / "out")


def test_a_run_that_made_nothing_yet_may_change(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 5)
    with pytest.raises(ValueError, match=r"10 pictures are too few .* at least 20, and two of a class"):
        run(folder, tmp_path / "out")
    run(write_pictures(folder), tmp_path / "out")


# ---------------------------------------------------------------- bad input


@pytest.fixture
def mixed(classes):
    """Pictures of every odd kind beside the plain ones."""
    red = classes / "red"
    Image.new("RGB", (1, 1), "red").save(red / "tiny.png")
    Image.new("RGB", (5000, 3), "red").save(red / "thin.png")
    Image.new("L", (9000, 9000), 80).save(red / "huge.png")
    Image.new("RGBA", (30, 30), (255, 0, 0, 0)).save(red / "transparent.png")
    Image.fromarray(np.full((30, 30), 40_000, dtype=np.uint16)).save(red / "deep.png")
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "blue")]
    frames[0].save(red / "moving.gif", save_all=True, append_images=frames[1:])
    (red / "broken.png").write_bytes((red / "red00.png").read_bytes()[:60])
    (red / "empty.jpg").write_bytes(b"")
    (red / "notes.md").write_text("words")
    return classes


def test_odd_pictures_are_read_and_damaged_ones_left_out_with_a_sentence(mixed, tmp_path):
    said = run(mixed, tmp_path / "out")
    assert said[0] == "Left out 1 files that are not pictures: notes.md."
    assert said[1] == "Left out 2 pictures that cannot be read: broken.png, empty.jpg."
    assert said[2].startswith("30 pictures in 2 classes")


def test_damaged_pictures_alone_are_a_sentence(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"None of 3 pictures can be read\. The first: .*0\.png cannot be read"):
        run(folder, tmp_path / "out")


@pytest.mark.parametrize(("noise", "channels"), [(0, 1), (2, 1), (60, 3)])
def test_grey_pictures_are_learned_in_one_channel(tmp_path, noise, channels):
    folder, draw = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for number in range(20):
        grey = np.repeat(draw.integers(0, 190, (20, 20, 1)), 3, 2)
        Image.fromarray((grey + draw.integers(0, noise + 1, grey.shape)).astype(np.uint8)).save(
            folder / f"{number}.png"
        )
    run(folder, tmp_path / "out")
    assert load_run(tmp_path / "out").draw("", 1, seeded()).shape == (1, channels, 16, 16)


def test_pictures_that_are_all_the_same_can_be_scored(tmp_path):
    for number in range(20):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), "red").save(tmp_path / "pictures" / f"{number}.png")
    run(tmp_path / "pictures", tmp_path / "out")


def test_names_that_plots_would_take_for_formulas_are_drawn(tmp_path):
    folder = write_pictures(tmp_path / "pictures")
    (folder / "red").rename(folder / "5$ \\or{ 6$_ 猫")
    run(folder, tmp_path / "out")
    assert (tmp_path / "out" / "gallery.png").is_file()


@pytest.mark.parametrize("size", [0, 12, 30, -32])
def test_sizes_that_do_not_make_tokens_are_named(classes, tmp_path, size):
    with pytest.raises(ValueError, match=rf"multiple of 4 and at least 16; it is {size}"):
        run(classes, tmp_path / "out", size=size)


def test_no_steps_are_named(classes, tmp_path):
    with pytest.raises(ValueError, match="steps must be at least 1; it is 0"):
        run(classes, tmp_path / "out", steps=0)


def test_an_out_that_holds_other_files_is_refused_and_untouched(classes, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gallery.png").write_text("mine")
    with pytest.raises(ValueError, match="out must be a new or empty folder"):
        run(classes, tmp_path / "out")
    assert (tmp_path / "out" / "gallery.png").read_text() == "mine"
    with pytest.raises(ValueError, match="out must be another folder than that of the pictures"):
        run(classes, classes)


def test_an_out_that_cannot_be_written_is_a_sentence_before_any_work(classes, tmp_path, monkeypatch):
    monkeypatch.setattr("vqdit_lite.app.learn.folder.read_picture", None)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=r"Could not write .* bytes to .*run\.json \(.*\); nothing was written"):
        run(classes, tmp_path / "file" / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_out_without_permission_is_a_sentence(classes, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(OSError, match=r"run\.json \(Permission denied\)"):
        run(classes, tmp_path / "out")


def test_too_little_room_is_a_sentence_before_any_work(classes, tmp_path, monkeypatch):
    monkeypatch.setattr("vqdit_lite.app.learn.folder.read_picture", None)
    monkeypatch.setattr(learning.shutil, "disk_usage", lambda path: Full)
    with pytest.raises(OSError, match=r"has 10 MB left, and this takes 200: make room"):
        run(classes, tmp_path / "out")


class Full:
    free = 10_000_000


def test_a_disk_that_fills_up_is_a_sentence_and_nothing_is_lost(classes, tmp_path, undisturbed):
    """No file may grow beyond 100,000 bytes: pictures fit, the state of training does not."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"Could not write .* bytes to .*vqvae\.state .*; nothing was written"):
            run(classes, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "out" / "pictures.state").is_file()
    run(classes, tmp_path / "out")
    assert weights(tmp_path / "out") == undisturbed


# ---------------------------------------------------------------- what a run left


def test_a_run_that_is_not_finished_names_the_command_that_finishes_it(classes, tmp_path, monkeypatch):
    stopped_run(classes, tmp_path / "out", monkeypatch)
    for out in (tmp_path / "out", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=rf"{out.name} holds no finished run.*--out .*{out.name}"):
            load_run(out)


def test_weights_of_another_version_or_run_are_a_sentence(classes, tmp_path):
    out = tmp_path / "out"
    run(classes, out)
    run(classes, tmp_path / "other", steps=3)
    card = (out / "dit.json").read_text()
    there = json.loads(card)
    there["pictures"]["version"] = 0
    (out / "dit.json").write_text(json.dumps(there))
    with pytest.raises(ValueError, match=rf"another version of this library \(0 there, {drawing.VERSION} here\)"):
        load_run(out)
    (out / "dit.json").write_text(json.dumps({"sha256": ""}))
    with pytest.raises(ValueError, match=rf"another version of this library \(None there, {drawing.VERSION} here\)"):
        load_run(out)
    (out / "dit.json").write_text(card)
    for name in ("vqvae.safetensors", "vqvae.json"):
        (out / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(ValueError, match="are of different runs"):
        load_run(out)


def test_damaged_weights_are_named(classes, tmp_path):
    run(classes, tmp_path / "out")
    path = tmp_path / "out" / "dit.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"dit\.safetensors is cut short"):
        load_run(tmp_path / "out")


# ---------------------------------------------------------------- Ctrl-C


MOMENTS = ("numpy/__init__", "torch/nn/__init__", "sklearn/svm", "Reading pictures: ", "loss ")


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_at_any_moment_is_a_sentence(classes, tmp_path, moment):
    """While Python says with -v what it imports, while pictures are read, while a model learns."""
    command = [sys.executable, "-v", "-m", "vqdit_lite", "learn", str(classes), "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # the tests may run in the background
    ) as started:
        seen = b""
        while moment.encode() not in seen:
            seen = seen[-100:] + (os.read(started.stderr.fileno(), 65536) or pytest.fail("It ended before."))
        started.send_signal(signal.SIGINT)
        rest = started.stderr.read().decode()
    assert started.returncode == 130
    assert rest.endswith("\nStopped. The same command goes on from the last save.\n")
    assert "Traceback" not in rest
