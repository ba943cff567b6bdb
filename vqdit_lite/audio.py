"""Sound as a picture and back: waves to mel spectrograms in [0, 1], spectrograms to waves.

Numbers in brackets, such as (10.3), are those of the equations in the notebooks.
"""

import math
from pathlib import Path
from typing import BinaryIO

import torch
import torch.nn.functional as F
from scipy.io import wavfile
from torch import Tensor

__all__ = ["log_mel", "mel_filters", "mel_to_power", "stft", "to_waves", "write_wave"]

SAMPLE_RATE = 8000  # samples a second
HOP, WINDOW, BANDS = 160, 512, 32  # samples from frame to frame, samples a frame looks at, mel bands
QUIETEST, LOUDEST = -3.0, 3.0  # log10 of the powers that become 0 and 1


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


def stft(waves: Tensor) -> Tensor:
    """The short-time Fourier transform of waves (B, samples): complex numbers (B, bins, samples / HOP + 1).

    >>> stft(torch.zeros(1, 1600)).shape
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
    power = stft(waves)[..., :-1].abs().square()  # (B, bins, frames)
    mel = mel_filters().to(waves.device) @ power  # (B, bands, frames)
    level = (mel.clamp(min=10**QUIETEST).log10() - QUIETEST) / (LOUDEST - QUIETEST)  # (10.2)
    return level.clamp(max=1)


def mel_to_power(mels: Tensor) -> Tensor:
    """Powers (B, bins, frames), none below zero, whose mel bands are those of pictures of sound (B, bands, frames).

    Many powers have the same bands. Even ones are a start; then each is scaled, so that the bands come nearer.

    Source: Lee and Seung, Algorithms for Non-negative Matrix Factorization, NIPS 2000, theorem 1.

    >>> mel_to_power(torch.zeros(1, 32, 10)).shape
    torch.Size([1, 257, 10])
    """
    _check_mels(mels)
    filters = mel_filters().to(mels.device)
    wanted = (10 ** (mels * (LOUDEST - QUIETEST) + QUIETEST)).where(mels > 0, 0)  # (B, bands, frames)
    powers = filters.T @ (wanted / filters.sum(1, keepdim=True))
    for _ in range(30):
        powers = powers * (filters.T @ wanted) / (filters.T @ (filters @ powers)).clamp(min=1e-9)
    return powers


def to_waves(mels: Tensor, iterations: int = 32) -> Tensor:
    """Pictures of sound (B, bands, frames) as waves (B, frames · HOP) by the algorithm of Griffin and Lim, accelerated.

    A mel spectrogram holds neither phases nor single frequencies. Powers that explain the bands are found first, then
    phases that fit them: go to a wave and back, keep the new phases and the old powers, again and again.

    Sources: Griffin and Lim, IEEE Trans. ASSP 32(2), 1984; momentum 0.99: Perraudin and others, WASPAA 2013.

    >>> to_waves(torch.zeros(1, 32, 10)).shape
    torch.Size([1, 1600])
    """
    magnitude = mel_to_power(mels.clamp(0, 1)).sqrt()  # (B, bins, frames)
    magnitude = F.pad(magnitude, (0, 1))  # one frame more, as `stft` gives
    window, length = torch.hann_window(WINDOW, device=mels.device), mels.shape[-1] * HOP
    turns = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(0)).to(mels.device)
    phase = torch.polar(torch.ones_like(magnitude), 2 * math.pi * turns)
    previous = torch.zeros_like(phase)
    for _ in range(iterations):
        current = stft(torch.istft(magnitude * phase, WINDOW, HOP, window=window, length=length))
        ahead, previous = current + 0.99 * (current - previous), current
        phase = ahead / ahead.abs().clamp(min=1e-9)  # (10.3)
    return torch.istft(magnitude * phase, WINDOW, HOP, window=window, length=length)


def write_wave(file: str | Path | BinaryIO, wave: Tensor) -> None:
    """A wave (samples,) as a WAV file of 16 bits, clipped to [-1, 1]; the inverse of `data.read_wave`.

    >>> import io
    >>> file = io.BytesIO()
    >>> write_wave(file, torch.zeros(8000))  # a second of silence
    >>> len(file.getvalue())
    16044
    """
    _check_wave(wave)
    wavfile.write(file, SAMPLE_RATE, (wave.detach().cpu().clamp(-1, 1) * 32767).round().to(torch.int16).numpy())


# ---------------------------------------------------------------- guards


def _check_waves(waves: Tensor) -> None:
    if waves.ndim != 2 or not waves.is_floating_point() or waves.shape[1] % HOP or waves.numel() == 0:
        raise ValueError(
            f"Waves are (batch, samples), floating point, with a number of samples that {HOP} divides; "
            f"got {waves.dtype} of shape {tuple(waves.shape)}. `data.fit_length` crops or pads them."
        )
    if not waves.isfinite().all():
        raise ValueError("The waves hold NaN or infinity.")


def _check_wave(wave: Tensor) -> None:
    if wave.ndim != 1 or len(wave) == 0:
        raise ValueError(f"A file holds one wave (samples,); the shape is {tuple(wave.shape)}.")


def _check_mels(mels: Tensor) -> None:
    if mels.ndim != 3 or mels.shape[1] != BANDS or mels.numel() == 0:
        raise ValueError(f"A spectrogram is (batch, {BANDS}, frames); got {tuple(mels.shape)}.")
