"""What test_training.py starts with torchrun, in two processes, and imports to do the same in one."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from vqdit_lite import checkpoints
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.training import batches, fit

SETTINGS = {"steps": 12, "lr": 0.05, "seed": 3, "warmup": 3, "ema_decay": 0.9, "save_every": 4}
ROWS = torch.randn(40, 2, generator=torch.Generator().manual_seed(5))
DRAW = batches(ROWS, 8)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))


def error(model):
    """A loss without chance: all of it lies in the rows that are drawn."""
    return lambda x, _: {"loss": (model(x) - x[:, :1] * x[:, 1:]).square().mean()}


def noisy_error(model):
    def loss(x, generator):
        noise = torch.randn(len(x), 1, generator=generator)
        return {"loss": (model(x) - x[:, :1] - noise).square().mean()}

    return loss


def vqvae(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return VQVAE((1, 8, 8), VectorQuantizer(16, 4, decay=0.5, revive_below=0.5), width=8)


class Notebook:
    """A logger that remembers."""

    def __init__(self):
        self.lines = []

    def add_scalar(self, name, value, step):
        self.lines.append((name, value, step))


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()

    def keep(name, model):
        checkpoints.write(folder / f"{name}.{rank}", model.state_dict(), {})

    model, logger = network(seed=rank), Notebook()
    list(fit(model, error(model), DRAW, logger=logger, **SETTINGS))
    keep("alone", model)
    (folder / f"logged.{rank}").write_text(str(len(logger.lines)))

    model = network(seed=rank)
    list(fit(model, noisy_error(model), DRAW, **SETTINGS))
    keep("whole", model)
    for stop_after, start in ((6, rank), (None, 10 + rank)):
        model = network(seed=start)
        for log in fit(model, noisy_error(model), DRAW, save_to=folder / "state", **SETTINGS):
            if log["step"] == stop_after:
                break
        dist.barrier()
    keep("resumed", model)

    model = vqvae(seed=rank)
    pictures = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(rank))
    list(fit(model, lambda x, _: model.loss(x), batches(pictures, 8), **SETTINGS))
    keep("vqvae", model)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
