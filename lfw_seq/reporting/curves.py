"""Learning curves of many runs in one picture, from their metrics.csv."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from lfw_seq.reporting.pictures import Picture, figure
from lfw_seq.reporting.study import Study

MAX_GROUPS = 6  # configurations, the best by validation
MAX_RUNS = 5  # of each
# Okabe and Ito's colours, and dashes beside them
STYLES = (
    ("#0072b2", "-"),
    ("#d55e00", "--"),
    ("#009e73", "-."),
    ("#cc79a7", ":"),
    ("#56b4e9", (0, (5, 1, 1, 1, 1, 1))),
    ("#000000", (0, (1, 1))),
)
Curve = list[tuple[float, float]]  # epoch and value


def learning_curves(study: Study) -> Picture | None:
    """Training and validation by epoch, one line a run; None where no metrics.csv tells."""
    watched = study.monitor.name if study.monitor else "val/loss"
    names = [f"train/{watched.removeprefix('val/')}", watched]
    curves = {
        index: [curve for run in study.groups.groups[index].runs[:MAX_RUNS] if (curve := read(run.folder, names))]
        for index in study.order[:MAX_GROUPS]
    }
    if not any(curves.values()):
        return None
    drawn = figure(4.6)
    for axes, name in zip(drawn.subplots(1, 2, sharey=True), names, strict=True):
        for (index, runs), (color, dashes) in zip(curves.items(), STYLES, strict=False):
            for rank, run in enumerate(runs):
                label = study.label(index) if rank == 0 and name == watched else None
                epochs, values = [epoch for epoch, _ in run[name]], [value for _, value in run[name]]
                axes.plot(epochs, values, color=color, linestyle=dashes, linewidth=1.3, alpha=0.8, label=label)
        axes.set_xlabel("epoch")
        axes.set_title(name, fontsize=10)
        axes.grid(color="#e4e7ea")
        axes.xaxis.get_major_locator().set_params(integer=True)
    longest = max(len(study.label(index)) for index in curves)
    drawn.legend(loc="outside lower left", ncols=1 if longest > 40 else 2, frameon=False, fontsize=9)
    most = f"at most {MAX_RUNS} runs of each of the {MAX_GROUPS} best configurations"
    return Picture(drawn, f"Each line is a run: {most}.")


def read(folder: Path, names: list[str]) -> dict[str, Curve] | None:
    """Some columns of a run's metrics.csv by epoch; None where it is missing or holds something else."""
    try:
        with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        curves = {name: [(float(row["epoch"]), float(row[name])) for row in rows if row[name]] for name in names}
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None
    return {name: [point for point in curve if all(map(math.isfinite, point))] for name, curve in curves.items()}
