"""The report's pictures. Colours are told apart without red and green, and never alone: lines and places differ too."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lfw_seq import statistics
from lfw_seq.reporting.analysis import levels
from lfw_seq.reporting.keys import in_order, show
from lfw_seq.reporting.results import Value
from lfw_seq.reporting.study import Study
from lfw_seq.reporting.words import is_accuracy, within

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ROWS = 30  # configurations in the picture of all runs
MAX_LINES = 300  # configurations through all keys
MAX_CELLS = 15  # values of a key in the heat map
MAX_TICKS = 10  # values named on an axis
LABEL_WIDTH = 36  # letters of a configuration's name in a line
WIDTH = 9.0  # inches
INK, BLUE, ORANGE, GRAY = "#1b1f24", "#0072b2", "#d55e00", "#8a929b"


class Picture(NamedTuple):
    """A figure and the line under it."""

    figure: Figure
    caption: str


def figure(height: float) -> Figure:
    """A blank figure as wide as all others."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def points(study: Study) -> Picture:
    """One point a run, one row a configuration, the best by validation on top; its mean and interval."""
    shown = study.order[:MAX_ROWS]
    names = [textwrap.fill(study.label(index), LABEL_WIDTH) for index in shown]
    lines = sum(name.count("\n") + 1 for name in names)
    drawn = figure(1.5 + 0.27 * max(lines, 1.6 * len(shown)))
    axes = drawn.add_subplot()
    groups = [study.groups.groups[index] for index in shown]
    values = [value for group in groups for value in group.values(study.metric)]
    if is_accuracy(study.metric):
        values += [value for group in groups for value in group.values("majority_rate")]
    axes.set_xlim(*_limits(values))
    for row, index in enumerate(shown):
        _row(axes, row, study, index)
    axes.set_yticks(range(len(shown)), names, fontsize=9)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(study.metric)
    axes.grid(axis="x", color="#e4e7ea")
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    drawn.legend(unique.values(), unique.keys(), loc="outside upper left", ncols=len(unique), frameon=False, fontsize=9)
    first = f"The first {MAX_ROWS} of {len(study.order):,} configurations" if len(study.order) > MAX_ROWS else ""
    return Picture(
        drawn, first + (", the best by validation on top." if first else "The best by validation is on top.")
    )


def _row(axes: Axes, row: int, study: Study, index: int) -> None:
    group = study.groups.groups[index]
    values = group.values(study.metric)
    places = [
        row + 0.24 * (2 * rank / (len(values) - 1) - 1) if len(values) > 1 else row for rank in range(len(values))
    ]
    axes.plot(values, places, "o", color=BLUE, alpha=0.7, markersize=5, markerfacecolor="none", label="a run")
    if interval := group.corrected or group.summary.interval:
        kind = "95 % interval" + (", corrected" if group.corrected else "")
        axes.plot(within(interval, study.metric), [row, row], color=INK, linewidth=1.5, label=kind)
    if len(values) > 1:
        axes.plot(group.summary.mean, row, "D", color=INK, markersize=6, label="mean")
    majority = group.mean("majority_rate")
    if majority is not None and is_accuracy(study.metric):
        axes.plot(
            [majority] * 2, [row - 0.4, row + 0.4], color=ORANGE, linewidth=2, linestyle=":", label="majority rate"
        )


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.25 * (high - low) or 0.05 * abs(high) or 0.05
    return low - room, high + room


