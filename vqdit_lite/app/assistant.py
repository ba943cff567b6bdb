"""The assistant: words, a picture or a voice in; words, a picture, speech or a clip out."""

import io
import re
from difflib import get_close_matches
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from vqdit_lite import checkpoints, data
from vqdit_lite.audio import HOP, to_waves, write_wave
from vqdit_lite.data.speech import mels_of
from vqdit_lite.plot import animation
from vqdit_lite.shipped import any_to_any, clips, speech

ENDINGS = {
    ".txt": "text",
    ".png": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
    ".webp": "picture",
    ".wav": "sound",
    ".gif": "clip",
    ".apng": "clip",
}
ENLARGED = 10  # times, each way, that small pictures are enlarged in files
_NAME = rf"({'|'.join(data.SIZES)}) ({'|'.join(data.COLOURS)}) ({'|'.join(data.SHAPES)})"


def read_prompt(prompt: str) -> str | Tensor:
    """What the user gave: words; or, if it is the name of a picture or a sound, its (3, 24, 24) or (samples,).

    Raises:
        FileNotFoundError: it ends like a file, but there is none.
        ValueError: the file cannot be read.
    """
    ending = Path(prompt).suffix.lower()
    if ending in data.picture_endings():
        if not Path(prompt).is_file():
            raise FileNotFoundError(f"There is no file {prompt}.")
        return data.read_picture(Path(prompt), 24) / 255
    return data.read_wave(prompt) if ending == ".wav" else prompt


def kind_of(file: str | Path) -> str:
    """What a file is to hold, by its ending: "text", "picture", "sound" or "clip"."""
    ending = Path(file).suffix.lower()
    if ending not in ENDINGS:
        known = ", ".join(f"{ending} ({kind})" for ending, kind in ENDINGS.items())
        raise ValueError(f"I cannot write {ending or 'a file without an ending'}; I can write {known}.")
    return ENDINGS[ending]


def in_file(content: str | Tensor, ending: str) -> bytes:
    """The bytes of a file with words, a picture (3, H, W), a sound (samples,) or a clip (3, F, H, W)."""
    if isinstance(content, str):
        return f"{content}\n".encode()
    buffer = io.BytesIO()
    if content.ndim == 1:
        write_wave(buffer, content)
    elif ending == ".apng":
        buffer.write(animation([content]))
    else:
        frames = [content] if content.ndim == 3 else content.unbind(1)
        large = [frame.repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2) for frame in frames]
        first, *rest = [to_pil_image(frame.clamp(0, 1)) for frame in large]
        clip = {"save_all": True, "append_images": rest, "duration": 150, "loop": 0} if rest else {}
        first.save(buffer, Image.registered_extensions()[ending], **clip)
    return buffer.getvalue()


def write(file: str | Path, content: str | Tensor) -> None:
    """Write what `in_file` takes to a file, whole or not at all."""
    checkpoints.replace(Path(file), in_file(content, Path(file).suffix.lower()))


def check_words(text: str, known: tuple[str, ...]) -> None:
    """Refuse words that are not known, and suggest the nearest ones that are."""
    unknown = [word for word in dict.fromkeys(text.split()) if word not in known]
    if unknown:
        near = {word: get_close_matches(word, known, n=2, cutoff=0.5) for word in unknown}
        hints = [
            f'"{word}"' + (f" (did you mean {' or '.join(names)}?)" if names else "") for word, names in near.items()
        ]
        raise ValueError(f"I do not know {', '.join(hints)}. I know: {', '.join(known)}.")


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
            text = " ".join(prompt.lower().split())
            check_words(text, data.CAPTION_WORDS)
            if not text:
                raise ValueError('The prompt is empty: say what there should be, as in "small red circle".')
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
            x = any_to_any.translate(self.model, x, given, asked, generator, scale, steps, tries=3)
        ids = any_to_any.LAYOUT.unpack(x)[asked].flatten(1)
        if asked == "text":
            return any_to_any.TOKENIZER.decode(ids)[0]
        if asked == "picture":
            return self.painter.decode(ids)[0].cpu()
        return to_waves(self.voice.decode(ids).cpu())[0]

    def _animate(self, prompt: str | Tensor, generator: torch.Generator) -> Tensor:
        text = prompt if isinstance(prompt, str) else self.ask(prompt, "text", generator)
        text = " ".join(text.lower().split())
        check_words(text, data.CLIP_WORDS)
        words = clips.TOKENIZER.encode([in_motion(text, generator)], 9).to(self.device)
        made = clips.clips_from_words(clips.JOINT_CLIPS.load(self.device), clips.LAYOUT.pack(text=words), generator)
        return clips.tokens_to_clips(made, self.device)[0]


def _as_loud_as_speech(wave: Tensor) -> Tensor:
    """A wave scaled so that its louder half is as loud as the words that the model learned from."""
    parts = data.fit_length(wave, -(-len(wave) // HOP)).view(-1, HOP)
    loudness = parts.square().mean(1).sqrt()
    return wave * data.LOUDNESS / loudness[loudness >= loudness.median()].square().mean().sqrt().clamp(min=1e-6)
