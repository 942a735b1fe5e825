"""A report's figures: every run, the effect of each key, learning curves."""

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from lfw_seq.evaluation.drawing import COLOURS, REFERENCE, WIDTH, Picture, curves, draw_majority, picture, plots
from lfw_seq.reports.compare import Comparison
from lfw_seq.reports.group import levels
from lfw_seq.reports.tables import number

MAX_ROWS, MAX_CURVES, MAX_RUNS = 30, 6, 5  # configurations in two figures; runs of one in the learning curves
LEAST_SPAN = 0.01  # of an axis of scores: closer ones differ by rounding
POINT: dict[str, Any] = {"marker": "o", "linestyle": "", "color": COLOURS[0], "markerfacecolor": "none"}
MEAN: dict[str, Any] = {"marker": "D", "color": COLOURS[2], "markersize": 5}


def pictures(made: Comparison) -> dict[str, list[Picture]]:
    """The pictures that these runs give, by the title of the table that they belong to."""
    drawn = {"Configurations": [every_run(made), *learning_curves(made)]}
    if len(made.settings.columns) > 1:
        drawn["What each key changes"] = [effects(made)]
    return drawn


def every_run(made: Comparison) -> Picture:
    """One point a run, one row a configuration, with its mean and interval."""
    shown = made.order[:MAX_ROWS]
    names = [textwrap.fill(made.label(number), 24) for number in shown]
    figure, (plot,) = plots(WIDTH, 1.5 + 0.27 * max(sum(name.count("\n") + 1 for name in names), 1.6 * len(shown)))
    for place, (configuration, row) in enumerate(made.table.loc[shown].iterrows()):
        values = made.runs.loc[made.runs["configuration"] == configuration, made.metric]
        heights = [place + 0.48 * (rank + 0.5) / len(values) - 0.24 for rank in range(len(values))]
        plot.plot(values, heights, label="a run", **POINT)
        kind = "" if pd.isna(row["corrected_low"]) else "corrected "
        ends = [row[f"{kind.strip()}_{end}".strip("_")] for end in ("low", "high")]
        plot.plot(ends, [place] * 2, color=COLOURS[2], linestyle="-", label=f"{kind}95 % interval")
        plot.plot(row["mean"], place, label="mean", linestyle="", **MEAN)
        if made.metric.endswith("/accuracy"):
            plot.plot([row["majority_rate"]] * 2, [place - 0.4, place + 0.4], label="majority rate", **REFERENCE)
    plot.set(ylim=(len(shown) - 0.4, -0.6), xlabel=made.metric)
    plot.ticklabel_format(axis="x", useOffset=False)
    plot.set_xlim(*_span(*plot.get_xlim()))
    plot.set_yticks(range(len(shown)), names, fontsize=9)
    unique = dict(zip(*reversed(plot.get_legend_handles_labels()), strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    which = f"{MAX_ROWS} of {len(made.order):,} configurations" if len(made.order) > MAX_ROWS else "Every run"
    span = f"means from {number(made.table['mean'].min())} to {number(made.table['mean'].max())}"
    plot.set_title(f"{which}{', the best by validation on top' * bool(made.ranked)}\n{span}", fontsize=10)
    return picture(figure)


def effects(made: Comparison) -> Picture:
    """One plot a swept key: the mean of each configuration at its value, and the effect of the key alone."""
    count = len(made.settings.columns)
    rows = -(-count // 2)
    figure, found = plots(WIDTH, 0.8 + 2.4 * rows, rows, 2, sharey=True)
    for plot, (key, values) in zip(found, made.settings.items(), strict=False):
        level, names = levels(values)
        plot.plot(level.map(names.index), made.table["mean"], label="a configuration", **POINT)
        means = made.effects.loc[made.effects["key"] == key, "mean"]
        plot.plot(range(len(names)), means, label="mean over the other keys", **MEAN)
        if made.metric.endswith("/accuracy"):
            draw_majority(plot, made.table["majority_rate"].mean())
        plot.set_xticks(range(len(names)), [textwrap.fill(name, 12) for name in names], fontsize=8)
        plot.set_title(f"{key}:\nfrom {number(means.min())} to {number(means.max())}", fontsize=9)
    for plot in found[count:]:
        plot.remove()
    found[0].ticklabel_format(axis="y", useOffset=False)
    found[0].set_ylim(*_span(*found[0].get_ylim()))
    figure.supylabel(made.metric, fontsize=9)
    figure.legend(*found[0].get_legend_handles_labels(), loc="outside lower left", frameon=False, fontsize=9)
    return picture(figure)


def learning_curves(made: Comparison) -> list[Picture]:
    """Training and validation by epoch, one line a run; none without a metrics.csv."""
    watched = made.monitor or "val/loss"
    names = [watched.replace("val/", "train/"), watched]
    found = {number: tables for number in made.order[:MAX_CURVES] if (tables := _tables(made, number, names))}
    if not found:
        return []
    few = f"{len(found)} of {len(made.table):,} configurations, the best by validation first"
    which = few if len(found) < len(made.table) else "every configuration"
    panels = {
        f"{name} of {which}" if name == watched else name: {
            made.label(number): [table[name] for table in tables] for number, tables in found.items()
        }
        for name in names
    }
    return [picture(curves(panels, "epoch", made.table["majority_rate"].mean()))]


def _span(low: float, high: float) -> tuple[float, float]:
    """The limits of an axis, apart by at least `LEAST_SPAN`."""
    more = max(LEAST_SPAN - (high - low), 0) / 2
    return low - more, high + more


def _tables(made: Comparison, configuration: int, names: list[str]) -> list[pd.DataFrame]:
    """Some metrics by epoch of the first runs of a configuration."""
    found = []
    for path in made.runs.loc[made.runs["configuration"] == configuration, "path"].head(MAX_RUNS):
        try:
            table = pd.read_csv(Path(path) / "metrics.csv", usecols=["epoch", *names], dtype=float)
            found.append(table.set_index("epoch").dropna())
        except (OSError, ValueError):  # missing, or another table
            continue
    return found
