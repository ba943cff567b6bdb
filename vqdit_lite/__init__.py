"""Vector quantization and diffusion transformers in plain PyTorch: the library that the notebooks build."""

import os

__version__ = "0.1.0"

# While torch's threads wait for each other, OpenMP lets them spin: fast on an idle machine, but beside a busy browser
# each spin takes time from the thread that is waited for. A hundred spins and then sleep loses little alone, and is
# up to three times faster beside other work (tests/benchmarks/threads.py). OpenMP reads it once, when torch is loaded.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "100"
