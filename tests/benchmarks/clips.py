"""Full attention against space and time in turn, and how fast the shipped model makes clips.

python tests/benchmarks/clips.py (three minutes on two cores)
"""

import torch
from timing import seconds
from torch import nn

from vqdit_lite import data
from vqdit_lite.multimodal import answer
from vqdit_lite.shipped import clips, load
from vqdit_lite.training import pick_device
from vqdit_lite.transformer import DiT, SpaceTimeBlock, sincos_grid


def step(frames: int, alternating: bool, device: torch.device):
    """Forward and backward of four blocks 128 wide on two clips of 36 tokens a frame."""
    torch.manual_seed(0)
    model = DiT(nn.Embedding(257, 128), 256, sincos_grid(frames * 6, 6, 128), depth=4)
    if alternating:
        turns = zip(model.blocks, ["space", "time"] * 2, strict=True)
        model.blocks = nn.ModuleList(SpaceTimeBlock(block, frames, along) for block, along in turns)
    model, x, t = model.to(device), torch.randint(256, (2, frames * 36)).to(device), torch.rand(2).to(device)
    return lambda: model(x, t).square().mean().backward()


def main():
    device = pick_device()
    print(f"{device.type}, {torch.get_num_threads()} threads; milliseconds of a step, and their ratio")
    for frames in (8, 16, 32):
        full, turns = (1000 * seconds(step(frames, alternating, device), 10) for alternating in (False, True))
        print(f"{frames:3} frames: full {full:7.0f}   space and time {turns:7.0f}   {full / turns:.2f}", flush=True)
    model, generator = load("joint_clips", device), torch.Generator().manual_seed(0)
    x = clips.clips_to_tokens(data.clips(16, generator), device)
    for name, task in clips.TASKS.items():

        def ask(task=task):
            answer(clips.LAYOUT, model, x, *task, generator)

        print(f"16 clips, {name}: {seconds(ask, 3):.1f} s", flush=True)


if __name__ == "__main__":
    main()
