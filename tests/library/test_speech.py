"""Spoken words and digits, and files that people bring."""

import hashlib
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from vqdit_lite import audio, data
from vqdit_lite.data import places, speech


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tone(hertz, rate=audio.SAMPLE_RATE):
    """A second of it."""
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)


# ---------------------------------------------------------------- words


def test_mu_law_keeps_small_samples_finely():
    x = np.linspace(-1, 1, 1001)
    back = speech.from_mu_law(torch.from_numpy(speech.mu_law(x))).numpy()
    assert np.abs(back - x).max() < 0.022  # half a step where steps are widest
    assert np.abs(back - x)[np.abs(x) < 0.05].max() < 0.002


def test_the_lexicon_holds_every_word_voice_and_speed():
    words, voices = data.lexicon()
    assert {word for word, _, _ in words} == set(data.SPOKEN_WORDS) == {*data.CAPTION_WORDS, *data.DIGITS}
    assert len(voices) == len(data.KNOWN_VOICES) + 1 == data.UNHEARD_VOICE + 1
    assert len(words) == len(data.SPOKEN_WORDS) * len(voices) * speech.SPEEDS
    for wave in words.values():
        assert 0.15 < len(wave) / audio.SAMPLE_RATE < 0.9
        assert wave.abs().max() <= 1
        assert wave.square().mean().sqrt() == pytest.approx(data.LOUDNESS, rel=0.15)


def test_speech_is_seeded_and_differs_between_voices():
    sentence = ["small red circle"] * 8
    first, again = data.speak(sentence, seeded(1)), data.speak(sentence, seeded(1))
    assert torch.equal(first, again)
    assert not torch.equal(first, data.speak(sentence, seeded(2)))
    spectra = audio.log_mel(first)
    assert (spectra[0] - spectra[1:]).abs().mean((1, 2)).min() > 0


def test_every_caption_fits_nearly_whole_in_every_voice():
    """The longest sentence in the slowest voice, with the widest gaps, may lose less than a tenth of a second."""
    words, voices = data.lexicon()
    sizes, colours, shapes = data.CAPTION_WORDS[:2], data.CAPTION_WORDS[2:6], data.CAPTION_WORDS[6:9]
    for voice in range(len(voices)):
        longest = [max(len(words[word, voice, 0]) for word in group) for group in (sizes, colours, shapes)]
        joint = max(len(words[word, voice, 0]) for word in data.CAPTION_WORDS[9:])
        assert 2 * sum(longest) + joint + 7 * 320 < data.SOUND_FRAMES * audio.HOP + 0.1 * audio.SAMPLE_RATE


def test_unknown_words_are_named():
    with pytest.raises(ValueError, match="No recording of purple; there are recordings of: small, large"):
        data.speak(["small purple circle"], seeded())


def test_a_word_of_another_speed_is_faster_and_higher_or_slower_and_lower():
    wave, lengths = torch.from_numpy(tone(440)).float(), []
    for seed in range(40):
        varied = speech.change_speed(wave, seeded(seed))
        assert torch.equal(varied, speech.change_speed(wave, seeded(seed)))
        heard = torch.fft.rfft(varied).abs().argmax().item() * audio.SAMPLE_RATE / len(varied)  # hertz
        assert heard * len(varied) == pytest.approx(440 * len(wave), rel=0.003)  # as many waves as before
        lengths.append(len(varied) / len(wave))
    assert 0.879 <= min(lengths) < 0.9
    assert 1.1 < max(lengths) <= 1.12


# ---------------------------------------------------------------- digits that people spoke


PEOPLE = ("ada", "bob")


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """An empty VQDIT_DATA, an empty folder for downloads, no network, and recordings whose sum is that of `write`."""
    refuse_download(monkeypatch, RuntimeError("no network"))
    monkeypatch.setattr(places, "DOWNLOADS", tmp_path / "downloads")
    monkeypatch.setenv("VQDIT_DATA", str(tmp_path / "sets"))
    sums = write(tmp_path / "elsewhere")
    monkeypatch.setattr(speech, "_SHA256", sums)
    speech._recordings.cache_clear()
    yield tmp_path
    speech._recordings.cache_clear()


def refuse_download(monkeypatch, error):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(speech, "download_and_extract_archive", refuse)


