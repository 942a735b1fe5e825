"""Figures drawn from arrays, for TensorBoard and for the pages; without pyplot, so that nothing is shared.

Lines and text have a contrast of at least 4.5:1, and curves differ in their line style as well as in colour.
Shape legend: N images, C people, T steps, H image rows, W pixels a row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from lfw_seq.evaluation import biometrics as bio

Panels = Mapping[str, Mapping[str, Mapping[int, float]]]
COLOURS = ("#0060a8", "#b34700", "#000000", "#00735c", "#a8327c", "#7a5c00", "#4f6fd0")
LINES = ("-", "--", "-.", ":")
CYCLE = cycler(color=COLOURS * len(LINES)) + cycler(linestyle=LINES * len(COLOURS))
REFERENCE: dict[str, Any] = {"color": "#595959", "linewidth": 1, "linestyle": (0, (6, 3))}  # chance, majority, targets
BINS = [edge / 15 for edge in range(16)]  # of a histogram of probabilities
MOST_NAMED = 14  # people in a legend; of more, those with the most images
MOST_WRITTEN = 25  # people up to whom a matrix has its numbers written in
WHITE_FROM = 0.715  # of the colour map Blues: white text has a contrast of 4.5:1 from here on, black text up to here
WIDTH = 5.3  # inches: the width of a phone's page
LEAST_RATE = 1e-3  # start of a logarithmic axis


def plots(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches and its plots, row by row; `options` are those of `Figure.subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    found = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for plot in found:
        plot.set_prop_cycle(CYCLE)
        plot.grid(alpha=0.25)
    return figure, found


def short(name: str) -> str:
    """A name of at most 24 letters."""
    return name if len(name) <= 24 else f"{name[:23]}…"


def confusion(predicted: bio.Ids, truth: bio.Ids, names: Sequence[str], by_row: bool) -> Figure:
    """True against predicted people, as numbers of images or as shares of each true person's images."""
    count = len(names)
    matrix = np.zeros((count, count))
    np.add.at(matrix, (truth, predicted), 1)
    if by_row:
        matrix /= np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side, most = min(2.1 + 0.42 * count, 22), 1 if by_row else matrix.max()
    figure, (plot,) = plots(side + 0.26, side)
    title = "Confusion, shares of each true person" if by_row else "Confusion, images"
    plot.set(title=title, xlabel="predicted", ylabel="true")
    plot.grid(visible=False)
    figure.colorbar(plot.imshow(matrix, cmap="Blues", vmin=0, vmax=most), ax=plot, shrink=0.8)
    labels, size = [short(name) for name in names], 9 if count <= MOST_WRITTEN else max(3, 180 / count)
    plot.set_xticks(range(count), labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    plot.set_yticks(range(count), labels, fontsize=size)
    if count <= MOST_WRITTEN:
        for (row, column), value in np.ndenumerate(matrix):
            tone, text = "white" if value > WHITE_FROM * most else "black", f"{value:.{2 if by_row else 0}f}"
            plot.text(column, row, text, ha="center", va="center", color=tone, fontsize=9)
    return figure


def per_person(probabilities: NDArray[Any], truth: bio.Ids, names: Sequence[str]) -> Figure:
    """The ROC curve of each person against all others, and precision against recall."""
    figure, (roc, pr) = plots(WIDTH, 9.6, 2)
    counts = np.bincount(truth, minlength=len(names))
    for person in np.argsort(-counts, kind="stable")[:MOST_NAMED]:
        if 0 < counts[person] < len(truth):
            positive, scores, name = truth == person, probabilities[:, person], short(names[person])
            x, y, _ = roc_curve(positive, scores)
            roc.plot(x, y, label=f"{name} ({bio.auc(scores, positive):.3f})")
            precision, recall, _ = precision_recall_curve(positive, scores)
            label = f"{name} ({average_precision_score(positive, scores):.3f})"
            pr.plot(recall, precision, drawstyle="steps-post", label=label)
    roc.plot([0, 1], [0, 1], **REFERENCE)
    roc.set(title="ROC, each person against all others", xlabel="false positive rate", ylabel="true positive rate")
    pr.set(title="Precision and recall of each person", xlabel="recall", ylabel="precision", ylim=(-0.03, 1.03))
    for plot, area in ((roc, "area under the curve"), (pr, "average precision")):
        plot.legend(title=area, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    return figure


def reliability(sets: Mapping[str, NDArray[Any]], truth: bio.Ids) -> Figure:
    """Accuracy and number of images by confidence, one line for each set of probabilities (N, C)."""
    figure, (upper, lower) = plots(WIDTH, 5, 2, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], **REFERENCE)
    for label, probabilities in sets.items():
        _, mean, accuracy = bio.reliability(probabilities, truth)
        filled = np.isfinite(mean)
        text = f"{label}, ECE {bio.expected_calibration_error(probabilities, truth):.3f}"
        (line,) = upper.plot(mean[filled], accuracy[filled], marker="o", label=text)
        look: dict[str, Any] = {"color": line.get_color(), "linestyle": line.get_linestyle()}
        lower.hist(probabilities.max(axis=1), BINS, histtype="step", **look)
    upper.set(title="Reliability", ylabel="share that is right", ylim=(-0.03, 1.03), xlim=(0, 1.02))
    upper.legend(fontsize=9, loc="upper left")
    lower.set(xlabel="confidence: the highest probability", ylabel="images")
    return figure


def det(curve: bio.Det) -> Figure:
    """The detection error trade-off on logarithmic axes, with its equal error rate."""
    error = bio.equal_error_rate(curve)
    figure, (plot,) = plots(WIDTH, 4.2)
    plot.plot(np.maximum(curve.fmr, LEAST_RATE), np.maximum(curve.fnmr, LEAST_RATE))
    plot.plot([LEAST_RATE, 1], [LEAST_RATE, 1], **REFERENCE)
    plot.plot(*[max(error, LEAST_RATE)] * 2, "o", color=COLOURS[1], label=f"equal error rate {error:.3f}")
    plot.set(title="Verification: DET", xlabel="false match rate", ylabel="false non-match rate")
    plot.set(xscale="log", yscale="log", xlim=(LEAST_RATE, 1.05), ylim=(LEAST_RATE, 1.05))
    plot.legend(loc="lower left")
    return figure


def cmc(curve: bio.Floats) -> Figure:
    """The share of images whose person is among the first k predictions, (C,)."""
    figure, (plot,) = plots(WIDTH, 4.2)
    ranks = np.arange(1, len(curve) + 1)
    plot.plot(ranks, curve, marker="o" if len(curve) <= MOST_WRITTEN else None)
    plot.set(title="Identification: CMC", xlabel="rank", ylabel="share at this rank or better")
    plot.set_ylim(min(0.9, float(curve[0]) - 0.05), 1.01)
    if len(curve) <= MOST_NAMED:
        plot.set_xticks(ranks)
    return figure


def open_set(fpir: bio.Floats, fnir: bio.Floats) -> Figure:
    """Known people missed against strangers given a name, at every threshold."""
    figure, (plot,) = plots(WIDTH, 4.2)
    plot.plot(np.maximum(fpir, LEAST_RATE), fnir)
    plot.set(title="Open set", xlabel="FPIR: strangers given a name", ylabel="FNIR: known people missed")
    plot.set(xscale="log", xlim=(LEAST_RATE, 1.05), ylim=(0, 1.03))
    for target in (0.01, 0.05, 0.10):
        plot.axvline(target, **REFERENCE)
    return figure


def faces(images: NDArray[Any], titles: Sequence[str], heading: str, columns: int = 5) -> Figure:
    """Pictures (N, H, W) or (N, H, W, 3) in [0, 1] in a grid, a title above each; one plot, as many would be slow."""
    rows, tall = -(-len(images) // columns), images.shape[1] / images.shape[2]  # in widths of a picture
    above = 0.05 + 0.1 * (1 + max(title.count("\n") for title in titles))
    figure, (plot,) = plots(2 * columns, 1.67 * rows * (tall + above) + 0.4)
    for index, (image, title) in enumerate(zip(images, titles, strict=True)):
        x, y = 1.2 * (index % columns), (tall + above) * (index // columns)
        plot.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(x, x + 1, y + tall, y))
        plot.text(x + 0.5, y - 0.03, title, ha="center", va="bottom", fontsize=9)
    plot.set(title=heading, xlim=(-0.1, 1.2 * columns - 0.1), ylim=((tall + above) * rows - above, -above))
    plot.axis("off")
    return figure


def confident_mistakes(probabilities: NDArray[Any], truth: bio.Ids, most: int) -> list[int]:
    """At most so many indices of wrong predictions, the most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    found: list[int] = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:most].tolist()
    return found


def by_step(panels: Panels, y: str, logarithmic: bool = False, majority: float | None = None) -> Figure:
    """Curves over the steps, {title: {name: {step from 1: value}}}, one plot for each title; `y` names their axis.

    `majority` is the accuracy of always predicting the most frequent person, drawn as a line.
    """
    figure, found = plots(4.3 * len(panels) + 1, 4.2, columns=len(panels), sharey=True)
    for plot, (title, curves) in zip(found, panels.items(), strict=True):
        for name, values in curves.items():
            plot.plot(list(values), list(values.values()), label=name)
        if majority is not None:
            plot.axhline(majority, label=f"majority rate {majority:.3f}", **REFERENCE)
        scale: dict[str, Any] = {"yscale": "log"} if logarithmic else {"ylim": (0, 1.03)}
        plot.set(title=title, xlabel="step, in the order of reading", **scale)
        plot.legend(fontsize=9)
    found[0].set_ylabel(y)
    return figure


def saliency(mean_face: NDArray[Any], strength: NDArray[Any]) -> Figure:
    """The mean face, and how strongly a logit depends on each pixel and each image row; (H, W) each."""
    figure, (face, pixel, row) = plots(8.6, 4.4, columns=3)
    face.imshow(mean_face, cmap="gray", vmin=0, vmax=1)
    figure.colorbar(pixel.imshow(strength, cmap="cividis"), ax=pixel, shrink=0.7)
    for plot, title in ((face, "mean face"), (pixel, "saliency")):
        plot.set(title=title, xticks=[], yticks=[])
    row.plot(strength.mean(axis=1), np.arange(len(strength)))
    row.set(title="by image row", xlabel="mean |d logit / d pixel|", ylim=(len(strength) - 0.5, -0.5))
    return figure
