"""Sound as a picture and back: waves to mel spectrograms in [0, 1], spectrograms to waves; spoken words and digits.

Numbers in brackets, such as (10.3), are those of the equations in the notebooks.
"""

import hashlib
import math
import os
import warnings
from collections.abc import Sequence
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from scipy.io import wavfile
from scipy.signal import resample_poly
from torch import Tensor
from torchvision.datasets.utils import download_and_extract_archive

from vqdit_lite.data import CAPTION_WORDS, DOWNLOADS, SHIPPED

SAMPLE_RATE = 8000  # samples a second
HOP, WINDOW, BANDS = 160, 512, 32  # samples from frame to frame, samples a frame looks at, mel bands
FRAMES = 208  # of the sounds that the course's models take: 4.16 s
_QUIETEST, _LOUDEST = -3.0, 3.0  # log10 of the powers that become 0 and 1
LOUDNESS = 0.12  # root mean square of a word


# ---------------------------------------------------------------- waves and spectrograms


def mel_filters() -> Tensor:
    """How much each of the frequencies of a frame counts in each mel band: overlapping triangles, (bands, bins).

    Source: O'Shaughnessy, Speech Communication, 1987: mel = 2595 log10(1 + hertz / 700).

    >>> mel_filters().shape
    torch.Size([32, 257])
    """
    highest = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    mels = torch.linspace(0, highest, BANDS + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mels / 2595) - 1)  # (bands + 2,) in hertz, (10.1)
    hertz = torch.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)  # (bins,)
    rising = (hertz - edges[:-2, None]) / edges.diff()[:-1, None]
    falling = (edges[2:, None] - hertz) / edges.diff()[1:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


def spectrum(waves: Tensor) -> Tensor:
    """The short-time Fourier transform of waves (B, samples): complex numbers (B, bins, samples / HOP + 1).

    >>> spectrum(torch.zeros(1, 1600)).shape
    torch.Size([1, 257, 11])
    """
    window = torch.hann_window(WINDOW, device=waves.device)
    return torch.stft(waves, WINDOW, HOP, window=window, pad_mode="constant", return_complex=True)


def log_mel(waves: Tensor) -> Tensor:
    """Waves (B, samples) as pictures of sound (B, bands, samples / HOP), 0 for silence and 1 for the loudest.

    >>> log_mel(torch.zeros(2, 1600)).shape
    torch.Size([2, 32, 10])
    """
    _check_waves(waves)
    power = spectrum(waves)[..., :-1].abs().square()  # (B, bins, frames)
    mel = mel_filters().to(waves.device) @ power  # (B, bands, frames)
    level = (mel.clamp(min=10**_QUIETEST).log10() - _QUIETEST) / (_LOUDEST - _QUIETEST)  # (10.2)
    return level.clamp(max=1)


def to_waves(mels: Tensor, iterations: int = 32) -> Tensor:
    """Pictures of sound (B, bands, frames) as waves (B, frames · HOP) by the algorithm of Griffin and Lim, accelerated.

    A mel spectrogram holds neither phases nor single frequencies. Powers that explain the bands are found first, then
    phases that fit them: go to a wave and back, keep the new phases and the old powers, again and again.

    Sources: Griffin and Lim, IEEE Trans. ASSP 32(2), 1984; momentum 0.99: Perraudin and others, WASPAA 2013.

    >>> to_waves(torch.zeros(1, 32, 10)).shape
    torch.Size([1, 1600])
    """
    if mels.ndim != 3 or mels.shape[1] != BANDS or mels.numel() == 0:
        raise ValueError(f"A spectrogram is (batch, {BANDS}, frames); {tuple(mels.shape)} came.")
    window, length = torch.hann_window(WINDOW, device=mels.device), mels.shape[-1] * HOP
    magnitude = _powers(mels.clamp(0, 1)).sqrt()  # (B, bins, frames)
    magnitude = F.pad(magnitude, (0, 1))  # one frame more, as `spectrum` gives
    turns = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(0)).to(mels.device)
    phase, before = torch.polar(torch.ones_like(magnitude), 2 * math.pi * turns), 0
    for _ in range(iterations):
        now = spectrum(torch.istft(magnitude * phase, WINDOW, HOP, window=window, length=length))
        ahead, before = now + 0.99 * (now - before), now
        phase = ahead / ahead.abs().clamp(min=1e-9)  # (10.3)
    return torch.istft(magnitude * phase, WINDOW, HOP, window=window, length=length)


