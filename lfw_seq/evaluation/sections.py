"""Sections and figures of an evaluation's page, for one run or for two to compare."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from lfw_seq.cli import configuring
from lfw_seq.evaluation import biometrics as bio
from lfw_seq.evaluation import figures, text
from lfw_seq.evaluation.drawing import Picture, curves, picture
from lfw_seq.evaluation.page import Section, Table
from lfw_seq.evaluation.predictions import Predictions
from lfw_seq.evaluation.scorecard import SHARES, scaled
from lfw_seq.evaluation.text import Evaluated

MAX_DIFFERENCES = 200  # images that two runs predict differently; comparison.csv has all
PHOTOS_PER_ROW = 4
STAGES = ("train", "val")


def draw(runs: Sequence[Evaluated]) -> dict[str, Picture]:
    """Draw all figures, by name."""
    truth, majority, drawn = runs[0].predictions.truth, runs[0].card["majority"]["rate"], {}
    for ending, run in zip(("", "_against"), runs, strict=False):
        one = run.predictions
        predicted = one.probabilities.argmax(axis=1)
        drawn[f"confusion{ending}"] = figures.confusion(predicted, one.truth, one.names, run.mark)
        drawn[f"per_person{ending}"] = figures.per_person(one.probabilities, one.truth, one.names, run.mark)
    labelled = {run.label: run.predictions for run in runs}
    drawn["cmc"] = figures.cmc({name: bio.cmc(one.probabilities, one.truth) for name, one in labelled.items()}, truth)
    pairs = {name: bio.verification_scores(one.probabilities, one.truth) for name, one in labelled.items()}
    drawn["det"] = figures.det({name: bio.det(*scores) for name, scores in pairs.items()})
    sets: dict[str, tuple[NDArray[Any], bio.Ids]] = {
        name or "as trained": (one.probabilities, one.truth) for name, one in labelled.items()
    }
    if len(runs) == 1 and (temperature := runs[0].card["calibration"]["temperature"]):
        sets[f"temperature {temperature:.2f}"] = scaled(runs[0].predictions, temperature), truth
    drawn["reliability"] = figures.reliability(sets)
    if steps := {name: [pd.Series(one.by_step)] for name, one in labelled.items() if one.by_step}:
        drawn["steps"] = curves({"accuracy if reading had stopped": steps}, "steps read", majority)
    if runs[0].card["open_set"]:
        trade_offs = {}
        for name, one in labelled.items():
            right = one.probabilities.argmax(axis=1) == one.truth
            for score, (known, strangers) in one.open_set_scores.items():
                trade_offs[f"{name} by {score}".strip()] = bio.open_set_det(known, right, strangers)
        drawn["open_set"] = figures.open_set(trade_offs)
    return {name: picture(figure) for name, figure in drawn.items()}


def learning_curve(runs: Sequence[Evaluated]) -> list[Picture]:
    """Loss and accuracy by epoch, from metrics.csv; empty where no run has one."""
    panels: dict[str, dict[str, list[pd.Series]]] = {"loss": {}, "accuracy": {}}
    for run in runs:
        path = run.predictions.folder / "metrics.csv"
        with configuring(str(path)):
            if path.is_file():
                table = pd.read_csv(path, index_col="epoch")
                for name in table.columns.intersection([f"{stage}/{name}" for name in panels for stage in STAGES]):
                    panels[name.partition("/")[2]][f"{name}{run.mark}"] = [table[name].dropna()]
    return [picture(curves(panels, "epoch", runs[0].card["majority"]["rate"]))] if panels["loss"] else []


def sections(runs: Sequence[Evaluated], drawn: dict[str, Picture], most: int, photos: bool) -> Iterator[Section]:
    """Yield the page's sections, with `most` mistakes of the first run, and their photos where `photos` is true."""
    card = runs[0].card

    def select(*names: str) -> list[Picture]:
        keys = (f"{name}{ending}" for name in names for ending in ("", "_against"))
        return [drawn[key] for key in keys if key in drawn]

    yield Section("Result", text.sentences(runs), [Table(text.measures(runs))])
    yield Section("People", [], [people(run) for run in runs], select("confusion", "per_person"))
    yield Section("Identification, verification and calibration", figures=select("cmc", "det", "reliability"))
    if "steps" in drawn:
        early = (
            "The net was trained to predict after the last row; here it predicts after fewer. With "
            "data.standardize=image, the rows read are standardized by the mean and deviation of the whole image."
        )
        yield Section("Accuracy by rows read", [early], figures=select("steps"))
    if strangers := card["open_set"]:
        setting = (
            f"{strangers['strangers']:,} strangers: thresholds are set on {strangers['set_on']:,} images of one half "
            "of them, and the share of strangers given a name (FPIR) is measured on "
            f"{strangers['reported_on']:,} of the other. The figure shows all. A face is scored by its highest "
            "probability, or by how near its state, the input of the net's last layer, is to the mean state of a "
            "person's training images."
        )
        yield Section("Strangers", [setting], figures=select("open_set"))
    yield mistakes(runs[0].predictions, most, photos)
    if (pair := card.get("comparison")) and pair["differing"]:
        rows = pd.DataFrame(pair["differing"][:MAX_DIFFERENCES], columns=["true", "run", "against", "right", "file"])
        rows["right"] = rows["right"].replace({"run": "this run", "against": "the other run"})
        rows.columns = pd.Index(["true person", "this run", "the other run", "right", "image"])
        note = f"{len(rows)} of {len(pair['differing']):,} images; comparison.csv has all."
        yield Section("Images that the two runs predict differently", tables=[Table(rows, note)])


def people(run: Evaluated) -> Table:
    """The measures of each person, and their means."""
    card, total = run.card, {"support": run.card["images"], "predicted": run.card["images"]}
    means = {"mean of the people": card["macro"], "mean weighted by images": card["weighted"]}
    frame = pd.DataFrame([*card["people"], *({"name": name, **mean, **total} for name, mean in means.items())])
    frame[SHARES] = frame[SHARES].map("{:.3f}".format).replace("nan", "–")
    frame[["support", "predicted"]] = frame[["support", "predicted"]].map("{:,}".format)
    frame = frame.rename(columns={"name": "person", "f1": "F1", "auc": "AUC", "support": "images"})
    note = f"AUC: area under the ROC curve of a person against all others{run.mark}"
    return Table(frame, note, range(len(frame))[-2:])


def mistakes(predictions: Predictions, most: int, photos: bool) -> Section:
    """The wrong predictions with the highest probabilities, with their photos where `photos` is true."""
    heading, scores, true = "Most confident mistakes", predictions.probabilities, predictions.truth
    if not (listed := figures.confident_mistakes(scores, true, most)):
        return Section(heading, ["None."])
    scores, true, best = scores[listed], true[listed], scores[listed].argmax(axis=1)
    columns, names = ["true person", "its probability", "predicted", "probability", "image"], predictions.names
    rows = [
        (names[own], f"{row[own]:.3f}", names[top], f"{row[top]:.3f}", predictions.files[index])
        for row, own, top, index in zip(scores, true, best, listed, strict=True)
    ]
    drawn, images = [], predictions.images
    if photos and images is not None:
        drawn = [picture(figures.mistakes(images[listed], scores, true, names, PHOTOS_PER_ROW))]
    return Section(heading, tables=[Table(pd.DataFrame(rows, columns=columns))], figures=drawn)
