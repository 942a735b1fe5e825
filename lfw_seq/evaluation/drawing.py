"""Figure style for pages and TensorBoard; without pyplot and its global state.

Lines and text have a contrast of at least 4.5:1, and curves differ in line style as well as in colour.
"""

import base64
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator

from lfw_seq.cli import printable

COLOURS = ("#0060a8", "#b34700", "#000000", "#00735c", "#a8327c", "#7a5c00", "#4f6fd0")
LINES = ("-", "--", "-.", ":")
CYCLE = cycler(color=COLOURS * len(LINES)) + cycler(linestyle=LINES * len(COLOURS))
REFERENCE: dict[str, Any] = {"color": "#595959", "linewidth": 1, "linestyle": (0, (6, 3))}  # chance, majority, targets
WIDTH = 5.3  # inches: a column of the page on a desktop; scaled down by a third on a phone
PIXELS_PER_INCH = 96  # CSS
SHARPNESS = 2  # image pixels per CSS pixel, for high-density screens


class Picture(NamedTuple):
    """A PNG image, its alternative text, and its width in CSS pixels; narrower screens scale it down."""

    png: bytes
    alt: str
    width: int

    @property
    def source(self) -> str:
        """The image as a data URL."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@contextmanager
def ignoring_glyphs() -> Iterator[None]:
    """Draw without warnings of names in a script that the font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def picture(figure: Figure) -> Picture:
    """Render a figure; its titles, legend labels and texts become the alternative text."""
    file, parts = io.BytesIO(), []
    with ignoring_glyphs():
        figure.savefig(file, format="png", dpi=PIXELS_PER_INCH * SHARPNESS)
    for plot in figure.axes:
        labels = [*plot.get_legend_handles_labels()[1], *(text.get_text() for text in plot.texts)]
        words = ", ".join(dict.fromkeys(label for label in labels if not label.isdecimal()))
        parts += [f"{plot.get_title()}{': ' * bool(words)}{words}."] if plot.get_title() else []
    return Picture(file.getvalue(), " ".join(" ".join(parts).split()), round(figure.get_figwidth() * PIXELS_PER_INCH))


def plots(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A styled figure of a size in inches, and its axes, row by row; `options` are those of `Figure.subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for plot in axes:
        plot.set_prop_cycle(CYCLE)
        plot.grid(alpha=0.25)
    return figure, axes


def curves(panels: Mapping[str, Mapping[str, Sequence[pd.Series]]], x: str, majority: float | None = None) -> Figure:
    """Plot curves {title: {label: curves}} over `x`, one plot per title.

    A label with a single curve shows its last value.
    `majority`, the accuracy of always predicting the most frequent person, is drawn in every plot of an accuracy.
    """
    figure, axes = plots(WIDTH, 0.6 + 2.7 * len(panels), len(panels), sharex=True)
    for plot, (title, lines) in zip(axes, panels.items(), strict=True):
        for style, (label, series) in zip(CYCLE, lines.items(), strict=False):
            for number, values in enumerate(series):
                marker = "." if len(values) < 20 else ""
                text = f"{label} {values.iloc[-1]:.3f}".strip() if len(series) == 1 else label
                plot.plot(values.index, values, label="_" * (number > 0) + text, marker=marker, **style)
        if majority is not None and "accuracy" in title and "balanced" not in title:
            draw_majority(plot, majority)
        plot.set(title=title, **({} if "loss" in title else {"ylim": (0, 1.03)}))
        plot.legend(fontsize=9)
    axes[-1].set_xlabel(x)
    axes[-1].xaxis.set_major_locator(MaxNLocator("auto", integer=True))  # no half epochs or steps
    return figure


def draw_majority(plot: Axes, rate: float) -> None:
    """Draw the accuracy of always predicting the most frequent person as a line."""
    plot.axhline(rate, label=f"majority rate {rate:.3f}", **REFERENCE)


def short(name: str) -> str:
    r"""A name for figures: at most 24 printable characters, and \$ for $, which matplotlib takes for mathematics."""
    return printable(name if len(name) <= 24 else f"{name[:23]}…").replace("$", r"\$")
