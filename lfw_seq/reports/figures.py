"""Figures of a report: every run, the effect of each key, learning curves."""

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from lfw_seq.evaluation.drawing import COLOURS, REFERENCE, WIDTH, Picture, curves, draw_majority, picture, plots
from lfw_seq.reports.compare import Comparison
from lfw_seq.reports.group import levels
from lfw_seq.reports.tables import number

MAX_ROWS, MAX_CURVES, MAX_RUNS = 30, 6, 5  # configurations in every_run and learning_curves; runs of each in the latter
LEGEND = 40  # letters in a line of a legend
LEAST_SPAN = 0.01  # of an axis of scores: smaller differences are rounding
POINT: dict[str, Any] = {"marker": "o", "linestyle": "", "color": COLOURS[0], "markerfacecolor": "none"}
MEAN: dict[str, Any] = {"marker": "D", "color": COLOURS[2], "markersize": 5}


def pictures(result: Comparison) -> dict[str, list[Picture]]:
    """Pictures of these runs, by the title of the table beside them."""
    by_title = {"Configurations": [every_run(result), *learning_curves(result)]}
    if len(result.settings.columns) > 1:
        by_title["What each key changes"] = [effects(result)]
    return by_title


def every_run(result: Comparison) -> Picture:
    """A point for each run and a row for each configuration, with mean and interval."""
    shown = result.order[:MAX_ROWS]
    names = [textwrap.fill(result.label(number), 24) for number in shown]
    figure, (plot,) = plots(WIDTH, 1.5 + 0.27 * max(sum(name.count("\n") + 1 for name in names), 1.6 * len(shown)))
    for place, (configuration, row) in enumerate(result.table.loc[shown].iterrows()):
        values = result.runs.loc[result.runs["configuration"] == configuration, result.metric]
        heights = [place + 0.48 * (rank + 0.5) / len(values) - 0.24 for rank in range(len(values))]
        plot.plot(values, heights, label="a run", **POINT)
        kind = "corrected_" * pd.notna(row["corrected_low"])
        limits, label = [row[f"{kind}low"], row[f"{kind}high"]], f"{kind.replace('_', ' ')}95 % interval"
        plot.plot(limits, [place] * 2, color=COLOURS[2], linestyle="-", label=label)
        plot.plot(row["mean"], place, label="mean", linestyle="", **MEAN)
        if result.metric == "test/accuracy":
            plot.plot([row["majority_rate"]] * 2, [place - 0.4, place + 0.4], label="majority rate", **REFERENCE)
    plot.set(ylim=(len(shown) - 0.4, -0.6), xlabel=result.metric)
    plot.ticklabel_format(axis="x", useOffset=False)
    plot.set_xlim(*_span(*plot.get_xlim()))
    plot.set_yticks(range(len(shown)), names, fontsize=9)
    unique = dict(zip(*reversed(plot.get_legend_handles_labels()), strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    which = f"{MAX_ROWS} of {len(result.order):,} configurations" if len(result.order) > MAX_ROWS else "Every run"
    span = f"means from {number(result.table['mean'].min())} to {number(result.table['mean'].max())}"
    plot.set_title(f"{which}{', the best by validation on top' * bool(result.ranked)}\n{span}", fontsize=10)
    return picture(figure)


def effects(result: Comparison) -> Picture:
    """A plot for each swept key: means of configurations by value, and the marginal effect of the key."""
    count = len(result.settings.columns)
    rows = -(-count // 2)
    figure, axes = plots(WIDTH, 0.8 + 2.4 * rows, rows, 2, sharey=True)
    for plot, (key, values) in zip(axes, result.settings.items(), strict=False):
        level, names = levels(values)
        plot.plot(level.map(names.index), result.table["mean"], label="a configuration", **POINT)
        means = result.effects.loc[result.effects["key"] == key, "mean"]
        plot.plot(range(len(names)), means, label="mean over the other keys", **MEAN)
        if result.metric == "test/accuracy":
            draw_majority(plot, result.table["majority_rate"].mean())
        plot.set_xticks(range(len(names)), [textwrap.fill(name, 12) for name in names], fontsize=8)
        plot.set_title(f"{key}:\nfrom {number(means.min())} to {number(means.max())}", fontsize=9)
    for plot in axes[count:]:
        plot.remove()
    axes[0].ticklabel_format(axis="y", useOffset=False)
    axes[0].set_ylim(*_span(*axes[0].get_ylim()))
    figure.supylabel(result.metric, fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", frameon=False, fontsize=9)
    return picture(figure)


def learning_curves(result: Comparison) -> list[Picture]:
    """The monitored metric in training and validation by epoch, a curve for each run; none without a metrics.csv."""
    monitor = result.monitor or "val/loss"
    names = [monitor.replace("val/", "train/"), monitor]
    by_number = {number: tables for number in result.order[:MAX_CURVES] if (tables := _tables(result, number, names))}
    if not by_number:
        return []
    labels = {number: _legend(result.label(number), rank) for rank, number in enumerate(by_number, 1)}
    few = f"{len(by_number)} of {len(result.table):,} configurations"
    few += ", the best by validation first" * bool(result.ranked)
    which = few if len(by_number) < len(result.table) else "every configuration"
    panels = {
        title: {labels[number]: [table[name] for table in tables] for number, tables in by_number.items()}
        for name, title in zip(names, (names[0], f"{monitor} of {which}"), strict=True)
    }
    return [picture(curves(panels, "epoch", result.table["majority_rate"].mean()))]


def _span(low: float, high: float) -> tuple[float, float]:
    """Limits of an axis, widened to at least `LEAST_SPAN`."""
    margin = max(LEAST_SPAN - (high - low), 0) / 2
    return low - margin, high + margin


def _legend(label: str, rank: int) -> str:
    """A label on two lines at most; a longer one is cut, and numbered."""
    whole = len(label) <= 2 * LEGEND
    return textwrap.fill(label if whole else f"{rank}: {label[: 2 * LEGEND - 5]}…", LEGEND)


def _tables(result: Comparison, configuration: int, names: list[str]) -> list[pd.DataFrame]:
    """Metrics by epoch of the first runs of a configuration."""
    tables = []
    for path in result.runs.loc[result.runs["configuration"] == configuration, "path"].head(MAX_RUNS):
        try:
            table = pd.read_csv(Path(path) / "metrics.csv", usecols=["epoch", *names], dtype=float)
            tables.append(table.set_index("epoch").dropna())
        except (OSError, ValueError):  # missing, or without these columns
            continue
    return tables
