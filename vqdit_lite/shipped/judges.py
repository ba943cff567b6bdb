"""Judges: models that read what other models draw and say."""

import torch
import torch.nn.functional as F
from sklearn.svm import SVC
from torch import Tensor, nn

from vqdit_lite import data
from vqdit_lite.audio import BANDS
from vqdit_lite.autoencoder import Encoder
from vqdit_lite.data.speech import fresh_speech, speech
from vqdit_lite.metrics import word_error_rate
from vqdit_lite.shipped.base import Shipped
from vqdit_lite.text import Tokenizer

FROM_MNIST = "the first 9,000 of MNIST's test pictures (CC BY-SA 3.0)"
FROM_SPEECH = f"the course's spoken words and 2,700 recordings of the {data.LICENCE_OF_DIGITS}"
SPOKEN = Tokenizer(data.SPOKEN_WORDS)

# ---------------------------------------------------------------- digits


def judge_digits() -> SVC:
    """A classifier of 8 × 8 digits (a support vector machine on the 64 pixels) that shares nothing with a DiT."""
    pictures, labels = data.digits_split()[0]
    return SVC(C=5).fit(pictures.flatten(1).numpy(), labels.numpy())


def _mnist(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    return tuple(part.to(device) for part in data.mnist_split()[0])


def _loss_of_classes(model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    pictures, labels = batch
    return {"loss": F.cross_entropy(model(pictures), labels)}


@torch.no_grad()
def score_digits(model: nn.Module, device: torch.device, count: int) -> dict[str, float]:
    """The share of the held-out digits that the judge reads right."""
    held_out, labels = (part[:count].to(device) for part in data.mnist_split()[1])
    return {"digits_read_right": (model(held_out).argmax(1) == labels).float().mean().item()}


JUDGE_MNIST = Shipped(
    name="judge_mnist",
    about="classifier of MNIST digits, 32 × 32 pixels, to judge what other models draw",
    build=lambda: nn.Sequential(
        Encoder(channels=1, width=32, dim=32), nn.Flatten(), nn.Dropout(), nn.Linear(64 * 32, 10)
    ),
    examples=_mnist,
    loss=_loss_of_classes,
    score=score_digits,
    settings={"steps": 3000, "lr": 1e-3, "seed": 0, "ema_decay": 0.999},
    batch=64,
    at_least={"digits_read_right": 0.98},
    learned_from=FROM_MNIST,
)

# ---------------------------------------------------------------- speech


def _recogniser() -> nn.Module:
    encoder = Encoder(channels=BANDS, width=128, dim=128, spatial_dims=1)
    return nn.Sequential(encoder, nn.ReLU(), nn.Dropout(), nn.Linear(128, len(SPOKEN)))  # (B, frames / 4, words + 1)


def _mels_and_words(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    train = speech(16_000, generator)
    return train.mels.to(device), SPOKEN.encode(train.sentences, 7).to(device)


def _loss_of_recogniser(
    model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator
) -> dict[str, Tensor]:
    mels, text = batch
    noisy = mels + 0.05 * torch.randn(mels.shape, generator=generator).to(mels)
    log_p = model(noisy).log_softmax(-1).transpose(0, 1)  # (frames / 4, B, words + 1)
    frames = torch.full((len(mels),), len(log_p))
    return {"loss": F.ctc_loss(log_p, text, frames, (text > 0).sum(1).cpu())}


@torch.no_grad()
def listen(judge: nn.Module, mels: Tensor) -> list[str]:
    """What the judge of speech hears in spectrograms (B, bands, frames): each frame's likeliest word, runs as one."""
    frames = torch.cat([judge(part).argmax(-1) for part in mels.split(500)])  # (B, frames / 4)
    heard = (row[row > 0] for row in (frame.unique_consecutive() for frame in frames))
    return [" ".join(SPOKEN.symbols[k] for k in row) for row in heard]


def score_recogniser(model: nn.Module, device: torch.device, count: int) -> dict[str, float]:
    """The word error rate on fresh sounds: known voices, the unheard one, people."""
    return {
        f"word_error_{name}": word_error_rate(fresh.sentences, listen(model, fresh.mels.to(device)))
        for name, fresh in fresh_speech(count).items()
    }


JUDGE_SPEECH = Shipped(
    name="judge_speech",
    about="recogniser of spoken words by their spectrogram, to judge what other models say",
    build=_recogniser,
    examples=_mels_and_words,
    loss=_loss_of_recogniser,
    score=score_recogniser,
    settings={"steps": 3000, "lr": 1e-3, "seed": 1, "ema_decay": 0.995},
    batch=32,
    at_least={},
    at_most={"word_error_known_voices": 0.01},
    learned_from=FROM_SPEECH,
    count=500,
)

MODELS = (JUDGE_MNIST, JUDGE_SPEECH)
