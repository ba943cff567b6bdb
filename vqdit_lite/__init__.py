"""Vector quantization and diffusion transformers in plain PyTorch: the library that the notebooks build."""

__version__ = "0.1.0"
