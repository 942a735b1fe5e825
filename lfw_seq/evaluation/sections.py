"""The sections of an evaluation's page, and its pictures."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from lfw_seq.cli import configuring, printable
from lfw_seq.evaluation import biometrics as bio
from lfw_seq.evaluation import figures, text
from lfw_seq.evaluation.page import Picture, Section, Table, picture
from lfw_seq.evaluation.predictions import Predictions
from lfw_seq.evaluation.scorecard import SHARES, scaled

MOST_LISTED = 200  # images on which two runs differ; comparison.csv has all


def draw(found: Predictions, card: dict[str, Any], of: str = "") -> dict[str, Picture]:
    """Every picture by name; `of` begins the text of each."""
    scores, truth, majority, rank = found.probabilities, found.truth, card["majority"]["rate"], card["cmc"]
    names = [printable(name) for name in found.names]  # fonts have no control characters
    predicted, temperature = scores.argmax(axis=1), card["calibration"]["temperature"]
    sets: dict[str, NDArray[Any]] = {"as trained": scores}
    if temperature:
        sets[f"temperature {temperature:.2f}"] = scaled(found, temperature)
    drawn = {
        "confusion": figures.confusion(predicted, truth, names, by_row=False),
        "confusion_by_row": figures.confusion(predicted, truth, names, by_row=True),
        "per_person": figures.per_person(scores, truth, names),
        "cmc": figures.cmc(bio.cmc(scores, truth)),
        "det": figures.det(bio.det(*bio.verification_scores(scores, truth))),
        "reliability": figures.reliability(sets, truth),
    }
    hits = f"{(predicted == truth).sum():,} of {len(truth):,} images are on the diagonal"
    balanced, eer, ece = card["balanced_accuracy"]["value"], card["verification"]["eer"], card["calibration"]["ece"]
    captions = {
        "confusion": f"Confusion matrix, true people in rows and predicted ones in columns: {hits}",
        "confusion_by_row": f"Confusion matrix in shares of each true person: the diagonal's mean is {balanced:.3f}",
        "per_person": f"ROC and precision-recall curves of each person: mean area under ROC {card['macro']['auc']:.3f}",
        "cmc": f"Cumulative match characteristic (CMC): {rank[0]:.3f} at rank 1 and {rank[1]:.3f} at rank 2",
        "det": f"Detection error trade-off (DET), lower left is better: the errors are equal at {eer:.3f}",
        "reliability": f"Reliability, on the diagonal confidence is accuracy: the mean distance (ECE) is {ece:.3f}",
    }
    if steps := list(found.by_step.items()):
        drawn["steps"] = figures.by_step({"": {"accuracy": found.by_step}}, "accuracy", majority=majority)
        captions["steps"] = "Accuracy by rows read: {1:.3f} after {0} and {3:.3f} after {2}".format(
            *steps[0], *steps[-1]
        )
    if card["open_set"] and found.strangers:
        errors = bio.open_set_det(scores, truth, found.strangers[1].max(axis=1).astype(float))
        drawn["open_set"], point = figures.open_set(errors.fmr, errors.fnmr), card["open_set"]["points"][1]
        rates = f"{point['fpir']:.3f} of strangers get a name, {point['fnir']:.3f} of the known are missed"
        captions["open_set"] = f"Open set, every threshold: where {rates}"
    return {name: picture(figure, *[f"{of}{captions[name]}."] * 2) for name, figure in drawn.items()}


def learning_curve(found: Predictions, majority: float) -> list[Picture]:
    """Loss and accuracy by epoch, from metrics.csv; none where the run has no such file."""
    path = found.folder / "metrics.csv"
    if not path.is_file():
        return []
    with configuring(str(path)):
        table = pd.read_csv(path, index_col="epoch")
        figure, plots = figures.plots(figures.WIDTH, 5.4, 2, sharex=True)
        for plot, name in zip(plots, ("loss", "accuracy"), strict=True):
            for column in table.columns.intersection([f"train/{name}", f"val/{name}"]):
                plot.plot(table[column].dropna(), marker="." if len(table) < 20 else "", label=column)
            plot.set_ylabel(name)
        plots[1].axhline(majority, label=f"majority rate {majority:.3f}", **figures.REFERENCE)
        plots[1].set(xlabel="epoch", ylim=(0, 1.03))
        for plot in plots:
            plot.legend(fontsize=9)
        caption = f"Learning curve over {len(table)} epochs. The lowest train/loss is {table['train/loss'].min():.3f}."
        return [picture(figure, caption, caption)]


def sections(
    found: Predictions, card: dict[str, Any], drawn: dict[str, Picture], others: dict[str, Picture], mistakes: Section
) -> Iterator[Section]:
    """The page's sections, from what evaluation.json holds, the pictures of the run and of the one compared with."""

    def both(*names: str) -> list[Picture]:
        return [part[name] for name in names for part in (drawn, others) if name in part]

    table = Table(["measure", "value", "meaning"], text.measures(card))
    yield Section("Result", text.sentences(card), [table], learning_curve(found, card["majority"]["rate"]))
    yield Section("People", [], [people(card)], both("confusion", "confusion_by_row", "per_person"))
    yield Section("Identification, verification and calibration", figures=both("cmc", "det", "reliability"))
    if found.by_step:
        early = "A net predicts after its last row. Here it predicts earlier, which it was not trained for."
        yield Section("Accuracy by rows read", [early], figures=both("steps"))
    if strangers := card["open_set"]:
        setting = (
            f"{strangers['strangers']:,} strangers: thresholds are set on {strangers['set_on']:,} images of one half "
            f"of them, and FPIR is measured on {strangers['reported_on']:,} of the other. The figure shows all."
        )
        yield Section("Strangers", [setting], figures=both("open_set"))
    yield mistakes
    if pair := card.get("comparison"):
        rows = [list(row.values()) for row in pair["differing"][:MOST_LISTED]]
        caption = f"{len(rows)} of {len(pair['differing']):,} images; comparison.csv has all."
        header = ["image", "true person", "this run", "the other run", "right"]
        yield Section("Images that the two runs predict differently", tables=[Table(header, rows, caption)])


