"""The models of clips: VQ-VAEs of frames and of pieces of four frames, and one model of words and clips."""

import torch
from torch import Tensor

from vqdit_lite import data
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.layout import Layout, Segment
from vqdit_lite.metrics import psnr, usage
from vqdit_lite.multimodal import (
    TokenEmbedding,
    answer,
    joint_loss,
    retry_until_consistent,
    segment_positions,
    task_times,
)
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.shipped.base import FRESH, Shipped, tokens
from vqdit_lite.text import Tokenizer
from vqdit_lite.transformer import DiT

N_TRAIN_CLIPS = 60_000
CODES = 1024
PIECES = ("start", "first", "second", "end")  # a still, four frames, four frames, a still
TOKENIZER = Tokenizer(data.CLIP_WORDS)
LAYOUT = Layout(
    Segment("text", len(TOKENIZER), (9,)),
    *(Segment(piece, CODES, (6, 6), shared_vocabulary="codes") for piece in PIECES),
)
TASKS = {  # what is given, and what is filled in; what is in neither stays hidden
    "still": (("text",), ("start",)),
    "animated": (("text", "start"), ("first", "second", "end")),
    "between": (("start", "end"), ("text", "first", "second")),
    "continued": (("start", "first"), ("text", "second", "end")),
    "captions": (PIECES, ("text",)),
}

# ---------------------------------------------------------------- clips to tokens and back


def pieces_of(frames: Tensor) -> Tensor:
    """Clips (B, 3, 8, 24, 24) as four pieces each, (B, 4, 3, 4, 24, 24): the first frame as a still, both halves, and
    the last frame as a still. A still is a picture that stays for four frames."""
    first, last = (frame.expand(-1, -1, 4, -1, -1) for frame in (frames[:, :, :1], frames[:, :, -1:]))
    return torch.stack([first, frames[:, :, :4], frames[:, :, 4:], last], 1)


def joined(halves: Tensor) -> Tensor:
    """Halves (2 · B, 3, 4, 24, 24), one after the other, as clips (B, 3, 8, 24, 24)."""
    return halves.unflatten(0, (-1, 2)).transpose(1, 2).flatten(2, 3)


def frames_of(clips: Tensor) -> Tensor:
    """Clips (B, 3, 8, 24, 24) as pictures (B · 8, 3, 24, 24)."""
    return clips.transpose(1, 2).flatten(0, 1)


def _train_pieces(generator: torch.Generator, device: torch.device) -> Tensor:
    pieces = pieces_of(data.clips(10_000, generator).frames)  # (B, 4, 3, 4, 24, 24)
    halves, stills = pieces[:, 1:3], pieces[::4, ::3]  # one still to four halves
    return torch.cat([halves.flatten(0, 1), stills.flatten(0, 1)]).to(device)


@torch.no_grad()
def score_pieces(model: VQVAE, device: torch.device, count: int) -> dict[str, float]:
    """PSNR, use of the codebook and share of clips that read the same after coding, on fresh clips."""
    fresh = data.clips(count, torch.Generator().manual_seed(FRESH))
    pieces = pieces_of(fresh.frames)[:, 1:3].flatten(0, 1)  # (2 · B, 3, 4, 24, 24)
    ids = torch.cat([model.encode(part.to(device)) for part in pieces.split(500)])
    decoded = torch.cat([model.decode(part) for part in ids.split(500)]).cpu()
    same = (data.read_clips(joined(decoded)) == fresh.tracks).all(1).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, pieces), "codes_used": used, "clips_read_right": same}


@torch.no_grad()
def score_frames(model: VQVAE, device: torch.device, count: int) -> dict[str, float]:
    """The same of frames that are coded one by one."""
    fresh = data.clips(count, torch.Generator().manual_seed(FRESH))
    pictures = frames_of(fresh.frames)
    ids = torch.cat([model.encode(part.to(device)) for part in pictures.split(1000)])
    decoded = torch.cat([model.decode(part) for part in ids.split(1000)]).cpu()
    read = data.read_clips(decoded.unflatten(0, (-1, data.CLIP_FRAMES)).transpose(1, 2))
    same = (read == fresh.tracks).all(1).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, pictures), "codes_used": used, "clips_read_right": same}


VQVAE_CLIPS = Shipped(
    name="vqvae_clips",
    about="VQ-VAE for four frames of a clip, or a still: 36 tokens, 1,024 codes of dimension 16",
    build=lambda: VQVAE((3, 4, 24, 24), VectorQuantizer(num_codes=CODES, dim=16, decay=0.97), width=64),
    examples=_train_pieces,
    loss=lambda model, x, generator: model.loss(x),
    score=score_pieces,
    settings={"steps": 9000, "lr": 3e-3, "seed": 0, "ema_decay": 0.995},
    batch=32,
    at_least={"psnr_db": 34, "codes_used": 0.5, "clips_read_right": 0.88},
)

