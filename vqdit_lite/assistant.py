"""The assistant: words, a picture or a voice in; words, a picture, speech or a clip out."""

import io
import re
import tempfile
from difflib import get_close_matches
from html import escape
from pathlib import Path

import ipywidgets
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from vqdit_lite import checkpoints, data, models, motion, sound
from vqdit_lite.plot import film, player

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
    return sound.read_wave(prompt) if ending == ".wav" else prompt


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
        sound.write_wave(buffer, content)
    elif ending == ".apng":
        buffer.write(film([content]))
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
    if not named or set(text.split()) & {action.split()[0] for action in motion.ACTIONS}:
        return text
    size, colour, _ = named.groups()
    fitting = [*motion.MOVES, "grows" if size == "small" else "shrinks"]
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
        self.model = models.load("any_to_any", device)
        self.painter = models.load("vqvae_colours", device)
        self.voice = models.load("vqvae_sound", device)

    def pack(self, prompt: str | Tensor) -> tuple[Tensor, str]:
        """A prompt as a sequence (1, 95), and which segment it fills."""
        if isinstance(prompt, str):
            text = " ".join(prompt.lower().split())
            check_words(text, data.CAPTION_WORDS)
            if not text:
                raise ValueError('The prompt is empty: say what there should be, as in "small red circle".')
            return models.ANY.pack(text=models.ANY_WORDS.encode([text], 7).to(self.device)), "text"
        if prompt.ndim == 1:
            mels = models.mels_of(sound.fit_length(_as_loud_as_speech(prompt))[None]).to(self.device)
            return models.ANY.pack(sound=self.voice.encode(mels)), "sound"
        return models.ANY.pack(picture=self.painter.encode(prompt[None].to(self.device))), "picture"

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
            x = models.translate(self.model, x, given, asked, generator, scale, steps, tries=3)
        ids = models.ANY.unpack(x)[asked].flatten(1)
        if asked == "text":
            return models.ANY_WORDS.decode(ids)[0]
        if asked == "picture":
            return self.painter.decode(ids)[0].cpu()
        return sound.to_waves(self.voice.decode(ids).cpu())[0]

    def _animate(self, prompt: str | Tensor, generator: torch.Generator) -> Tensor:
        text = prompt if isinstance(prompt, str) else self.ask(prompt, "text", generator)
        text = " ".join(text.lower().split())
        check_words(text, motion.CLIP_WORDS)
        words = models.CLIP_WORDS.encode([in_motion(text, generator)], 9).to(self.device)
        made = models.clips_from_words(models.load("joint_clips", self.device), models.FILM.pack(text=words), generator)
        return models.clips_in(made, self.device)[0]


