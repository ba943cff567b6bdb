"""What goes in and out: words, pictures, voices and clips, as files."""

import io
from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from vqdit_lite import checkpoints, data
from vqdit_lite.audio import write_wave
from vqdit_lite.plot import animation

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
