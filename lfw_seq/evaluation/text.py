"""An evaluation as text: its measures with their meaning, remarks, and how the run was made."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd
import yaml

from lfw_seq.cli import configuring
from lfw_seq.evaluation.predictions import Predictions
from lfw_seq.evaluation.settings import SEEDS, changed, flat
from lfw_seq.parts import check_value
from lfw_seq.runs.folder import RESULT

MAX_TITLE_SETTINGS = 4


class Evaluated(NamedTuple):
    """A run's predictions and its scorecard."""

    label: str  # distinguishes two runs; empty for a single one
    predictions: Predictions
    card: dict[str, Any]

    @property
    def mark(self) -> str:
        """The label as a suffix."""
        return f" ({self.label})" if self.label else ""


def lines(runs: Sequence[Evaluated]) -> list[str]:
    """The evaluation as lines for the terminal."""
    table = measures(runs)
    rows = [["", *table.columns[1:-1], ""]] * (len(runs) > 1) + table.to_numpy().tolist()
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = ["  ".join(map(str.ljust, row, widths)) for row in rows]
    return [runs[0].card["source"], *(f"  {line}".rstrip() for line in (*aligned, *sentences(runs)))]


def span(share: dict[str, float]) -> str:
    """Format a proportion with its interval."""
    return f"{share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"


def measures(runs: Sequence[Evaluated]) -> pd.DataFrame:
    """A table of the measures: name, value of each run, meaning."""
    table = pd.DataFrame(_measures(runs[0].card), columns=["measure", runs[0].label or "value", "meaning"])
    for run in runs[1:]:
        values = {name: value for name, value, _ in _measures(run.card)}
        table.insert(2, run.label, table["measure"].map(values).fillna("–"))
    return table


def _measures(card: dict[str, Any]) -> list[tuple[str, str, str]]:
    check, scores, majority = card["verification"], card["calibration"], card["majority"]
    pairs = f"{check['genuine']:,} genuine and {check['impostor']:,} impostor comparisons"
    nll, brier, ece = (
        "; ".join(f"{part[key]:.3f}" for part in (scores, scores["scaled"]) if part) for key in ("nll", "brier", "ece")
    )
    ranks = ", ".join(map(str, range(1, 1 + len(card["cmc"][:3]))))
    second = "; the second value, as below, is at the temperature fitted on validation" * bool(scores["scaled"])
    rows = [
        ("accuracy", span(card["accuracy"]), f"of {card['images']:,} images, with its 95 % Wilson interval"),
        ("majority rate", f"{majority['rate']:.3f}", f"accuracy of always predicting {majority['name']}"),
        ("balanced accuracy", span(card["balanced_accuracy"]), "mean recall of the people, 95 % interval (MOVER)"),
        ("macro-F1", f"{card['macro']['f1']:.3f}", "mean of the people"),
        ("macro AUC", f"{card['macro']['auc']:.3f}", "area under the ROC curve of one person against all others"),
        ("people predicted", f"{card['predicted_people']} of {len(card['people'])}", ""),
        (f"CMC at ranks {ranks}", " ".join(f"{share:.3f}" for share in card["cmc"][:3]),
         "cumulative match characteristic: share of images whose true person is among that many top predictions"),
        ("EER", f"{check['eer']:.3f}", f"equal error rate of verification, FMR = FNMR, over {pairs}"),
        ("FNMR at FMR 1 %", f"{check['fnmr']:.3f}", "false non-match rate where the false match rate is at most 1 %; "
         f"no FMR below {100 * check['least_fmr']:.2g} % can be claimed"),
        ("NLL", nll, f"negative log-likelihood{second}"),
        ("Brier score", brier, "squared error of the probabilities, from 0 to 2"),
        ("ECE", ece, "expected calibration error, in 15 bins"),
    ]  # fmt: skip
    meaning = (
        "false negative identification rate (known people missed) and false positive identification rate (strangers "
        "given a name), at a threshold set on other strangers"
    )
    for number, point in enumerate((card["open_set"] or {"points": []})["points"]):
        value = f"{point['fnir']:.3f} (FPIR {point['fpir']:.3f}, threshold {point['threshold']:.3f})"
        rows.append((f"FNIR at FPIR {point['target']:.0%}, by {point['score']}", value, "" if number else meaning))
    return rows


