"""The CPU's threads beside other work: the package's own setting against torch's, passive waiting and one thread.

python tests/benchmarks/threads.py (ten minutes on two cores, with nothing else running)

Each number is from a fresh process, which imports the package before torch as every notebook does: calls a second,
over those of the best of the other three settings; alone, and beside an endless loop that keeps one core busy.
"""

import contextlib
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqdit_lite.app.assistant import Assistant
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.shipped import load
from vqdit_lite.training import batches, fit
from vqdit_lite.transformer import DiT, sincos

OTHERS = {
    "torch's own": {"GOMP_SPINCOUNT": "300000"},  # what libgomp, the OpenMP of torch on Linux, takes by default
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
SETTINGS = {**OTHERS, "the package": {}}
BUSY = "import time\nend = time.monotonic() + 900\nwhile time.monotonic() < end: pass"


def training(model: nn.Module, loss: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Callable:
    run = fit(model, lambda rows, _: {"loss": loss(rows)}, batches(x, size), steps=10**6, lr=1e-4)
    return lambda: next(run)


def points() -> Callable:
    """A training step of a small network, as those of chapter 04 for points of the plane."""
    layers = [layer for size in (18, 128, 128) for layer in (nn.Linear(size, 128), nn.SiLU())]
    model = nn.Sequential(*layers, nn.Linear(128, 2))
    return training(model, lambda x: model(x).square().mean(), torch.randn(500, 18), 256)


def autoencoder() -> Callable:
    model = VQVAE((3, 24, 24), VectorQuantizer(num_codes=64, dim=8))
    return training(model, lambda x: model.loss(x)["loss"], torch.rand(500, 3, 24, 24), 32)


def transformer() -> Callable:
    model, x = DiT(nn.Embedding(77, 128), 76, sincos(torch.arange(43.0), 128)), torch.randint(76, (500, 43))
    return training(model, lambda x: F.cross_entropy(model(x, torch.rand(len(x))).mT, x), x, 64)


def pictures() -> Callable:
    """One of the calls that draw 16 pictures from words."""
    model, x, t = load("joint_scenes"), torch.randint(76, (16, 43)), torch.rand(16)
    return torch.no_grad()(lambda: model(x, t))


def clip() -> Callable:
    assistant = Assistant()
    return lambda: assistant.ask("small red circle above large blue square", "clip", torch.Generator().manual_seed(0))


def rate(work: Callable) -> float:
    """Calls a second: the median of three spells of at least a second, after one to warm up."""
    rates = []
    with contextlib.redirect_stderr(io.StringIO()):  # no bar
        task = work()
        while len(rates) < 4 and (not rates or rates[-1] > 0.1):  # one spell is enough if a call takes ten seconds
            start, calls = time.perf_counter(), 0
            while time.perf_counter() < start + 1:
                task()
                calls += 1
            rates.append(calls / (time.perf_counter() - start))
    return statistics.median(rates[1:] or rates)


def measured(work: Callable, setting: dict[str, str], busy: bool) -> float:
    """The rate of work in a fresh process with this setting and no other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))}
    code = f"import vqdit_lite, threads; print(threads.rate(threads.{work.__name__}))"
    other = subprocess.Popen([sys.executable, "-c", BUSY if busy else ""])
    try:
        here = Path(__file__).parent
        return float(subprocess.check_output([sys.executable, "-c", code], env=kept | setting, cwd=here, text=True))
    finally:
        other.kill()
        other.wait()


if __name__ == "__main__":
    print(f"| work | beside | best of the three | {' | '.join(SETTINGS)} |")
    print("|---" * (3 + len(SETTINGS)) + "|")
    for busy in (False, True):
        for work in (points, autoencoder, transformer, pictures, clip):
            rates = {name: measured(work, setting, busy) for name, setting in SETTINGS.items()}
            best = max(rates[name] for name in OTHERS)
            shares = " | ".join(f"{value / best:.2f}" for value in rates.values())
            print(f"| {work.__name__} | {'a busy core' if busy else ''} | {best:.3g}/s | {shares} |", flush=True)
