import io

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from vqdit_lite import plot
from vqdit_lite.data import read_wave
from vqdit_lite.quantize import nearest_code


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    """What the library displays, in order; every test must leave no figure open that it did not draw itself."""
    plt.switch_backend("Agg")
    plt.close("all")
    things = []
    monkeypatch.setattr(plot, "display", lambda thing, **options: things.append((thing, options)))
    yield things
    plt.close("all")


def test_show_displays_a_picture_with_its_text_and_closes_the_figure(shown, capsys):
    fig, axes = plot.figure(columns=2, rows=3)
    plot.show(fig, "a line that rises")
    [(bundle, options)] = shown
    assert len(axes) == 6
    assert bundle["text/plain"] == options["metadata"]["image/png"]["alt"] == "a line that rises"
    assert capsys.readouterr().out == "What to see: a line that rises\n"
    assert not plt.get_fignums()


def test_figures_leave_the_learners_own_style_alone():
    before = dict(plt.rcParams)
    plot.figure()
    assert dict(plt.rcParams) == before


def test_pictures_shows_one_row_a_title(shown, capsys):
    batch = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    plot.pictures({"before": batch, "after": 2 * batch.requires_grad_() - 0.5}, "two rows")
    assert len(shown) == 1
    assert capsys.readouterr().out == "What to see: two rows\n"
    assert not plt.get_fignums()


def test_tiles_hold_the_pictures_in_order():
    _, [axis] = plot.figure()
    batch = torch.arange(6.0)[:, None, None, None].expand(6, 3, 4, 4) / 10
    plot.draw_pictures(axis, batch, "tiles", columns=3)
    drawn = axis.images[0].get_array()
    middles = [drawn[3 + 5 * row, 3 + 5 * column, 0] for row in range(2) for column in range(3)]
    np.testing.assert_allclose(middles, np.arange(6) / 10, atol=1e-6)


def test_cells_have_one_tint_each_and_a_dot_at_each_code():
    codebook = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [0.0, 1.5]], requires_grad=True)
    _, [axis] = plot.figure()
    plot.draw_cells(axis, codebook)
    tint = np.asarray(axis.images[0].get_array())
    colours = {tuple(np.round(colour, 4)) for colour in tint.reshape(-1, 4)}
    np.testing.assert_allclose(axis.lines[0].get_xydata(), codebook.detach().numpy())
    assert len(colours) == len(codebook) + 1

    line = np.linspace(-2.4, 2.4, 300)[1:]
    for x, y in [(50, 50), (250, 50), (150, 250)]:
        own = int(nearest_code(torch.tensor([line[x], line[y]]).float(), codebook))
        np.testing.assert_allclose(tint[y, x], plt.get_cmap("Pastel2")(own))


def test_tokens_are_written_into_their_cells():
    _, [axis] = plot.figure()
    ids, colours = torch.tensor([[7, 0, 3], [1, 2, 5]]), torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0))
    plot.draw_tokens(axis, ids, "ids", colours, changed=ids == 5)
    np.testing.assert_allclose(axis.images[0].get_array(), colours)
    assert [tuple(outline.get_center()) for outline in axis.patches] == [(2, 1)]
    written = {tuple(map(int, text.get_position())): text.get_text() for text in axis.texts}
    assert written == {(0, 0): "7", (1, 0): "0", (2, 0): "3", (0, 1): "1", (1, 1): "2", (2, 1): "5"}


def test_a_slider_changes_the_picture_of_an_explorer(shown, capsys):
    def draw(width, shade):
        fig, [axis] = plot.figure(size=(2, 2))
        axis.plot([0, 1], [0, 1], linewidth=width, alpha=shade)
        return fig

    slider = ipywidgets.IntSlider(1, 1, 20)
    plot.explorer(draw, "widen the line", width=slider, shade=ipywidgets.FloatSlider(1.0, min=0.0, max=1.0))
    box = shown[0][0]
    picture = box.children[-2]
    first = picture.value
    slider.value = 20
    assert slider in box.children
    assert picture.value != first
    assert Image.open(io.BytesIO(picture.value)).format == "PNG"
    slider.value = 1
    assert picture.value == first
    assert capsys.readouterr().out == "Try it: widen the line\n"
    assert not plt.get_fignums()


def test_curves_differ_in_colour_and_stroke():
    _, [axis] = plot.figure()
    plot.curves(axis, {name: ([0, 1], [0, number]) for number, name in enumerate("abcd")}, "step", "loss")
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.lines}) == 4
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list("abcd")


def test_smooth_is_the_running_mean():
    values = [float(number**2) for number in range(30)]
    wanted = [sum(values[start : start + 20]) / 20 for start in range(11)]
    np.testing.assert_allclose(plot.smooth(values), wanted)


def test_a_film_plays_every_frame_of_every_clip_for_ever():
    clips = torch.rand(2, 3, 8, 24, 24, generator=torch.Generator().manual_seed(0))
    film = Image.open(io.BytesIO(plot.animation(list(clips))))
    assert (film.format, film.n_frames, film.info["loop"]) == ("PNG", 8, 0)
    for now in range(8):
        film.seek(now)
        seen = torch.from_numpy(np.asarray(film.convert("RGB")).copy()).permute(2, 0, 1) / 255
        for number, clip in enumerate(clips):
            corner = 6 + number * (5 * 24 + 6)  # tiles of 120 pixels with 6 between them
            tile = seen[:, 6 + 2 : 6 + 120 : 5, corner + 2 : corner + 120 : 5]  # the middle of each enlarged pixel
            torch.testing.assert_close(tile, clip[:, now], rtol=0, atol=1 / 255)


def test_clips_are_shown_playing_and_as_strips(shown, capsys):
    clip = torch.rand(3, 8, 24, 24, generator=torch.Generator().manual_seed(0))
    plot.show_clips({"a square moves": clip, "a circle grows": clip}, "two clips")
    playing, strips = (bundle for bundle, _ in shown)
    assert playing["text/plain"] == "Clips that play: a square moves, a circle grows."
    assert strips["text/plain"] == "two clips"
    assert capsys.readouterr().out == "What to see: two clips\n"


def test_every_sound_has_a_picture_and_a_player_that_holds_it(shown, tmp_path):
    waves = {"one": 0.5 * torch.sin(torch.arange(1000) / 5), "two": torch.linspace(-1, 1, 500)}
    plot.sounds(waves, "two sounds")
    (picture, _), (players, options) = shown
    assert picture["text/plain"] == "two sounds"
    assert options == {"exclude": ["text/plain"]}
    for (title, wave), row in zip(waves.items(), players.children, strict=True):
        player, label = row.children
        assert label.value == title
        (tmp_path / "heard.wav").write_bytes(player.value)
        torch.testing.assert_close(read_wave(tmp_path / "heard.wav"), wave, rtol=0, atol=1e-4)


def test_an_explorer_plays_what_it_draws(shown):
    def draw(number):
        return plot.animation([torch.full((3, 8, 24, 24), number / 10)]), torch.full((100,), number / 10)

    plot.explorer(draw, "choose", number=ipywidgets.IntSlider(value=1, max=5))
    slider, picture, below = shown[0][0].children
    first = picture.value, below.children[0].value
    slider.value = 5
    assert Image.open(io.BytesIO(picture.value)).n_frames >= 1
    assert first != (picture.value, below.children[0].value)
    assert len(below.children) == 1
