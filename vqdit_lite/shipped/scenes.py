"""The models of scenes: a VQ-VAE, denoisers of its latents and of its tokens, and one model of words and pictures."""

from functools import partial

import torch
from torch import Tensor, nn

from vqdit_lite import data
from vqdit_lite.autoencoder import VQVAE, LatentSpace
from vqdit_lite.layout import Layout, Segment
from vqdit_lite.metrics import psnr, recall_at, usage
from vqdit_lite.multimodal import TokenEmbedding, fill_in, joint_loss, pairwise_log_likelihoods, segment_positions
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.shipped.base import (
    FRESH,
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
from vqdit_lite.text import Tokenizer
from vqdit_lite.transformer import DiT, sincos_grid

N_TRAIN_SCENES, N_TRAIN_PAIRS = 30_000, 100_000
CODES = 64
TOKENIZER = Tokenizer(data.CAPTION_WORDS)
LAYOUT = Layout(Segment("text", len(TOKENIZER), (7,)), Segment("picture", CODES, (6, 6)))

# ---------------------------------------------------------------- pictures to tokens and back


@torch.no_grad()
def score_vqvae(model: VQVAE, device: torch.device, count: int) -> dict[str, float]:
    """PSNR, use of the codebook and share of scenes that read the same after coding, on fresh scenes."""
    fresh = data.scenes(count, torch.Generator().manual_seed(FRESH))
    ids = model.encode(fresh.pictures.to(device))
    decoded = model.decode(ids).cpu()
    same = (data.read_scenes(decoded) == fresh.objects).all(1).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, fresh.pictures), "codes_used": used, "scenes_read_right": same}


VQVAE_SCENES = Shipped(
    name="vqvae_scenes",
    about="VQ-VAE for scenes of 24 × 24 pixels: 36 tokens, 64 codes of dimension 8",
    build=lambda: VQVAE((3, 24, 24), VectorQuantizer(num_codes=CODES, dim=8, decay=0.97), width=64),
    examples=lambda generator, device: data.scenes(50_000, generator).pictures.to(device),
    loss=lambda model, x, generator: model.loss(x),
    score=score_vqvae,
    settings={"steps": 10_000, "lr": 3e-3, "seed": 0, "ema_decay": 0.999},
    batch=32,
    at_least={"psnr_db": 39, "codes_used": 0.95, "scenes_read_right": 0.99},
    count=2000,
)

# ---------------------------------------------------------------- scenes of one object, by shape and colour


