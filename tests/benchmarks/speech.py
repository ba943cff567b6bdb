"""The shipped model of words and speech: how fast it hears and speaks, and what each voice costs it.

python tests/benchmarks/speech.py (two minutes on two cores; real digits need the Free Spoken Digit Dataset at hand)
"""

import torch
from timing import seconds

from vqdit_lite import data
from vqdit_lite.data.speech import spoken_captions
from vqdit_lite.metrics import word_error_rate
from vqdit_lite.multimodal import fill_in
from vqdit_lite.shipped import judges, load, speech
from vqdit_lite.training import pick_device


@torch.no_grad()
def main():
    device, generator = pick_device(), torch.Generator().manual_seed(2_000_000)
    model, judge, layout = load("joint_speech", device), load("judge_speech", device), speech.LAYOUT
    spoken = spoken_captions(16, generator)
    x = speech.spoken_sequences(spoken, device)

    def hear(x):
        filled = fill_in(layout, model, x, layout.tokens("sound"), generator, steps=7)
        return speech.TOKENIZER.decode(layout.unpack(filled)["text"])

    print(f"{device.type}, {torch.get_num_threads()} threads, 16 sentences of 4.16 s:")
    print(f"  hear them: {seconds(lambda: hear(x)):.2f} s")
    print(f"  speak them: {seconds(lambda: speech.say(model, spoken.sentences, generator, device)):.2f} s")
    for voice, name in enumerate(data.lexicon()[1]):
        fresh = spoken_captions(200, generator, [voice])
        error = word_error_rate(fresh.sentences, hear(speech.spoken_sequences(fresh, device)))
        heard = judges.listen(judge, fresh.mels.to(device))
        judged = word_error_rate(fresh.sentences, heard)
        known = "" if voice in data.KNOWN_VOICES else " (never heard in training)"
        print(f"{name}{known}: word error {error:.2%}; of the judge {judged:.2%}", flush=True)
    people = data.spoken_digits("test")
    heard = speech.heard_digits(model, people.waves, device)
    for speaker in dict.fromkeys(people.speakers):
        own = torch.tensor([name == speaker for name in people.speakers])
        print(f"{speaker}: {(heard == people.labels)[own].sum()} of {own.sum()} digits right")


if __name__ == "__main__":
    main()
