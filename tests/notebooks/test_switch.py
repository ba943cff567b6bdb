"""The chapters with a switch, set to real handwriting, where MNIST lies on this machine."""

import os
import re

import pytest

from tools.notebooks import ROOT, code_cells, read, run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("02_vq_vae", "✓ VQ-VAE, mnist: dB over the mean picture: ⟨…⟩, at least 8 "),
        ("07_latent_diffusion", "✓ of 1,000 pictures at guidance 2, read exactly as asked: share: ⟨…⟩, at least 0.97"),
    ],
)
def test_a_chapter_runs_on_mnist(name, line):
    from vqdit_lite.data import pictures

    if pictures._from_disk("mnist", "test") is None:
        pytest.skip(f"MNIST's test pictures are not on this machine; VQDIT_DATA is {os.environ.get('VQDIT_DATA')}")
    notebook = read(ROOT / "notebooks" / f"{name}.ipynb", DATASET="mnist")
    run(notebook)
    printed = "".join(output.get("text", "") for cell in code_cells(notebook) for output in cell.outputs)
    assert line in re.sub("⟨[^⟩]*⟩", "⟨…⟩", printed)
