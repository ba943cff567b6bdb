"""Sound to pictures and back; spoken words; files that people bring."""

import re
import warnings

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from vqdit_lite import sound
from vqdit_lite.data import CAPTION_WORDS

DIGITS = "zero one two three four five six seven eight nine".split()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tone(hertz, seconds=1.0, rate=sound.SAMPLE_RATE):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


# ---------------------------------------------------------------- spectrograms


def test_mel_filters_are_those_of_librosa():
    librosa = pytest.importorskip("librosa")
    theirs = librosa.filters.mel(
        sr=sound.SAMPLE_RATE, n_fft=sound.WINDOW, n_mels=sound.BANDS, htk=True, norm=None, dtype=np.float64
    )
    torch.testing.assert_close(sound.mel_filters(), torch.from_numpy(theirs).float(), rtol=1e-5, atol=1e-6)


def test_the_spectrum_is_that_of_librosa():
    librosa = pytest.importorskip("librosa")
    wave = torch.randn(3200, generator=seeded())
    theirs = librosa.stft(wave.numpy(), n_fft=sound.WINDOW, hop_length=sound.HOP, pad_mode="constant")
    torch.testing.assert_close(sound.spectrum(wave[None])[0], torch.from_numpy(theirs), rtol=1e-4, atol=1e-4)


def test_no_frequency_between_the_outer_edges_is_lost():
    covered = sound.mel_filters().sum(0)
    assert (covered[1:-1] > 0).all()
    assert covered.max() <= 1 + 1e-6  # neighbouring triangles add up to one


@pytest.mark.parametrize("hertz", [300, 1000, 2500])
def test_a_tone_is_brightest_in_the_band_that_holds_it(hertz):
    picture = sound.log_mel(torch.from_numpy(tone(hertz)).float()[None])[0]  # (bands, frames)
    band = picture[:, 10].argmax()
    bins = torch.linspace(0, sound.SAMPLE_RATE / 2, sound.WINDOW // 2 + 1)
    inside = bins[sound.mel_filters()[band] > 0]
    assert inside.min() <= hertz <= inside.max()


def test_silence_is_black_and_twice_as_loud_is_a_fixed_step_brighter():
    assert sound.log_mel(torch.zeros(1, 1600)).eq(0).all()
    wave = 0.1 * torch.randn(1, 1600, generator=seeded())
    step = sound.log_mel(2 * wave) - sound.log_mel(wave)
    torch.testing.assert_close(step, torch.full_like(step, np.log10(4) / 6), rtol=0, atol=1e-4)


def test_a_frame_more_moves_the_picture_by_a_frame():
    wave = torch.nn.functional.pad(0.1 * torch.randn(1, 1600, generator=seeded()), (1600, 1600))
    moved = wave.roll(sound.HOP, 1)
    torch.testing.assert_close(sound.log_mel(moved)[..., 1:], sound.log_mel(wave)[..., :-1], rtol=0, atol=1e-4)


def test_there_and_back_explains_nearly_all_of_the_picture():
    waves = sound.speak(["small red circle above large blue square", "seven"], seeded())
    picture = sound.log_mel(waves)
    again = sound.log_mel(sound.to_waves(picture))
    assert 1 - (again - picture).square().mean() / picture.var() > 0.97


def test_griffin_and_lim_come_nearer_with_more_steps():
    picture = sound.log_mel(sound.speak(["large yellow triangle"], seeded()))
    errors = [(sound.log_mel(sound.to_waves(picture, n)) - picture).square().mean().item() for n in (0, 4, 32)]
    assert errors[0] > errors[1] > errors[2]


def test_phases_are_found_as_well_as_by_librosa():
    """Same magnitudes, steps and momentum: how far is the spectrum of the wave from what was asked?"""
    librosa = pytest.importorskip("librosa")
    picture = sound.log_mel(sound.speak(["small green square"], seeded()))
    asked = torch.nn.functional.pad(sound._powers(picture).sqrt(), (0, 1))[0]
    length = sound.FRAMES * sound.HOP
    settings = {"hop_length": sound.HOP, "n_fft": sound.WINDOW, "length": length, "pad_mode": "constant"}
    theirs = torch.from_numpy(librosa.griffinlim(asked.numpy(), n_iter=32, random_state=0, **settings))

    def error(wave):
        return (sound.spectrum(wave[None])[0].abs() - asked).norm() / asked.norm()

    assert error(sound.to_waves(picture)[0]) < 1.1 * error(theirs)


# ---------------------------------------------------------------- words


def test_mu_law_keeps_small_samples_finely():
    x = np.linspace(-1, 1, 1001)
    back = sound.from_mu_law(torch.from_numpy(sound.mu_law(x))).numpy()
    assert np.abs(back - x).max() < 0.022  # half a step where steps are widest
    assert np.abs(back - x)[np.abs(x) < 0.05].max() < 0.002


def test_the_lexicon_holds_every_word_voice_and_speed():
    words, voices = sound.lexicon()
    assert {word for word, _, _ in words} == {*CAPTION_WORDS, *DIGITS}
    assert len(voices) == len(sound.KNOWN_VOICES) + 1 == sound.UNHEARD_VOICE + 1
    assert len(words) == len({*CAPTION_WORDS, *DIGITS}) * len(voices) * sound.SPEEDS
    for wave in words.values():
        assert 0.15 < len(wave) / sound.SAMPLE_RATE < 0.9
        assert wave.abs().max() <= 1
        assert wave.square().mean().sqrt() == pytest.approx(sound.LOUDNESS, rel=0.15)


def test_speech_is_seeded_and_differs_between_voices():
    sentence = ["small red circle"] * 8
    first, again = sound.speak(sentence, seeded(1)), sound.speak(sentence, seeded(1))
    assert torch.equal(first, again)
    assert not torch.equal(first, sound.speak(sentence, seeded(2)))
    spectra = sound.log_mel(first)
    assert (spectra[0] - spectra[1:]).abs().mean((1, 2)).min() > 0


def test_every_caption_fits_nearly_whole_in_every_voice():
    """The longest sentence in the slowest voice, with the widest gaps, may lose less than a tenth of a second."""
    words, voices = sound.lexicon()
    sizes, colours, shapes = CAPTION_WORDS[:2], CAPTION_WORDS[2:6], CAPTION_WORDS[6:9]
    for voice in range(len(voices)):
        longest = [max(len(words[word, voice, 0]) for word in group) for group in (sizes, colours, shapes)]
        joint = max(len(words[word, voice, 0]) for word in CAPTION_WORDS[9:])
        assert 2 * sum(longest) + joint + 7 * 320 < sound.FRAMES * sound.HOP + 0.1 * sound.SAMPLE_RATE


def test_unknown_words_are_named():
    with pytest.raises(ValueError, match="Nobody has spoken purple; spoken words are: small, large"):
        sound.speak(["small purple circle"], seeded())


# ---------------------------------------------------------------- what people bring


def store(path, wave, rate=sound.SAMPLE_RATE, kind=np.int16):
    scale = {np.int16: 32767, np.int32: 2**31 - 1, np.float32: 1}.get(kind)
    wavfile.write(path, rate, (wave * 127.5 + 127.5 if kind == np.uint8 else wave * scale).astype(kind))
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
def test_all_kinds_of_samples_read_alike(tmp_path, kind):
    wave = sound.read_wave(store(tmp_path / "tone.wav", tone(440), kind=kind))
    torch.testing.assert_close(wave, torch.from_numpy(tone(440)).float(), rtol=0, atol=0.015)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 6000])
