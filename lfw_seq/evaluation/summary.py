"""The outcome of a run: the metrics of result.json, and the table printed at its end."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy.stats import binomtest

from lfw_seq.evaluation.metrics import by_person

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lfw_seq.data.module import FaceRows


def final_metrics(values: Mapping[str, Tensor], test_probabilities: Tensor | None, data: FaceRows) -> dict[str, Any]:
    """Validation and test metrics of the best epoch, and the accuracy of always predicting the most frequent person.

    Args:
        values: metrics by `stage/name`.
        test_probabilities: (N, C); None without a test.
        data: the data of the run.
    """
    metrics: dict[str, Any] = {
        name: by_person(value, data.faces.names) for name, value in values.items() if not name.startswith("train/")
    }
    if test_probabilities is not None:
        train, test = data.class_counts("train"), data.class_counts("test")
        metrics["majority_rate"] = test[train.index(max(train))] / sum(test)
        metrics["predicted_classes"] = len(test_probabilities.argmax(dim=1).unique())
    return metrics


def describe(data: FaceRows, net: nn.Module) -> str:
    """Summarize the data and the net in a line."""
    (steps, features), size = data.shape, {stage: len(part) for stage, part in data.indices.items()}
    return (
        f"{data.faces.source}: {len(data.faces.names)} people, {size['train']:,} train / {size['val']:,} val / "
        f"{size['test']:,} test, {steps} steps of {features} pixels; "
        f"{type(net).__name__} with {count_parameters(net):,} parameters"
    )


def closing_table(result: dict[str, Any], folder: str) -> str:
    """The result as a table for the terminal, with the command that evaluates the run."""
    metrics, names = result["metrics"], result["data"]["class_names"]
    place = os.path.relpath(folder) if Path(folder).is_relative_to(Path.cwd()) else folder
    end = f"  in {folder}\nnext: python -m lfw_seq.evaluate run={shlex.quote(place)}"
    if "test/accuracy" not in metrics:
        seen = "".join(f", {name} {metrics[name]:.3f}" for name in ("val/loss", "val/accuracy") if name in metrics)
        return f"Not tested: epoch {result['best_epoch']} of {result['epochs']}{seen}\n{end}"
    tested = sum(result["data"]["counts"]["test"])
    limits = binomtest(round(metrics["test/accuracy"] * tested), tested).proportion_ci(method="wilson")
    largest = names[max(range(len(names)), key=result["data"]["counts"]["train"].__getitem__)]
    lines = [
        ("accuracy", f"{metrics['test/accuracy']:.3f}", f"95 % Wilson interval {limits.low:.3f} to {limits.high:.3f}"),
        ("majority rate", f"{metrics['majority_rate']:.3f}", f"the accuracy of always predicting {largest}"),
        ("macro-F1", f"{metrics['test/macro_f1']:.3f}", ""),
        ("macro AUROC", f"{metrics['test/auroc']:.3f}", ""),
        ("people predicted", f"{metrics['predicted_classes']}", f"of {len(names)}"),
    ]
    if result["epochs"]:  # a baseline has none
        note = f"of {result['epochs']}, {result['seconds']:.0f} s in all"
        lines.append(("tested epoch", f"{result['best_epoch']}", note))
    table = [f"Tested on {tested:,} images"]
    table += [f"  {name:<17}{value:>7}  {note}".rstrip() for name, value, note in lines]
    if metrics["predicted_classes"] == 1:
        table.append(f"  One person predicted for every image: {metrics['test/accuracy']:.3f} is a share, not skill.")
    if debug := result["choices"].get("debug"):
        table.append(f"  debug={debug}: no report counts this run.")
    if result["data"]["validation_is_test"]:
        table.append("  Validation was the test set: these figures are too good.")
    return "\n".join([*table, end])


def count_parameters(net: nn.Module) -> int:
    """Number of the net's parameters."""
    return sum(parameter.numel() for parameter in net.parameters())
