"""Autoencoders for pictures, sounds and clips, and the VQ-VAE: an autoencoder whose bottleneck is a quantizer."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqdit_lite.quantize import Quantized, VectorQuantizer
from vqdit_lite.transformer import patchify, unpatchify

__all__ = ["VQVAE", "Decoder", "Encoder", "LatentSpace", "ResidualBlock"]


# By the number of spatial dimensions of what they work on: the length of a sound; the height and width of a picture;
# the frames, height and width of a clip.
CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class ResidualBlock(nn.Module):
    """x plus a small correction: (B, C, H, W) to the same shape.

    Args:
        width: C, how many channels.
        spatial_dims: 1 for sounds, 2 for pictures, 3 for clips.

    >>> ResidualBlock(8)(torch.rand(2, 8, 6, 6)).shape
    torch.Size([2, 8, 6, 6])
    """

    def __init__(self, width: int, spatial_dims: int = 2):
        super().__init__()
        convolution = CONVOLUTION[spatial_dims]
        self.spatial = convolution(width, width, 3, padding=1)
        self.pointwise = convolution(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(F.relu(self.spatial(F.relu(x))))


class Encoder(nn.Module):
    """Pictures (B, C, H, W) to vectors (B, N, D), one for each patch of 4 × 4 pixels: N = H/4 · W/4.

    Args:
        channels: C of the pictures.
        width: channels inside the network.
        dim: D, the size of a vector.
        spatial_dims: 1 for sounds, 2 for pictures, 3 for clips.

    >>> Encoder(channels=3, width=8, dim=4)(torch.rand(2, 3, 24, 24)).shape
    torch.Size([2, 36, 4])
    """

    def __init__(self, channels: int, width: int, dim: int, spatial_dims: int = 2):
        super().__init__()
        convolution = CONVOLUTION[spatial_dims]
        self.layers = nn.Sequential(
            convolution(channels, width // 2, 4, stride=2, padding=1),  # (B, width/2, H/2, W/2)
            nn.ReLU(),
            convolution(width // 2, width, 4, stride=2, padding=1),  # (B, width, H/4, W/4)
            ResidualBlock(width, spatial_dims),
            ResidualBlock(width, spatial_dims),
            nn.ReLU(),
            convolution(width, dim, 1),  # (B, D, H/4, W/4)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(2 * x - 1).flatten(2).transpose(1, 2)  # (B, D, H/4, W/4) -> (B, N, D)


class Decoder(nn.Module):
    """Vectors (B, N, D) back to pictures (B, C, H, W): the encoder's mirror image.

    Args:
        channels: C of the pictures.
        width: channels inside the network.
        dim: D, the size of a vector.
        grid: how the vectors stand, (H/4, W/4): the frames of a sound, or frames, height and width of a clip, over 4.

    >>> Decoder(channels=3, width=8, dim=4, grid=(6, 6))(torch.rand(2, 36, 4)).shape
    torch.Size([2, 3, 24, 24])
    """

    def __init__(self, channels: int, width: int, dim: int, grid: tuple[int, ...]):
        super().__init__()
        self.grid, spatial_dims = grid, len(grid)  # (H/4, W/4)
        transposed = TRANSPOSED[spatial_dims]
        self.layers = nn.Sequential(
            CONVOLUTION[spatial_dims](dim, width, 3, padding=1),
            ResidualBlock(width, spatial_dims),
            ResidualBlock(width, spatial_dims),
            nn.ReLU(),
            transposed(width, width // 2, 4, stride=2, padding=1),  # (B, width/2, H/2, W/2)
            nn.ReLU(),
            transposed(width // 2, channels, 4, stride=2, padding=1),  # (B, C, H, W)
        )

    def forward(self, codes: Tensor) -> Tensor:
        x = codes.transpose(1, 2).unflatten(2, self.grid)  # (B, N, D) -> (B, D, H/4, W/4)
        return self.layers(x) / 2 + 0.5


class VQVAE(nn.Module):
    """Pictures to tokens and back, and in the same way sounds and clips: an encoder, a quantizer, a decoder.

    Args:
        shape: of one picture, (C, H, W); of a sound's spectrogram, (bands, frames); or of a clip, (C, frames, H, W).
            All sizes are divisible by 4, and a token covers 4 of each.
        quantizer: anything with `forward(z) -> Quantized`, `lookup(ids)` and `dim`.
        width: channels inside the networks.

    Source: arXiv 1711.00937.

    >>> from vqdit_lite.quantize import VectorQuantizer
    >>> model = VQVAE((3, 24, 24), VectorQuantizer(num_codes=64, dim=8))
    >>> ids = model.encode(torch.rand(2, 3, 24, 24))
    >>> ids.shape, model.decode(ids).shape
    (torch.Size([2, 36]), torch.Size([2, 3, 24, 24]))
    """

    quantizer: Any  # a module with `dim` and `lookup`

    def __init__(self, shape: tuple[int, ...], quantizer: nn.Module, width: int = 64):
        _check_shape(shape)
        super().__init__()
        channels, *sizes = shape
        self.shape, self.quantizer = tuple(shape), quantizer
        self.encoder = Encoder(channels, width, self.quantizer.dim, len(sizes))
        self.decoder = Decoder(channels, width, self.quantizer.dim, tuple(size // 4 for size in sizes))

    def quantize(self, x: Tensor) -> Quantized:
        """Pictures (B, C, H, W) in [0, 1] to their codes (B, N, D), ids (B, N), and the quantizer's loss."""
        _check_batch(x, self.shape, next(self.parameters()).device)
        return self.quantizer(self.encoder(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Quantized]:
        """Pictures (B, C, H, W) in [0, 1] to their reconstructions, same shape, and what the quantizer says."""
        quantized = self.quantize(x)
        return self.decoder(quantized.codes), quantized

    def loss(self, x: Tensor) -> dict[str, Tensor]:
        """What to minimise for pictures x, "loss", and its parts.

        "error" is the mean squared error over the variance of the batch: 1 for one flat grey, 0 for a perfect
        copy. Without that scale, pictures that are mostly background weigh too little.
        """
        reconstruction, quantized = self(x)
        error = F.mse_loss(reconstruction, x) / x.var().clamp(min=1e-6)  # (2.1)
        return {"loss": error + quantized.loss, "error": error, "perplexity": quantized.perplexity}  # (2.9)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Pictures (B, C, H, W) to ids (B, N), row by row."""
        return self.quantize(x).ids

    @torch.no_grad()
    def decode(self, ids: Tensor) -> Tensor:
        """ids (B, N), or (B, N, stages), to pictures (B, C, H, W), clipped to [0, 1]."""
        _check_num_tokens(ids, math.prod(self.decoder.grid))
        return self.decoder(self.quantizer.lookup(ids)).clamp(0, 1)


class LatentSpace:
    """The codes of a trained VQ-VAE as tokens for a diffusion transformer, with mean 0 and variance 1.

    Each token holds the codes of 2 × 2 neighbours, so that the transformer has a quarter of the tokens to attend to.

    Args:
        model: a VQVAE with a `VectorQuantizer`, which counts the use of its codes, on a grid of even height and
            width. Move it to its device before.

    Source: arXiv 2112.10752, section 3; patches of 2 × 2 codes arXiv 2212.09748, section 3.2.

    >>> from vqdit_lite.quantize import VectorQuantizer
    >>> space = LatentSpace(VQVAE((3, 24, 24), VectorQuantizer(num_codes=64, dim=8)))
    >>> z = space.encode(torch.rand(2, 3, 24, 24))
    >>> z.shape, space.decode(z).shape
    (torch.Size([2, 9, 32]), torch.Size([2, 3, 24, 24]))
    """

    def __init__(self, model: VQVAE):
        _check_latent_model(model)
        height, width = model.decoder.grid
        self.model, self.grid, counts = model.eval(), (height // 2, width // 2), model.quantizer.counts
        codes = model.quantizer.lookup(torch.arange(len(counts), device=counts.device)).detach()  # (K, D)
        share = (counts / counts.sum())[:, None]  # (K, 1) how often a code occurs
        self.mean = (share * codes).sum(0)  # (D,)
        self.std = (share * (codes - self.mean).square()).sum(0).sqrt().clamp(min=1e-6)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Pictures (B, C, H, W) to tokens (B, N/4, 4 · D)."""
        codes = (self.model.quantize(x).codes - self.mean) / self.std  # (B, N, D), (7.1)
        return patchify(codes.transpose(1, 2).unflatten(2, self.model.decoder.grid), 2)  # (B, N, D) -> (B, N/4, 4·D)

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N/4, 4 · D) to pictures (B, C, H, W), by way of the nearest codes."""
        codes = unpatchify(tokens, 2, self.grid).flatten(2).transpose(1, 2)  # (B, N/4, 4·D) -> (B, N, D)
        return self.model.decode(self.model.quantizer(codes * self.std + self.mean).ids)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) - 1 not in CONVOLUTION or min(shape) < 1 or any(size % 4 for size in shape[1:]):
        raise ValueError(
            f"After the channels, shape needs one to three sizes, all divisible by 4; it is {tuple(shape)}."
        )


def _check_batch(x: Tensor, shape: tuple[int, ...], device: torch.device) -> None:
    if x.shape[1:] != shape or x.dtype != torch.float32:
        raise ValueError(
            f"This VQVAE takes float32 pictures of shape (batch, {', '.join(map(str, shape))}); "
            f"got {x.dtype} of shape {tuple(x.shape)}."
        )
    if x.device != device:
        raise ValueError(f"The model is on {device}, but the pictures are on {x.device}.")


def _check_num_tokens(ids: Tensor, tokens: int) -> None:
    if ids.ndim < 2 or ids.shape[1] != tokens:
        raise ValueError(
            f"One picture has {tokens} tokens: ids must be (batch, {tokens}); they are {tuple(ids.shape)}."
        )


def _check_latent_model(model: VQVAE) -> None:
    grid = model.decoder.grid
    if len(grid) != 2 or any(size % 2 for size in grid):
        raise ValueError(
            f"Tokens of 2 × 2 codes need a grid of even height and width; it is {' × '.join(map(str, grid))}."
        )
    if not isinstance(model.quantizer, VectorQuantizer):
        raise ValueError(f"LatentSpace needs a VectorQuantizer; it is a {type(model.quantizer).__name__}.")
