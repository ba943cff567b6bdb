"""The assistant: words, a picture or a voice in; words, a picture, speech or a clip out."""

import re
from difflib import get_close_matches

import torch
from torch import Tensor

from vqdit_lite import data
from vqdit_lite.audio import HOP, to_waves
from vqdit_lite.data.speech import mels_of
from vqdit_lite.shipped import any_to_any, clips, speech

_NAME = rf"({'|'.join(data.SIZES)}) ({'|'.join(data.COLOURS)}) ({'|'.join(data.SHAPES)})"


def in_motion(text: str, generator: torch.Generator) -> str:
    """The words of a scene as those of a clip: its first object does something by chance. Those of a clip stay.

    >>> in_motion("small red circle beside large blue square", torch.Generator().manual_seed(0))
    'small red circle grows beside large blue square'
    """
    named = re.match(_NAME, text)
    if not named or set(text.split()) & {action.split()[0] for action in data.ACTIONS}:
        return text
    size, colour, _ = named.groups()
    fitting = [*data.MOVES, "grows" if size == "small" else "shrinks"]
    fitting += [f"becomes {other}" for other in data.COLOURS if other != colour]
    action = fitting[torch.randint(len(fitting), (), generator=generator)]
    return f"{named.group()} {action}{text[named.end() :]}"


class Assistant:
    """One model of words, pictures and speech, with its tokenizers; and a model of clips, once one is asked for.

    >>> assistant = Assistant()
    >>> picture = assistant.ask("large red circle", "picture", torch.Generator().manual_seed(0))
    >>> picture.shape, assistant.ask(picture, "text", torch.Generator().manual_seed(0))
    (torch.Size([3, 24, 24]), 'large red circle')
    """

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.model = any_to_any.ANY_TO_ANY.load(device)
        self.painter = any_to_any.VQVAE_COLOURS.load(device)
        self.voice = speech.VQVAE_SOUND.load(device)

    def pack(self, prompt: str | Tensor) -> tuple[Tensor, str]:
        """A prompt as a sequence (1, 95), and which segment it fills."""
        if isinstance(prompt, str):
            text = _words_of(prompt, data.CAPTION_WORDS)
            return any_to_any.LAYOUT.pack(text=any_to_any.TOKENIZER.encode([text], 7).to(self.device)), "text"
        if prompt.ndim == 1:
            mels = mels_of(data.fit_length(_as_loud_as_speech(prompt))[None]).to(self.device)
            return any_to_any.LAYOUT.pack(sound=self.voice.encode(mels)), "sound"
        return any_to_any.LAYOUT.pack(picture=self.painter.encode(prompt[None].to(self.device))), "picture"

    @torch.no_grad()
    def ask(
        self,
        prompt: str | Tensor,
        asked: str,
        generator: torch.Generator,
        scale: float | None = None,
        steps: int | None = None,
    ) -> str | Tensor:
        """An answer on the CPU: words, a picture (3, 24, 24), a sound (samples,) or a clip (3, 8, 24, 24).

        Args:
            prompt: words, a picture (3, 24, 24) or a sound (samples,).
            asked: "text", "picture", "sound" or "clip".
            generator: a CPU generator.
            scale: of guidance; 1 is none; None for what suits.
            steps: how many steps to take; None for what suits.

        Raises:
            ValueError: the prompt holds unknown words; the message suggests known ones.
        """
        if asked == "clip":
            return self._animate(prompt, generator)
        x, given = self.pack(prompt)
        if given != asked:
            x = any_to_any.translate(self.model, x, given, asked, generator, scale=scale, steps=steps, tries=3)
        ids = any_to_any.LAYOUT.unpack(x)[asked].flatten(1)
        if asked == "text":
            return any_to_any.TOKENIZER.decode(ids)[0]
        if asked == "picture":
            return self.painter.decode(ids)[0].cpu()
        return to_waves(self.voice.decode(ids).cpu())[0]

    def _animate(self, prompt: str | Tensor, generator: torch.Generator) -> Tensor:
        text = prompt if isinstance(prompt, str) else self.ask(prompt, "text", generator)
        text = in_motion(_words_of(text, data.CLIP_WORDS), generator)
        words = clips.TOKENIZER.encode([text], 9).to(self.device)
        made = clips.clips_from_words(clips.JOINT_CLIPS.load(self.device), clips.LAYOUT.pack(text=words), generator)
        return clips.tokens_to_clips(made, self.device)[0]


def _as_loud_as_speech(wave: Tensor) -> Tensor:
    """A wave scaled so that its louder half is as loud as the words that the model learned from."""
    parts = data.fit_length(wave, -(-len(wave) // HOP)).view(-1, HOP)
    loudness = parts.square().mean(1).sqrt()
    return wave * data.LOUDNESS / loudness[loudness >= loudness.median()].square().mean().sqrt().clamp(min=1e-6)


def _words_of(prompt: str, known: tuple[str, ...]) -> str:
    """The words of a prompt in small letters; refuses those that are not known, and suggests the nearest that are."""
    words = prompt.lower().split()
    if not words:
        raise ValueError('The prompt is empty: say what there should be, as in "small red circle".')
    unknown = [word for word in dict.fromkeys(words) if word not in known]
    if unknown:
        near = {word: get_close_matches(word, known, n=2, cutoff=0.5) for word in unknown}
        hints = [
            f'"{word}"' + (f" (did you mean {' or '.join(names)}?)" if names else "") for word, names in near.items()
        ]
        raise ValueError(f"I do not know {', '.join(hints)}. I know: {', '.join(known)}.")
    return " ".join(words)
