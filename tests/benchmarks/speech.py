"""The shipped model of words and speech: how fast it hears and speaks, and what each voice costs it.

python tests/benchmarks/speech.py (two minutes on two cores; real digits need the Free Spoken Digit Dataset at hand)
"""

import torch
from timing import seconds

from vqdit_lite import models, recipes, sound
from vqdit_lite.training import pick_device


@torch.no_grad()
def main():
    device, generator = pick_device(), torch.Generator().manual_seed(2_000_000)
    model, judge, layout = models.load("joint_speech", device), models.load("judge_speech", device), models.SPEECH
    spoken = recipes.captions_shown(16, generator)
    x = models.spoken_sequences(spoken, device)

    def hear(x):
        filled = models.fill_in(layout, model, x, layout.tokens("sound"), generator, steps=7)
        return models.SPOKEN.decode(layout.unpack(filled)["text"])

    print(f"{device.type}, {torch.get_num_threads()} threads, 16 sentences of 4.16 s:")
    print(f"  hear them: {seconds(lambda: hear(x)):.2f} s")
    print(f"  speak them: {seconds(lambda: models.say(model, spoken.sentences, generator, device)):.2f} s")
    for voice, name in enumerate(sound.lexicon()[1]):
        fresh = recipes.captions_shown(200, generator, [voice])
        error = recipes.word_error(fresh.sentences, hear(models.spoken_sequences(fresh, device)))
        heard = models.listen(judge, fresh.mels.to(device))
        judged = recipes.word_error(fresh.sentences, heard)
        known = "" if voice in sound.KNOWN_VOICES else " (never heard in training)"
        print(f"{name}{known}: word error {error:.2%}; of the judge {judged:.2%}", flush=True)
    people = sound.spoken_digits("test")
    heard = models.heard_digits(model, people.waves, device)
    for speaker in dict.fromkeys(people.speakers):
        own = torch.tensor([name == speaker for name in people.speakers])
        print(f"{speaker}: {(heard == people.labels)[own].sum()} of {own.sum()} digits right")


if __name__ == "__main__":
    main()
