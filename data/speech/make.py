"""Make the spoken words again: python data/speech/make.py (needs the program espeak-ng, for instance from Debian).

Each word of the captions and each digit is spoken by seven voices at three speeds, cut out of its silence, brought to
8 kHz and equal loudness, and stored as 8-bit mu-law in words.npz.
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from vqdit_lite.audio import SAMPLE_RATE
from vqdit_lite.data.speech import LOUDNESS, SPOKEN_WORDS, mu_law

VOICES = (
    "en-us+m3 en-us+f2 en-gb+m7 en-gb-scotland+f4 en-us+m1 en-gb+f1 en-gb-x-rp+f3".split()
)  # the last is kept for tests
SPEEDS = 180, 205, 235  # words a minute


def speak(word: str, voice: str, speed: int) -> np.ndarray:
    """One spoken word as floats in [-1, 1] at SAMPLE_RATE, without silence around it."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/word.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", file, word], check=True)
        rate, wave = wavfile.read(file)
    wave = resample_poly(wave.astype(np.float64), SAMPLE_RATE, rate)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    wave = wave[loud[0] : loud[-1] + 1]
    return np.clip(wave * LOUDNESS / np.sqrt(np.mean(wave**2)), -1, 1)


if __name__ == "__main__":
    waves = [speak(word, voice, speed) for word in SPOKEN_WORDS for voice in VOICES for speed in SPEEDS]
    lengths = np.array([len(wave) for wave in waves]).reshape(len(SPOKEN_WORDS), len(VOICES), len(SPEEDS))
    sound = mu_law(np.concatenate(waves))
    file = Path(__file__).with_name("words.npz")
    np.savez_compressed(file, words=SPOKEN_WORDS, voices=VOICES, speeds=SPEEDS, lengths=lengths, sound=sound)
    print(f"{file}: {len(waves)} words, {len(sound) / SAMPLE_RATE:.0f} s, {file.stat().st_size / 1e6:.2f} MB")
