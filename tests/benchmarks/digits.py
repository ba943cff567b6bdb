"""Quality against time for the DiT of chapter 06 on 8 × 8 digits: python tests/benchmarks/digits.py

Trains a new model for each budget of seconds (the steps are fitted to this machine beforehand), draws 1,000
digits, and reports the share of labels that the judge reads right and the Fréchet distance over its floor.
"""

import sys
import time
from functools import partial

import torch

from vqdit_lite.shipped import handwriting
from vqdit_lite.training import batches, fit, pick_device


def train(steps: int, device: torch.device) -> torch.nn.Module:
    shipped = handwriting.DIT_DIGITS
    torch.manual_seed(0)
    model = shipped.build().to(device)
    examples = shipped.examples(torch.Generator().manual_seed(0), device)
    settings = {"lr": shipped.settings["lr"], "seed": 0, "ema_decay": 0.99 if steps < 1000 else 0.998}
    for _ in fit(model, partial(shipped.loss, model), batches(examples, shipped.batch), steps=steps, **settings):
        pass
    return model


if __name__ == "__main__":
    device = pick_device()
    train(20, device)  # warm up
    start = time.perf_counter()
    train(100, device)
    rate = 100 / (time.perf_counter() - start)
    print(f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads: {rate:.0f} steps a second")
    print("seconds    steps    labels right, s = 1.5    Fréchet over floor, s = 1")
    for budget in [float(number) for number in sys.argv[1:]] or [15.0, 30.0, 60.0, 120.0]:
        start = time.perf_counter()
        model = train(int(budget * rate), device)
        seconds = time.perf_counter() - start
        scores = handwriting.score_digits(model, device, handwriting.DIT_DIGITS.count)
        right, over = scores["labels_right"], scores["frechet_over_real"]
        print(f"{seconds:7.0f}  {int(budget * rate):7}  {right:12.3f}  {over:22.2f}")
