"""What a run comes to: the metrics of result.json, and the table a person reads at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scipy.stats import binomtest

from lfw_seq.evaluation.metrics import by_person

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lfw_seq.data.module import FaceRows


def final_metrics(values: Mapping[str, Tensor], test_probabilities: Tensor, data: FaceRows) -> dict[str, Any]:
    """The kept epoch's validation and test metrics, and the accuracy of always predicting the most frequent person.

    Args:
        values: metrics by `stage/name`.
        test_probabilities: (N, C).
        data: the faces.
    """
    metrics: dict[str, Any] = {
        name: by_person(value, data.faces.names) for name, value in values.items() if not name.startswith("train/")
    }
    train, test = data.class_counts("train"), data.class_counts("test")
    metrics["majority_rate"] = test[train.index(max(train))] / sum(test)
    metrics["predicted_classes"] = len(test_probabilities.argmax(dim=1).unique())
    return metrics


def describe(data: FaceRows, net: nn.Module) -> str:
    """The data and the net in a line."""
    (steps, features), size = data.shape, {stage: len(part) for stage, part in data.indices.items()}
    return (
        f"{data.faces.source}: {len(data.faces.names)} people, {size['train']:,} train / {size['val']:,} val / "
        f"{size['test']:,} test, {steps} steps of {features} pixels; "
        f"{type(net).__name__} with {count_parameters(net):,} parameters"
    )


def closing_table(result: dict[str, Any], folder: str) -> str:
    """The run in a few lines."""
    metrics, names = result["metrics"], result["data"]["class_names"]
    tested = sum(result["data"]["counts"]["test"])
    limits = binomtest(round(metrics["test/accuracy"] * tested), tested).proportion_ci(method="wilson")
    largest = names[max(range(len(names)), key=result["data"]["counts"]["train"].__getitem__)]
    lines = [
        ("accuracy", f"{metrics['test/accuracy']:.3f}", f"95 % Wilson interval {limits.low:.3f} to {limits.high:.3f}"),
        ("majority rate", f"{metrics['majority_rate']:.3f}", f"the accuracy of always predicting {largest}"),
        ("macro-F1", f"{metrics['test/macro_f1']:.3f}", ""),
        ("macro AUROC", f"{metrics['test/auroc']:.3f}", ""),
        ("people predicted", f"{metrics['predicted_classes']}", f"of {len(names)}"),
        ("tested epoch", f"{result['best_epoch']}", f"of {result['epochs']}, {result['seconds']:.0f} s in all"),
    ]
    table = [f"Tested on {tested:,} images"]
    table += [f"  {name:<17}{value:>7}  {note}".rstrip() for name, value, note in lines]
    if metrics["predicted_classes"] == 1:
        table.append(f"  One person predicted for every image: {metrics['test/accuracy']:.3f} is a share, not skill.")
    if result["data"]["validation_is_test"]:
        table.append("  Validation was the test set: these figures are too good.")
    return "\n".join([*table, f"  in {folder}"])


def count_parameters(net: nn.Module) -> int:
    """How many numbers the net learns."""
    return sum(parameter.numel() for parameter in net.parameters())
