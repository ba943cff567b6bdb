"""The command line: python -m vqdit_lite doctor | generate PROMPT | learn FOLDER | train NAME."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

STOPPED = "Stopped. The same command goes on from the last save."
UNWRITTEN = "Stopped. Nothing was written."

GENERATE = """\
Ask for words, a picture, speech or a clip; give words, a picture or a voice.

PROMPT is a sentence, or the name of a file with a picture (.png, .jpg …) or a voice (.wav).
OUT says by its ending what you want:
  .png .jpg .webp   a picture of 24 × 24 pixels, enlarged ten times
  .wav              speech
  .gif .apng        a clip of eight frames
  .txt              words; without OUT they are printed

  python -m vqdit_lite generate "small red circle above large blue square" out.png
  python -m vqdit_lite generate out.png out.wav
  python -m vqdit_lite generate out.wav
  python -m vqdit_lite generate "large green triangle turns" out.gif
  python -m vqdit_lite generate seven seven.png --model runs/mine

Sentences name one or two objects by size, colour and shape, with "above" or "beside" between them: small or large; red,
green, blue or yellow; circle, square or triangle. For a clip, say what the first object does: it moves left, right, up
or down, grows, shrinks, turns or becomes another colour; if you do not say it, chance decides.
"""

LEARN = """\
Learn from your own pictures, and draw new ones.

FOLDER holds pictures: at least 20, better thousands. You may say what they show, in one of two ways:
  folders    FOLDER/cat/1.png, FOLDER/dog/2.png …: the name of the folder is the class;
  captions   FOLDER/captions.txt (or .csv): on each line the name of a file, a tab or comma, and a caption.
Photographs, drawings, small, large, grey, transparent and animated pictures all do: each is cropped to a square and
scaled. Files that cannot be read are left out and named.

What happens:
  1. A VQ-VAE learns to turn each picture into a grid of tokens, and tokens into pictures (chapter 02).
  2. A diffusion transformer learns to fill in hidden tokens, until it fills a grid that is all hidden: a new picture,
     of the class or caption that you ask for (chapters 08 and 09).
  3. What was learned is measured on pictures that were held out, each score beside its floor, and drawn: gallery.png.
Then draw as many as you like: python -m vqdit_lite generate cat cat.png --model runs/mine

In grey, with 32 × 32 pixels, this is about nine minutes of work for one core; colour and more pixels take longer.
Stop it whenever you like (Ctrl-C): the same command goes on from the last save and ends with the same weights.
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m vqdit_lite", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_doctor, _add_generate, _add_train, _add_learn):
        add(commands)
    options = parser.parse_args(arguments)
    return options.run(options)


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    doctor = commands.add_parser("doctor", help="check the environment: one line each, OK or what to do")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from vqdit_lite.app.doctor import examine

    healthy = True
    for fine, line in examine():
        print("OK     " if fine else "MISSING", line)
        healthy &= fine
    print("All is well." if healthy else "Something is missing: see the lines above.")
    return 0 if healthy else 1


