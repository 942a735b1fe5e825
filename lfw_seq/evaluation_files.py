"""The tables and pictures of an evaluation."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lfw_seq import biometrics as bio
from lfw_seq import figures, record, row_figures, runs
from lfw_seq.answers import Answers
from lfw_seq.scorecard import tempered

DPI = 144


def write_tables(out: Path, answers: Answers, result: dict[str, Any], differing: Sequence[dict[str, Any]]) -> None:
    """Write every table as CSV."""
    names, probabilities, truth = answers.names, answers.probabilities, answers.truth
    record.write_predictions(out / record.PREDICTIONS, answers.files, truth.tolist(), probabilities.tolist(), names)
    runs.write_csv(out / "people.csv", list(result["people"][0]), [list(row.values()) for row in result["people"]])
    matrix = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(matrix, (truth, probabilities.argmax(axis=1)), 1)
    rows = [[name, *row] for name, row in zip(names, matrix.tolist(), strict=True)]
    runs.write_csv(out / "confusion.csv", ["true", *names], rows)
    runs.write_csv(out / "cmc.csv", ["rank", "share"], list(enumerate(bio.cmc(probabilities, truth).tolist(), 1)))
    curve = bio.det(*bio.verification_scores(probabilities, truth))
    det = zip(curve.thresholds.tolist(), curve.fmr.tolist(), curve.fnmr.tolist(), strict=True)
    runs.write_csv(out / "det.csv", ["threshold", "fmr", "fnmr"], det)
    count, mean, accuracy = bio.reliability(probabilities, truth)
    parts = zip(range(15), count.tolist(), mean.tolist(), accuracy.tolist(), strict=True)
    runs.write_csv(out / "reliability.csv", ["part", "images", "confidence", "accuracy"], parts)
    if answers.by_step:
        runs.write_csv(out / "steps.csv", ["steps", "accuracy"], list(answers.by_step.items()))
    if result["open_set"]:
        points = result["open_set"]["points"]
        runs.write_csv(out / "open_set.csv", list(points[0]), [list(point.values()) for point in points])
    if "comparison" in result:
        header = ["file", "true", "run", "against", "right"]
        runs.write_csv(out / "comparison.csv", header, [[row[key] for key in header] for row in differing])


def save_figure(path: Path, figure: Figure) -> None:
    """Write a picture whole."""
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        figure.savefig(draft, dpi=DPI, format="png")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def draw(answers: Answers) -> dict[str, Figure]:
    """Every picture, by name."""
    probabilities, truth, names = answers.probabilities, answers.truth, answers.names
    predicted = probabilities.argmax(axis=1)
    curve = bio.det(*bio.verification_scores(probabilities, truth))
    scaled, temperature = tempered(answers)
    calibrated = {"as trained": probabilities}
    if scaled is not None:
        calibrated[f"temperature {temperature:.2f}"] = scaled
    drawn = {
        "confusion": figures.confusion(predicted, truth, names, by_row=False),
        "confusion_by_row": figures.confusion(predicted, truth, names, by_row=True),
        "roc": figures.roc(probabilities, truth, names),
        "precision_recall": figures.precision_recall(probabilities, truth, names),
        "cmc": figures.cmc(bio.cmc(probabilities, truth)),
        "det": figures.det(curve),
        "reliability": figures.reliability(calibrated, truth),
    }
    if answers.by_step:
        series = {"": (np.array(list(answers.by_step)), np.array(list(answers.by_step.values())))}
        drawn["steps"] = row_figures.by_step("If reading stopped at a step", "accuracy", series)
    if answers.strangers is not None:
        best = answers.strangers[1].max(axis=1).astype(np.float64)
        levels = np.unique(np.concatenate([best, probabilities.max(axis=1)]))
        fnir = np.array([bio.fnir(probabilities, truth, level) for level in levels])
        drawn["open_set"] = figures.open_set(bio.accepted(best, levels), fnir)
    return drawn
