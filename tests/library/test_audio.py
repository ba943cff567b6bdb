"""Waves to spectrograms and back."""

import re

import numpy as np
import pytest
import torch

from vqdit_lite import audio, data


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tone(hertz):
    """A second of it."""
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(audio.SAMPLE_RATE) / audio.SAMPLE_RATE)


# ---------------------------------------------------------------- spectrograms


def test_mel_filters_are_those_of_librosa():
    librosa = pytest.importorskip("librosa")
    theirs = librosa.filters.mel(
        sr=audio.SAMPLE_RATE, n_fft=audio.WINDOW, n_mels=audio.BANDS, htk=True, norm=None, dtype=np.float64
    )
    torch.testing.assert_close(audio.mel_filters(), torch.from_numpy(theirs).float(), rtol=1e-5, atol=1e-6)


def test_the_spectrum_is_that_of_librosa():
    librosa = pytest.importorskip("librosa")
    wave = torch.randn(3200, generator=seeded())
    theirs = librosa.stft(wave.numpy(), n_fft=audio.WINDOW, hop_length=audio.HOP, pad_mode="constant")
    torch.testing.assert_close(audio.stft(wave[None])[0], torch.from_numpy(theirs), rtol=1e-4, atol=1e-4)


def test_no_frequency_between_the_outer_edges_is_lost():
    covered = audio.mel_filters().sum(0)
    assert (covered[1:-1] > 0).all()
    assert covered.max() <= 1 + 1e-6  # neighbouring triangles add up to one


@pytest.mark.parametrize("hertz", [300, 1000, 2500])
def test_a_tone_is_brightest_in_the_band_that_holds_it(hertz):
    picture = audio.log_mel(torch.from_numpy(tone(hertz)).float()[None])[0]  # (bands, frames)
    band = picture[:, 10].argmax()
    bins = torch.linspace(0, audio.SAMPLE_RATE / 2, audio.WINDOW // 2 + 1)
    inside = bins[audio.mel_filters()[band] > 0]
    assert inside.min() <= hertz <= inside.max()


def test_silence_is_black_and_twice_as_loud_is_a_fixed_step_brighter():
    assert audio.log_mel(torch.zeros(1, 1600)).eq(0).all()
    wave = 0.1 * torch.randn(1, 1600, generator=seeded())
    step = audio.log_mel(2 * wave) - audio.log_mel(wave)
    torch.testing.assert_close(step, torch.full_like(step, np.log10(4) / 6), rtol=0, atol=1e-4)


def test_a_frame_more_moves_the_picture_by_a_frame():
    wave = torch.nn.functional.pad(0.1 * torch.randn(1, 1600, generator=seeded()), (1600, 1600))
    moved = wave.roll(audio.HOP, 1)
    torch.testing.assert_close(audio.log_mel(moved)[..., 1:], audio.log_mel(wave)[..., :-1], rtol=0, atol=1e-4)


def test_there_and_back_explains_nearly_all_of_the_picture():
    waves = data.speak(["small red circle above large blue square", "seven"], seeded())
    picture = audio.log_mel(waves)
    again = audio.log_mel(audio.to_waves(picture))
    assert 1 - (again - picture).square().mean() / picture.var() > 0.97


def test_powers_have_the_bands_of_the_picture_and_none_is_below_zero():
    picture = audio.log_mel(data.speak(["small green square"], seeded()))
    powers = audio.mel_to_power(picture)
    assert powers.min() >= 0
    level = ((audio.mel_filters() @ powers).clamp(min=1e-3).log10() + 3) / 6
    assert (level - picture).abs().mean() < 0.01


def test_griffin_and_lim_come_nearer_with_more_steps():
    picture = audio.log_mel(data.speak(["large yellow triangle"], seeded()))
    errors = [(audio.log_mel(audio.to_waves(picture, n)) - picture).square().mean().item() for n in (0, 4, 32)]
    assert errors[0] > errors[1] > errors[2]


def test_phases_are_found_as_well_as_by_librosa():
    """Same magnitudes, steps and momentum: how far is the spectrum of the wave from what was asked?"""
    librosa = pytest.importorskip("librosa")
    picture = audio.log_mel(data.speak(["small green square"], seeded()))
    asked = torch.nn.functional.pad(audio.mel_to_power(picture).sqrt(), (0, 1))[0]
    length = data.SOUND_FRAMES * audio.HOP
    settings = {"hop_length": audio.HOP, "n_fft": audio.WINDOW, "length": length, "pad_mode": "constant"}
    theirs = torch.from_numpy(librosa.griffinlim(asked.numpy(), n_iter=32, random_state=0, **settings))

    def error(wave):
        return (audio.stft(wave[None])[0].abs() - asked).norm() / asked.norm()

    assert error(audio.to_waves(picture)[0]) < 1.1 * error(theirs)


def test_a_wave_that_is_written_can_be_read(tmp_path):
    wave = torch.from_numpy(tone(440)).float()
    audio.write_wave(tmp_path / "tone.wav", 2 * wave)
    torch.testing.assert_close(data.read_wave(tmp_path / "tone.wav"), 2 * wave, rtol=0, atol=1e-4)
    audio.write_wave(tmp_path / "loud.wav", 4 * wave)
    with pytest.warns(UserWarning, match="clipped"):
        assert data.read_wave(tmp_path / "loud.wav").abs().max() <= 1


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("waves", "sentence"),
    [
        (torch.zeros(1600), "Waves are"),
        (torch.zeros(1, 1601), "that 160 divides"),
        (torch.zeros(1, 0), "Waves are"),
        (torch.zeros(1, 1600, dtype=torch.int16), "floating point"),
        (torch.full((1, 1600), torch.nan), "NaN"),
    ],
)
def test_waves_of_a_wrong_kind_are_named(waves, sentence):
    with pytest.raises(ValueError, match=sentence):
        audio.log_mel(waves)


@pytest.mark.parametrize("use", [audio.to_waves, audio.mel_to_power])
def test_spectrograms_of_a_wrong_kind_are_named(use):
    with pytest.raises(ValueError, match=r"\(batch, 32, frames\); got \(1, 16, 10\)"):
        use(torch.zeros(1, 16, 10))


@pytest.mark.parametrize("shape", [(2, 1600), (0,), ()])
def test_what_is_no_single_wave_is_not_written(tmp_path, shape):
    with pytest.raises(ValueError, match=r"one wave \(samples,\); the shape is " + re.escape(str(shape))):
        audio.write_wave(tmp_path / "wave.wav", torch.zeros(shape))
    assert not list(tmp_path.iterdir())