def write(folder):
    """Seven recordings of each digit by two people; returns their sum. Each has a length of its own."""
    folder.mkdir(parents=True)
    draw, digest = np.random.default_rng(0), hashlib.sha256()
    names = sorted(f"{digit}_{who}_{number}.wav" for digit in range(10) for who in PEOPLE for number in range(7))
    for k, name in enumerate(names):
        store(folder / name, draw.uniform(-0.5, 0.5, 50 + k) * draw.uniform(0.1, 1))
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize("below", ["sets", "downloads"])
def test_recordings_are_split_by_their_number(disk, below):
    folder = disk / below / "free-spoken-digits" / "recordings"
    write(folder)
    lengths = {}
    for split, numbers in (("test", range(5)), ("train", (5, 6))):
        waves, labels, speakers = data.spoken_digits(split)
        assert len(waves) == len(labels) == len(speakers) == 10 * 2 * len(numbers)
        lengths[split] = {len(wave) for wave in waves}  # which recordings they are
        for digit in range(10):
            for who in PEOPLE:
                mine = [k for k in range(len(waves)) if labels[k] == digit and speakers[k] == who]
                files = [wavfile.read(folder / f"{digit}_{who}_{number}.wav")[1] for number in numbers]
                assert len(mine) == len(files)
                for k, file in zip(mine, files, strict=True):
                    level = waves[k].square().mean().sqrt().item()
                    assert level == pytest.approx(data.LOUDNESS, rel=1e-5)  # all equally loud
                    wanted = torch.from_numpy(file.astype(np.float32))
                    torch.testing.assert_close(waves[k] / level, wanted / wanted.square().mean().sqrt())
    assert not lengths["train"] & lengths["test"]
    assert len(lengths["train"] | lengths["test"]) == 140


def test_the_folder_that_is_named_comes_before_that_of_downloads(disk, monkeypatch):
    for below in ("sets", "downloads"):
        write(disk / below / "free-spoken-digits" / "recordings")
    assert speech._recordings() == disk / "sets/free-spoken-digits/recordings"
    speech._recordings.cache_clear()
    monkeypatch.delenv("VQDIT_DATA")
    assert speech._recordings() == disk / "downloads/free-spoken-digits/recordings"


def test_recordings_that_are_nowhere_are_downloaded_once(disk, monkeypatch):
    asked = []

    def download(address, root, **options):
        asked.append(address)
        write(Path(root) / "free-spoken-digit-dataset-1.0.10" / "recordings")

    monkeypatch.setattr(speech, "download_and_extract_archive", download)
    for _ in range(2):
        assert len(data.spoken_digits("test").waves) == 100
        speech._recordings.cache_clear()
    assert len(asked) == 1
    assert asked[0].endswith("v1.0.10.zip")


@pytest.mark.parametrize("error", [RuntimeError("no network"), TimeoutError("too late")])
def test_recordings_that_cannot_be_had_name_the_folders(disk, monkeypatch, error):
    refuse_download(monkeypatch, error)
    with pytest.raises(FileNotFoundError, match=f"the download failed \\({error}\\).*VQDIT_DATA") as caught:
        data.spoken_digits("train")
    for below in ("sets", "downloads"):
        assert str(disk / below / "free-spoken-digits" / "recordings") in str(caught.value)


def test_a_download_that_broke_off_is_said_in_a_sentence(disk, monkeypatch):
    from torchvision.datasets import utils

    def no_network(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr(speech, "download_and_extract_archive", utils.download_and_extract_archive)
    monkeypatch.setattr(utils, "_urlretrieve", no_network)
    (disk / "downloads").mkdir()
    (disk / "downloads" / "free-spoken-digits.zip").write_bytes(b"half of an archive")
    with pytest.raises((FileNotFoundError, ValueError), match=r"spoken digits|remove it"):
        data.spoken_digits("train")


@pytest.mark.parametrize("change", ["other", "missing", "swapped", "more"])
def test_recordings_that_are_not_those_of_the_release_are_refused(disk, change):
    folder = disk / "sets" / "free-spoken-digits" / "recordings"
    write(folder)
    one, two = folder / "3_ada_4.wav", folder / "8_bob_0.wav"
    content = one.read_bytes()
    if change == "other":
        one.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif change == "missing":
        one.unlink()
    elif change == "swapped":
        one.write_bytes(two.read_bytes())
        two.write_bytes(content)
    else:
        (folder / "9_eve_0.wav").write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(folder))} does not hold .* remove it and fetch it again"):
        data.spoken_digits("test")


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match='"sample", "train" or "test"; it is \'validation\''):
        data.spoken_digits("validation")


