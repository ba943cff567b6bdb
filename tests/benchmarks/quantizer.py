"""Speed of VectorQuantizer against the package vector-quantize-pytorch: python tests/benchmarks/quantizer.py

Both hold the same codebook (the same ids are asserted first), see the same tensors in turns in one run, and learn by
running means with the straight-through estimator. The median of many steps counts.
"""

import statistics
import time

import torch
from vector_quantize_pytorch import VectorQuantize

from vqdit_lite.quantize import VectorQuantizer

SIZES = [  # sequences, tokens, features, codes
    (128, 64, 16, 128),
    (32, 36, 8, 64),
    (64, 256, 32, 1024),
]


def contenders(features: int, codes: int, device: str):
    torch.manual_seed(0)
    ours = VectorQuantizer(codes, features, decay=0.99, revive_below=0).to(device)
    theirs = VectorQuantize(
        dim=features, codebook_size=codes, decay=0.99, commitment_weight=0.25, rotation_trick=False, kmeans_init=False
    ).to(device)
    theirs._codebook.embed.data.copy_(ours.codebook[None])
    theirs._codebook.embed_avg.data.copy_(ours.codebook[None])
    return ours, theirs


def step(quantizer, z: torch.Tensor) -> None:
    """One training step: forward and backward."""
    z = z.clone().requires_grad_()
    result = quantizer(z)
    codes, loss = (
        (result.codes, result.loss) if isinstance(quantizer, VectorQuantizer) else (result[0], result[2].sum())
    )
    (codes.square().mean() + loss).backward()


def milliseconds(quantizer, z: torch.Tensor) -> float:
    start = time.perf_counter()
    step(quantizer, z)
    if z.is_cuda:
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


def compare(sizes: tuple[int, int, int, int], device: str) -> tuple[float, float, float]:
    """Median milliseconds of a step, ours and theirs, and the median of the ratios of neighbouring steps."""
    sequences, tokens, features, codes = sizes
    ours, theirs = contenders(features, codes, device)
    z = torch.randn(sequences, tokens, features, generator=torch.Generator().manual_seed(1)).to(device)
    assert torch.equal(ours.eval()(z).ids, theirs.eval()(z)[1]), "the two choose different codes"
    ours.train(), theirs.train()
    for _ in range(10):
        step(ours, z), step(theirs, z)
    pairs = [(milliseconds(ours, z), milliseconds(theirs, z)) for _ in range(100)]
    mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    return mine, other, statistics.median(b / a for a, b in pairs)


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; milliseconds for one training step")
    print("device  sequences × tokens × features, codes      ours    theirs   times faster")
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        for sizes in SIZES:
            mine, other, ratio = compare(sizes, device)
            name = f"{sizes[0]} × {sizes[1]} × {sizes[2]}, {sizes[3]}"
            print(f"{device:6}  {name:40} {mine:8.2f}  {other:8.2f}  {ratio:8.1f}")