def heat_map(study: Study) -> Picture | None:
    """The mean of the metric over two swept keys; None unless there are two, of few enough values."""
    if len(study.groups.together) != 2:
        return None
    (row_key, column_key), groups = study.groups.together, study.groups.groups
    rows, row_names = levels([group.settings[row_key] for group in groups])
    columns, column_names = levels([group.settings[column_key] for group in groups])
    if max(len(row_names), len(column_names)) > MAX_CELLS:
        return None
    cells: dict[tuple[str, str], list[float]] = {}
    for row, column, group in zip(rows, columns, groups, strict=True):
        cells.setdefault((row, column), []).append(group.summary.mean)
    means = {place: statistics.mean(values) for place, values in cells.items()}
    middle = (min(means.values()) + max(means.values())) / 2
    drawn = figure(1.6 + 0.5 * len(row_names))
    axes = drawn.add_subplot()
    grid = [[means.get((row, column), float("nan")) for column in column_names] for row in row_names]
    image = axes.imshow(grid, cmap="cividis", aspect="auto")
    axes.set_facecolor("#eef0f2")
    for y, row in enumerate(row_names):
        for x, column in enumerate(column_names):
            value = means.get((row, column))
            color = "white" if value is not None and value < middle else INK
            axes.text(
                x, y, "not run" if value is None else f"{value:.3f}", ha="center", va="center", color=color, fontsize=9
            )
    axes.set_xticks(range(len(column_names)), column_names, rotation=30 if max(map(len, column_names)) > 8 else 0)
    axes.set_yticks(range(len(row_names)), row_names)
    axes.set_xlabel(column_key)
    axes.set_ylabel(row_key)
    drawn.colorbar(image, label=f"mean {study.metric}")
    return Picture(drawn, "Each cell is the mean over the runs of both values.")


def parallel(study: Study) -> Picture | None:
    """One line a configuration through its value of each swept key to its mean; None below three keys."""
    keys, groups = list(study.groups.together), [study.groups.groups[index] for index in study.order[:MAX_LINES]]
    if len(keys) < 3:
        return None
    from matplotlib import colormaps

    means = [group.summary.mean for group in groups]
    scale = [*(_axis([group.settings[key] for group in groups]) for key in keys), _scale(means)]
    tones = scale[-1][0]
    drawn = figure(4.8)
    axes = drawn.add_subplot()
    for index in sorted(range(len(groups)), key=means.__getitem__):
        shift = 0.1 * (tones[index] - 0.5)  # lines through one value stay apart
        heights = [places[index] + shift for places, _ in scale[:-1]] + [tones[index]]
        axes.plot(
            range(len(heights)), heights, color=colormaps["viridis"](0.9 * tones[index]), linewidth=1.6, alpha=0.85
        )
    for x, (_, ticks) in enumerate(scale):
        axes.axvline(x, color=GRAY, linewidth=1, zorder=0)
        for height, name in ticks:
            axes.annotate(
                name,
                (x, height),
                (6, 0),
                textcoords="offset points",
                fontsize=9,
                va="center",
                zorder=5,
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
            )
    axes.set_xticks(range(len(scale)), [*(study.names[key] for key in keys), f"mean\n{study.metric}"], fontsize=10)
    axes.set_ylim(-0.1, 1.1)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    which = "Each line is a configuration" if len(study.order) <= MAX_LINES else f"The {MAX_LINES} best by validation"
    return Picture(drawn, f"{which}, through its values to its mean; the brighter, the higher.")


def _axis(values: Sequence[Value]) -> tuple[list[float], list[tuple[float, str]]]:
    """Where values stand on an axis from 0 to 1, and its ticks: a few values evenly, many numbers by size."""
    distinct = sorted(set(values), key=in_order)
    numbers = [float(value) for value in distinct if isinstance(value, int | float)]
    if len(distinct) > MAX_TICKS and len(numbers) == len(distinct):
        return _scale([float(value) for value in values if isinstance(value, int | float)])
    heights = {value: rank / max(1, len(distinct) - 1) for rank, value in enumerate(distinct)}
    step = -(-len(distinct) // MAX_TICKS)
    return [heights[value] for value in values], [(heights[value], show(value)) for value in distinct[::step]]


def _scale(numbers: Sequence[float]) -> tuple[list[float], list[tuple[float, str]]]:
    """An axis of numbers with five ticks; in powers where they span a factor of 100 or more."""
    low, high = min(numbers), max(numbers)
    if low > 0 and high / low >= 100:
        heights = [math.log(value / low) / math.log(high / low) for value in numbers]
        ticks = [(part / 4, low * (high / low) ** (part / 4)) for part in range(5)]
    else:
        heights = [(value - low) / ((high - low) or 1) for value in numbers]
        ticks = [(part / 4, low + (high - low) * part / 4) for part in range(5 if high > low else 1)]
    return heights, [(height, f"{value:.3g}") for height, value in ticks]
