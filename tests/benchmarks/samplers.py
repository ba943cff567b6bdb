"""Twenty steps of DPM-Solver++(2M) against a thousand ancestral ones: python tests/benchmarks/samplers.py

The denoiser is exact, for a spiral of 40 Gaussian clouds. Each run draws 10,000 samples from noise and
10,000 points of the data, and takes their sliced Wasserstein distance. One distance is itself uncertain by a quarter or
so, since the points are drawn by chance; so the mean over many runs is compared, with its standard error.
"""

import math
import statistics

import torch

from vqdit_lite.gaussian import GaussianDiffusion, IdealDenoiser
from vqdit_lite.metrics import sliced_wasserstein
from vqdit_lite.schedule import flow, time_grid

RUNS, POINTS = 12, 10_000
WAYS = {"ancestral, 1,000 steps": ("ancestral", 1000), "DPM-Solver++(2M), 20 steps": ("dpm_solver", 20)}


def spiral() -> torch.Tensor:
    turn = torch.linspace(0, 1, 40).sqrt()[:, None]
    angle = 3.5 * math.pi * turn
    return 2 * turn * torch.cat([angle.cos(), angle.sin()], 1)  # (40, 2)


def draw(centres: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    which = torch.randint(len(centres), (POINTS,), generator=generator)
    return centres[which] + 0.1 * torch.randn(POINTS, 2, generator=generator)


def distances(centres: torch.Tensor) -> dict[str, list[float]]:
    diffusion = GaussianDiffusion(flow(), predict="flow")
    exact = IdealDenoiser(diffusion, centres, std=0.1)
    found = {name: [] for name in ("real against real", *WAYS)}
    for run in range(RUNS):
        generator = torch.Generator().manual_seed(run)
        real = draw(centres, generator)
        found["real against real"].append(sliced_wasserstein(draw(centres, generator), real, generator))
        for name, (method, steps) in WAYS.items():
            noise = torch.randn(POINTS, 2, generator=generator)
            *_, x = diffusion.sample(exact, noise, time_grid(steps), method, generator=generator)
            found[name].append(sliced_wasserstein(x, real, generator))
    return found


if __name__ == "__main__":
    print(f"sliced Wasserstein distance to the data, mean of {RUNS} runs of {POINTS:,} samples, ± standard error")
    found = distances(spiral())
    for name, values in found.items():
        print(f"{name:28}{statistics.mean(values):.4f} ± {statistics.stdev(values) / math.sqrt(RUNS):.4f}")
    slow, fast = (statistics.mean(found[name]) for name in WAYS)
    print(f"{'second over first':28}{fast / slow:.2f}")
