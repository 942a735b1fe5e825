"""How figures look, on pages and in TensorBoard; without pyplot, so that nothing is shared.

Lines and text have a contrast of at least 4.5:1, and curves differ in their line style as well as in colour.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator

COLOURS = ("#0060a8", "#b34700", "#000000", "#00735c", "#a8327c", "#7a5c00", "#4f6fd0")
LINES = ("-", "--", "-.", ":")
CYCLE = cycler(color=COLOURS * len(LINES)) + cycler(linestyle=LINES * len(COLOURS))
REFERENCE: dict[str, Any] = {"color": "#595959", "linewidth": 1, "linestyle": (0, (6, 3))}  # chance, majority, targets
WIDTH = 5.3  # inches: half a desk's page; a phone's shrinks it by a third
PIXELS_PER_INCH = 96  # CSS
SHARPNESS = 2  # pixels of a picture for each CSS pixel, for dense screens


class Picture(NamedTuple):
    """A PNG picture, what is found in it, and its width in CSS pixels; a narrower screen shrinks it."""

    png: bytes
    alt: str
    width: int

    @property
    def source(self) -> str:
        """The picture as a URL that holds it."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def picture(figure: Figure) -> Picture:
    """A figure at its size in inches, sharp on dense screens; its titles, labels and words are the alternative text."""
    file, parts = io.BytesIO(), []
    figure.savefig(file, format="png", dpi=PIXELS_PER_INCH * SHARPNESS)
    for plot in figure.axes:
        labels = [*plot.get_legend_handles_labels()[1], *(text.get_text() for text in plot.texts)]
        words = ", ".join(dict.fromkeys(label for label in labels if not label.isdecimal()))
        parts += [f"{plot.get_title()}{': ' * bool(words)}{words}."] if plot.get_title() else []
    return Picture(file.getvalue(), " ".join(" ".join(parts).split()), round(figure.get_figwidth() * PIXELS_PER_INCH))


def plots(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches and its plots, row by row; `options` are those of `Figure.subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    found = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for plot in found:
        plot.set_prop_cycle(CYCLE)
        plot.grid(alpha=0.25)
    return figure, found


def curves(
    panels: Mapping[str, Mapping[str, Sequence[pd.Series]]],
    x: str,
    majority: float | None = None,
    logarithmic: bool = False,
) -> Figure:
    """Curves, {title: {label: curves of that label}}, one plot for each title below the other.

    A single curve's last value stands behind its label.
    `majority` is the accuracy of always predicting the most frequent person: a line in every plot of an accuracy.
    """
    figure, found = plots(WIDTH, 0.6 + 2.7 * len(panels), len(panels), sharex=True)
    for plot, (title, lines) in zip(found, panels.items(), strict=True):
        for look, (label, several) in zip(CYCLE, lines.items(), strict=False):
            for number, values in enumerate(several):
                marker = "." if len(values) < 20 else ""
                text = f"{label} {values.iloc[-1]:.3f}".strip() if len(several) == 1 else label
                plot.plot(values.index, values, label="_" * (number > 0) + text, marker=marker, **look)
        if majority is not None and "accuracy" in title:
            draw_majority(plot, majority)
        scale: dict[str, Any] = {"yscale": "log"} if logarithmic else {}
        plot.set(title=title, **(scale if scale or "loss" in title else {"ylim": (0, 1.03)}))
        plot.legend(fontsize=9)
    found[-1].set_xlabel(x)
    found[-1].xaxis.set_major_locator(MaxNLocator("auto", integer=True))  # no half epochs or steps
    return figure


def draw_majority(plot: Axes, rate: float) -> None:
    """The accuracy of always predicting the most frequent person, as a line."""
    plot.axhline(rate, label=f"majority rate {rate:.3f}", **REFERENCE)


def short(name: str) -> str:
    """A name of at most 24 letters."""
    return name if len(name) <= 24 else f"{name[:23]}…"