VQVAE_FRAMES = Shipped(
    name="vqvae_frames",
    about="VQ-VAE for single frames of clips: 36 tokens, 256 codes of dimension 8",
    build=lambda: VQVAE((3, 24, 24), VectorQuantizer(num_codes=256, dim=8, decay=0.97), width=64),
    examples=lambda generator, device: frames_of(data.clips(6000, generator).frames).to(device),
    loss=lambda model, x, generator: model.loss(x),
    score=score_frames,
    settings={"steps": 6000, "lr": 3e-3, "seed": 0, "ema_decay": 0.995},
    batch=32,
    at_least={"psnr_db": 36.5, "codes_used": 0.9, "clips_read_right": 0.78},
)

# ---------------------------------------------------------------- words and clips


def clips_to_tokens(clips: data.Clips, device: torch.device) -> Tensor:
    """Clips as sequences (B, 153): the words of their captions, then the tokens of their four pieces."""
    text = TOKENIZER.encode(data.clip_captions(clips.tracks), 9)
    ids = tokens(VQVAE_CLIPS, pieces_of(clips.frames).flatten(0, 1), device).unflatten(0, (-1, 4))  # (B, 4, 36)
    return LAYOUT.pack(text=text.to(device), **dict(zip(PIECES, ids.unbind(1), strict=True)))


def tokens_to_clips(x: Tensor, device: torch.device) -> Tensor:
    """The clips (B, 3, 8, 24, 24) that sequences (B, 153) hold, on the CPU."""
    parts = LAYOUT.unpack(x)
    halves = torch.stack([parts["first"], parts["second"]], 1).flatten(0, 1).flatten(1)  # (2 · B, 36)
    model = VQVAE_CLIPS.load(device)
    return joined(torch.cat([model.decode(part) for part in halves.split(500)]).cpu())


def clips_from_words(model: DiT, x: Tensor, generator: torch.Generator, tries: int = 3) -> Tensor:
    """Sequences (B, 153) made from the words in x: first the still, then the rest; checked by the model's captions."""

    def make(rows: Tensor) -> Tensor:
        still = answer(LAYOUT, model, rows, *TASKS["still"], generator)
        return answer(LAYOUT, model, still, *TASKS["animated"], generator)

    def describe(rows: Tensor) -> Tensor:
        return answer(LAYOUT, model, rows, *TASKS["captions"], generator)

    return retry_until_consistent(x, make, describe, LAYOUT.tokens("text"), tries)


def _as_sequences(generator: torch.Generator, device: torch.device) -> Tensor:
    parts = (data.clips(5000, generator) for _ in range(N_TRAIN_CLIPS // 5000))
    return torch.cat([clips_to_tokens(part, device) for part in parts])


def _build_joint() -> DiT:
    embedding = TokenEmbedding(LAYOUT, 128, start=VQVAE_CLIPS.load().quantizer.codebook)  # all pieces share its ids
    return DiT(embedding, LAYOUT.vocabulary, segment_positions(LAYOUT, 128), depth=4, heads=4)


def _loss(model: DiT, x0: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The loss of sequences (B, 153), each practising one of the tasks."""
    t = task_times(LAYOUT, list(TASKS.values()), len(x0), generator)
    return joint_loss(LAYOUT, model, x0, generator, t)


@torch.no_grad()
def score_joint(model: DiT, device: torch.device, count: int) -> dict[str, float]:
    """The share of fresh clips that are right, by the reader: made from a first frame and words, from words (first a
    still, then the rest; and with up to three tries, checked by its own captions), between two frames, after the first
    half; and of captions that are true."""
    generator = torch.Generator().manual_seed(FRESH)
    fresh = data.clips(count, generator)
    said, x, scores = data.clip_captions(fresh.tracks), clips_to_tokens(fresh, device), {}

    for task in ("animated", "between", "continued"):
        made = answer(LAYOUT, model, x, *TASKS[task], generator)
        tracks = data.read_clips(tokens_to_clips(made, device))
        scores[f"{task}_right"] = (tracks == fresh.tracks).all(1).float().mean().item()

    def share_true(made: Tensor) -> float:
        return data.clip_true_of(said, data.read_clips(tokens_to_clips(made, device))).float().mean().item()

    scores["from_words_right"] = share_true(clips_from_words(model, x, generator, tries=1))
    captioned = answer(LAYOUT, model, x, *TASKS["captions"], generator)
    captions = TOKENIZER.decode(LAYOUT.unpack(captioned)["text"])
    scores["captions_right"] = data.clip_true_of(captions, fresh.tracks).float().mean().item()
    retried = clips_from_words(model, x, torch.Generator().manual_seed(FRESH + 1))
    return scores | {"from_words_checked_right": share_true(retried)}


JOINT_CLIPS = Shipped(
    name="joint_clips",
    about="one diffusion transformer for captions and clips: 9 words and 4 pieces of 36 tokens of vqvae_clips",
    build=_build_joint,
    examples=_as_sequences,
    loss=_loss,
    score=score_joint,
    settings={"steps": 9000, "lr": 2e-3, "seed": 0, "ema_decay": 0.999},
    batch=32,
    at_least={
        "animated_right": 0.8,
        "between_right": 0.8,
        "continued_right": 0.8,
        "from_words_right": 0.6,
        "captions_right": 0.88,
        "from_words_checked_right": 0.68,
    },
    needs=(VQVAE_CLIPS,),
    count=500,
)

MODELS = (VQVAE_CLIPS, VQVAE_FRAMES, JOINT_CLIPS)
