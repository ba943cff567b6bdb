"""Figures and explorers, each with a line of text that says what to see."""

import base64
import io
import textwrap
from collections.abc import Callable, Sequence

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from vqdit_lite.audio import BANDS, HOP, SAMPLE_RATE, log_mel, write_wave
from vqdit_lite.quantize import nearest_code

# Okabe and Ito's colours, which colour-blind readers can tell apart; they differ in brightness as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#F0E442")
LINES = ("-", "--", "-.", ":")
_WIDE = {"max_width": "100%", "align_self": "flex-start"}  # of pictures in explorers
_STYLE = {
    "figure.dpi": 100,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def figure(columns: int = 1, rows: int = 1, size: tuple[float, float] = (4.5, 3.4)) -> tuple[Figure, list[Axes]]:
    """An empty figure and its axes, row by row; `size` is that of one of them, in inches."""
    with plt.rc_context(_STYLE):
        fig, axes = plt.subplots(rows, columns, figsize=(columns * size[0], rows * size[1]), squeeze=False)
    return fig, list(axes.flat)


def show(fig: Figure, text: str) -> None:
    """Show a finished figure, and under it the line of text that says what to see."""
    _display_png(_png(fig), text)
    print(textwrap.fill(f"What to see: {text}", 90))


def _display_png(content: bytes, text: str) -> None:
    picture = base64.b64encode(content).decode()
    display({"image/png": picture, "text/plain": text}, metadata={"image/png": {"alt": text}}, raw=True)


def _png(fig: Figure) -> bytes:
    """The figure as a PNG file; closes the figure."""
    content = io.BytesIO()
    fig.savefig(content, format="png", pil_kwargs={"optimize": True})
    plt.close(fig)
    return content.getvalue()


def draw_pictures(axis: Axes, pictures: Tensor, title: str, columns: int = 10) -> None:
    """Draw a batch of pictures (B, C, H, W) in [0, 1] as tiles."""
    grid = torchvision.utils.make_grid(pictures.detach().cpu().clamp(0, 1), columns, padding=1, pad_value=0.6)
    axis.imshow(grid.permute(1, 2, 0).numpy(), interpolation="nearest")
    axis.set_title(title, loc="left")
    axis.axis("off")


def pictures(rows: dict[str, Tensor], text: str) -> None:
    """Show batches of pictures (B, C, H, W), one row each under its title."""
    fig, axes = figure(rows=len(rows), size=(10, 10 / max(len(batch) for batch in rows.values()) + 0.3))
    for axis, (title, batch) in zip(axes, rows.items(), strict=True):
        draw_pictures(axis, batch, title, columns=len(batch))
    show(fig, text)


def animation(clips: Sequence[Tensor]) -> bytes:
    """Clips (3, F, H, W) that play side by side, for ever, as an animated PNG; the last frame stays a while."""
    tiles = torch.stack([clip.detach().cpu() for clip in clips]).permute(2, 0, 1, 3, 4)  # (F, B, 3, H, W)
    large = tiles.repeat_interleave(5, 3).repeat_interleave(5, 4)  # (F, B, 3, 5 · H, 5 · W)
    grids = [torchvision.utils.make_grid(now.clamp(0, 1), len(clips), padding=6, pad_value=1) for now in large]
    first, *rest = [Image.fromarray((255 * grid).byte().permute(1, 2, 0).numpy()) for grid in grids]
    content, times = io.BytesIO(), [150] * len(rest) + [900]  # milliseconds
    first.save(content, format="PNG", save_all=True, append_images=rest, duration=times, loop=0, optimize=True)
    return content.getvalue()


def show_clips(rows: dict[str, Tensor], text: str) -> None:
    """Show clips (3, F, H, W) that play side by side, and under them each as a strip of its frames, by its title."""
    _display_png(animation(list(rows.values())), f"Clips that play: {', '.join(rows)}.")
    pictures({title: clip.transpose(0, 1) for title, clip in rows.items()}, text)


def draw_sound(axis: Axes, wave: Tensor, title: str) -> None:
    """Draw the log-mel spectrogram of a wave (samples,) over its seconds."""
    wave = F.pad(wave.detach().cpu(), (0, -len(wave) % HOP))
    extent = (0, len(wave) / SAMPLE_RATE, 0, BANDS)
    axis.imshow(
        log_mel(wave[None])[0].numpy(),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=0,
        vmax=1,
        extent=extent,
        interpolation="nearest",  # also keeps the picture small on disk
    )
    axis.set_title(title, loc="left")
    axis.set(xlabel="seconds", ylabel="mel band")
    axis.grid(False)


def sounds(waves: dict[str, Tensor], text: str, columns: int = 2) -> None:
    """Show waves (samples,) as spectrograms, by their titles, and under them a player for each."""
    fig, axes = figure(min(columns, len(waves)), -(-len(waves) // columns), size=(10 / min(columns, len(waves)), 2.1))
    for axis, (title, wave) in zip(axes, waves.items(), strict=False):
        draw_sound(axis, wave, title)
    for axis in axes[len(waves) :]:
        axis.axis("off")
    show(fig, text)
    players(waves)


def players(waves: dict[str, Tensor]) -> None:
    """Show a player for each wave (samples,). They need a running kernel, so a page without one does not hold them."""
    centred = {"align_items": "center"}
    rows = [ipywidgets.HBox([player(wave), ipywidgets.Label(title)], layout=centred) for title, wave in waves.items()]
    display(ipywidgets.VBox(rows), exclude=["text/plain"])


def player(wave: Tensor) -> ipywidgets.Audio:
    """A widget that plays a wave (samples,)."""
    content = io.BytesIO()
    write_wave(content, wave)
    return ipywidgets.Audio(value=content.getvalue(), format="wav", autoplay=False, loop=False)


def draw_cells(axis: Axes, codebook: Tensor, extent: float = 2.4) -> None:
    """Draw the Voronoi cells of codes in the plane (K, 2): tinted regions with a dot at each code."""
    line = torch.linspace(-extent, extent, 300)
    y, x = torch.meshgrid(line, line, indexing="ij")
    ids = nearest_code(torch.stack([x, y], -1), codebook.detach().cpu())  # (300, 300)
    border = (ids[1:, 1:] != ids[:-1, 1:]) | (ids[1:, 1:] != ids[1:, :-1])  # (299, 299)
    tint = plt.get_cmap("Pastel2")(ids[1:, 1:].numpy() % 8)
    tint[border.numpy()] = (0.35, 0.35, 0.35, 1)
    axis.imshow(tint, extent=(-extent, extent, -extent, extent), origin="lower", aspect="equal")
    axis.plot(
        *codebook.detach().cpu().numpy().T, "o", color=COLOURS[1], markersize=7, markeredgecolor="white", zorder=3
    )
    axis.set(xlim=(-extent, extent), ylim=(-extent, extent), xlabel="first feature", ylabel="second feature")
    axis.grid(False)


def draw_tokens(
    axis: Axes, ids: Tensor, title: str, colours: Tensor | None = None, changed: Tensor | None = None
) -> None:
    """Draw a grid of ids (H, W): each number in its cell.

    Args:
        axis, ids, title: where, what, and under which words.
        colours: what to tint the cells with, (H, W, 3) in [0, 1], such as the colours of what they decode to. Ids are
            names: a map of colours in their order would make 30 and 31 look alike.
        changed: true for the cells to outline, (H, W).
    """
    ids = ids.cpu()
    tint = torch.ones(*ids.shape, 3) if colours is None else colours.detach().cpu().clamp(0, 1)
    axis.imshow(tint.numpy())
    axis.hlines(np.arange(len(ids) - 1) + 0.5, -0.5, ids.shape[1] - 0.5, colors="lightgrey", linewidth=0.8)
    axis.vlines(np.arange(ids.shape[1] - 1) + 0.5, -0.5, len(ids) - 0.5, colors="lightgrey", linewidth=0.8)
    for (y, x), number in np.ndenumerate(ids.numpy()):
        dark = tint[y, x].mean() < 0.45
        axis.text(x, y, number, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    for y, x in [] if changed is None else changed.cpu().nonzero().tolist():
        axis.add_patch(plt.Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor="black", linewidth=2.5))
    axis.set_title(title, loc="left")
    axis.axis("off")


def explorer(draw: Callable[..., Figure | bytes | tuple], text: str, **controls: ipywidgets.Widget) -> None:
    """Show sliders (or other controls) above a figure that follows them.

    Args:
        draw: called as draw(name=value, …) with the value of each control; returns a figure or a PNG file's bytes, or a
            tuple of one of them, then waves to play and more PNG files' bytes.
        text: what to do and what to see.
        controls: ipywidgets by the names that `draw` expects.
    """
    picture = ipywidgets.Image(format="png", layout=_WIDE)
    below = ipywidgets.VBox()

    def refresh(_=None):
        drawn = draw(**{name: control.value for name, control in controls.items()})
        shown, *more = drawn if isinstance(drawn, tuple) else (drawn,)
        picture.value = shown if isinstance(shown, bytes) else _png(shown)
        below.children = [
            player(part) if isinstance(part, Tensor) else ipywidgets.Image(value=part, format="png", layout=_WIDE)
            for part in more
        ]

    for name, control in controls.items():
        control.description = control.description or name
        control.continuous_update = False
        control.observe(refresh, names="value")
    refresh()
    # Shown as a widget only: a page without a kernel has no use for its text form.
    display(ipywidgets.VBox([*controls.values(), picture, below]), exclude=["text/plain"])
    print(textwrap.fill(f"Try it: {text}", 90))


def curves(axis: Axes, lines: dict[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str) -> None:
    """Draw labelled lines (x, y), told apart by colour and by stroke."""
    for number, (label, (x, y)) in enumerate(lines.items()):
        marker = "o" if len(x) < 20 else None
        axis.plot(x, y, LINES[number % 4], marker=marker, markersize=4, color=COLOURS[number % 8], label=label)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    if len(lines) > 1:
        axis.legend()


def smooth(values: Sequence[float], width: int = 20) -> np.ndarray:
    """The running mean of a noisy curve, as long as the curve less `width` - 1."""
    return np.convolve(torch.as_tensor(values), np.ones(width) / width, mode="valid")
