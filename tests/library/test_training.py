import copy
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes
from torch import nn

from vqdit_lite import checkpoints, quantize
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.checkpoints import same
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.training import batches, fit, pick_device


def line() -> nn.Module:
    return nn.Linear(2, 1)


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1))


def small_vqvae() -> nn.Module:
    return VQVAE((1, 8, 8), VectorQuantizer(32, 4, decay=0.5, revive_below=0.5), width=8)


def run(build, save_to=None, stop_after=None, spoil_at=None, **options):
    """Train a fresh model, taking `stop_after` steps at most; at step `spoil_at` the loss is NaN."""
    torch.manual_seed(123)
    model = build()
    draw = torch.Generator().manual_seed(5)
    if isinstance(model, VQVAE):
        x = torch.rand(40, 1, 8, 8, generator=draw)
    else:
        x = torch.randn(40, 2, generator=draw)

    def loss(batch, generator):
        if isinstance(model, VQVAE):
            return model.loss(batch)
        noise = torch.randn(len(batch), 1, generator=generator)
        return {"loss": (model(batch) - 2 * batch[:, :1] - 1 - 0.1 * noise).square().mean()}

    logs = []
    settings = {"steps": 12, "lr": 0.01, "warmup": 3, "save_every": 3} | options
    for log in fit(model, loss, batches(x, 8), save_to=save_to, **settings):
        logs.append(log)
        if log["step"] + 1 == spoil_at:
            with torch.no_grad():
                next(model.parameters()).fill_(math.nan)
        if len(logs) == stop_after:
            break
    return model, logs


# ---------------------------------------------------------------- batches


def test_batches_are_rows_drawn_by_the_generator():
    x = torch.arange(20).reshape(10, 2)
    draw = batches(x, 1000)
    first, again = draw(torch.Generator().manual_seed(0)), draw(torch.Generator().manual_seed(0))
    assert torch.equal(first, again)
    assert torch.equal(first.unique(dim=0), x)


@pytest.mark.parametrize(("rows", "size"), [(0, 3), (3, 0), (3, -1)])
def test_batches_of_nothing_are_refused(rows, size):
    with pytest.raises(ValueError, match=f"{rows} rows and size {size} came"):
        batches(torch.zeros(rows, 2), size)


def test_batches_of_several_tensors_are_the_same_rows_of_each():
    x, labels = torch.arange(20).reshape(10, 2), torch.arange(10.0)
    rows, names = batches((x, labels), 1000)(torch.Generator().manual_seed(0))
    assert rows.shape == (1000, 2)
    assert torch.equal(rows[:, 0], 2 * names.long())
    assert torch.equal(names.unique(), labels)
    assert torch.equal(rows, batches(x, 1000)(torch.Generator().manual_seed(0)))


def test_a_batch_of_a_tuple_is_a_tuple_even_of_one():
    batch = batches((torch.arange(10),), 3)(torch.Generator().manual_seed(0))
    assert isinstance(batch, tuple)
    assert [part.shape for part in batch] == [(3,)]


@pytest.mark.parametrize(
    ("rows", "size"), [((4, 3), 2), ((3, 4), 2), ((0, 0), 2), ((0, 3), 2), ((3, 3), 0), ((3, 3), -1)]
)
def test_batches_of_tensors_that_do_not_fit_are_refused(rows, size):
    with pytest.raises(ValueError, match=f"{rows[0]}, {rows[1]} rows and size {size} came"):
        batches(tuple(torch.zeros(count, 2) for count in rows), size)


# ---------------------------------------------------------------- fit


def test_fit_learns_a_linear_map():
    model, logs = run(line, steps=400, lr=0.1)
    torch.testing.assert_close(model.weight, torch.tensor([[2.0, 0.0]]), atol=0.05, rtol=0)
    torch.testing.assert_close(model.bias, torch.tensor([1.0]), atol=0.05, rtol=0)
    assert [log["step"] for log in logs] == list(range(1, 401))


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    rates = [log["lr"] for log in run(line, steps=40, lr=0.2, warmup=10)[1]]
    wanted = [0.2 * min(1, step / 10) * (1 + math.cos(math.pi * (step - 1) / 40)) / 2 for step in range(1, 41)]
    assert rates == pytest.approx(wanted)


def test_gradients_are_clipped_to_norm_one():
    model = line()
    norms = []

    def loss(batch, generator):
        norms.append(math.sqrt(sum(p.grad.square().sum() for p in model.parameters() if p.grad is not None)))
        return {"loss": 1e4 * model(batch).square().sum()}

    list(fit(model, loss, batches(torch.ones(4, 2), 4), steps=5, lr=0.01))
    assert norms[1:] == pytest.approx([1.0] * 4, abs=1e-4)


