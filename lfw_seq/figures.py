"""Pictures of how well people are recognised: for TensorBoard and for the pages alike.

Figures are made without pyplot, so nothing is shared between them. Colours are Okabe and Ito's, with a line style
each, and can be told apart without red and green. Shape legend: N images, C people.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from lfw_seq import biometrics as bio

COLOURS = ("#0072b2", "#e69f00", "#000000", "#56b4e9", "#d55e00", "#cc79a7", "#009e73")
LINES = ("-", "--", "-.", ":")
MOST_NAMED = 14  # people a legend holds; of more, the most photographed are named
MOST_WRITTEN = 25  # people up to whom a matrix has its numbers written in
SHORT = 24  # letters of a name on an axis
WIDTH = 5.3  # inches: as much as a phone shows of a page without scrolling
LEAST_RATE = 1e-3  # where a logarithmic axis begins


def axes(title: str, x: str, y: str, size: tuple[float, float] = (WIDTH, 4.2)) -> tuple[Figure, Axes]:
    """A figure with one plot."""
    figure = Figure(figsize=size, layout="constrained")
    plot = figure.subplots()
    plot.set(title=title, xlabel=x, ylabel=y)
    plot.grid(alpha=0.25)
    return figure, plot


def style(index: int) -> dict[str, Any]:
    """A colour and line of its own."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}


