"""Every numbered equation of chapter 10, checked numerically."""

import math
from functools import cache

import pytest
import torch

from vqdit_lite import audio, data
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.metrics import edit_distance
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.residual import ResidualQuantizer


def mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def test_equation_10_1_puts_1000_hertz_at_1000_mel_and_the_peaks_at_equal_steps():
    assert mel(1000) == pytest.approx(1000, abs=0.1)  # how the scale was anchored
    hertz = torch.linspace(0, audio.SAMPLE_RATE / 2, audio.WINDOW // 2 + 1)
    filters = audio.mel_filters()
    step = mel(audio.SAMPLE_RATE / 2) / (audio.BANDS + 1)
    for number in range(10, audio.BANDS):  # lower triangles hold few bins, so that their middle is coarse
        middle = (filters[number] * hertz).sum() / filters[number].sum()
        left, right = (700 * (10 ** ((number + k) * step / 2595) - 1) for k in (0, 2))
        peak = 700 * (10 ** ((number + 1) * step / 2595) - 1)
        assert middle.item() == pytest.approx((left + peak + right) / 3, rel=0.02)  # of a triangle


def test_equation_10_2_makes_ten_times_the_power_a_sixth_brighter_and_keeps_the_ends():
    noise = 0.3 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    powers = audio.mel_filters() @ audio.stft(noise)[..., :-1].abs().square()
    expected = (powers.clamp(min=1e-3).log10() + 3) / 6
    torch.testing.assert_close(audio.log_mel(noise), expected.clamp(max=1), rtol=0, atol=1e-4)
    quieter = audio.log_mel(noise / 10)  # a hundredth of the power
    inside = (quieter > 0) & (audio.log_mel(noise) < 1)
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(
        (audio.log_mel(noise) - quieter)[inside], torch.full((inside.sum(),), 1 / 3), rtol=0, atol=1e-3
    )


def test_equation_10_3_leaves_the_phases_of_a_true_spectrum_as_they_are_and_sizes_one():
    """A spectrum that belongs to a wave is a fixed point: there and back changes nothing."""
    wave = data.speak(["seven"], torch.Generator().manual_seed(0))
    spectrum = audio.stft(wave)
    size, phase = spectrum.abs(), spectrum / spectrum.abs().clamp(min=1e-9)
    window = torch.hann_window(audio.WINDOW)
    back = torch.istft(size * phase, audio.WINDOW, audio.HOP, window=window, length=wave.shape[1])
    current = audio.stft(back)
    ahead = current + 0.99 * (current - spectrum)  # the last change was none
    new = ahead / ahead.abs().clamp(min=1e-9)
    loud = size > 0.1
    torch.testing.assert_close(new[loud], phase[loud], rtol=0, atol=1e-2)
    assert new[loud].abs().sub(1).abs().max() < 1e-5


@pytest.mark.parametrize(("stages", "num_codes"), [(1, 256), (4, 64)])
def test_equation_10_4_counts_the_ids_that_a_quantizer_writes_in_a_second(stages, num_codes):
    quantizer = ResidualQuantizer([VectorQuantizer(num_codes, 4) for _ in range(stages)])
    model = VQVAE((audio.BANDS, data.SOUND_FRAMES), quantizer, width=8)
    ids = model.encode(torch.rand(1, audio.BANDS, data.SOUND_FRAMES))
    seconds = data.SOUND_FRAMES * audio.HOP / audio.SAMPLE_RATE
    rate = audio.SAMPLE_RATE / audio.HOP / 4 * stages * math.log2(num_codes)
    assert ids.numel() * math.log2(num_codes) / seconds == pytest.approx(rate)


def test_equation_10_5_is_the_recursion_from_the_ends():
    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        wrong = said[i - 1] != heard[j - 1]
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + wrong)

    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        lengths = torch.randint(0, 7, (2,), generator=generator).tolist()
        said, heard = (torch.randint(3, (n,), generator=generator).tolist() for n in lengths)
        distance.cache_clear()
        assert edit_distance(said, heard) == distance(len(said), len(heard))
