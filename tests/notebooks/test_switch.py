"""Chapter 02 with its switch set to real handwriting, where MNIST lies on this machine."""

import os

import nbformat
import pytest
from refresh import ROOT, run

from vqdit_lite import data


def test_chapter_02_runs_on_mnist():
    if data._from_disk("mnist", "test") is None:
        pytest.skip(f"MNIST's test pictures are not on this machine; VQDIT_DATA is {os.environ.get('VQDIT_DATA')}")
    notebook = nbformat.read(ROOT / "notebooks" / "02_vq_vae.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('DATASET = "scenes"', 'DATASET = "mnist"')
    run(notebook)
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "✓ held-out handwriting: decibels: at least 24.5" in printed