def _powers(mels: Tensor) -> Tensor:
    """Powers (B, bins, frames), none below zero, whose mel bands are as asked: Lee and Seung's multiplicative steps."""
    filters = mel_filters().to(mels.device)
    wanted = (10 ** (mels * (_LOUDEST - _QUIETEST) + _QUIETEST)).where(mels > 0, 0)  # (B, bands, frames)
    powers = filters.T @ (wanted / filters.sum(1, keepdim=True))
    for _ in range(30):
        powers = powers * (filters.T @ wanted) / (filters.T @ (filters @ powers)).clamp(min=1e-9)
    return powers


def _check_waves(waves: Tensor) -> None:
    if waves.ndim != 2 or not waves.is_floating_point() or waves.shape[1] % HOP or waves.numel() == 0:
        raise ValueError(
            f"Waves are (batch, samples), floating point, with a number of samples that {HOP} divides; "
            f"{waves.dtype} of shape {tuple(waves.shape)} came. `fit_length` cuts or fills them."
        )
    if not waves.isfinite().all():
        raise ValueError("The waves hold NaN or infinity.")


def fit_length(wave: Tensor, frames: int = FRAMES) -> Tensor:
    """A wave (samples,) cut or filled with silence to (frames · HOP,); a warning says what was cut.

    >>> fit_length(torch.ones(100), frames=1).sum()
    tensor(100.)
    """
    length = frames * HOP
    if len(wave) > length:
        warnings.warn(
            f"The sound lasts {len(wave) / SAMPLE_RATE:.1f} s; only the first {length / SAMPLE_RATE:.2f} s are used.",
            stacklevel=2,
        )
    return F.pad(wave[:length], (0, max(0, length - len(wave))))


def read_wave(path: str | Path) -> Tensor:
    """A WAV file as a wave (samples,) in [-1, 1]. Several channels are mixed down, other rates brought to SAMPLE_RATE.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is empty, or holds only silence; the message says which.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", wavfile.WavFileWarning)  # a truncated file is only warned of
            rate, wave = wavfile.read(path)
    except (ValueError, OSError, wavfile.WavFileWarning, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a WAV file ({error}): store it again as PCM.") from error
    scale = {"u": 128, "i": float(np.iinfo(wave.dtype).max) + 1 if wave.dtype.kind == "i" else 1, "f": 1}
    wave = (wave.astype(np.float64) - (128 if wave.dtype.kind == "u" else 0)) / scale[wave.dtype.kind]
    wave = wave.mean(1) if wave.ndim == 2 else wave
    if len(wave) == 0:
        raise ValueError(f"{path} holds no sound: it has no samples.")
    if np.abs(wave).max() < 1e-4:
        raise ValueError(f"{path} holds only silence.")
    if (np.abs(wave) > 0.999).mean() > 0.01:
        warnings.warn(f"{path} is clipped: more than 1 % of it is at full scale. Record it more quietly.", stacklevel=2)
    if rate != SAMPLE_RATE:
        divisor = math.gcd(rate, SAMPLE_RATE)
        wave = resample_poly(wave, SAMPLE_RATE // divisor, rate // divisor)
    return torch.from_numpy(wave).float()


def write_wave(file: str | Path | BinaryIO, wave: Tensor) -> None:
    """A wave (samples,) as a WAV file of 16 bits, cut to [-1, 1]; the inverse of `read_wave`."""
    if wave.ndim != 1 or len(wave) == 0:
        raise ValueError(f"A file holds one wave (samples,); the shape is {tuple(wave.shape)}.")
    wavfile.write(file, SAMPLE_RATE, (wave.detach().cpu().clamp(-1, 1) * 32767).round().to(torch.int16).numpy())


# ---------------------------------------------------------------- spoken words


def mu_law(wave: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as bytes, finer where it is quiet. Source: ITU-T G.711, with μ = 255."""
    return np.round((np.sign(wave) * np.log1p(255 * np.abs(wave)) / np.log(256) + 1) * 127.5).astype(np.uint8)


