import doctest
import importlib
import importlib.metadata
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import vqdit_lite
from vqdit_lite import checkpoints, shipped
from vqdit_lite.__main__ import main
from vqdit_lite.app import doctor
from vqdit_lite.app.learn import drawing, scores
from vqdit_lite.shipped import base

MODULES = [module.name for module in pkgutil.walk_packages(vqdit_lite.__path__, "vqdit_lite.")]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("VQDIT_DATA", raising=False)
    monkeypatch.setenv("VQDIT_DEVICE", "cpu")


@pytest.mark.parametrize("name", ["vqdit_lite", *MODULES])
def test_the_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_version_is_that_of_the_package():
    assert vqdit_lite.__version__ == importlib.metadata.version("vqdit_lite")


# ---------------------------------------------------------------- doctor


def test_doctor_finds_all_well_with_one_line_each(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "All is well."
    assert all(line.startswith("OK      ") for line in lines[:-1])
    for thing in ("Python ", "torch ", "scikit-learn ", "jupyterlab ", "device cpu", "checkpoint vqvae_scenes"):
        assert sum(thing in line for line in lines) >= 1
    assert not any("pytest" in line for line in lines)


def missing(capsys) -> list[str]:
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("Something is missing")
    return [line for line in lines if line.startswith("MISSING")]


def test_doctor_names_a_missing_package_and_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "requires", lambda name: ["torch>=2.4", "no-such-package>=1.0"])
    [line] = missing(capsys)
    assert "python -m pip install no-such-package" in line


def test_doctor_does_not_ask_for_jupyterlab_where_a_notebook_is_open(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: ["torch>=2.4", "no-such-package>=1.0; extra == 'course'"])
    assert all(fine for fine, _ in doctor.examine(in_notebook=True))
    assert not all(fine for fine, _ in doctor.examine())