def _add_generate(commands: argparse._SubParsersAction) -> None:
    generate = commands.add_parser(
        "generate",
        help="ask the any-to-any model: words, a picture or a voice in; words, a picture, speech or a clip out",
        description=GENERATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    generate.add_argument("prompt", metavar="PROMPT", help="a sentence, or the name of a file")
    generate.add_argument("out", metavar="OUT", nargs="?", help="the file to write")
    generate.add_argument("--seed", type=int, default=0, help="another one gives another answer (default: 0)")
    generate.add_argument(
        "--guidance", type=float, help="how closely to follow the prompt; 1 is no closer (default: 2; 1.5 for speech)"
    )
    generate.add_argument("--steps", type=int, help="how many steps to take (default: one for each token)")
    generate.add_argument("--model", type=Path, metavar="FOLDER", help="what `learn` left there, in place of ours")
    generate.set_defaults(run=_generate)


def _generate(options: argparse.Namespace) -> int:
    def work() -> None:
        os.environ.setdefault("MPLBACKEND", "Agg")  # no window
        import torch

        from vqdit_lite.app.assistant import Assistant
        from vqdit_lite.app.files import kind_of, read_prompt, write
        from vqdit_lite.training import pick_device

        kind = kind_of(options.out) if options.out else "text"
        steps = 1 if options.steps is None else options.steps
        if not 0 <= options.seed < 2**63 or not 0 <= (options.guidance or 1) <= 20 or steps < 1:
            raise ValueError("--seed must be a whole number from 0, --guidance lie in 0 … 20, --steps be at least 1.")
        chance = torch.Generator().manual_seed(options.seed)
        if options.model:
            from vqdit_lite.app.learn import load_run

            if kind != "picture":
                raise ValueError(f"The model in {options.model} draws pictures: OUT must end in .png, .jpg or .webp.")
            made = load_run(options.model, pick_device()).draw(options.prompt, 1, chance)[0]
        else:
            prompt = read_prompt(options.prompt)
            made = Assistant(pick_device()).ask(prompt, kind, chance, options.guidance, options.steps)
        if options.out:
            write(options.out, made)
        print(f"Written: {options.out}" if options.out else made)

    return _in_words(work, UNWRITTEN)


def _add_train(commands: argparse._SubParsersAction) -> None:
    train = commands.add_parser(
        "train",
        help="make a shipped checkpoint again by its recipe",
        description="Make a shipped checkpoint again by its recipe. Stopped at any moment (Ctrl-C), the same command "
        "goes on where the last save was.",
    )
    train.add_argument("name", help="which one, for example vqvae_scenes")
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder for weights and card (default: runs)")
    train.add_argument("--steps", type=int, help="fewer or more steps than the recipe's")
    train.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    def work() -> None:
        from vqdit_lite.shipped import find
        from vqdit_lite.training import pick_device

        for _ in find(options.name).train(options.out, pick_device(), options.steps):
            pass
        print(f"Done: {options.out / options.name}.safetensors and .json")

    return _in_words(work)


def _add_learn(commands: argparse._SubParsersAction) -> None:
    learn = commands.add_parser(
        "learn",
        help="learn from a folder of your own pictures, and draw new ones",
        description=LEARN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    learn.add_argument("folder", type=Path, metavar="FOLDER", help="the folder with your pictures")
    learn.add_argument(
        "--out", type=Path, default=Path("runs/mine"), help="new folder for weights and gallery (default: runs/mine)"
    )
    learn.add_argument("--size", type=int, default=32, help="pixels a side, a multiple of 4 (default: 32)")
    learn.add_argument(
        "--steps", type=int, default=2000, help="training steps of each of the two models (default: 2000)"
    )
    learn.set_defaults(run=_learn)


def _learn(options: argparse.Namespace) -> int:
    def work() -> None:
        os.environ.setdefault("MPLBACKEND", "Agg")  # the gallery is a file: no window
        from vqdit_lite.app.learn import learn
        from vqdit_lite.training import pick_device

        learn(options.folder, options.out, pick_device(), options.size, options.steps)

    return _in_words(work)


def _in_words(work: Callable[[], None], stopped: str = STOPPED) -> int:
    """Do the work of a command, imports included; say in a sentence what went wrong, or that it was `stopped`."""
    try:
        work()
    except (OSError, ValueError, RuntimeError, FloatingPointError, MemoryError) as error:
        print(f"Error: {error or type(error).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{stopped}", file=sys.stderr)
        return 130
    return 0


def _stop(*_) -> None:
    """End at once. Every file is written whole or not at all, so there is nothing to tidy up."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    stopped = STOPPED if sys.argv[1:2] in (["train"], ["learn"]) else UNWRITTEN
    os.write(2, f"\n{stopped}\n".encode())
    os._exit(130)


if __name__ == "__main__":
    # While packages are imported, KeyboardInterrupt can come out as another error; a handler of our own cannot.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    sys.exit(main())