def people(card: dict[str, Any]) -> Table:
    """Everybody, and their means."""
    total = {"support": card["images"], "predicted": card["images"]}
    means = {"mean of the people": card["macro"], "mean weighted by images": card["weighted"]}
    rows = [
        [row["name"], *("–" if row[key] != row[key] else f"{row[key]:.3f}" for key in SHARES),
         f"{row['support']:,}", f"{row['predicted']:,}"]
        for row in [*card["people"], *({"name": name, **mean, **total} for name, mean in means.items())]
    ]  # fmt: skip
    header = ["person", "precision", "recall", "F1", "AUC", "images", "predicted"]
    return Table(header, rows, "AUC: area under the ROC curve of a person against all others", range(len(rows))[-2:])


def list_mistakes(found: Predictions, most: int, photos: bool) -> Section:
    """The wrong predictions with the highest probabilities; with their photos, if wanted."""
    rows, titles = [], []
    listed = figures.confident_mistakes(found.probabilities, found.truth, most)
    for index in listed:
        scores, true = found.probabilities[index], int(found.truth[index])
        best, names = int(scores.argmax()), found.names
        rows.append([found.files[index], names[true], f"{scores[true]:.3f}", names[best], f"{scores[best]:.3f}"])
        titles.append(f"true {figures.short(names[true])}\npredicted {figures.short(names[best])}")
    heading, header = "Most confident mistakes", ["image", "true person", "probability", "predicted", "probability"]
    if not listed:
        return Section(heading, ["None."])
    faces = []
    if photos and found.images is not None:
        drawn = figures.faces(found.images[listed], titles, heading, 4)
        faces = [picture(drawn, f"{heading}: {'; '.join(titles)}", "The true person, and the one predicted.")]
    return Section(heading, tables=[Table(header, rows)], figures=faces)
