"""Figures of predictions, from arrays, for TensorBoard and the page; mappings hold one curve per label.

Shape legend: N images, C people, T steps, H image rows, W pixels a row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, roc_curve

from lfw_seq.evaluation import biometrics as bio
from lfw_seq.evaluation.drawing import REFERENCE, WIDTH, plots, short

MAX_CURVES = 14  # people in a legend; of more, those with the most images
MAX_ANNOTATED = 25  # people in a confusion matrix with numbers in its cells
WHITE_FROM = 0.715  # of the colour map Blues: white text has a contrast of 4.5:1 above, black text below
MIN_RATE = 1e-3  # start of a logarithmic axis
RATES: dict[str, Any] = {"xscale": "log", "xlim": (MIN_RATE, 1.05)}


def confusion(predicted: bio.Ids, truth: bio.Ids, names: Sequence[str], mark: str = "") -> Figure:
    """Confusion matrix of predicted and true ids (N,): numbers of images, shaded by share of the true person's.

    `mark`, here and below, ends the title.
    """
    count = len(names)
    matrix = confusion_matrix(truth, predicted, labels=np.arange(count))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(2.1 + 0.42 * count, 22)
    figure, (plot,) = plots(side + 0.26, side)
    title = f"Confusion{mark}:\n{matrix.trace():,} of {matrix.sum():,} images right"
    plot.set(title=title, xlabel="predicted", ylabel="true")
    plot.grid(visible=False)
    shade = plot.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shade, ax=plot, shrink=0.8, label="share of the true person's images")
    labels, size = [short(name) for name in names], 9 if count <= MAX_ANNOTATED else max(3, 180 / count)
    plot.set_xticks(range(count), labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    plot.set_yticks(range(count), labels, fontsize=size)
    for (row, column), value in np.ndenumerate(matrix if count <= MAX_ANNOTATED else matrix[:0]):
        tone = "white" if shares[row, column] > WHITE_FROM else "black"
        plot.text(column, row, str(value), ha="center", va="center", color=tone, fontsize=9)
    return figure


def per_person(probabilities: NDArray[Any], truth: bio.Ids, names: Sequence[str], mark: str = "") -> Figure:
    """One-vs-rest ROC and precision-recall curves of each person, from probabilities (N, C) and ids (N,)."""
    figure, (roc, pr) = plots(WIDTH, 9.6, 2)
    counts = np.bincount(truth, minlength=len(names))
    for person in np.argsort(-counts, kind="stable")[:MAX_CURVES]:
        if 0 < counts[person] < len(truth):
            positive, scores, name = truth == person, probabilities[:, person], short(names[person])
            x, y, _ = roc_curve(positive, scores)
            roc.plot(x, y, label=f"{name} ({bio.auc(scores, positive):.3f})")
            precision, recall, _ = precision_recall_curve(positive, scores)
            label = f"{name} ({average_precision_score(positive, scores):.3f})"
            pr.plot(recall, precision, drawstyle="steps-post", label=label)
    roc.plot([0, 1], [0, 1], **REFERENCE)
    roc.set(
        title=f"ROC, each person against all others{mark}", xlabel="false positive rate", ylabel="true positive rate"
    )
    pr.set(title=f"Precision and recall of each person{mark}", xlabel="recall", ylabel="precision", ylim=(-0.03, 1.03))
    for plot, area in ((roc, "area under the curve"), (pr, "average precision")):
        plot.legend(title=area, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    return figure


def reliability(sets: Mapping[str, tuple[NDArray[Any], bio.Ids]]) -> Figure:
    """Reliability diagram and confidence histogram of sets of probabilities (N, C) with true ids (N,)."""
    figure, (upper, lower) = plots(WIDTH, 5, 2, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], **REFERENCE)
    for label, (probabilities, truth) in sets.items():
        _, mean, accuracy = bio.reliability(probabilities, truth)
        filled = np.isfinite(mean)
        text = f"{label}, ECE {bio.expected_calibration_error(probabilities, truth):.3f}"
        (line,) = upper.plot(mean[filled], accuracy[filled], marker="o", label=text)
        style: dict[str, Any] = {"color": line.get_color(), "linestyle": line.get_linestyle()}
        lower.hist(probabilities.max(axis=1), (np.arange(16) / 15).tolist(), histtype="step", **style)
    upper.set(title="Reliability", ylabel="accuracy", ylim=(-0.03, 1.03), xlim=(0, 1.02))
    upper.legend(fontsize=9, loc="upper left", title="expected calibration error (ECE)")
    lower.set(xlabel="confidence: the highest probability", ylabel="images")
    return figure


def det(runs: Mapping[str, bio.Det]) -> Figure:
    """Detection error trade-offs on logarithmic axes, with their equal error rates."""
    figure, (plot,) = plots(WIDTH, 4.2)
    for label, curve in runs.items():
        error = bio.equal_error_rate(curve)
        text = f"{label} equal error rate {error:.3f}".strip()
        (line,) = plot.plot(np.maximum(curve.fmr, MIN_RATE), np.maximum(curve.fnmr, MIN_RATE), label=text)
        plot.plot(*[max(error, MIN_RATE)] * 2, "o", color=line.get_color())
    plot.plot([MIN_RATE, 1], [MIN_RATE, 1], **REFERENCE)
    plot.set(title="Verification: detection error trade-off (DET)", yscale="log", ylim=(MIN_RATE, 1.05), **RATES)
    plot.set(xlabel="false match rate (FMR)", ylabel="false non-match rate (FNMR)")
    plot.legend(loc="lower left", fontsize=9)
    return figure


def cmc(runs: Mapping[str, bio.Floats], truth: bio.Ids) -> Figure:
    """Cumulative match characteristics (C,), beside always predicting the most frequent people of ids (N,)."""
    figure, (plot,) = plots(WIDTH, 4.2)
    for label, curve in runs.items():
        ranks = np.arange(1, len(curve) + 1)
        marker, text = "o" if len(curve) <= MAX_ANNOTATED else None, f"{label or 'at rank 1'} {curve[0]:.3f}"
        plot.plot(ranks, curve, marker=marker, label=text)
        if len(curve) <= MAX_CURVES:
            plot.set_xticks(ranks)
    frequent = np.sort(np.bincount(truth, minlength=len(ranks)))[::-1].cumsum() / len(truth)
    plot.plot(ranks, frequent, label="always the most frequent people", **REFERENCE)
    plot.set(title="Identification: cumulative match characteristic (CMC)", xlabel="rank", ylim=(None, 1.01))
    plot.set_ylabel("share at this rank or better")
    plot.legend(loc="lower right", fontsize=9)
    return figure


def open_set(runs: Mapping[str, bio.Det]) -> Figure:
    """FNIR over FPIR at every threshold."""
    figure, (plot,) = plots(WIDTH, 4.2)
    for label, curve in runs.items():
        fnir, _ = bio.fnmr_at_fmr(curve, 0.05)
        text = f"{label} FNIR {fnir:.3f} at FPIR 5 %".strip()
        plot.plot(np.maximum(curve.fmr, MIN_RATE), curve.fnmr, label=text)
    plot.set(title="Open set: known people and strangers", ylim=(0, 1.03), **RATES)
    plot.set_xlabel("false positive identification rate (FPIR):\nstrangers given a name")
    plot.set_ylabel("false negative identification rate (FNIR):\nknown people missed")
    for target in (0.01, 0.05, 0.10):
        plot.axvline(target, **REFERENCE)
    plot.legend(loc="lower left", fontsize=9)
    return figure


def faces(images: NDArray[Any], titles: Sequence[str], heading: str, columns: int = 5) -> Figure:
    """Grid of images (N, H, W[, 3]) in [0, 1], a title above each; in one plot, because many are slow."""
    rows, tall = -(-len(images) // columns), images.shape[1] / images.shape[2]  # in widths of an image
    above = 0.05 + 0.1 * (1 + max(title.count("\n") for title in titles))
    figure, (plot,) = plots(2 * columns, 1.67 * rows * (tall + above) + 0.4)
    for index, (image, title) in enumerate(zip(images, titles, strict=True)):
        x, y = 1.2 * (index % columns), (tall + above) * (index // columns)
        plot.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(x, x + 1, y + tall, y))
        plot.text(x + 0.5, y - 0.03, title, ha="center", va="bottom", fontsize=8)
    plot.set(title=heading, xlim=(-0.1, 1.2 * columns - 0.1), ylim=((tall + above) * rows - above, -above))
    plot.axis("off")
    return figure


def mistakes(
    images: NDArray[Any], probabilities: NDArray[Any], truth: bio.Ids, names: Sequence[str], columns: int = 5
) -> Figure:
    """Grid of wrongly predicted images with their true and predicted person and the probabilities (N, C) of both."""
    titles = [
        f"true {short(names[true])} {scores[true]:.2f}\npredicted {short(names[best])} {scores[best]:.2f}"
        for scores, true, best in zip(probabilities, truth, probabilities.argmax(axis=1), strict=True)
    ]
    return faces(images, titles, "Most confident mistakes", columns)


def confident_mistakes(probabilities: NDArray[Any], truth: bio.Ids, most: int) -> list[int]:
    """Indices of at most `most` wrong predictions, the most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    indices: list[int] = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:most].tolist()
    return indices


def saliency(mean_face: NDArray[Any], strength: NDArray[Any]) -> Figure:
    """Mean face (H, W), and saliency (H, W) by pixel and averaged by image row."""
    figure, (face, pixel, row) = plots(8.6, 4.4, columns=3)
    face.imshow(mean_face, cmap="gray", vmin=0, vmax=1)
    figure.colorbar(pixel.imshow(strength, cmap="cividis"), ax=pixel, shrink=0.7)
    for plot, title in ((face, "mean face"), (pixel, "saliency")):
        plot.set(title=title, xticks=[], yticks=[])
    row.plot(strength.mean(axis=1), np.arange(len(strength)))
    row.set(title="by image row", xlabel="mean |d logit / d pixel|", ylim=(len(strength) - 0.5, -0.5))
    return figure