def test_doctor_works_where_torch_is_missing():
    program = (
        "import sys; sys.modules['torch'] = None; from vqdit_lite.__main__ import main; sys.exit(main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "python -m pip install torch`" in done.stdout
    assert "the library does not import" in done.stdout


def test_doctor_names_a_package_that_is_too_old(monkeypatch, capsys):
    monkeypatch.setattr("tqdm.__version__", "4.1.0")
    [line] = missing(capsys)
    assert "tqdm 4.1.0" in line
    assert "4.66" in line


def test_doctor_says_where_the_course_itself_is_not_installed(monkeypatch, capsys):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "requires", unknown)
    assert any("vqdit_lite" in line and "pip install" in line for line in missing(capsys))


def test_doctor_names_a_missing_checkpoint(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(base, "FOLDER", tmp_path)
    lines = missing(capsys)
    assert len(lines) == len(shipped.MODELS)
    assert all("no model card" in line for line in lines)


def test_doctor_finds_a_tokenizer_that_is_another_though_its_card_has_the_right_hash(monkeypatch, capsys, tmp_path):
    """Every code has another number, so every token that other models have learned means something else."""
    shutil.copytree(base.FOLDER, tmp_path / "checkpoints")
    monkeypatch.setattr(base, "FOLDER", tmp_path / "checkpoints")
    tokenizer = shipped.load("vqvae_scenes")
    with torch.no_grad():
        tokenizer.quantizer.codebook.copy_(tokenizer.quantizer.codebook.flip(0))
    path = base.FOLDER / "vqvae_scenes.safetensors"
    checkpoints.save(path, tokenizer, checkpoints.read_card(path), torch.float16)
    lines = missing(capsys)
    trained_with_it = [name for name, model in shipped.MODELS.items() if shipped.find("vqvae_scenes") in model.needs]
    assert [line.split()[2].rstrip(":") for line in lines] == trained_with_it
    assert {"dit_scenes", "masked_scenes", "joint_scenes"} <= set(trained_with_it)
    assert all("was trained with another vqvae_scenes than the one in" in line for line in lines)


def test_doctor_names_a_device_that_is_not_there(monkeypatch, capsys):
    monkeypatch.setenv("VQDIT_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    [line] = missing(capsys)
    assert "Unset VQDIT_DEVICE" in line


def test_doctor_names_a_data_folder_that_is_none(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("VQDIT_DATA", str(tmp_path))
    assert main(["doctor"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("VQDIT_DATA", str(tmp_path / "nowhere"))
    [line] = missing(capsys)
    assert "nowhere, which is not a folder" in line


# ---------------------------------------------------------------- train


def test_train_writes_where_it_says(small, tmp_path, capsys):
    assert main(["train", "small", "--out", str(tmp_path), "--steps", "2"]) == 0
    assert capsys.readouterr().out == f"Done: {tmp_path / 'small'}.safetensors and .json\n"
    assert (tmp_path / "small.safetensors").is_file()
    assert (tmp_path / "small.json").is_file()


def test_an_unknown_checkpoint_is_one_sentence(capsys):
    assert main(["train", "nonsense"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: There is no checkpoint 'nonsense'")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("steps", ["0", "-5"])
def test_no_steps_are_one_sentence(small, tmp_path, capsys, steps):
    assert main(["train", "small", "--out", str(tmp_path), "--steps", steps]) == 1
    assert f"steps must be at least 1; it is {steps}" in capsys.readouterr().err


def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(*arguments):
        yield {}
        raise KeyboardInterrupt

    monkeypatch.setattr(base.Shipped, "train", interrupted)
    assert main(["train", "vqvae_scenes"]) == 130
    assert "goes on from the last save" in capsys.readouterr().err


def test_the_module_runs_as_a_command():
    done = subprocess.run([sys.executable, "-m", "vqdit_lite", "--help"], capture_output=True, text=True, check=True)
    assert "doctor" in done.stdout
    assert "train" in done.stdout


# ---------------------------------------------------------------- generate

SENTENCE = "small red circle above large blue square"


def test_generate_goes_round_by_files(tmp_path, capsys):
    picture, voice, words = (str(tmp_path / name) for name in ("out.png", "out.wav", "out.txt"))
    assert main(["generate", SENTENCE, picture]) == 0
    assert main(["generate", picture, voice]) == 0
    assert main(["generate", voice, words]) == 0
    assert capsys.readouterr().out == f"Written: {picture}\nWritten: {voice}\nWritten: {words}\n"
    assert Path(words).read_text(encoding="utf-8") == f"{SENTENCE}\n"
    assert main(["generate", voice]) == 0
    assert capsys.readouterr().out == f"{SENTENCE}\n"


def test_generate_gives_the_same_answer_for_the_same_seed(tmp_path):
    for name, seed in (("a.png", "1"), ("b.png", "1"), ("c.png", "2")):
        assert main(["generate", SENTENCE, str(tmp_path / name), "--seed", seed]) == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert a == b != c


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smal red circle", "out.png"], 'I do not know "smal" (did you mean small?)'),
        ([SENTENCE, "out.mp4"], "I cannot write .mp4"),
        (["nothing.wav", "out.png"], "There is no file nothing.wav"),
        (["nothing.png"], "There is no file nothing.png"),
        ([SENTENCE, "out.png", "--steps", "0"], "--steps be at least 1"),
        (["seven", "out.wav", "--model", "runs/mine"], "draws pictures"),
        (["seven", "out.png", "--model", "nowhere"], "no finished run"),
    ],
)
def test_what_cannot_be_generated_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_broken_picture_is_one_sentence(tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert main(["generate", str(tmp_path / "broken.png"), str(tmp_path / "out.wav")]) == 1
    assert "cannot be read as a picture" in capsys.readouterr().err


def test_ctrl_c_leaves_what_stood_there(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    (tmp_path / "out.png").write_bytes(b"precious")
    monkeypatch.setattr("vqdit_lite.app.assistant.Assistant.ask", interrupted)
    assert main(["generate", SENTENCE, str(tmp_path / "out.png")]) == 130
    assert "Stopped. Nothing was written." in capsys.readouterr().err
    assert (tmp_path / "out.png").read_bytes() == b"precious"


def test_help_teaches_by_examples(capsys):
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    assert 'generate "small red circle above large blue square" out.png' in capsys.readouterr().out


# ---------------------------------------------------------------- learn


def test_learn_says_what_it_does_and_generate_uses_what_it_leaves(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(drawing, "WIDTH", 32)
    monkeypatch.setattr(scores, "DRAWINGS", 10)
    for number in range(24):
        name = ("dark", "light")[number % 2]
        (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
        shade = 100 * (number % 2) + number
        Image.new("L", (16, 16), shade).save(tmp_path / "pictures" / name / f"{number}.png")
    (tmp_path / "pictures" / "dark" / "broken.png").write_bytes(b"no picture")
    command = ["learn", str(tmp_path / "pictures"), "--out", str(tmp_path / "mine"), "--size", "16", "--steps", "2"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "Left out 1 pictures that cannot be read: broken.png." in out
    assert "24 pictures in 2 classes, as 16 × 16 pixels in grey; 2 are held out" in out
    assert f"Done: {tmp_path / 'mine' / 'gallery.png'}" in out
    assert main(["generate", "dark", str(tmp_path / "dark.png"), "--model", str(tmp_path / "mine")]) == 0
    capsys.readouterr()
    assert main(["generate", "drak", str(tmp_path / "drak.png"), "--model", str(tmp_path / "mine")]) == 1
    assert "'drak' (nearest: dark)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "There is no folder nowhere"),
        (["."], "There is no picture in ."),
        ([".", "--size", "30"], "size must be a multiple of 4 and at least 16; it is 30"),
        ([".", "--steps", "0"], "steps must be at least 1; it is 0"),
        ([".", "--out", "."], "--out must be another folder"),
    ],
)
def test_what_cannot_be_learned_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["learn", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_learn_can_be_interrupted(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vqdit_lite.app.learn.learn", interrupted)
    assert main(["learn", str(tmp_path)]) == 130
    assert "goes on from the last save" in capsys.readouterr().err


def test_the_help_of_learn_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["learn", "--help"])
    said = capsys.readouterr().out
    for part in ("FOLDER/cat/1.png", "captions.txt", "What happens:", "Ctrl-C", "gallery.png", "generate"):
        assert part in said
    assert max(len(line) for line in said.splitlines()) <= 120


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "GOMP_SPINCOUNT=100"), ({"OMP_NUM_THREADS": "1"}, "OMP_NUM_THREADS=1"), ({"GOMP_SPINCOUNT": "7"}, "=7")],
)
def test_the_package_sets_how_threads_wait_unless_the_user_did(given, expected):
    """It must happen before torch is loaded, so it takes a process of its own."""
    names = ("OMP_", "GOMP_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)} | given
    code = "import sys, vqdit_lite; assert 'torch' not in sys.modules; from vqdit_lite.app import doctor; "
    command = [sys.executable, "-c", code + "print(doctor._threads()[1])"]
    line = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert line.strip().endswith(expected)
