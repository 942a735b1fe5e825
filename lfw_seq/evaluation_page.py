"""An evaluation as one page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lfw_seq import figures, page
from lfw_seq.answers import Answers
from lfw_seq.evaluation_text import sentences

MOST_LISTED = 200  # differing images shown on the page; comparison.csv has all
CAPTIONS = {
    "confusion": "How many images of the person in a row were answered with the person in a column.",
    "confusion_by_row": "The same as shares of each true person.",
    "roc": "One curve a person; the steeper at the left the better.",
    "precision_recall": "One curve a person; the nearer to the upper right corner the better.",
    "cmc": "How often the true person is among the first k answers.",
    "det": "Each image compared with each claimed name, all pooled; the lower left is better.",
    "reliability": "On the gray line answers are right as often as they claim. Below: images by confidence.",
    "steps": "The net answers at its last step; here it is asked after fewer, which it was not trained for.",
    "open_set": "Each point is a threshold. All strangers are drawn; the table sets and reports on different halves.",
}


def mistakes(answers: Answers, most: int) -> list[int]:
    """The wrong answers with the highest probabilities, the surest first."""
    predicted, best = answers.probabilities.argmax(axis=1), answers.probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != answers.truth)
    return [int(index) for index in wrong[np.argsort(-best[wrong], kind="stable")][:most]]


def report(
    answers: Answers,
    result: dict[str, Any],
    differing: Sequence[dict[str, Any]],
    pictures: dict[str, Figure],
    most: int,
    photos: bool,
) -> str:
    """The page: numbers first, then people, mistakes and pictures.

    Args:
        answers: the run's answers.
        result: what evaluation.json holds.
        differing: images on which two runs differ.
        pictures: by name, see `draw`.
        most: mistakes to list.
        photos: show the photos of these mistakes.
    """
    pieces = [page.paragraph(f"{answers.folder}: {result['source']}."), page.bullets(sentences(result))]
    pieces += [page.heading("In numbers"), numbers(result), page.heading("People"), people(result)]
    if result["open_set"]:
        pieces += [page.heading("Strangers"), strangers(result["open_set"])]
    else:
        pieces += [
            page.heading("Strangers"),
            page.paragraph("This source has no strangers: the open set is not measured."),
        ]
    pieces += [page.heading("The most confident mistakes"), mistaken(answers, mistakes(answers, most))]
    if photos and answers.images is not None and (listed := mistakes(answers, most)):
        titles = [answers.files[index].split("/")[-1] for index in listed]
        drawn = figures.faces(answers.images[listed], titles, "The most confident mistakes", 4)
        pieces.append(page.drawing(drawn, "photos of the most confident mistakes"))
    if "comparison" in result:
        rows = [[row[key] for key in ("file", "true", "run", "against", "right")] for row in differing[:MOST_LISTED]]
        caption = f"{len(differing)} images with different answers; {len(rows)} shown, comparison.csv has all"
        table = page.table(["image", "true", "this run", "the other", "who is right"], rows, caption)
        pieces += [page.heading("Where the two runs differ"), table]
    pieces.append(page.heading("Pictures"))
    pieces += [page.drawing(figure, CAPTIONS[name], CAPTIONS[name]) for name, figure in pictures.items()]
    return page.page(f"Evaluation of {answers.folder.resolve().name}", pieces)


def numbers(result: dict[str, Any]) -> page.Html:
    """The main figures."""
    check, scores, majority = result["verification"], result["calibration"], result["majority"]
    after = scores["scaled"] or {}

    def span(share: dict[str, float]) -> str:
        return f"{share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"

    def pair(key: str) -> str:
        return f"{scores[key]:.3f}" + (
            f"; {after[key]:.3f} at temperature {scores['temperature']:.2f}" if after else ""
        )

    rows = [
        ["accuracy", span(result["accuracy"]), f"{result['images']:,} images, 95 % Wilson interval"],
        ["balanced accuracy", span(result["balanced_accuracy"]), "mean recall of the people, 95 % interval (MOVER)"],
        ["majority rate", f"{majority['rate']:.3f}", f"of always answering {majority['name']}"],
        ["lift", f"{majority['lift'] or 0:.2f}", "accuracy over the majority rate"],
        ["people predicted", str(result["predicted_people"]), f"of {len(result['people'])}"],
        *([f"CMC rank {rank}", f"{share:.3f}", ""] for rank, share in enumerate(result["cmc"], 1)),
        [
            "equal error rate",
            f"{check['eer']:.3f}",
            f"{check['genuine']:,} genuine, {check['impostor']:,} impostor comparisons",
        ],
        ["FNMR at FMR 1 %", f"{check['fnmr']:.3f}", f"no FMR below {check['least_fmr']:.2%} can be claimed"],
        ["negative log-likelihood", pair("nll"), "temperature fitted on validation" if after else "not calibrated"],
        ["Brier score", pair("brier"), "0 to 2"],
        ["expected calibration error", pair("ece"), "15 bins"],
    ]
    return page.table(["measure", "value", "of what"], rows)


def people(result: dict[str, Any]) -> page.Html:
    """Everybody, and their means."""

    def cells(name: str, row: dict[str, Any], *counts: int) -> list[str]:
        shares = [row[key] for key in ("precision", "recall", "f1", "auc")]
        return [
            name,
            *("–" if share != share else f"{share:.3f}" for share in shares),
            *(f"{count:,}" for count in counts),
        ]

    rows = [cells(row["name"], row, row["support"], row["predicted"]) for row in result["people"]]
    rows += [cells("mean of people", result["macro"], result["images"], result["images"])]
    rows += [cells("weighted by images", result["weighted"], result["images"], result["images"])]
    header = ["person", "precision", "recall", "F1", "AUC", "images", "answers"]
    return page.table(header, rows, "AUC: one person against all others", [len(rows) - 2, len(rows) - 1])


def strangers(result: dict[str, Any]) -> page.Html:
    """The open set."""
    rows = [
        [f"{point['target']:.0%}", f"{point['threshold']:.4f}", f"{point['fpir']:.3f}", f"{point['fnir']:.3f}"]
        for point in result["points"]
    ]
    caption = (
        f"{result['strangers']:,} strangers; the threshold is set on {result['set_on']:,} images of one half of them, "
        f"FPIR reported on {result['reported_on']:,} of the other. FNIR: known people missed or mistaken."
    )
    return page.table(["FPIR asked for", "threshold", "FPIR found", "FNIR"], rows, caption)


def mistaken(answers: Answers, listed: Sequence[int]) -> page.Html:
    """Wrong answers by file name."""
    if not listed:
        return page.paragraph("None.")
    rows = []
    for index in listed:
        row, true = answers.probabilities[index], int(answers.truth[index])
        best = int(row.argmax())
        rows.append(
            [answers.files[index], answers.names[true], f"{row[true]:.3f}", answers.names[best], f"{row[best]:.3f}"]
        )
    return page.table(["image", "true person", "probability", "answered", "its probability"], rows)