def test_the_sample_holds_every_person_and_digit_once():
    waves, labels, speakers = data.spoken_digits("sample")
    assert len(waves) == 60
    assert len(set(speakers)) == 6
    assert sorted(zip(speakers, labels.tolist(), strict=True)) == [
        (who, digit) for who in sorted(set(speakers)) for digit in range(10)
    ]
    for wave in waves:
        assert 0.1 < len(wave) / audio.SAMPLE_RATE < 1.5
        assert wave.abs().max() <= 1
        assert wave.square().mean().sqrt() == pytest.approx(data.LOUDNESS, rel=0.05)  # some clipped


def test_the_sample_is_the_first_recording_of_each_person_and_digit(monkeypatch):
    refuse_download(monkeypatch, RuntimeError("no network"))
    speech._recordings.cache_clear()
    try:
        people = {split: data.spoken_digits(split) for split in ("test", "train")}
    except FileNotFoundError:
        pytest.skip("The recordings are not on this machine.")
    finally:
        speech._recordings.cache_clear()
    sample = data.spoken_digits("sample")
    keys = list(zip(sample.speakers, sample.labels.tolist(), strict=True))
    for split, each in (("test", 5), ("train", 45)):
        found = list(zip(people[split].speakers, people[split].labels.tolist(), strict=True))
        assert len(found) == 60 * each
        assert all(found.count(key) == each for key in keys)
    first = people["test"].waves[::5]
    for wave, shipped in zip(first, sample.waves, strict=True):
        assert (wave.clamp(-1, 1) - shipped).abs().max() < 0.022  # half a step of mu-law where steps are widest
    assert people["test"].labels[::5].tolist() == sample.labels.tolist()
    assert people["test"].speakers[::5] == sample.speakers


# ---------------------------------------------------------------- what people bring


def store(path, wave, rate=audio.SAMPLE_RATE, kind=np.int16):
    scale = {np.int16: 32767, np.int32: 2**31 - 1, np.float32: 1}.get(kind)
    wavfile.write(path, rate, (wave * 127.5 + 127.5 if kind == np.uint8 else wave * scale).astype(kind))
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
def test_all_kinds_of_samples_read_alike(tmp_path, kind):
    wave = data.read_wave(store(tmp_path / "tone.wav", tone(440), kind=kind))
    torch.testing.assert_close(wave, torch.from_numpy(tone(440)).float(), rtol=0, atol=0.015)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 6000])
def test_other_rates_are_resampled(tmp_path, rate):
    wave = data.read_wave(store(tmp_path / "tone.wav", tone(440, rate=rate), rate))
    assert len(wave) == pytest.approx(audio.SAMPLE_RATE, abs=2)
    spectrum = torch.fft.rfft(wave[: audio.SAMPLE_RATE]).abs()
    assert spectrum.argmax().item() == pytest.approx(440, abs=2)


def test_channels_are_mixed_down(tmp_path):
    both = np.stack([tone(440), np.zeros(audio.SAMPLE_RATE)], 1)
    wave = data.read_wave(store(tmp_path / "stereo.wav", both))
    torch.testing.assert_close(wave, torch.from_numpy(tone(440) / 2).float(), rtol=0, atol=1e-3)


def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path):
    whole = store(tmp_path / "whole.wav", tone(440)).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "nothing.wav").write_bytes(b"")
    for name in ("cut", "text", "nothing"):
        with pytest.raises(ValueError, match=rf"{re.escape(name)}\.wav cannot be read as a WAV file"):
            data.read_wave(tmp_path / f"{name}.wav")
    with pytest.raises(ValueError, match="has no samples"):
        data.read_wave(store(tmp_path / "empty.wav", np.zeros(0)))
    with pytest.raises(ValueError, match="only silence"):
        data.read_wave(store(tmp_path / "silent.wav", np.zeros(8000)))
    with pytest.raises(FileNotFoundError, match="no file"):
        data.read_wave(tmp_path / "missing.wav")
    with pytest.warns(UserWarning, match="clipped"):
        data.read_wave(store(tmp_path / "loud.wav", np.clip(5 * tone(440), -1, 1)))


def test_sounds_are_cropped_or_padded_to_length():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short = data.fit_length(torch.ones(100))
    assert short.shape == (data.SOUND_FRAMES * audio.HOP,)
    assert short.sum() == 100
    with pytest.warns(UserWarning, match=r"lasts 5\.0 s; only the first 4\.16 s"):
        assert data.fit_length(torch.ones(40_000)).sum() == data.SOUND_FRAMES * audio.HOP
