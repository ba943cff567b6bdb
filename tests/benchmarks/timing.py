"""How long a task takes: shared by the benchmarks."""

import statistics
import time
from collections.abc import Callable

import torch


def seconds(task: Callable[[], object], times: int = 5) -> float:
    """The median time of some calls, each until a GPU is done."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        task()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
