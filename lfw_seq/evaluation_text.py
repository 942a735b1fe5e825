"""An evaluation in words, for the terminal and for the page."""

from typing import Any


def closing_lines(result: dict[str, Any]) -> list[str]:
    """The evaluation in a few lines."""
    accuracy, balanced, majority = result["accuracy"], result["balanced_accuracy"], result["majority"]
    check, scores = result["verification"], result["calibration"]
    lines = [
        f"{result['source']}",
        f"  accuracy          {span(accuracy)}",
        f"  balanced accuracy {span(balanced)}",
        f"  majority rate     {majority['rate']:.3f}  always answering {majority['name']}",
        f"  lift              {majority['lift'] or 0:.3f}  accuracy over the majority rate",
        f"  macro-F1          {result['macro']['f1']:.3f}  macro AUC {result['macro']['auc']:.3f}",
        f"  EER               {check['eer']:.3f}  FNMR {check['fnmr']:.3f} at FMR {check['fmr']:.2f}",
        f"  NLL               {scores['nll']:.3f}  Brier {scores['brier']:.3f}  ECE {scores['ece']:.3f}",
    ]
    if scores["scaled"]:
        after = scores["scaled"]
        lines.append(
            f"  at temperature    {scores['temperature']:.2f}  NLL {after['nll']:.3f}  Brier {after['brier']:.3f}"
            f"  ECE {after['ece']:.3f}"
        )
    if result["open_set"]:
        lines += [
            f"  FPIR {point['target']:.2f} asked   {point['fpir']:.3f} found, FNIR {point['fnir']:.3f}"
            f" at threshold {point['threshold']:.3f}"
            for point in result["open_set"]["points"]
        ]
    else:
        lines.append("  open set          no strangers in this source: not measured")
    lines += [f"  {sentence}" for sentence in sentences(result)]
    return lines


def span(share: dict[str, float]) -> str:
    """A share with its interval."""
    return f"{share['value']:.3f}  95 % interval {share['low']:.3f} to {share['high']:.3f}"


def sentences(result: dict[str, Any]) -> list[str]:
    """What must not be overlooked, in words."""
    said = list(result["notes"])
    if result["only_answer"]:
        same = f"Every image got the same answer, {result['only_answer']}"
        said.append(f"{same}: {result['accuracy']['value']:.3f} is that person's share, not skill.")
    if result["reproduced"] is not None:
        equal = (
            "equal the training run's to the last digit" if result["reproduced"] else "differ from the training run's"
        )
        said.append(f"The test metrics {equal}.")
    if pair := result.get("comparison"):
        first, second = pair["accuracy"]
        said.append(
            f"Accuracy {first:.3f} against {second:.3f} of {pair['against']}: only this run is right on "
            f"{pair['only_run']} images, the other on {pair['only_against']}: exact McNemar p {pair['p_value']:.3g}."
        )
    return said