def legend_below(plot: Axes, title: str) -> None:
    """Names under a plot, in two columns: beside it they would take half of a narrow page."""
    plot.legend(title=title, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def short(name: str) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= SHORT else f"{name[: SHORT - 1]}…"


def confusion(predicted: bio.Ids, truth: bio.Ids, names: Sequence[str], by_row: bool) -> Figure:
    """Who was taken for whom, in images or in shares of the true person's."""
    count = len(names)
    matrix = np.zeros((count, count))
    np.add.at(matrix, (truth, predicted), 1)
    if by_row:
        matrix /= np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(2.1 + 0.42 * count, 22)
    title = "Confusion, shares of each true person" if by_row else "Confusion, images"
    figure, plot = axes(title, "predicted", "true", (side + 0.26, side))
    plot.grid(visible=False)
    image = plot.imshow(matrix, cmap="Blues", vmin=0, vmax=1 if by_row else None)
    figure.colorbar(image, ax=plot, shrink=0.8)
    labels, size = [short(name) for name in names], 8 if count <= MOST_WRITTEN else max(3, 180 / count)
    plot.set_xticks(range(count), labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    plot.set_yticks(range(count), labels, fontsize=size)
    if count <= MOST_WRITTEN:
        for (row, column), value in np.ndenumerate(matrix):
            tone = "white" if value > 0.55 * matrix.max() else "black"
            text = f"{value:.2f}" if by_row else f"{value:.0f}"
            plot.text(column, row, text, ha="center", va="center", color=tone, fontsize=8)
    return figure


def roc(probabilities: NDArray[Any], truth: bio.Ids, names: Sequence[str]) -> Figure:
    """A receiver operating characteristic for each person against all others."""
    figure, plot = axes(
        "ROC, each person against all others", "false positive rate", "true positive rate", (WIDTH, 5.6)
    )
    for order, person in enumerate(occurring(truth, names)):
        area = bio.auc(probabilities[:, person], truth == person)
        x, y, _ = roc_curve(truth == person, probabilities[:, person])
        plot.plot(x, y, label=f"{short(names[person])} ({area:.3f})", **style(order))
    plot.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    legend_below(plot, "area under the curve")
    return figure


def precision_recall(probabilities: NDArray[Any], truth: bio.Ids, names: Sequence[str]) -> Figure:
    """Precision against recall for each person."""
    figure, plot = axes("Precision and recall, each person", "recall", "precision", (WIDTH, 5.6))
    for order, person in enumerate(occurring(truth, names)):
        y, x, _ = precision_recall_curve(truth == person, probabilities[:, person])
        mean = float(-(np.diff(x) * y[:-1]).sum())
        plot.plot(x, y, drawstyle="steps-post", label=f"{short(names[person])} ({mean:.3f})", **style(order))
    plot.set_ylim(0, 1.03)
    legend_below(plot, "average precision")
    return figure


def occurring(truth: bio.Ids, names: Sequence[str]) -> list[int]:
    """The people with an image, not all images: the most frequent ones where they are too many for a legend."""
    counts = np.bincount(truth, minlength=len(names))
    present = [int(person) for person in np.argsort(-counts, kind="stable") if 0 < counts[person] < len(truth)]
    return present[:MOST_NAMED]


def reliability(answers: dict[str, NDArray[Any]], truth: bio.Ids) -> Figure:
    """How often answers of a confidence are right, and how many there are; one line a set of probabilities (N, C)."""
    figure = Figure(figsize=(WIDTH, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    bins = np.linspace(0, 1, 16)
    for order, (label, probabilities) in enumerate(answers.items()):
        _, mean, accuracy = bio.reliability(probabilities, truth)
        filled = np.isfinite(mean)
        error = bio.expected_calibration_error(probabilities, truth)
        text = f"{label}, ECE {error:.3f}"
        upper.plot(mean[filled], accuracy[filled], marker="os"[order % 2], label=text, **style(order))
        lower.hist(probabilities.max(axis=1), bins, histtype="step", linewidth=1.5, **style(order))
    upper.set(title="Reliability", ylabel="share that is right", ylim=(-0.03, 1.03), xlim=(0, 1.02))
    upper.legend(fontsize=9, loc="upper left")
    lower.set(xlabel="confidence of the answer", ylabel="images")
    for plot in (upper, lower):
        plot.grid(alpha=0.25)
    return figure


def det(curve: bio.Det) -> Figure:
    """The detection error trade-off on logarithmic axes, with its equal error rate."""
    error = bio.equal_error_rate(curve)
    figure, plot = axes("Verification: DET", "false match rate", "false non-match rate")
    plot.plot(np.maximum(curve.fmr, LEAST_RATE), np.maximum(curve.fnmr, LEAST_RATE), color=COLOURS[0])
    plot.plot([LEAST_RATE, 1], [LEAST_RATE, 1], color="gray", linewidth=0.8)
    at = max(error, LEAST_RATE)
    plot.plot(at, at, "o", color=COLOURS[4], label=f"equal error rate {error:.3f}")
    plot.set(xscale="log", yscale="log", xlim=(LEAST_RATE, 1.05), ylim=(LEAST_RATE, 1.05))
    plot.legend(loc="lower left")
    return figure


def cmc(curve: bio.Floats) -> Figure:
    """The share of images whose person is among the first k answers."""
    figure, plot = axes("Identification: CMC", "rank", "share at this rank or better")
    ranks = np.arange(1, len(curve) + 1)
    plot.plot(ranks, curve, marker="o" if len(curve) <= MOST_WRITTEN else None, color=COLOURS[0])
    plot.set_ylim(min(0.9, float(curve[0]) - 0.05), 1.01)
    if len(curve) <= MOST_NAMED:
        plot.set_xticks(ranks)
    return figure


def open_set(fpir: bio.Floats, fnir: bio.Floats) -> Figure:
    """Known people missed against strangers given a name, at every threshold."""
    figure, plot = axes("Open set", "FPIR: strangers given a name", "FNIR: known people missed")
    plot.plot(np.maximum(fpir, LEAST_RATE), fnir, color=COLOURS[0])
    plot.set(xscale="log", xlim=(LEAST_RATE, 1.05), ylim=(0, 1.03))
    for target in (0.01, 0.05, 0.10):
        plot.axvline(target, color="gray", linewidth=0.8, linestyle=":")
    return figure


def faces(images: NDArray[Any], titles: Sequence[str], heading: str, columns: int = 6) -> Figure:
    """Pictures (N, H, W) or (N, H, W, 3) in a grid, a title above each; one plot, as many would be slow to draw."""
    rows, lines = max(1, -(-len(images) // columns)), 1 + max((title.count("\n") for title in titles), default=0)
    high, wide = images.shape[1:3]
    tall = min(high / wide, 2)  # in widths of a picture; a cell is 1.2 wide
    cell = tall + 0.13 * lines + 0.12
    figure = Figure(figsize=(1.5 * 1.2 * columns, 1.5 * cell * rows + 0.4))
    plot = figure.add_axes((0, 0, 1, 1.5 * cell * rows / (1.5 * cell * rows + 0.4)))
    plot.set(xlim=(0, 1.2 * columns), ylim=(cell * rows, 0))
    plot.axis("off")
    figure.text(0.5, 0.99, heading, ha="center", va="top", fontsize=12)
    for index, (image, title) in enumerate(zip(images, titles, strict=True)):
        x, y = 1.2 * (index % columns) + 0.1, cell * (index // columns + 1) - tall - 0.06
        plot.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(x, x + 1, y + tall, y), aspect="auto")
        plot.text(x + 0.5, y - 0.04, title, ha="center", va="bottom", fontsize=7.5)
    return figure
