"""A training step of DiT against diffusers' DiTTransformer2DModel: python tests/benchmarks/transformer.py

Both have four layers, 128 wide, 4 heads, 64 tokens of 16 features, batch 64, 1,000 classes; forward, backward and an
Adam step, in turns in one run. The median of many steps counts. Peak memory is that of a process of its own for each
model, less what the process held before the first step. On CUDA also in bfloat16 and compiled.
"""

import multiprocessing
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from diffusers import DiTTransformer2DModel
from torch import nn

from vqdit_lite.transformer import DiT, sincos_grid

BATCH, SIDE, FEATURES, WIDTH, DEPTH, HEADS, CLASSES = 64, 8, 16, 128, 4, 4, 1000


class Contender:
    """A model, its optimizer, and a training step on fixed data."""

    def __init__(self, name: str, device: str, dtype: torch.dtype = torch.float32, compiled: bool = False):
        torch.manual_seed(0)
        self.dtype, self.device = dtype, device
        tokens = torch.randn(BATCH, SIDE**2, FEATURES)
        pictures = tokens.transpose(1, 2).reshape(BATCH, FEATURES, SIDE, SIDE)
        t, labels = torch.rand(BATCH).to(device), torch.randint(CLASSES, (BATCH,)).to(device)
        if name == "ours":
            positions = sincos_grid(SIDE, SIDE, WIDTH)
            model = DiT(nn.Linear(FEATURES, WIDTH), FEATURES, positions, DEPTH, HEADS, CLASSES)
            self.x = tokens.to(device)
        else:
            model = DiTTransformer2DModel(
                num_attention_heads=HEADS,
                attention_head_dim=WIDTH // HEADS,
                in_channels=FEATURES,
                out_channels=FEATURES,
                num_layers=DEPTH,
                sample_size=SIDE,
                patch_size=1,
                num_embeds_ada_norm=CLASSES,
            )
            self.x = pictures.to(device)
        self.model = model.to(device).train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4, fused=True)
        run = torch.compile(self.model) if compiled else self.model
        steps = (1000 * t).long()
        self.predict = (
            (lambda: run(self.x, t, labels)) if name == "ours" else (lambda: run(self.x, steps, labels).sample)
        )

    def step(self) -> None:
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            loss = F.mse_loss(self.predict(), self.x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def milliseconds(self) -> float:
        start = time.perf_counter()
        self.step()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - start)


def compare(device: str, steps: int, **options) -> tuple[float, float, float]:
    """Median milliseconds of a step, ours and theirs, and the median of the ratios of neighbouring steps."""
    ours, theirs = (Contender(name, device, **options) for name in ("ours", "theirs"))
    for _ in range(5):
        ours.step(), theirs.step()
    pairs = [(ours.milliseconds(), theirs.milliseconds()) for _ in range(steps)]
    mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    return mine, other, statistics.median(b / a for a, b in pairs)


def _peak(name: str, device: str, answer) -> None:
    contender = Contender(name, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(5):
        contender.step()
    if device == "cuda":
        answer.put((torch.cuda.max_memory_allocated() - before) / 2**20)
    else:
        kilo = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux kilobytes
        answer.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / kilo)


def peak_memory(name: str, device: str) -> float:
    """MiB that training takes beyond the model itself, measured in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_peak, args=(name, device, answer))
    process.start()
    mebibytes = answer.get()
    process.join()
    return mebibytes


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    rows = [("cpu", "float32", {}, 40)]
    if torch.cuda.is_available():
        rows += [
            ("cuda", "float32", {}, 200),
            ("cuda", "bfloat16", {"dtype": torch.bfloat16}, 200),
            ("cuda", "bfloat16, compiled", {"dtype": torch.bfloat16, "compiled": True}, 200),
        ]
    # Memory first: a new process starts with the highest memory its parent ever had.
    print(f"{'peak memory of training, MiB':32}    ours   theirs")
    for device in dict.fromkeys(row[0] for row in rows):
        mine, other = (peak_memory(name, device) for name in ("ours", "theirs"))
        print(f"{device:32}{mine:8.0f} {other:8.0f}")
    print(f"{'training step, milliseconds':32}    ours   theirs   times faster")
    for device, name, options, steps in rows:
        mine, other, ratio = compare(device, steps, **options)
        print(f"{device + ', ' + name:32}{mine:8.2f} {other:8.2f}  {ratio:8.2f}")
