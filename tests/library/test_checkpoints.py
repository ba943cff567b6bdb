import errno
import json
import os

import pytest
import safetensors.torch
import torch
from torch import nn

from vqdit_lite import checkpoints
from vqdit_lite.quantize import FiniteScalarQuantizer, VectorQuantizer


def model(seed: int = 0, width: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(width, 4, 3), nn.BatchNorm2d(4), VectorQuantizer(8, 4))


@pytest.fixture
def saved(tmp_path):
    checkpoints.save(tmp_path / "m.safetensors", model(), {"about": "a test, 3 × 3"})
    return tmp_path / "m.safetensors"


def test_a_model_survives_bit_for_bit(saved):
    other = model(seed=1)
    assert not checkpoints.same(model(), other)
    card = checkpoints.load(saved, other)
    assert checkpoints.same(model(), other)
    assert card == {"about": "a test, 3 × 3", "sha256": checkpoints.sha256(saved)}
    assert card == checkpoints.read_card(saved)


def test_a_model_without_weights_survives(tmp_path):
    checkpoints.save(tmp_path / "m.safetensors", FiniteScalarQuantizer([3, 3]), {})
    checkpoints.load(tmp_path / "m.safetensors", FiniteScalarQuantizer([3, 3]))


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool]
)
def test_tensors_and_notes_survive(tmp_path, dtype):
    tensors = {"a": torch.arange(6).reshape(2, 3).T.to(dtype), "scalar": torch.tensor(1).to(dtype)}
    notes = {"step": 7, "lr": 0.1 + 0.2, "name": "é×✓", "none": None, "nested": {"list": [1, True]}}
    checkpoints.write(tmp_path / "new" / "folder" / "a.safetensors", tensors, notes)
    read, read_notes = checkpoints.read(tmp_path / "new" / "folder" / "a.safetensors")
    assert read_notes == notes
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == dtype
        assert torch.equal(read[name], tensor)


def test_what_was_read_no_longer_depends_on_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoints.write(path, {"a": torch.ones(1000)}, {})
    tensors, _ = checkpoints.read(path)
    with path.open("r+b") as file:
        file.seek(-4000, os.SEEK_END)
        file.write(bytes(4000))
    assert tensors["a"].sum() == 1000


def test_a_changed_byte_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.safetensors is not the file its card describes: the hash differs"):
        checkpoints.load(saved, model())


@pytest.mark.parametrize("length", [0, 4, 50, 400, -1])
def test_a_truncated_file_is_noticed(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"m\.safetensors is cut short"):
        checkpoints.load(saved, model())


def test_a_file_of_another_origin_is_noticed(tmp_path):
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="not a file of this course"):
        checkpoints.read(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (model(width=1), r"0\.weight is \(4, 3, 3, 3\) there, and \(4, 1, 3, 3\) in the Sequential"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), r"1\.\w+ is \(4?,?\) there, and missing in the Sequential"),
        (nn.Sequential(*model(), nn.Linear(2, 2)), r"3\.weight is missing there, and \(2, 2\)"),
    ],
)
def test_another_model_is_noticed_and_left_alone(saved, other, message):
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        checkpoints.load(saved, other)
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


def test_a_missing_file_and_a_missing_card_are_named(saved):
    with pytest.raises(FileNotFoundError, match=r"no model card .*other\.json"):
        checkpoints.load(saved.with_name("other.safetensors"), model())
    with pytest.raises(FileNotFoundError, match=r"no file .*other\.safetensors"):
        checkpoints.read(saved.with_name("other.safetensors"))
    saved.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*m\.safetensors"):
        checkpoints.load(saved, model())


@pytest.mark.parametrize("content", ["", '{"about": ', "[]", '{"about": "no hash"}'])
def test_a_damaged_card_is_named(saved, content):
    saved.with_suffix(".json").write_text(content)
    with pytest.raises(ValueError, match=r"m\.json"):
        checkpoints.load(saved, model())


def full_disk(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_checkpoint(saved, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match=r"m\.safetensors \(No space left on device\); what stood there .* untouched"):
            checkpoints.save(saved, model(seed=1), {"about": "new"})
    assert sorted(file.name for file in saved.parent.iterdir()) == ["m.json", "m.safetensors"]
    other = model(seed=2)
    assert checkpoints.load(saved, other)["about"] == "a test, 3 × 3"
    assert checkpoints.same(other, model())


def test_a_full_disk_leaves_nothing_where_nothing_was(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="nothing was written"):
        checkpoints.write(tmp_path / "a.safetensors", {"a": torch.ones(2)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "runs").write_text("words")
    with pytest.raises(OSError, match=r"Could not write .*a\.safetensors"):
        checkpoints.write(tmp_path / "runs" / "a.safetensors", {"a": torch.ones(2)}, {})


def test_the_card_is_readable_text_with_the_hash_last(saved):
    text = saved.with_suffix(".json").read_text(encoding="utf-8")
    assert text == json.dumps(checkpoints.read_card(saved), indent=2, ensure_ascii=False) + "\n"
    assert "3 × 3" in text


def test_models_are_the_same_only_bit_for_bit():
    first, second = model(), model()
    assert checkpoints.same(first, second)
    second[2].counts[0] += 1e-6
    assert not checkpoints.same(first, second)
