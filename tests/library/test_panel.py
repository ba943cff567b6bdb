import io

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from vqdit_lite import audio, data
from vqdit_lite.app import panel as module
from vqdit_lite.app.assistant import Assistant
from vqdit_lite.app.panel import panel

SENTENCE = "small red circle above large blue square"


@pytest.fixture(scope="module")
def helper():
    return Assistant()


def texts(widget):
    """All that a widget and those inside it show as text."""
    own = [widget.value] if isinstance(widget, ipywidgets.HTML) else []
    return own + [text for child in getattr(widget, "children", ()) for text in texts(child)]


def find(widget, kind):
    """All widgets of a kind, in order."""
    own = [widget] if type(widget) is kind else []
    return own + [found for child in getattr(widget, "children", ()) for found in find(child, kind)]


def test_the_panel_answers_in_every_kind(helper, monkeypatch):
    asked_for = []
    answers = {
        "text": "red",
        "picture": torch.rand(3, 24, 24),
        "sound": torch.rand(800),
        "clip": torch.rand(3, 8, 24, 24),
    }

    def ask(prompt, asked, generator, scale, steps):
        asked_for.append((prompt if isinstance(prompt, str) else tuple(prompt.shape), asked, scale, steps))
        return answers[asked]

    monkeypatch.setattr(helper, "ask", ask)
    shown = panel(helper)
    [kinds], [tabs] = find(shown, ipywidgets.ToggleButtons), find(shown, ipywidgets.Tab)
    for kind in ("text", "sound", "clip"):
        kinds.value = kind
    assert [kind for _, kind, *_ in asked_for] == ["picture", "text", "sound", "clip"]
    assert asked_for[0] == (SENTENCE, "picture", 2.0, 52)
    kinds.value = "text"
    assert any("“red”" in text for text in texts(shown))
    tabs.selected_index = 1
    answer = next(button for button in find(shown, ipywidgets.Button) if button.description == "Answer")
    answer.click()
    tabs.selected_index = 2
    answer.click()
    assert [prompt for prompt, *_ in asked_for[-2:]] == [(3, 24, 24), (data.SOUND_FRAMES * audio.HOP,)]
    find(shown, ipywidgets.FloatSlider)[0].value = 3
    find(shown, ipywidgets.IntSlider)[0].value = 7
    kinds.value = "picture"
    assert asked_for[-1][1:] == ("picture", 3.0, 7)


def test_the_panel_draws_where_one_clicks():
    scene = module._Scene(seed=0)
    assert data.captions(scene.objects) == ["small red circle"]
    scene.menus[0].value, scene.menus[1].value, scene.menus[2].value = "large", "blue", "square"
    scene.places[8].click()
    assert data.captions(scene.objects) == ["small red circle above large blue square"]
    scene.places[4].click()
    assert data.captions(data.read_scenes(scene.prompt()[None])) == ["large blue square"]


@pytest.mark.parametrize("version", [7, 8])
def test_the_panel_takes_files(version):
    scene, content = data.scenes(1, torch.Generator().manual_seed(0)).pictures[0], io.BytesIO()
    Image.fromarray((255 * scene).round().byte().permute(1, 2, 0).numpy()).save(content, "PNG")

    class Upload:
        value = (
            {"mine.png": {"content": content.getvalue(), "metadata": {"name": "mine.png"}}}
            if version == 7
            else ({"name": "mine.png", "content": memoryview(content.getvalue())},)
        )

    assert np.abs(module._uploaded(Upload).numpy() - scene.numpy()).max() < 0.01


def test_the_panel_says_what_is_wrong(helper):
    shown = panel(helper)
    find(shown, ipywidgets.Text)[0].value = "small purpel circle"
    next(button for button in find(shown, ipywidgets.Button) if button.description == "Answer").click()
    assert any("I do not know" in text for text in texts(shown))
