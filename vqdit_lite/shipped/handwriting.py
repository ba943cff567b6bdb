"""The models of handwriting: small digits as patches; MNIST by way of a VQ-VAE's latents, and of its tokens."""

from functools import partial

import torch
from torch import Tensor, nn

from vqdit_lite import data
from vqdit_lite.autoencoder import VQVAE, LatentSpace
from vqdit_lite.metrics import frechet_distance, psnr, usage
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.shipped.base import (
    GUIDANCE,
    Shipped,
    draw,
    draw_tokens,
    labels_to_draw,
    latent_loss,
    latents,
    masked_diffusion,
    masked_loss,
    tokens,
)
from vqdit_lite.shipped.judges import FROM_MNIST, JUDGE_MNIST, judge_digits
from vqdit_lite.transformer import DiT, patchify, sincos_grid, unpatchify

CODES = 128  # of MNIST's VQ-VAE

# ---------------------------------------------------------------- digits of 8 × 8


def as_digits(patches: Tensor) -> Tensor:
    """Patches (B, 16, 4) as pictures (B, 1, 8, 8), clipped to [-1, 1], on the CPU."""
    return unpatchify(patches, 2, (4, 4)).clamp(-1, 1).cpu()


def _as_patches(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = data.digits_split()[0]
    return patchify(pictures, 2).to(device), labels.to(device)  # (1347, 16, 4)


def score_digits(model: DiT, device: torch.device, count: int) -> dict[str, float]:
    """Right labels at guidance 1.5, and the Fréchet distance to held-out digits over that of real ones, unguided."""
    labels, generator = labels_to_draw(10, count, device)
    train, held_out = data.digits_split()
    read = judge_digits().predict(as_digits(draw(model, labels, 1.5, generator)).flatten(1).numpy())
    right = (torch.as_tensor(read) == labels.cpu()).float().mean().item()
    free = as_digits(draw(model, labels, 1.0, generator)).flatten(1)
    return {"labels_right": right, "frechet_over_real": frechet_over_real(free, train, held_out)}


def frechet_over_real(made: Tensor, train: data.Pictures, held_out: data.Pictures) -> float:
    """The Fréchet distance of made digits (B, 64) to held-out ones, over that of as many real ones (the floor)."""
    real = held_out.pictures.flatten(1)
    count = min(len(real), len(made))
    real_ones, made_ones = train.pictures.flatten(1).split(count)[:2], made.split(count)[:2]
    floor = sum(frechet_distance(part, real) for part in real_ones) / len(real_ones)
    return sum(frechet_distance(part, real) for part in made_ones) / len(made_ones) / floor


DIT_DIGITS = Shipped(
    name="dit_digits",
    about="diffusion transformer for digits of 8 × 8 pixels as 16 patches, by label",
    build=lambda: DiT(nn.Linear(4, 64), 4, sincos_grid(4, 4, 64), depth=4, heads=4, num_classes=10),
    examples=_as_patches,
    loss=latent_loss,
    score=score_digits,
    settings={"steps": 4000, "lr": 3e-3, "seed": 0, "ema_decay": 0.999},
    batch=64,
    at_least={"labels_right": 0.98},
    at_most={"frechet_over_real": 1.5},
    learned_from="1,347 of scikit-learn's handwritten digits",
)

# ---------------------------------------------------------------- MNIST


@torch.no_grad()
def score_vqvae(model: VQVAE, device: torch.device, count: int) -> dict[str, float]:
    """PSNR, use of the codebook and share of held-out digits that the judge reads right after coding."""
    held_out, labels = (part[:count].to(device) for part in data.mnist_split()[1])
    ids = model.encode(held_out)
    decoded = model.decode(ids)
    right = (JUDGE_MNIST.load(device)(decoded).argmax(1) == labels).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, held_out), "codes_used": used, "digits_read_right": right}


VQVAE_MNIST = Shipped(
    name="vqvae_mnist",
    about="VQ-VAE for MNIST digits, 32 × 32 pixels: 64 tokens, 128 codes of dimension 8",
    build=lambda: VQVAE((1, 32, 32), VectorQuantizer(num_codes=CODES, dim=8, decay=0.97), width=64),
    examples=lambda generator, device: data.mnist_split()[0].pictures.to(device),
    loss=lambda model, x, generator: model.loss(x),
    score=score_vqvae,
    settings={"steps": 6000, "lr": 3e-3, "seed": 0, "ema_decay": 0.999},
    batch=32,
    at_least={"psnr_db": 26.5, "codes_used": 0.9, "digits_read_right": 0.95},
    learned_from=FROM_MNIST,
)


def _as_latents(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = data.mnist_split()[0]
    return latents(VQVAE_MNIST, pictures, device), labels.to(device)


def _as_tokens(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = data.mnist_split()[0]
    return tokens(VQVAE_MNIST, pictures, device), labels.to(device)


@torch.no_grad()
def _share_read_right(pictures: Tensor, labels: Tensor) -> dict[str, float]:
    read = JUDGE_MNIST.load(labels.device)(pictures).argmax(1)
    return {"labels_right": (read == labels).float().mean().item()}


def score_dit(model: DiT, device: torch.device, count: int) -> dict[str, float]:
    """The share of drawings in which the judge reads the digit asked for, at guidance 2."""
    labels, generator = labels_to_draw(10, count, device)
    pictures = LatentSpace(VQVAE_MNIST.load(device)).decode(draw(model, labels, GUIDANCE, generator))
    return _share_read_right(pictures, labels)


def score_masked(model: DiT, device: torch.device, count: int) -> dict[str, float]:
    """The same of drawings made token by token."""
    labels, generator = labels_to_draw(10, count, device)
    pictures = VQVAE_MNIST.load(device).decode(draw_tokens(model, labels, GUIDANCE, generator))
    return _share_read_right(pictures, labels)


DIT_MNIST = Shipped(
    name="dit_mnist",
    about="diffusion transformer for MNIST digits in the latent space of vqvae_mnist, by label",
    build=lambda: DiT(nn.Linear(32, 128), 32, sincos_grid(4, 4, 128), depth=4, heads=4, num_classes=10),
    examples=_as_latents,
    loss=latent_loss,
    score=score_dit,
    settings={"steps": 8000, "lr": 2e-3, "seed": 0, "ema_decay": 0.999},
    batch=64,
    at_least={"labels_right": 0.96},
    needs=(VQVAE_MNIST,),
    learned_from=FROM_MNIST,
)

MASKED_MNIST = Shipped(
    name="masked_mnist",
    about="diffusion transformer for the tokens of MNIST digits, by label",
    build=lambda: DiT(nn.Embedding(CODES + 1, 128), CODES, sincos_grid(8, 8, 128), depth=4, heads=4, num_classes=10),
    examples=_as_tokens,
    loss=partial(masked_loss, masked_diffusion(CODES)),
    score=score_masked,
    settings={"steps": 2500, "lr": 2e-3, "seed": 0, "ema_decay": 0.999},
    batch=32,
    at_least={"labels_right": 0.96},
    needs=(VQVAE_MNIST,),
    learned_from=FROM_MNIST,
)

MODELS = (DIT_DIGITS, VQVAE_MNIST, DIT_MNIST, MASKED_MNIST)