def _as_latents(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = data.single_scenes(N_TRAIN_SCENES, generator)
    return latents(VQVAE_SCENES, pictures, device), labels.to(device)


def _as_tokens(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = data.single_scenes(N_TRAIN_SCENES, generator)
    return tokens(VQVAE_SCENES, pictures, device), labels.to(device)


def score_dit(model: DiT, device: torch.device, count: int) -> dict[str, float]:
    """The share of drawings with exactly one object, of the shape and colour asked for, at guidance 2."""
    labels, generator = labels_to_draw(12, count, device)
    pictures = LatentSpace(VQVAE_SCENES.load(device)).decode(draw(model, labels, GUIDANCE, generator))
    return {"labels_right": (data.read_labels(pictures) == labels.cpu()).float().mean().item()}


@torch.no_grad()
def score_masked(model: DiT, device: torch.device, count: int) -> dict[str, float]:
    """The same of drawings made token by token."""
    labels, generator = labels_to_draw(12, count, device)
    pictures = VQVAE_SCENES.load(device).decode(draw_tokens(model, labels, GUIDANCE, generator))
    return {"labels_right": (data.read_labels(pictures) == labels.cpu()).float().mean().item()}


DIT_SCENES = Shipped(
    name="dit_scenes",
    about="diffusion transformer for scenes of one object in the latent space of vqvae_scenes, by shape and colour",
    build=lambda: DiT(nn.Linear(32, 128), 32, sincos_grid(3, 3, 128), depth=4, heads=4, num_classes=12),
    examples=_as_latents,
    loss=latent_loss,
    score=score_dit,
    settings={"steps": 10_000, "lr": 2e-3, "seed": 0, "ema_decay": 0.999},
    batch=64,
    at_least={"labels_right": 0.96},
    needs=(VQVAE_SCENES,),
)

MASKED_SCENES = Shipped(
    name="masked_scenes",
    about="diffusion transformer for the tokens of scenes of one object, by shape and colour",
    build=lambda: DiT(nn.Embedding(CODES + 1, 128), CODES, sincos_grid(6, 6, 128), depth=4, heads=4, num_classes=12),
    examples=_as_tokens,
    loss=partial(masked_loss, masked_diffusion(CODES)),
    score=score_masked,
    settings={"steps": 3000, "lr": 2e-3, "seed": 0, "ema_decay": 0.999},
    batch=64,
    at_least={"labels_right": 0.9},
    needs=(VQVAE_SCENES,),
)

# ---------------------------------------------------------------- scenes of two objects, and their captions


def pairs(scenes: data.Scenes, device: torch.device) -> Tensor:
    """Scenes as sequences (B, 43): their captions' words, then the tokens of their pictures."""
    text = TOKENIZER.encode(data.captions(scenes.objects), 7)
    return LAYOUT.pack(text=text.to(device), picture=tokens(VQVAE_SCENES, scenes.pictures, device))


def left_half() -> Tensor:
    """The words and the left half of the picture's tokens, (43,) true or false."""
    column = torch.arange(LAYOUT.length) - 7
    return LAYOUT.tokens("text") | (LAYOUT.tokens("picture") & (column % 6 < 3))


def _build_joint() -> DiT:
    embedding = TokenEmbedding(LAYOUT, 128, picture=VQVAE_SCENES.load().quantizer.codebook)
    return DiT(embedding, LAYOUT.vocabulary, segment_positions(LAYOUT, 128), depth=4, heads=4)


def score_recall(model: DiT, x: Tensor) -> dict[str, float]:
    """Recall@1 among 16, of captions and of pictures, over groups of 16 sequences x (B, 43)."""
    scores = {"recall_of_captions": 0.0, "recall_of_pictures": 0.0}
    groups = x.split(16)
    for group in groups:
        picture_given_text = pairwise_log_likelihoods(LAYOUT, model, group, "text")  # row: picture, column: caption
        text_given_picture = pairwise_log_likelihoods(LAYOUT, model, group, "picture")  # row: caption, column: picture
        scores["recall_of_captions"] += recall_at(1, picture_given_text) / len(groups)
        scores["recall_of_pictures"] += recall_at(1, text_given_picture) / len(groups)
    return scores


@torch.no_grad()
def score_joint(model: DiT, device: torch.device, count: int) -> dict[str, float]:
    """Right captions, pictures, finished pictures, and recall@1 among 16, on fresh scenes."""
    generator = torch.Generator().manual_seed(FRESH)
    fresh = data.scenes(count, generator)
    said, x = data.captions(fresh.objects), pairs(fresh, device)
    words, picture = LAYOUT.tokens("text"), LAYOUT.tokens("picture")

    def drawn(frozen: Tensor) -> float:
        filled = fill_in(LAYOUT, model, x, frozen, generator, 16, GUIDANCE, ("text",))
        pictures = VQVAE_SCENES.load(device).decode(LAYOUT.unpack(filled)["picture"].flatten(1))
        return data.true_of(said, data.read_scenes(pictures)).float().mean().item()

    captioned = fill_in(LAYOUT, model, x, picture, generator, steps=7)
    sentences = TOKENIZER.decode(LAYOUT.unpack(captioned)["text"])
    scores = {
        "captions_right": data.true_of(sentences, fresh.objects).float().mean().item(),
        "pictures_right": drawn(words),
        "halves_right": drawn(left_half()),
    }
    different = [said.index(sentence) for sentence in dict.fromkeys(said)]  # scenes whose captions differ
    groups = max(1, count // 100)
    return scores | score_recall(model, x[different[: 16 * groups]])


JOINT_SCENES = Shipped(
    name="joint_scenes",
    about="one diffusion transformer for captions and pictures of scenes: 7 words and 36 tokens of vqvae_scenes",
    build=_build_joint,
    examples=lambda generator, device: pairs(data.scenes(N_TRAIN_PAIRS, generator), device),
    loss=partial(joint_loss, LAYOUT),
    score=score_joint,
    settings={"steps": 16_000, "lr": 2e-3, "seed": 0, "ema_decay": 0.999},
    batch=64,
    at_least={"captions_right": 0.95, "pictures_right": 0.85, "halves_right": 0.88, "recall_of_captions": 0.9},
    needs=(VQVAE_SCENES,),
)

MODELS = (VQVAE_SCENES, DIT_SCENES, MASKED_SCENES, JOINT_SCENES)
