"""All measures of an evaluation, from a run's predictions.

Shape legend: N images, C people, V validation images, S images of strangers.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from lfw_seq.cli import UsageError, configuring
from lfw_seq.evaluation import biometrics as bio
from lfw_seq.evaluation.predictions import OWN, Predictions
from lfw_seq.runs.folder import RESULT

log = logging.getLogger(__name__)

FMR = 0.01
FPIRS = (0.01, 0.05, 0.10)
SHARES = ["precision", "recall", "f1", "auc"]


def scorecard(predictions: Predictions) -> dict[str, Any]:
    """The content of evaluation.json for one run."""
    scores, truth, names = predictions.probabilities, predictions.truth, predictions.names
    predicted, majority = scores.argmax(axis=1), majority_id(predictions)
    people = per_person(scores, truth, names)
    present = people[people["support"] > 0]
    hits, support = (present["recall"] * present["support"]).round().astype(int), present["support"]
    limits = bio.balanced_accuracy_interval(hits.to_numpy(), support.to_numpy())
    accuracy, rate = share(int(hits.sum()), len(truth)), float((truth == majority).mean())
    return {
        "images": len(truth),
        "source": predictions.source,
        "accuracy": accuracy,
        "balanced_accuracy": {"value": float(present["recall"].mean()), "low": limits[0], "high": limits[1]},
        "majority": {"name": names[majority], "rate": rate, "lift": accuracy["value"] / rate if rate else None},
        "predicted_people": len(set(predicted.tolist())),
        "people": people.to_dict("records"),
        "macro": people[SHARES].mean().to_dict(),  # without nan
        "weighted": dict(zip(SHARES, np.average(present[SHARES], axis=0, weights=support).tolist(), strict=True)),
        "cmc": bio.cmc(scores, truth)[:7].tolist(),
        "verification": verification(scores, truth),
        "calibration": calibration(predictions),
        "open_set": open_set(predictions),
        "by_step": predictions.by_step,
        "notes": predictions.notes,
        "metrics": predictions.metrics,
    }


def majority_id(predictions: Predictions) -> int:
    """Id of the most frequent person in the training images; 0 without a result.json."""
    if not predictions.result:
        return 0
    with configuring(str(predictions.folder / RESULT)):
        return int(np.argmax(predictions.result["data"]["counts"]["train"][: len(predictions.names)]))


def is_reproduced(predictions: Predictions) -> bool | None:
    """Whether all metrics equal those of result.json to the last digit; None for other images or an untested run.

    Differences are logged: another device, number of threads or library version changes last digits.
    """
    if predictions.kind != OWN or not predictions.metrics or not predictions.result:
        return None
    with configuring(str(predictions.folder / RESULT)):
        before = dict(predictions.result["metrics"])
    if "test/loss" not in before:
        return None
    now = predictions.metrics.items()
    differing = [name for name, value in now if name in before and before[name] != value and value == value]
    for name in differing:
        log.warning("%s is %s here, %r in the run's result.json", name, predictions.metrics[name], before[name])
    return not differing


def share(hits: int, trials: int) -> dict[str, float]:
    """A proportion with its 95 % Wilson interval."""
    low, high = bio.wilson(hits, trials)
    return {"value": hits / trials, "low": low, "high": high}


def per_person(scores: NDArray[Any], truth: bio.Ids, names: Sequence[str]) -> pd.DataFrame:
    """Precision, recall, F1, one-vs-rest AUC, images and predictions of each person; nan where undefined."""
    predicted, ids = scores.argmax(axis=1), np.arange(len(names))
    precision, recall, f1, support = precision_recall_fscore_support(truth, predicted, labels=ids, zero_division=0)
    count = np.bincount(predicted, minlength=len(names))
    recall[support == 0] = precision[support + count == 0] = f1[support + count == 0] = np.nan
    auc = [bio.auc(scores[:, person], truth == person) for person in ids]
    columns = {"name": names, "precision": precision, "recall": recall, "f1": f1, "auc": auc, "support": support}
    return pd.DataFrame(columns | {"predicted": count})


def verification(scores: NDArray[Any], truth: bio.Ids) -> dict[str, Any]:
    """Verification errors over all pairs; `least_fmr` by the rule of 3 (ISO/IEC 19795-1): none lower can be claimed."""
    genuine, impostor = bio.verification_scores(scores, truth)
    curve = bio.det(genuine, impostor)
    fnmr, threshold = bio.fnmr_at_fmr(curve, FMR)
    counts = {"genuine": len(genuine), "impostor": len(impostor), "least_fmr": 3 / len(impostor)}
    return counts | {"eer": bio.equal_error_rate(curve), "fmr": FMR, "fnmr": fnmr, "threshold": threshold}


def calibration(predictions: Predictions) -> dict[str, Any]:
    """NLL, Brier score and ECE, as trained and at the temperature fitted on the validation images."""

    def losses(temperature: float) -> dict[str, float]:
        scores, truth = scaled(predictions, temperature), predictions.truth
        nll = bio.negative_log_likelihood(predictions.logits, truth, temperature)
        ece = bio.expected_calibration_error(scores, truth)
        return {"nll": nll, "brier": bio.brier_score(scores, truth), "ece": ece}

    fitted = bio.fit_temperature(*predictions.validation) if predictions.validation else None
    return {"bins": 15, **losses(1), "temperature": fitted, "scaled": losses(fitted) if fitted else None}


def scaled(predictions: Predictions, temperature: float) -> bio.Floats:
    """Probabilities (N, C) at a temperature."""
    probabilities: bio.Floats = softmax(predictions.logits.astype(np.float64) / temperature, axis=1)
    return probabilities


def halves(files: Sequence[str]) -> NDArray[np.bool_]:
    """Mask (S,) of the images that set the threshold: of every other stranger by name, so that nobody is in both."""
    people = np.unique([file.split("/")[0] for file in files], return_inverse=True)[1]
    return np.asarray(people % 2 == 0)


def open_set(predictions: Predictions) -> dict[str, Any] | None:
    """FNIR and FPIR of each score at the thresholds for `FPIRS`; None for fewer than two strangers."""
    if not predictions.strangers or (first := halves(predictions.strangers)).all():
        return None
    right, points = predictions.probabilities.argmax(axis=1) == predictions.truth, []
    for score, (known, strangers) in predictions.open_set_scores.items():
        for target in FPIRS:
            threshold = bio.threshold_at_fpir(strangers[first], target)
            fpir, fnir = (strangers[~first] >= threshold).mean(), 1 - (right & (known >= threshold)).mean()
            rates = {"fpir": float(fpir), "fnir": float(fnir), "turned_away": float((known < threshold).mean())}
            points.append({"score": score, "target": target, "threshold": threshold, **rates})
    people = len({file.split("/")[0] for file in predictions.strangers})
    return {"strangers": people, "set_on": int(first.sum()), "reported_on": int((~first).sum()), "points": points}


def compare(first: Predictions, second: Predictions) -> dict[str, Any]:
    """Exact McNemar test of two runs on the same images, and the images they predict differently.

    Raises:
        UsageError: other images, or other people.
    """
    if first.names != second.names:
        raise UsageError(f"against={second.folder}: has other people than run={first.folder}")
    if set(first.files) != set(second.files):
        common = len(set(first.files) & set(second.files))
        raise UsageError(
            f"against={second.folder}: tested on other images than run={first.folder} ({common} of {len(first.files)} "
            "in common); set split_seed, data.fold or faces for both"
        )
    index_of = {file: index for index, file in enumerate(second.files)}
    names, order = np.array(first.names), [index_of[file] for file in first.files]
    ours, theirs = first.probabilities.argmax(axis=1), second.probabilities.argmax(axis=1)[order]
    right = ours == first.truth, theirs == first.truth
    only_first, only_second, p_value = bio.mcnemar(*right)
    which = np.select(right, ["run", "against"], "neither")
    table = pd.DataFrame(
        {"file": first.files, "true": names[first.truth], "run": names[ours], "against": names[theirs], "right": which}
    )
    return {
        "against": str(second.folder),
        "accuracy": [share(int(part.sum()), len(part)) for part in right],
        "only_run": only_first,
        "only_against": only_second,
        "both": int((right[0] & right[1]).sum()),
        "neither": int((~right[0] & ~right[1]).sum()),
        "p_value": p_value,
        "differing": table[ours != theirs].to_dict("records"),
    }


def csv_tables(predictions: Predictions, card: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """The tables of an evaluation by name, except its predictions; empty ones are left out."""
    scores, truth, names = predictions.probabilities, predictions.truth, list(predictions.names)
    matrix = confusion_matrix(truth, scores.argmax(axis=1), labels=np.arange(len(names)))
    bins = ("images", "confidence", "accuracy")
    tables = {
        "confusion": pd.DataFrame(matrix, pd.Index(names, name="true"), names).reset_index(),
        "people": pd.DataFrame(card["people"]),
        "cmc": pd.DataFrame(enumerate(bio.cmc(scores, truth), 1), columns=["rank", "share"]),
        "det": pd.DataFrame(bio.det(*bio.verification_scores(scores, truth))._asdict()),
        "reliability": pd.DataFrame(dict(zip(bins, bio.reliability(scores, truth), strict=True))),
        "steps": pd.DataFrame(predictions.by_step.items(), columns=["steps", "accuracy"]),
        "open_set": pd.DataFrame((card["open_set"] or {}).get("points")),
        "comparison": pd.DataFrame(card.get("comparison", {}).get("differing")),
    }
    return {name: table for name, table in tables.items() if len(table)}