def test_other_rates_are_resampled(tmp_path, rate):
    wave = sound.read_wave(store(tmp_path / "tone.wav", tone(440, rate=rate), rate))
    assert len(wave) == pytest.approx(sound.SAMPLE_RATE, abs=2)
    spectrum = torch.fft.rfft(wave[: sound.SAMPLE_RATE]).abs()
    assert spectrum.argmax().item() == pytest.approx(440, abs=2)


def test_channels_are_mixed_down(tmp_path):
    both = np.stack([tone(440), np.zeros(sound.SAMPLE_RATE)], 1)
    wave = sound.read_wave(store(tmp_path / "stereo.wav", both))
    torch.testing.assert_close(wave, torch.from_numpy(tone(440) / 2).float(), rtol=0, atol=1e-3)


def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path):
    whole = store(tmp_path / "whole.wav", tone(440)).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "nothing.wav").write_bytes(b"")
    for name in ("cut", "text", "nothing"):
        with pytest.raises(ValueError, match=rf"{re.escape(name)}\.wav cannot be read as a WAV file"):
            sound.read_wave(tmp_path / f"{name}.wav")
    with pytest.raises(ValueError, match="has no samples"):
        sound.read_wave(store(tmp_path / "empty.wav", np.zeros(0)))
    with pytest.raises(ValueError, match="only silence"):
        sound.read_wave(store(tmp_path / "silent.wav", np.zeros(8000)))
    with pytest.raises(FileNotFoundError, match="no file"):
        sound.read_wave(tmp_path / "missing.wav")
    with pytest.warns(UserWarning, match="clipped"):
        sound.read_wave(store(tmp_path / "loud.wav", np.clip(5 * tone(440), -1, 1)))


def test_sounds_are_cut_or_filled_to_length():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short = sound.fit_length(torch.ones(100))
    assert short.shape == (sound.FRAMES * sound.HOP,)
    assert short.sum() == 100
    with pytest.warns(UserWarning, match=r"lasts 5\.0 s; only the first 4\.16 s"):
        assert sound.fit_length(torch.ones(40_000)).sum() == sound.FRAMES * sound.HOP


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
        sound.log_mel(waves)


def test_spectrograms_of_a_wrong_kind_are_named():
    with pytest.raises(ValueError, match=r"\(batch, 32, frames\)"):
        sound.to_waves(torch.zeros(1, 16, 10))
