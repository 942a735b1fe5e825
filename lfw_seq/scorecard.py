"""All numbers of an evaluation, from a run's answers.

Shape legend: N images, C people, V validation images, S images of strangers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from lfw_seq import biometrics as bio
from lfw_seq.answers import Answers

FMR = 0.01
FPIRS = (0.01, 0.05, 0.10)


def scorecard(answers: Answers) -> dict[str, Any]:
    """Everything `evaluation.json` says of one run."""
    probabilities, truth, names = answers.probabilities, answers.truth, answers.names
    predicted = probabilities.argmax(axis=1)
    hits = np.bincount(truth[predicted == truth], minlength=len(names))
    support = np.bincount(truth, minlength=len(names))
    people = per_person(probabilities, truth, names)
    rate = float(support[0] / len(truth))  # the first person is the one with the most images
    only = names[predicted[0]] if len(set(predicted.tolist())) == 1 else None
    return {
        "images": len(truth),
        "source": answers.source,
        "accuracy": interval(float(hits.sum() / len(truth)), bio.wilson(int(hits.sum()), len(truth))),
        "balanced_accuracy": interval(
            float((hits[support > 0] / support[support > 0]).mean()), bio.balanced_accuracy_interval(hits, support)
        ),
        "majority": {"name": names[0], "rate": rate, "lift": float(hits.sum() / len(truth)) / rate if rate else None},
        "predicted_people": len(set(predicted.tolist())),
        "only_answer": only,
        "people": people,
        "macro": averages(people, None),
        "weighted": averages(people, support),
        "cmc": bio.cmc(probabilities, truth)[:7].tolist(),
        "verification": verification(probabilities, truth),
        "calibration": calibration(answers),
        "open_set": open_set(answers),
        "notes": list(answers.notes),
        "metrics": answers.metrics,
    }


def interval(value: float, limits: tuple[float, float]) -> dict[str, float]:
    """A share with its 95 % interval."""
    return {"value": value, "low": limits[0], "high": limits[1]}


def per_person(probabilities: NDArray[Any], truth: bio.Ids, names: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1, support and one-vs-rest AUC of each; recall and AUC are nan without an image."""
    predicted, rows = probabilities.argmax(axis=1), []
    for person, name in enumerate(names):
        given, true = predicted == person, truth == person
        both, called, support = int((given & true).sum()), int(given.sum()), int(true.sum())
        rows.append(
            {
                "name": name,
                "precision": both / called if called else 0.0,
                "recall": both / support if support else float("nan"),
                "f1": 2 * both / (called + support) if called + support else float("nan"),
                "auc": bio.auc(probabilities[:, person], true),
                "support": support,
                "predicted": called,
            }
        )
    return rows


def averages(people: Sequence[dict[str, Any]], weights: NDArray[np.int64] | None) -> dict[str, float]:
    """Means over the people who occur, plain or by their number of images."""
    present = [index for index, row in enumerate(people) if row["support"]]
    share = None if weights is None else weights[present]
    result = {}
    for key in ("precision", "recall", "f1", "auc"):
        values = np.array([people[index][key] for index in present])
        result[key] = float(np.average(values, weights=share))
    return result


def verification(probabilities: NDArray[Any], truth: bio.Ids) -> dict[str, Any]:
    """Every image against every claimed name, pooled. No rate below three of the impostors can be claimed."""
    genuine, impostor = bio.verification_scores(probabilities, truth)
    curve = bio.det(genuine, impostor)
    fnmr, threshold = bio.fnmr_at_fmr(curve, FMR)
    return {
        "genuine": len(genuine),
        "impostor": len(impostor),
        "least_fmr": 3 / len(impostor),
        "eer": bio.equal_error_rate(curve),
        "fmr": FMR,
        "fnmr": fnmr,
        "threshold": threshold,
    }


def calibration(answers: Answers) -> dict[str, Any]:
    """How far probabilities can be trusted, as they are and with a temperature fitted on validation."""

    def losses(probabilities: NDArray[Any]) -> dict[str, float]:
        return {
            "nll": bio.negative_log_likelihood(probabilities, answers.truth),
            "brier": bio.brier_score(probabilities, answers.truth),
            "ece": bio.expected_calibration_error(probabilities, answers.truth),
        }

    scaled, temperature = tempered(answers)
    return {
        "bins": 15,
        **losses(answers.probabilities),
        "temperature": temperature,
        "scaled": None if scaled is None else losses(scaled),
    }


def tempered(answers: Answers) -> tuple[NDArray[Any] | None, float | None]:
    """The test probabilities at the temperature of the validation images, and the temperature."""
    if answers.validation is None:
        return None, None
    temperature = bio.fit_temperature(*answers.validation)
    # softmax(z / T) needs the logits only up to a constant a row, which the logarithm of their softmax is
    logs = np.log(np.clip(np.asarray(answers.probabilities, dtype=np.float64), 1e-38, None))
    return softmax(logs / temperature, axis=1), temperature


def halves(files: Sequence[str]) -> NDArray[np.bool_]:
    """Which images of strangers set the threshold: those of every other person by name, so that nobody is in both."""
    people = [file.split("/")[0] for file in files]
    first = set(sorted(set(people))[::2])
    return np.array([person in first for person in people])


def open_set(answers: Answers) -> dict[str, Any] | None:
    """Known people missed where strangers are mostly turned away; None without two strangers."""
    if answers.strangers is None or len({file.split("/")[0] for file in answers.strangers[0]}) < 2:
        return None
    files, probabilities = answers.strangers
    best, first = probabilities.max(axis=1).astype(np.float64), halves(files)
    points = []
    for target in FPIRS:
        threshold = bio.threshold_at_fpir(best[first], target)
        points.append(
            {
                "target": target,
                "threshold": threshold,
                "fpir": bio.fpir(best[~first], threshold),
                "fnir": bio.fnir(answers.probabilities, answers.truth, threshold),
            }
        )
    people = len({file.split("/")[0] for file in files})
    return {"strangers": people, "set_on": int(first.sum()), "reported_on": int((~first).sum()), "points": points}


def compare(first: Answers, second: Answers) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Exact McNemar of two runs on the same images, and the images on which only one is right."""
    place = {file: index for index, file in enumerate(second.files)}
    order = [place[file] for file in first.files]
    answers = first.probabilities.argmax(axis=1), second.probabilities.argmax(axis=1)[order]
    right = answers[0] == first.truth, answers[1] == first.truth
    only_first, only_second, p_value = bio.mcnemar(*right)
    rows = [
        {
            "file": first.files[index],
            "true": first.names[first.truth[index]],
            "run": first.names[answers[0][index]],
            "against": first.names[answers[1][index]],
            "right": "run" if right[0][index] else "against" if right[1][index] else "neither",
        }
        for index in np.flatnonzero(answers[0] != answers[1])
    ]
    summary = {
        "against": str(second.folder),
        "accuracy": [float(part.mean()) for part in right],
        "only_run": only_first,
        "only_against": only_second,
        "both": int((right[0] & right[1]).sum()),
        "neither": int((~right[0] & ~right[1]).sum()),
        "p_value": p_value,
    }
    return summary, rows
