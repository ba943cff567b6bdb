import doctest
import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys

import pytest
import torch

import vqdit_lite
from vqdit_lite import doctor, models, recipes
from vqdit_lite.__main__ import main

MODULES = [module.name for module in pkgutil.walk_packages(vqdit_lite.__path__, "vqdit_lite.")]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("VQDIT_DATA", raising=False)
    monkeypatch.setenv("VQDIT_DEVICE", "cpu")


@pytest.fixture
def small(monkeypatch, small_recipe):
    recipe = small_recipe._replace(settings={"steps": 20, "lr": 1e-3, "seed": 0})
    monkeypatch.setitem(recipes.RECIPES, "small", recipe)


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
    monkeypatch.setattr(models.load, "__defaults__", ("cpu", tmp_path))
    lines = missing(capsys)
    assert len(lines) == len(recipes.RECIPES)
    assert all("no model card" in line for line in lines)


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
    assert "nowhere, which is no folder" in line


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

    monkeypatch.setattr(recipes, "train", interrupted)
    assert main(["train", "vqvae_scenes"]) == 130
    assert "goes on from the last save" in capsys.readouterr().err


def test_the_module_runs_as_a_command():
    done = subprocess.run([sys.executable, "-m", "vqdit_lite", "--help"], capture_output=True, text=True, check=True)
    assert "doctor" in done.stdout
    assert "train" in done.stdout
