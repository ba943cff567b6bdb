"""The any-to-any model and the assistant: seconds for an answer, and what guidance, steps and tries do for it.

python tests/benchmarks/answers.py (five minutes on two cores)
"""

import torch
from timing import seconds

from vqdit_lite import data
from vqdit_lite.app.assistant import Assistant
from vqdit_lite.shipped import any_to_any
from vqdit_lite.training import pick_device

SENTENCE = "small red circle above large blue square"


@torch.no_grad()
def main():
    device, generator = pick_device(), torch.Generator().manual_seed(2_000_000)
    assistant = Assistant(device)
    prompts = {"text": SENTENCE, **{kind: assistant.ask(SENTENCE, kind, generator) for kind in ("picture", "sound")}}
    print(f"{device.type}, {torch.get_num_threads()} threads, seconds for one answer:")
    for given, prompt in prompts.items():
        for asked in ("text", "picture", "sound", "clip"):
            if given != asked:
                taken = seconds(lambda prompt=prompt, asked=asked: assistant.ask(prompt, asked, generator))
                print(f"  {given} to {asked}: {taken:.2f}", flush=True)

    fresh = data.scenes(200, generator)
    x = any_to_any.triples(fresh, generator, device)
    print("words to picture, right of 200:")
    for scale, steps, tries in ((1, 36, 1), (2, 8, 1), (2, 16, 1), (2, 36, 1), (3, 36, 1), (2, 36, 3)):
        made = any_to_any.translate(
            assistant.model, x, "text", "picture", generator, scale=scale, steps=steps, tries=tries
        )
        share = any_to_any.share_right(made, "picture", fresh, device)
        print(f"  guidance {scale}, {steps} steps, {tries} tries: {share:.1%}", flush=True)


if __name__ == "__main__":
    main()