@pytest.mark.parametrize("build", [line, with_dropout, small_vqvae])
def test_a_seed_decides_everything(build):
    assert same(run(build, seed=1)[0], run(build, seed=1)[0])
    assert not same(run(build, seed=1)[0], run(build, seed=2)[0])


def test_every_part_of_the_loss_is_logged_as_a_number():
    [log, *_] = run(small_vqvae)[1]
    assert set(log) == {"step", "lr", "loss", "error", "perplexity"}
    assert all(isinstance(value, int | float) for value in log.values())


def test_the_model_trains_in_training_mode_and_ends_in_evaluation_mode():
    model, modes = line(), []

    def loss(batch, generator):
        modes.append(model.training)
        return {"loss": model(batch).square().mean()}

    for _ in fit(model, loss, batches(torch.ones(4, 2), 4), steps=3, lr=0.01):
        model.eval()
    assert modes == [True] * 3
    assert not model.training


@pytest.mark.parametrize("average", [0.5, 0.9])
def test_the_average_follows_the_weights(average):
    torch.manual_seed(0)
    model = line()
    kept = [p.detach().clone() for p in model.parameters()]

    def loss(batch, generator):
        return {"loss": (model(batch) - 3).square().mean()}

    for log in fit(model, loss, batches(torch.ones(4, 2), 4), steps=30, lr=0.1, ema_decay=average):
        share = max(1 - average, 9 / (9 + log["step"]))
        kept = [old + share * (new.detach() - old) for old, new in zip(kept, model.parameters(), strict=True)]
        last = copy.deepcopy(model)
    for ours, theirs in zip(kept, model.parameters(), strict=True):
        torch.testing.assert_close(theirs.detach(), ours)
    assert not same(model, last)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least 1; it is 0"):
        run(line, steps=0)


