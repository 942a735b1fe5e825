"""What a run says of itself: the parts of result.json, and the table a person reads at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lfw_seq.data.module import FaceRows


class Answered(Protocol):
    """What has been validated and tested: a classifier, or a baseline."""

    values: dict[str, Tensor]  # metrics by stage/name
    probabilities: dict[str, Tensor]  # (N, C) by stage


def final_metrics(classifier: Answered, data: FaceRows) -> dict[str, Any]:
    """The kept epoch's validation and test metrics, and what always answering the most frequent person would get."""
    from lfw_seq.metrics import by_person

    kept = {name: value for name, value in classifier.values.items() if not name.startswith("train/")}
    metrics: dict[str, Any] = {name: by_person(value, data.faces.names) for name, value in kept.items()}
    train, test = data.class_counts("train"), data.class_counts("test")
    metrics["majority_rate"] = test[train.index(max(train))] / sum(test)
    metrics["predicted_classes"] = len(classifier.probabilities["test"].argmax(dim=1).unique())
    return metrics


def data_card(data: FaceRows) -> dict[str, Any]:
    """What the numbers were made on."""
    return {
        "source": data.faces.source,
        "fingerprint": data.faces.fingerprint,
        "shape": [len(data.faces.labels), *data.shape],
        "class_names": list(data.faces.names),
        "counts": {stage: data.class_counts(stage) for stage in data.indices},
        "validation_is_test": data.split.val_from == "test",
    }


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
    from lfw_seq.biometrics import wilson

    metrics, names = result["metrics"], result["data"]["class_names"]
    tested = sum(result["data"]["counts"]["test"])
    low, high = wilson(round(metrics["test/accuracy"] * tested), tested)
    largest = names[max(range(len(names)), key=result["data"]["counts"]["train"].__getitem__)]
    lines = [
        (
            "accuracy",
            f"{metrics['test/accuracy']:.3f}",
            f"95 % Wilson interval {low:.3f} to {high:.3f}",
        ),
        ("majority rate", f"{metrics['majority_rate']:.3f}", f"the accuracy of always answering {largest}"),
        ("macro-F1", f"{metrics['test/macro_f1']:.3f}", ""),
        ("macro AUROC", f"{metrics['test/auroc']:.3f}", ""),
        ("people predicted", f"{metrics['predicted_classes']}", f"of {len(names)}"),
        ("tested epoch", f"{result['best_epoch']}", f"of {result['epochs']}, {result['seconds']:.0f} s in all"),
    ]
    table = [
        f"Tested on {tested:,} images",
        *(f"  {name:<17}{value:>7}  {note}".rstrip() for name, value, note in lines),
    ]
    if metrics["predicted_classes"] == 1:
        table.append(
            f"  Every image got the same answer: {metrics['test/accuracy']:.3f} is that person's share, not skill."
        )
    if result["data"]["validation_is_test"]:
        table.append("  Validation was the test set: these figures are too good.")
    return "\n".join([*table, f"  in {folder}"])


def count_parameters(net: nn.Module) -> int:
    """How many numbers the net learns."""
    return sum(parameter.numel() for parameter in net.parameters())
