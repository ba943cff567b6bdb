"""A panel for notebooks: type words, draw a scene or pick a voice, and ask for words, a picture, speech or a clip."""

import tempfile
from html import escape
from pathlib import Path

import ipywidgets
import torch
from torch import Tensor

from vqdit_lite import data
from vqdit_lite.app.assistant import Assistant
from vqdit_lite.app.files import in_file, read_prompt
from vqdit_lite.plot import animation, player
from vqdit_lite.shipped.base import GUIDANCE


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
    scale = ipywidgets.FloatSlider(value=GUIDANCE, min=1, max=5, step=0.5, description="guidance s")
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
    value = animation([content]) if content.ndim == 4 else in_file(content, ".png")
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
        self.waves = dict(zip(sentences, data.speak(sentences, generator), strict=True))
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