# ---------------------------------------------------------------- saved and resumed


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("build", [with_dropout, small_vqvae])
@pytest.mark.parametrize("stop_after", [1, 2, 3, 4, 7, 9, 11, 12])
def test_stopped_and_resumed_training_ends_with_the_same_bits(tmp_path, build, average, stop_after):
    whole, _ = run(build, ema_decay=average)
    run(build, tmp_path / "a.state", stop_after, ema_decay=average)
    torch.rand(7)
    resumed, logs = run(build, tmp_path / "a.state", ema_decay=average)
    assert same(resumed, whole)
    saved = 3 * (stop_after // 3)
    assert [log["step"] for log in logs] == list(range(saved + 1, 13))


def test_training_may_stop_many_times(tmp_path):
    whole, _ = run(small_vqvae, ema_decay=0.9)
    for _ in range(3):
        run(small_vqvae, tmp_path / "a.state", 4, ema_decay=0.9)
    assert same(run(small_vqvae, tmp_path / "a.state", ema_decay=0.9)[0], whole)


def test_the_vqvae_of_these_tests_does_revive_codes(monkeypatch):
    revived = []
    original = quantize.revive

    def watch(codebook, counts, sums, z, share):
        revived.append((counts < share * len(z) / len(codebook)).sum().item())
        return original(codebook, counts, sums, z, share)

    monkeypatch.setattr(quantize, "revive", watch)
    run(small_vqvae)
    assert sum(count > 0 for count in revived) >= 3


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_finished_run_has_no_more_steps_and_the_same_weights(tmp_path, average):
    finished, _ = run(small_vqvae, tmp_path / "a.state", ema_decay=average)
    again, logs = run(small_vqvae, tmp_path / "a.state", ema_decay=average)
    assert logs == []
    assert same(again, finished)
    assert not again.training


def test_saving_does_not_change_the_weights(tmp_path):
    assert same(run(small_vqvae, tmp_path / "a.state", save_every=1)[0], run(small_vqvae)[0])


@pytest.mark.parametrize("spoil_at", [2, 8])
def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_last_save(tmp_path, spoil_at):
    state = tmp_path / "a.state"
    run(line, state, 6)
    before = state.read_bytes()
    state.unlink()
    with pytest.raises(FloatingPointError, match=f"nan at step {spoil_at} of 12"):
        run(line, state, spoil_at=spoil_at)
    assert (state.read_bytes() == before) if spoil_at == 8 else not state.exists()


@pytest.mark.parametrize("other", [{"lr": 0.02}, {"steps": 13}, {"seed": 1}, {"warmup": 4}, {"ema_decay": 0.9}])
def test_a_state_of_other_settings_is_refused(tmp_path, other):
    run(line, tmp_path / "a.state", 3)
    with pytest.raises(ValueError, match=r"a\.state holds a run with other settings"):
        run(line, tmp_path / "a.state", **other)


def test_a_state_of_another_model_is_refused(tmp_path):
    run(line, tmp_path / "a.state", 3)
    with pytest.raises(ValueError, match=r"a\.state holds a run of another model"):
        run(lambda: nn.Linear(2, 3), tmp_path / "a.state")


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_state_is_refused(tmp_path, length):
    state = tmp_path / "a.state"
    run(line, state, 3)
    state.write_bytes(state.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"a\.state is cut short"):
        run(line, state)


# ---------------------------------------------------------------- a logger


def test_a_logger_is_told_all_that_is_yielded():
    logger = two_processes.Notebook()
    _, logs = run(small_vqvae, logger=logger)
    wanted = [(name, value, log["step"]) for log in logs for name, value in log.items() if name != "step"]
    assert logger.lines == wanted


def test_a_logger_changes_nothing():
    assert same(run(with_dropout, logger=two_processes.Notebook())[0], run(with_dropout)[0])


def test_tensorboard_reads_back_what_was_logged(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with tensorboard.SummaryWriter(tmp_path) as logger:
        _, logs = run(small_vqvae, logger=logger)
    read = events.EventAccumulator(str(tmp_path)).Reload()
    assert set(read.Tags()["scalars"]) == {"lr", "loss", "error", "perplexity"}
    for name in read.Tags()["scalars"]:
        assert [event.step for event in read.Scalars(name)] == list(range(1, 13))
        assert [event.value for event in read.Scalars(name)] == pytest.approx([log[name] for log in logs])


# ---------------------------------------------------------------- several processes


@pytest.fixture(scope="module")
def torchrun(tmp_path_factory):
    """The folder that two processes have filled, and what they wrote to the screen."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, two_processes.__file__, folder], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return folder, done


def kept(folder: Path, name: str, rank: int) -> dict:
    return checkpoints.read(folder / f"{name}.{rank}")[0]


def same_bits(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_two_processes_do_what_one_does_with_the_doubled_batch(torchrun):
    model = two_processes.network(seed=0)
    seed = two_processes.SETTINGS["seed"]
    own = [torch.Generator().manual_seed(2 * seed + rank) for rank in (0, 1)]  # as each process draws

    def doubled(_):
        return torch.cat([two_processes.DRAW(generator) for generator in own])

    list(fit(model, two_processes.error(model), doubled, **two_processes.SETTINGS))
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(kept(torchrun[0], "alone", 0)[name], weight, atol=1e-6, rtol=0)


def test_one_process_with_the_same_batch_does_something_else(torchrun):
    model = two_processes.network(seed=0)
    list(fit(model, two_processes.error(model), two_processes.DRAW, **two_processes.SETTINGS))
    assert (kept(torchrun[0], "alone", 0)["0.weight"] - model[0].weight).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["alone", "whole", "resumed", "vqvae"])
def test_all_processes_end_with_the_same_bits(torchrun, name):
    assert same_bits(kept(torchrun[0], name, 0), kept(torchrun[0], name, 1))


def test_two_processes_resume_bit_for_bit(torchrun):
    assert same_bits(kept(torchrun[0], "whole", 0), kept(torchrun[0], "resumed", 0))


def test_a_state_of_two_processes_is_refused_by_one(torchrun):
    model = two_processes.network(seed=0)
    training = fit(
        model,
        two_processes.error(model),
        two_processes.DRAW,
        save_to=torchrun[0] / "state",
        **two_processes.SETTINGS,
    )
    with pytest.raises(ValueError, match=r"other settings: .*'processes': 2.* there"):
        next(training)


def test_only_the_first_process_logs_and_shows_a_bar(torchrun):
    folder, done = torchrun
    assert [(folder / f"logged.{rank}").read_text() for rank in (0, 1)] == ["24", "0"]
    assert done.stderr.count("?it/s") == 5  # a bar begins: one for each run, two for the run that was resumed


# ---------------------------------------------------------------- pick_device


def test_the_variable_names_the_device(monkeypatch):
    monkeypatch.setenv("VQDIT_DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device() == torch.device("cpu")


@pytest.mark.parametrize(("there", "device"), [(True, "cuda"), (False, "cpu")])
@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_cuda_is_taken_where_there_is_any(monkeypatch, value, there, device):
    monkeypatch.delenv("VQDIT_DEVICE", raising=False)
    if value is not None:
        monkeypatch.setenv("VQDIT_DEVICE", value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert pick_device() == torch.device(device)


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_cuda_that_is_not_there_is_a_clear_error(monkeypatch, name):
    monkeypatch.setenv("VQDIT_DEVICE", name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match=f"VQDIT_DEVICE asks for {name}, .* sees no CUDA device"):
        pick_device()


def test_a_device_that_does_not_exist_is_a_clear_error(monkeypatch):
    monkeypatch.setenv("VQDIT_DEVICE", "toaster")
    with pytest.raises(RuntimeError, match=r"VQDIT_DEVICE.*toaster"):
        pick_device()
