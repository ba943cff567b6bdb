"""The command line: python -m vqdit_lite doctor | train NAME."""

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m vqdit_lite", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("doctor", help="check the environment: one line each, OK or what to do")
    train = commands.add_parser(
        "train",
        help="make a shipped checkpoint again by its recipe",
        description="Make a shipped checkpoint again by its recipe. Stopped at any moment (Ctrl-C), the same command "
        "goes on where the last save was.",
    )
    train.add_argument("name", help="which one, for example vqvae_scenes")
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder for weights and card (default: runs)")
    train.add_argument("--steps", type=int, help="fewer or more steps than the recipe's")
    options = parser.parse_args(arguments)
    return _doctor() if options.command == "doctor" else _train(options)


def _doctor() -> int:
    from vqdit_lite.doctor import examine

    healthy = True
    for fine, line in examine():
        print("OK     " if fine else "MISSING", line)
        healthy &= fine
    print("All is well." if healthy else "Something is missing: see the lines above.")
    return 0 if healthy else 1


def _train(options: argparse.Namespace) -> int:
    from vqdit_lite.recipes import train
    from vqdit_lite.training import pick_device

    try:
        for _ in train(options.name, options.out, pick_device(), options.steps):
            pass
    except (OSError, ValueError, RuntimeError, FloatingPointError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from the last save.", file=sys.stderr)
        return 130
    print(f"Done: {options.out / options.name}.safetensors and .json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
