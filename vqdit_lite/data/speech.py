"""Speech: words that machines spoke, digits that people spoke, and files of sound."""

import hashlib
import math
import warnings
from collections.abc import Sequence
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from scipy.io import wavfile
from scipy.signal import resample_poly
from torch import Tensor
from torchvision.datasets.utils import download_and_extract_archive

from vqdit_lite.audio import HOP, SAMPLE_RATE, log_mel
from vqdit_lite.data import places
from vqdit_lite.data.scenes import CAPTION_WORDS, captions, scenes

SOUND_FRAMES = 208  # of the sounds that the course's models take: 4.16 s
LOUDNESS = 0.12  # root mean square of a word


# ---------------------------------------------------------------- files of sound


def fit_length(wave: Tensor, frames: int = SOUND_FRAMES) -> Tensor:
    """A wave (samples,) cropped or padded with silence to (frames · HOP,); a warning says what was left out.

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
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", wavfile.WavFileWarning)  # a truncated file is only warned of
            rate, wave = wavfile.read(path)
    except (ValueError, OSError, wavfile.WavFileWarning, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a WAV file ({error}): store it again as PCM.") from error
    scale = {"u": 128, "i": float(np.iinfo(wave.dtype).max) + 1 if wave.dtype.kind == "i" else 1, "f": 1}
    wave = (wave.astype(np.float64) - (128 if wave.dtype.kind == "u" else 0)) / scale[wave.dtype.kind]
    wave = wave.mean(1) if wave.ndim == 2 else wave
    _check_sound(path, wave)
    if rate != SAMPLE_RATE:
        divisor = math.gcd(rate, SAMPLE_RATE)
        wave = resample_poly(wave, SAMPLE_RATE // divisor, rate // divisor)
    return torch.from_numpy(wave).float()


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
    with np.load(places.SHIPPED / "speech" / "words.npz") as file:
        words, voices, lengths = file["words"].tolist(), file["voices"].tolist(), file["lengths"]
        waves = from_mu_law(torch.from_numpy(file["sound"])).split(lengths.flatten().tolist())
    keys = [(word, *key) for word in words for key in np.ndindex(lengths.shape[1:])]
    return dict(zip(keys, waves, strict=True)), voices


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPOKEN_WORDS = (*CAPTION_WORDS, *DIGITS)
KNOWN_VOICES, UNHEARD_VOICE, SPEEDS = range(6), 6, 3  # the seventh voice is kept for tests


def speak(sentences: Sequence[str], generator: torch.Generator, voices: Sequence[int] = KNOWN_VOICES) -> Tensor:
    """Sentences spoken word by word, (B, SOUND_FRAMES · HOP): voice and speed at random, small gaps, a little noise.

    Args:
        sentences: of words from the captions, and of the digits "zero" to "nine", up to seven words each.
        generator: a CPU generator.
        voices: the numbers of the voices to choose from.

    >>> speak(["small red circle"], torch.Generator().manual_seed(0)).shape
    torch.Size([1, 33280])
    """
    _check_spoken(sentences)
    words, _ = lexicon()
    voice = torch.randint(len(voices), (len(sentences),), generator=generator).tolist()
    speed = torch.randint(SPEEDS, (len(sentences),), generator=generator).tolist()
    spoken = [
        [words[word, voices[v], s] for word in sentence.split()]
        for sentence, v, s in zip(sentences, voice, speed, strict=True)
    ]
    return arrange(spoken, generator)


def arrange(spoken: Sequence[Sequence[Tensor]], generator: torch.Generator) -> Tensor:
    """Lists of words (samples,), one list a row, one word after the other: (B, SOUND_FRAMES · HOP).

    Gaps of 10 to 40 ms, a loudness 4 decibels up or down and a little noise are random.
    """
    waves = torch.zeros(len(spoken), SOUND_FRAMES * HOP)
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


def change_speed(wave: Tensor, generator: torch.Generator) -> Tensor:
    """A wave (samples,) up to 12 % longer and lower, or shorter and higher, at random."""
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
    _check_split(split)
    if split == "sample":
        with np.load(places.SHIPPED / "speech" / "digits.npz") as file:
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
    folders = [root / "free-spoken-digits" / "recordings" for root in places.roots()]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        archive = places.DOWNLOADS / "free-spoken-digits.zip"
        archive.unlink(missing_ok=True)  # what is left of a download that broke off
        try:
            download_and_extract_archive(_RELEASE, str(places.DOWNLOADS), filename=archive.name)
        except (OSError, RuntimeError, HTTPException, BadZipFile) as error:
            raise FileNotFoundError(
                f"The spoken digits are in none of these folders: {', '.join(map(str, folders))}; and the download "
                f"failed ({error}). Put the recordings into one of them, or name the folder above in VQDIT_DATA."
            ) from error
        folders[-1].parent.mkdir(parents=True, exist_ok=True)
        (places.DOWNLOADS / "free-spoken-digit-dataset-1.0.10" / "recordings").rename(folder := folders[-1])
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.wav"), key=lambda file: file.name):
        digest.update(file.read_bytes())
    if digest.hexdigest() != _SHA256:
        raise ValueError(f"{folder} does not hold the 3,000 recordings of the release: remove it and fetch it again.")
    return folder


# ---------------------------------------------------------------- sentences to learn from, and to be scored on


class Speech(NamedTuple):
    """Spoken sentences and what they look like."""

    sentences: list[str]
    mels: Tensor  # (B, bands, frames)


def mels_of(waves: Tensor) -> Tensor:
    """Waves (B, samples) as spectrograms (B, bands, frames), 500 at a time."""
    return torch.cat([log_mel(part) for part in waves.split(500)])


def speech(n: int, generator: torch.Generator) -> Speech:
    """Sentences to learn from: a half digits by people, mostly one; the rest captions, and some digits, by machines."""
    people = spoken_digits("train")
    spoken = _lists(range(len(people.waves)), n // 2, 4, generator)
    spoken = [numbers[:1] if k % 3 else numbers for k, numbers in enumerate(spoken)]
    said = [" ".join(DIGITS[people.labels[k]] for k in numbers) for numbers in spoken]
    waves = [[change_speed(people.waves[k], generator) for k in numbers] for numbers in spoken]
    strings = [" ".join(digits) for digits in _lists(DIGITS, n // 10, 7, generator)]
    described = captions(scenes(n - len(said) - len(strings), generator).objects)
    made = speak(described + strings, generator)
    return Speech(said + described + strings, mels_of(torch.cat([arrange(waves, generator), made])))


def _lists(items: Sequence, n: int, longest: int, generator: torch.Generator) -> list[list]:
    """n random lists, each of 1 to `longest` items."""
    lengths = torch.randint(1, longest + 1, (n,), generator=generator).tolist()
    return [[items[k] for k in torch.randint(len(items), (length,), generator=generator)] for length in lengths]


def spoken_by_people(split: str, generator: torch.Generator) -> Speech:
    """Real digits, one a sentence."""
    people = spoken_digits(split)
    waves = arrange([[wave] for wave in people.waves], generator)
    return Speech([DIGITS[label] for label in people.labels], mels_of(waves))


def spoken_captions(n: int, generator: torch.Generator, voices: Sequence[int] = KNOWN_VOICES) -> Speech:
    """Fresh spoken captions."""
    sentences = captions(scenes(n, generator).objects)
    return Speech(sentences, mels_of(speak(sentences, generator, voices)))


def fresh_speech(count: int) -> dict[str, Speech]:
    """What the models of speech are scored on: known voices, the unheard voice, and people (of those, for fewer than
    300, the sample that ships)."""
    generator = torch.Generator().manual_seed(1_000_000)
    return {
        "known_voices": spoken_captions(count, generator),
        "unheard_voice": spoken_captions(count, generator, [UNHEARD_VOICE]),
        "people": spoken_by_people("test" if count >= 300 else "sample", generator),
    }


# ---------------------------------------------------------------- guards


def _check_file(path: str | Path) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")


def _check_sound(path: str | Path, wave: np.ndarray) -> None:
    if len(wave) == 0:
        raise ValueError(f"{path} holds no sound: it has no samples.")
    if np.abs(wave).max() < 1e-4:
        raise ValueError(f"{path} holds only silence.")
    if (np.abs(wave) > 0.999).mean() > 0.01:
        warnings.warn(f"{path} is clipped: more than 1 % of it is at full scale. Record it more quietly.", stacklevel=3)


def _check_spoken(sentences: Sequence[str]) -> None:
    unknown = {word for sentence in sentences for word in sentence.split()} - set(SPOKEN_WORDS)
    if unknown:
        raise ValueError(
            f"No recording of {', '.join(sorted(unknown))}; there are recordings of: {', '.join(SPOKEN_WORDS)}."
        )


def _check_split(split: str) -> None:
    if split not in ("sample", "train", "test"):
        raise ValueError(f'split must be "sample", "train" or "test"; it is {split!r}.')
