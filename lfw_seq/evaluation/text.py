"""An evaluation in words: its numbers with their meaning, what must not be overlooked, and how the run was made."""

import shlex
from datetime import datetime
from typing import Any

from omegaconf import OmegaConf

from lfw_seq.cli import configuring
from lfw_seq.evaluation.predictions import Predictions
from lfw_seq.runs.folder import RESULT


def lines(card: dict[str, Any]) -> list[str]:
    """The evaluation for a terminal."""
    rows = measures(card)
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    table = [f"  {name:<{first}}  {value:<{second}}  {meaning}" for name, value, meaning in rows]
    return [card["source"], *table, *(f"  {sentence}" for sentence in sentences(card))]


def span(share: dict[str, float]) -> str:
    """A share with its interval."""
    return f"{share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"


def measures(card: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each number."""
    check, scores, majority = card["verification"], card["calibration"], card["majority"]
    ranks = ", ".join(map(str, range(1, 1 + len(card["cmc"][:3]))))
    pairs = f"{check['genuine']:,} genuine and {check['impostor']:,} impostor comparisons"
    fitted = (
        f"; here and below also at temperature {scores['temperature']:.2f}, fitted on validation"
        if scores["scaled"]
        else ""
    )
    nll, brier, ece = (
        " and ".join(f"{part[key]:.3f}" for part in (scores, scores["scaled"]) if part)
        for key in ("nll", "brier", "ece")
    )
    rows = [
        ("accuracy", span(card["accuracy"]), f"of {card['images']:,} images, with its 95 % Wilson interval"),
        ("majority rate", f"{majority['rate']:.3f}", f"accuracy of always predicting {majority['name']}"),
        ("balanced accuracy", span(card["balanced_accuracy"]), "mean recall of the people, 95 % interval (MOVER)"),
        ("macro-F1", f"{card['macro']['f1']:.3f}", "mean of the people"),
        ("macro AUC", f"{card['macro']['auc']:.3f}", "area under the ROC curve of one person against all others"),
        ("people predicted", f"{card['predicted_people']}", f"of {len(card['people'])}"),
        (f"CMC {ranks}", " ".join(f"{share:.3f}" for share in card["cmc"][:3]),
         "cumulative match characteristic: share of images whose person is among the first so many predictions"),
        ("EER", f"{check['eer']:.3f}", f"equal error rate of verification, FMR = FNMR, over {pairs}"),
        ("FNMR at FMR 1 %", f"{check['fnmr']:.3f}", "false non-match rate where the false match rate is at most 1 %; "
         f"no FMR below {check['least_fmr']:.2%} can be claimed"),
        ("NLL", nll, f"negative log-likelihood{fitted}"),
        ("Brier score", brier, "squared error of the probabilities, from 0 to 2"),
        ("ECE", ece, "expected calibration error, in 15 bins"),
    ]  # fmt: skip
    for point in (card["open_set"] or {"points": []})["points"]:
        meaning = (
            "false negative identification rate: known people missed. The false positive identification rate, "
            f"strangers given a name, is {point['fpir']:.3f} at this threshold, {point['threshold']:.4f}"
        )
        rows.append((f"FNIR at FPIR {point['target']:.0%}", f"{point['fnir']:.3f}", meaning))
    return rows


def sentences(card: dict[str, Any]) -> list[str]:
    """What must not be overlooked."""
    found = list(card["notes"])
    if card["predicted_people"] == 1:
        only = max(card["people"], key=lambda person: person["predicted"])["name"]
        found.append(f"{only} is predicted for every image: the accuracy is that person's share, not skill.")
    if card["reproduced"] is not None:
        equal = "equal the training run's to the last digit" if card["reproduced"] else "differ from the training run's"
        found.append(f"The test metrics {equal}.")
    if card["open_set"] is None:
        found.append("No strangers among these images: the open set is not measured.")
    if pair := card.get("comparison"):
        first, second = map(span, pair["accuracy"])
        found.append(
            f"Accuracy {first} against {second} of {pair['against']}: only this run is right on {pair['only_run']} "
            f"images, only the other on {pair['only_against']}; exact McNemar p {pair['p_value']:.3g}."
        )
    return found


def title(found: Predictions) -> str:
    """The run in a few words: what its folder is called, the model and the seed."""
    with configuring(str(found.folder / RESULT)):
        run = found.result
        model = f" ({run['model']['name']}, seed {run['config']['seed']})" if run else ""
    return f"Evaluation of {found.folder.resolve().name}{model}"


def metadata(found: Predictions) -> dict[str, str]:
    """How the run was made, from result.json and .hydra/overrides.yaml.

    Raises:
        UsageError: one of them is damaged.
    """
    facts, module = {"run": str(found.folder), "evaluated on": found.source}, "train"
    path = found.folder / RESULT
    with configuring(str(path)):
        if run := found.result:
            config, data, git = run["config"], run["data"], run["git"] or {}
            counts = " / ".join(f"{sum(data['counts'][stage]):,} {stage}" for stage in ("train", "val", "test"))
            module = "baselines" if "baseline" in config else module
            facts |= {
                "model": f"{run['model']['name']}, {run['model']['parameters']:,} parameters",
                "choices": ", ".join(f"{group}={name}" for group, name in run["choices"].items()),
                "seeds": f"seed={config['seed']} split_seed={config['split_seed']}",
                "best epoch": f"{run['best_epoch']} of {run['epochs']}",
                "data": f"{data['source']}, {counts}, fingerprint {data['fingerprint']}",
                "trained on": f"{run['device']} in {run['seconds']:,.0f} s",
                "date": f"{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d %H:%M}",
                "commit": f"{git.get('commit', 'unknown')}{' with changes' * bool(git.get('dirty'))}",
                "versions": ", ".join(f"{name} {version}" for name, version in run["versions"].items()),
            }
    path = found.folder / ".hydra" / "overrides.yaml"
    with configuring(str(path)):
        if path.is_file():
            words: Any = OmegaConf.to_container(OmegaConf.load(path))  # interpolations stay as they are
            facts["command"] = shlex.join(["python", "-m", f"lfw_seq.{module}", *map(str, words)])
    return facts
