"""A report's figures. Colors are told apart without red and green, and never alone: markers and dashes differ too."""

import textwrap
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lfw_seq.evaluation.page import Picture, picture
from lfw_seq.reports.compare import Comparison
from lfw_seq.reports.group import levels
from lfw_seq.reports.tables import number

MAX_ROWS, MAX_RUNS = 30, 5  # configurations in the figure of every run; runs of one in the learning curves
INK, BLUE, ORANGE, GRID = "#1b1f24", "#0072b2", "#b34700", "#e4e7ea"
STYLES = ((BLUE, "-"), (ORANGE, "--"), ("#007a59", "-."), ("#a0527f", ":"), ("#6b6100", "-"), (INK, "--"))


def pictures(made: Comparison) -> dict[str, list[Picture]]:
    """The pictures that these runs give, by the title of the table that they belong to."""
    drawn = {"Configurations": [every_run(made)]}
    if curves := {number: found for number in made.order[: len(STYLES)] if (found := _curves(made, number))}:
        drawn["Configurations"].append(learning_curves(made, curves))
    if len(made.settings.columns) > 1:
        drawn["What each key changes"] = [effects(made)]
    return drawn


def every_run(made: Comparison) -> Picture:
    """One point a run, one row a configuration, with its mean and interval."""
    shown = made.order[:MAX_ROWS]
    names = [textwrap.fill(made.label(number), 36) for number in shown]
    figure = _figure(1.5 + 0.27 * max(sum(name.count("\n") + 1 for name in names), 1.6 * len(shown)))
    axes = figure.add_subplot(ylim=(len(shown) - 0.4, -0.6), xlabel=made.metric)
    for place, (configuration, row) in enumerate(made.table.loc[shown].iterrows()):
        values = made.runs.loc[made.runs["configuration"] == configuration, made.metric]
        heights = [place + 0.48 * (rank + 0.5) / len(values) - 0.24 for rank in range(len(values))]
        axes.plot(values, heights, "o", color=BLUE, alpha=0.7, markersize=5, markerfacecolor="none", label="a run")
        kind = "" if pd.isna(row["corrected_low"]) else "corrected"
        ends = [row[f"{kind}_{end}".strip("_")] for end in ("low", "high")]
        axes.plot(ends, [place] * 2, color=INK, linewidth=1.5, label=f"{kind} 95 % interval".strip())
        axes.plot(row["mean"], place, "D", color=INK, markersize=6, label="mean")
        if made.metric.endswith("/accuracy"):
            axes.plot([row["majority_rate"]] * 2, [place - 0.4, place + 0.4], ":", color=ORANGE, label="majority rate")
    axes.set_yticks(range(len(shown)), names, fontsize=9)
    axes.grid(axis="x", color=GRID)
    handles, words = axes.get_legend_handles_labels()
    unique = dict(zip(words, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside upper left", ncols=len(unique), frameon=False)
    which = f"The first {MAX_ROWS} of {len(made.order):,} configurations" if len(made.order) > MAX_ROWS else "Every run"
    span = f"means of {made.metric} from {number(made.table['mean'].min())} to {number(made.table['mean'].max())}"
    alt = f"{which}{', the best by validation on top' * bool(made.ranked)}; {span}."
    return picture(figure, alt, alt)


def effects(made: Comparison) -> Picture:
    """One panel a swept key: the mean of each configuration at its value, and the effect of the key alone."""
    columns = min(3, len(made.settings.columns))
    rows = -(-len(made.settings.columns) // columns)
    figure, axes = _figure(0.4 + 2.7 * rows), None
    for place, (key, values) in enumerate(made.settings.items(), 1):
        level, names = levels(values)
        axes = figure.add_subplot(rows, columns, place, sharey=axes)
        axes.plot(level.map(names.index), made.table["mean"], "o", color=BLUE, alpha=0.8, markerfacecolor="none")
        axes.plot(
            range(len(names)), made.effects.loc[made.effects["key"] == key, "mean"], "D-", color=INK, markersize=5
        )
        axes.set_xticks(range(len(names)), [textwrap.fill(name, 12) for name in names], fontsize=8)
        axes.set_title(key, fontsize=9)
        axes.grid(axis="y", color=GRID)
    figure.supylabel(made.metric, fontsize=9)
    caption = "Circles are means of configurations; diamonds are means over combinations of the other keys."
    widest = made.effects.groupby("key")["mean"].agg(lambda means: means.max() - means.min())
    return picture(
        figure, f"Effects of keys; {widest.idxmax()} changes {made.metric} most, by {number(widest.max())}.", caption
    )


def learning_curves(made: Comparison, curves: dict[int, list[pd.DataFrame]]) -> Picture:
    """Training and validation by epoch, one line a run; `curves` holds some tables of each configuration shown."""
    figure = _figure(4.6)
    panels = figure.subplots(1, 2, sharey=True)
    for (configuration, found), (color, dashes) in zip(curves.items(), STYLES, strict=False):
        for axes, name in zip(panels, found[0].columns[1:], strict=True):
            for table in found:
                (line,) = axes.plot(table["epoch"], table[name], dashes, color=color, linewidth=1.3, alpha=0.8)
            axes.set(xlabel="epoch", title=name)
            axes.grid(color=GRID)
        line.set_label(made.label(configuration))
    figure.legend(loc="outside lower left", frameon=False, fontsize=9)
    more = f", at most {MAX_RUNS} of a configuration" * bool((made.table["runs"] > MAX_RUNS).any())
    more += f", of the first {len(STYLES)} configurations" * (len(made.table) > len(STYLES))
    caption = f"Learning curves: each line is a run{more}."
    return picture(figure, caption, caption)


def _curves(made: Comparison, configuration: int) -> list[pd.DataFrame]:
    """Epoch and the monitored metric in training and validation, of the first runs of a configuration."""
    watched = made.monitor or "val/loss"
    columns, found = ["epoch", watched.replace("val/", "train/"), watched], []
    for path in made.runs.loc[made.runs["configuration"] == configuration, "path"].head(MAX_RUNS):
        try:
            found.append(pd.read_csv(Path(path) / "metrics.csv", usecols=columns, dtype=float)[columns].dropna())
        except (OSError, ValueError):  # missing, or another table
            continue
    return found


def _figure(height: float) -> Figure:
    return Figure(figsize=(9.0, height), layout="constrained")