def from_mu_law(code: Tensor) -> Tensor:
    """Bytes of `mu_law` as samples in [-1, 1].

    >>> from_mu_law(torch.from_numpy(mu_law(np.array([-1.0, 0.5])))).round(decimals=2)
    tensor([-1.0000,  0.5000])
    """
    x = code.float() / 127.5 - 1
    return x.sign() * (256 ** x.abs() - 1) / 255


@cache
def lexicon() -> tuple[dict[tuple[str, int, int], Tensor], list[str]]:
    """The shipped spoken words: (word, number of the voice, number of the speed) -> wave; and the voices' names."""
    with np.load(SHIPPED / "speech" / "words.npz") as file:
        words, voices, lengths = file["words"].tolist(), file["voices"].tolist(), file["lengths"]
        waves = from_mu_law(torch.from_numpy(file["sound"])).split(lengths.flatten().tolist())
    keys = [(word, *key) for word in words for key in np.ndindex(lengths.shape[1:])]
    return dict(zip(keys, waves, strict=True)), voices


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPOKEN_WORDS = (*CAPTION_WORDS, *DIGITS)
KNOWN_VOICES, UNHEARD_VOICE, SPEEDS = range(6), 6, 3  # the seventh voice is kept for tests


def speak(sentences: Sequence[str], generator: torch.Generator, voices: Sequence[int] = KNOWN_VOICES) -> Tensor:
    """Sentences spoken word by word, (B, FRAMES · HOP): a voice and a speed by chance, small gaps, a little noise.

    Args:
        sentences: of words from the captions, and of the digits "zero" to "nine", up to seven words each.
        generator: a CPU generator.
        voices: the numbers of the voices to choose from.

    >>> speak(["small red circle"], torch.Generator().manual_seed(0)).shape
    torch.Size([1, 33280])
    """
    words, _ = lexicon()
    unknown = {word for sentence in sentences for word in sentence.split()} - set(SPOKEN_WORDS)
    if unknown:
        raise ValueError(f"Nobody has spoken {', '.join(sorted(unknown))}; spoken are: {', '.join(SPOKEN_WORDS)}.")
    voice = torch.randint(len(voices), (len(sentences),), generator=generator).tolist()
    speed = torch.randint(SPEEDS, (len(sentences),), generator=generator).tolist()
    spoken = [
        [words[word, voices[v], s] for word in sentence.split()]
        for sentence, v, s in zip(sentences, voice, speed, strict=True)
    ]
    return arrange(spoken, generator)


def arrange(spoken: Sequence[Sequence[Tensor]], generator: torch.Generator) -> Tensor:
    """Lists of words (samples,), one list a row, one word after the other: (B, FRAMES · HOP).

    Gaps of 10 to 40 ms, a loudness 4 decibels up or down and a little noise come by chance.
    """
    waves = torch.zeros(len(spoken), FRAMES * HOP)
    for wave, words in zip(waves, spoken, strict=True):
        gaps = torch.randint(80, 320, (len(words),), generator=generator).tolist()  # 10 to 40 ms
        at = 0
        for gap, word in zip(gaps, words, strict=True):
            word = word[: max(0, len(wave) - at - gap)]
            wave[at + gap : at + gap + len(word)] = word
            at += gap + len(word)
    loudness = 10 ** (0.4 * torch.rand(len(waves), 1, generator=generator) - 0.2)  # 4 decibels up or down
    noise = 0.003 * torch.rand(len(waves), 1, generator=generator) * torch.randn(waves.shape, generator=generator)
    return loudness * waves + noise