def _as_loud_as_speech(wave: Tensor) -> Tensor:
    """A wave scaled so that its louder half is as loud as the words that the model learned from."""
    parts = sound.fit_length(wave, -(-len(wave) // sound.HOP)).view(-1, sound.HOP)
    loudness = parts.square().mean(1).sqrt()
    return wave * sound.LOUDNESS / loudness[loudness >= loudness.median()].square().mean().sqrt().clamp(min=1e-6)


# ---------------------------------------------------------------- a panel for notebooks


def panel(assistant: Assistant, seed: int = 0) -> ipywidgets.Widget:
    """Widgets in which a reader types words, draws a scene or picks a voice, and asks for words, a picture, speech or a
    clip; with controls of guidance, steps and chance."""
    inputs = (_Words(), _Scene(seed), _Voice(seed))
    tabs = ipywidgets.Tab(children=[one.widget for one in inputs])
    for number, title in enumerate(("words", "a picture", "a voice")):
        tabs.set_title(number, title)
    asked = ipywidgets.ToggleButtons(
        options={"words": "text", "a picture": "picture", "speech": "sound", "a clip": "clip"},
        value="picture",
        description="ask for",
    )
    scale = ipywidgets.FloatSlider(value=models.GUIDANCE, min=1, max=5, step=0.5, description="guidance s")
    steps = ipywidgets.IntSlider(value=52, min=1, max=52, description="steps")
    chance = ipywidgets.IntText(value=seed, description="seed")
    button = ipywidgets.Button(description="Answer", button_style="primary")
    answer = ipywidgets.VBox()

    def tell(_=None) -> None:
        generator = torch.Generator().manual_seed(chance.value)
        count = None if asked.value == "text" else steps.value
        button.disabled = True
        try:
            prompt = inputs[tabs.selected_index or 0].prompt()
            answer.children = [_shown(assistant.ask(prompt, asked.value, generator, scale.value, count))]
        except ValueError as error:
            answer.children = [_note(str(error))]
        finally:
            button.disabled = False

    button.on_click(tell)
    for control in (asked, scale, steps):
        control.observe(tell, names="value")
    tell()
    return ipywidgets.VBox([tabs, asked, ipywidgets.HBox([scale, steps, chance]), button, answer])


def _note(text: str) -> ipywidgets.Widget:
    return ipywidgets.HTML(f"<p style='font-size: 120%'>{escape(text)}</p>")


def _shown(content: str | Tensor) -> ipywidgets.Widget:
    """An answer as a widget."""
    if isinstance(content, str):
        return _note(f"“{content}”")
    if content.ndim == 1:
        return player(content)
    value = film([content]) if content.ndim == 4 else in_file(content, ".png")
    return ipywidgets.Image(value=value, format="png", layout={"width": "240px", "align_self": "flex-start"})


class _Words:
    def __init__(self):
        self.widget = ipywidgets.Text("small red circle above large blue square", layout={"width": "28em"})

    def prompt(self) -> str:
        return self.widget.value


class _Scene:
    """Three by three places: a click puts the chosen object there, or takes away what stands there."""

    def __init__(self, seed: int):
        self.objects, self.seed = torch.zeros(1, 9, dtype=torch.long), seed
        self.menus = [
            ipywidgets.Dropdown(options=options, layout={"width": "8em"})
            for options in (data.SIZES, data.COLOURS, data.SHAPES)
        ]
        self.places = [ipywidgets.Button(layout={"width": "3em"}, tooltip=f"place {number}") for number in range(9)]
        for number, place in enumerate(self.places):
            place.on_click(lambda _, number=number: self.click(number))
        grid = ipywidgets.GridBox(self.places, layout={"grid_template_columns": "repeat(3, 3.3em)"})
        self.picture = ipywidgets.Image(format="png", layout={"width": "120px"})
        self.file = ipywidgets.FileUpload(accept="image/*", description="or a file")
        self.widget = ipywidgets.VBox(
            [ipywidgets.HBox([*self.menus, self.file]), ipywidgets.HBox([grid, self.picture])]
        )
        self.click(4)

    def click(self, number: int) -> None:
        size, colour, shape = (menu.value for menu in self.menus)
        self.objects[0, number] = 0 if self.objects[0, number] else data.object_id(shape, colour, size)
        for place, kind in zip(self.places, self.objects[0].tolist(), strict=True):
            place.description = "●" if kind else ""
        self.picture.value = in_file(self.drawn(), ".png")

    def drawn(self) -> Tensor:
        return data.draw_scenes(self.objects, torch.Generator().manual_seed(self.seed))[0]

    def prompt(self) -> Tensor:
        if self.file.value:
            return _uploaded(self.file)
        return self.drawn()


class _Voice:
    """A sentence that one of the course's voices says, or a file."""

    def __init__(self, seed: int):
        generator = torch.Generator().manual_seed(seed)
        sentences = data.captions(data.scenes(8, generator).objects)
        self.waves = dict(zip(sentences, sound.speak(sentences, generator), strict=True))
        self.menu = ipywidgets.Dropdown(options=sentences, layout={"width": "28em"})
        self.file = ipywidgets.FileUpload(accept=".wav", description="or a file")
        self.player = ipywidgets.VBox([player(self.waves[self.menu.value])])
        self.menu.observe(self.play, names="value")
        self.widget = ipywidgets.VBox([self.menu, self.file, self.player])

    def play(self, _=None) -> None:
        self.player.children = [player(self.waves[self.menu.value])]

    def prompt(self) -> Tensor:
        return _uploaded(self.file) if self.file.value else self.waves[self.menu.value]


def _uploaded(upload: ipywidgets.FileUpload) -> Tensor:
    """The picture or sound of an upload. Versions 7 and 8 of ipywidgets keep it in different places."""
    [file] = upload.value.values() if isinstance(upload.value, dict) else upload.value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(file.get("name") or file["metadata"]["name"]).name
        path.write_bytes(file["content"])
        return read_prompt(str(path))
