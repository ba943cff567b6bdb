"""Makes digits.npz: the first recording of each person and digit, as 8-bit mu-law, so that the course has real voices.

Run it with the recordings at hand (see ../README.md): python data/speech/digits.py
"""

from pathlib import Path

import numpy as np
import torch

from vqdit_lite.data.speech import mu_law, spoken_digits

if __name__ == "__main__":
    people = spoken_digits("test")
    first = range(0, len(people.waves), 5)  # sorted by digit, person and number
    waves = [people.waves[k] for k in first]
    np.savez_compressed(
        Path(__file__).parent / "digits.npz",
        sound=mu_law(torch.cat(waves).clamp(-1, 1).numpy()),
        lengths=np.array([len(wave) for wave in waves]),
        labels=people.labels[list(first)].numpy(),
        speakers=np.array([people.speakers[k] for k in first]),
    )