def vary(wave: Tensor, generator: torch.Generator) -> Tensor:
    """A wave (samples,) up to 12 % longer and lower, or shorter and higher, by chance."""
    rate = 0.88 + 0.24 * torch.rand((), generator=generator).item()
    return F.interpolate(wave[None, None], scale_factor=rate, mode="linear")[0, 0]


# ---------------------------------------------------------------- digits that people spoke

_RELEASE = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"
_SHA256 = "ddb17656a0bca4c5ddace082be188ca630516dc2ef1110afe3c4e9cc71173de4"  # of all recordings, by name
LICENCE_OF_DIGITS = "Free Spoken Digit Dataset, by Zohar Jackson and others, CC BY-SA 4.0"


class Recordings(NamedTuple):
    """Digits that people spoke, all equally loud."""

    waves: list[Tensor]  # each (samples,)
    labels: Tensor  # (N,) the digit, 0 … 9
    speakers: list[str]


def spoken_digits(split: str) -> Recordings:
    """Real recordings of the ten digits by six people, under the licence `LICENCE_OF_DIGITS`.

    Args:
        split: "sample" for 60 that ship with the course, the first of each person and digit. "test" for recordings 0
            to 4 of each (300), as is the custom, or "train" for the other 45 (2,700): these are looked for in
            free-spoken-digits/recordings below VQDIT_DATA, then below the folder for downloads, else downloaded once.

    Raises:
        FileNotFoundError: they are neither on disk nor to be had from the network.
        ValueError: they are not what was released; the message says where.
    """
    if split not in ("sample", "train", "test"):
        raise ValueError(f'split must be "sample", "train" or "test"; it is {split!r}.')
    if split == "sample":
        with np.load(SHIPPED / "speech" / "digits.npz") as file:
            waves = from_mu_law(torch.from_numpy(file["sound"])).split(file["lengths"].tolist())
            return Recordings(list(waves), torch.from_numpy(file["labels"]), file["speakers"].tolist())
    files = sorted(_recordings().glob("*.wav"), key=lambda file: file.name)
    named = [file.stem.split("_") for file in files]  # digit, speaker, number
    kept = [k for k, (_, _, number) in enumerate(named) if (int(number) < 5) == (split == "test")]
    waves = [torch.from_numpy(wavfile.read(files[k])[1].astype(np.float32)) for k in kept]
    loud = [wave * LOUDNESS / wave.square().mean().sqrt() for wave in waves]
    return Recordings(loud, torch.tensor([int(named[k][0]) for k in kept]), [named[k][1] for k in kept])


@cache
def _recordings() -> Path:
    """The folder of the recordings, checked."""
    roots = [Path(os.environ["VQDIT_DATA"])] if os.environ.get("VQDIT_DATA") else []
    places = [root / "free-spoken-digits" / "recordings" for root in (*roots, DOWNLOADS)]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        archive = DOWNLOADS / "free-spoken-digits.zip"
        archive.unlink(missing_ok=True)  # what is left of a download that broke off
        try:
            download_and_extract_archive(_RELEASE, str(DOWNLOADS), filename=archive.name)
        except (OSError, RuntimeError, HTTPException, BadZipFile) as error:
            raise FileNotFoundError(
                f"The spoken digits are in none of these folders: {', '.join(map(str, places))}; and the download "
                f"failed ({error}). Put the recordings into one of them, or name the folder above in VQDIT_DATA."
            ) from error
        places[-1].parent.mkdir(parents=True, exist_ok=True)
        (DOWNLOADS / "free-spoken-digit-dataset-1.0.10" / "recordings").rename(folder := places[-1])
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.wav"), key=lambda file: file.name):
        digest.update(file.read_bytes())
    if digest.hexdigest() != _SHA256:
        raise ValueError(f"{folder} does not hold the 3,000 recordings of the release: remove it and fetch it again.")
    return folder