def sentences(runs: Sequence[Evaluated]) -> list[str]:
    """Remarks on the first run, warnings first, and its comparison with the second."""
    card = runs[0].card
    remarks = [f"{run.label}: {note}".removeprefix(": ") for run in runs for note in run.card["notes"]]
    if card["predicted_people"] == 1:
        only = max(card["people"], key=lambda person: person["predicted"])["name"]
        remarks.append(f"{only} is predicted for every image: the accuracy is that person's share, not skill.")
    if card["reproduced"] is not None:
        equal = "equal the training run's to the last digit" if card["reproduced"] else "differ from the training run's"
        remarks.append(f"The test metrics {equal}.")
    if card["open_set"] is None:
        remarks.append("Fewer than two strangers among these images: the open set is not measured.")
    if pair := card.get("comparison"):
        sources = dict.fromkeys(run.predictions.source for run in runs)
        if len(sources) > 1:
            remarks.append(f"Images of these runs are compared by file name: {' and '.join(sources)}.")
        first, second = map(span, pair["accuracy"])
        remarks.append(
            f"Accuracy {first} against {second} of {pair['against']}: only this run is right on {pair['only_run']} "
            f"images, only the other on {pair['only_against']}; exact McNemar p {pair['p_value']:.3g}."
        )
    return remarks


def describe(predictions: Predictions) -> tuple[str, dict[str, str]]:
    """Page title, and facts about how the run was made, from result.json and .hydra/overrides.yaml.

    Raises:
        UsageError: one of these files is damaged.
    """
    folder, facts, module = predictions.folder, dict[str, str](), "train"
    title, path = folder.resolve().name, folder / RESULT
    with configuring(str(path)):
        if run := predictions.result:
            config, data, git, model = run["config"], run["data"], run["git"] or {}, run["model"]["name"]
            counts = " / ".join(f"{sum(data['counts'][stage]):,} {stage}" for stage in ("train", "val", "test"))
            module = "baselines" if "baseline" in config else module
            words = [f"{key}={value}" for key, value in changed(run).items()]
            own = [word for word in words if word.partition("=")[2] != model]
            values = flat(config)
            seeds = [f"{key}={values[key]}" for key in SEEDS if values.get(key) is not None]
            more = [f"{len(own) - MAX_TITLE_SETTINGS} more settings"] * (len(own) > MAX_TITLE_SETTINGS)
            title = ", ".join([model, *own[:MAX_TITLE_SETTINGS], *more, f"seed={config['seed']}"])
            facts = {
                "model": f"{model}, {run['model']['parameters']:,} parameters",
                "changed settings": " ".join(words) or "none",
                "seed and split": " ".join(seeds),
                **({"best epoch": f"{run['best_epoch']} of {run['epochs']}"} if run["epochs"] else {}),
                "data": f"{data['source']}, {counts}, fingerprint {data['fingerprint']}",
                "trained on": f"{run['device']} in {run['seconds']:,.0f} s",
                "commit": f"{git.get('commit', 'unknown')}{' with changes' * bool(git.get('dirty'))}",
                "date": f"{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d %H:%M}",
                "versions": ", ".join(f"{name} {version}" for name, version in run["versions"].items()),
            }
    path = folder / ".hydra" / "overrides.yaml"
    with configuring(str(path)):
        if path.is_file():
            check_value("overrides", typed := yaml.safe_load(path.read_text(encoding="utf-8")), list[str])
            facts["command"] = shlex.join(["python", "-m", f"lfw_seq.{module}", *typed])
    return f"Evaluation of {title}", facts | {"folder": str(folder), "evaluated on": predictions.source}
