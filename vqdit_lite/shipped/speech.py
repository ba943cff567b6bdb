"""The models of speech: a VQ-VAE of spectrograms, and one model of words and sounds."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vqdit_lite import data
from vqdit_lite.audio import BANDS, to_waves
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.data.speech import Speech, fresh_speech, mels_of, speech
from vqdit_lite.layout import Layout, Segment
from vqdit_lite.metrics import usage, word_error_rate
from vqdit_lite.multimodal import (
    TokenEmbedding,
    balance_segments,
    fill_in,
    joint_loss,
    segment_denoiser,
    segment_positions,
)
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.shipped.base import FRESH, GUIDANCE, Shipped, tokens
from vqdit_lite.shipped.judges import FROM_SPEECH, JUDGE_SPEECH, SPOKEN, listen
from vqdit_lite.transformer import DiT

N_TRAIN_SPEECH = 80_000
CODES = 512
TOKENIZER = SPOKEN
LAYOUT = Layout(Segment("text", len(TOKENIZER), (7,)), Segment("sound", CODES, (data.SOUND_FRAMES // 4,)))

# ---------------------------------------------------------------- spectrograms to tokens and back


@torch.no_grad()
def score_vqvae(model: VQVAE, device: torch.device, count: int) -> dict[str, float]:
    """The share of the variance of spectrograms that is kept, and the use of the codebook, on fresh sounds."""
    scores, ids = {}, []
    for name, fresh in fresh_speech(count).items():
        mels = fresh.mels.to(device)
        ids.append(model.encode(mels))
        left = (model.decode(ids[-1]) - mels).square().mean() / mels.var()
        scores[f"variance_kept_{name}"] = 1 - left.item()
    return scores | {"codes_used": usage(torch.cat(ids), model.quantizer.num_codes)}


VQVAE_SOUND = Shipped(
    name="vqvae_sound",
    about="VQ-VAE for log-mel spectrograms of speech, 4.16 s: 52 tokens, 512 codes of dimension 16",
    build=lambda: VQVAE((BANDS, data.SOUND_FRAMES), VectorQuantizer(num_codes=CODES, dim=16, decay=0.97), width=128),
    examples=lambda generator, device: speech(16_000, generator).mels.to(device),
    loss=lambda model, x, generator: model.loss(x),
    score=score_vqvae,
    settings={"steps": 6000, "lr": 3e-3, "seed": 0, "ema_decay": 0.995},
    batch=32,
    at_least={"variance_kept_known_voices": 0.96, "variance_kept_unheard_voice": 0.88, "codes_used": 0.9},
    learned_from=FROM_SPEECH,
    count=500,
)

# ---------------------------------------------------------------- words and sounds


def spoken_sequences(spoken: Speech, device: torch.device) -> Tensor:
    """Spoken sentences as sequences (B, 59): words, then the tokens of their sound."""
    text = TOKENIZER.encode(spoken.sentences, 7).to(device)
    return LAYOUT.pack(text=text, sound=tokens(VQVAE_SOUND, spoken.mels, device))


def say(model: DiT, sentences: Sequence[str], generator: torch.Generator, device: torch.device) -> Tensor:
    """Waves (B, samples) in which a joint model of speech says sentences, on the CPU."""
    x = LAYOUT.pack(text=TOKENIZER.encode(sentences, 7).to(device))
    x = fill_in(LAYOUT, model, x, LAYOUT.tokens("text"), generator, 16, GUIDANCE, ("text",), temperature=0.6)
    mels = VQVAE_SOUND.load(device).decode(LAYOUT.unpack(x)["sound"])
    return torch.cat([to_waves(part) for part in mels.cpu().split(50)])


def heard_digits(model: DiT, waves: Sequence[Tensor], device: torch.device) -> Tensor:
    """Which digits (B,) people say, one a wave: the likeliest first word of ten, over four starts 20 ms apart."""
    digits = torch.tensor([TOKENIZER.numbers[digit] for digit in data.DIGITS], device=device)
    scores = torch.zeros(len(waves), len(digits), device=device)
    for start in (80, 240, 400, 560):  # samples: within a token of 640, so that each time tokens fall differently
        later = torch.stack([data.fit_length(F.pad(wave, (start, 0))) for wave in waves])
        x = LAYOUT.pack(sound=tokens(VQVAE_SOUND, mels_of(later), device))
        logits = segment_denoiser(LAYOUT, model)(x, torch.ones(len(x), device=device))  # (B, 59, V)
        scores += logits[:, 0].log_softmax(-1)[:, digits]
    return scores.argmax(1).cpu()


def _as_sequences(generator: torch.Generator, device: torch.device) -> Tensor:
    parts = (speech(5000, generator) for _ in range(N_TRAIN_SPEECH // 5000))
    return torch.cat([spoken_sequences(part, device) for part in parts])


def _build_joint() -> DiT:
    embedding = TokenEmbedding(LAYOUT, 128, sound=VQVAE_SOUND.load().quantizer.codebook)
    return DiT(embedding, LAYOUT.vocabulary, segment_positions(LAYOUT, 128), depth=4, heads=4)


def _loss(model: DiT, x0: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Few words stand beside many sounds, so each counts for more."""
    return joint_loss(LAYOUT, model, x0, generator, token_weight=balance_segments(LAYOUT).to(x0.device))


@torch.no_grad()
def score_joint(model: DiT, device: torch.device, count: int) -> dict[str, float]:
    """Word error rates of what is heard, of known voices, the unheard one and people; people's digits that are told
    right from each other; and word error rates of what is said, as the judge hears it in the wave."""
    generator, scores, fresh = torch.Generator().manual_seed(FRESH), {}, fresh_speech(count)
    for name, spoken in fresh.items():
        x = spoken_sequences(spoken, device)
        heard = fill_in(LAYOUT, model, x, LAYOUT.tokens("sound"), generator, steps=7)
        sentences = TOKENIZER.decode(LAYOUT.unpack(heard)["text"])
        scores[f"word_error_{name}"] = word_error_rate(spoken.sentences, sentences)
    people = data.spoken_digits("test" if count >= 300 else "sample")
    heard = heard_digits(model, people.waves, device)
    scores["digits_of_people_right"] = (heard == people.labels).float().mean().item()
    sentences = fresh["known_voices"].sentences
    said = mels_of(say(model, sentences, generator, device)).to(device)
    return scores | {"word_error_of_speech": word_error_rate(sentences, listen(JUDGE_SPEECH.load(device), said))}


JOINT_SPEECH = Shipped(
    name="joint_speech",
    about="one diffusion transformer for words and speech: 7 words and 52 tokens of vqvae_sound",
    build=_build_joint,
    examples=_as_sequences,
    loss=_loss,
    score=score_joint,
    settings={"steps": 8000, "lr": 2e-3, "seed": 0, "ema_decay": 0.999},
    batch=64,
    at_least={"digits_of_people_right": 0.88},
    at_most={"word_error_known_voices": 0.03, "word_error_of_speech": 0.1},
    needs=(VQVAE_SOUND,),
    learned_from=FROM_SPEECH,
    count=500,
)

MODELS = (VQVAE_SOUND, JOINT_SPEECH)
