"""The metrics of training, validation and test, and the table of a run's result.

Shape legend: N images, C people.
"""

import os
import shlex
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC, MulticlassF1Score, MulticlassPrecision
from torchmetrics.utilities.data import dim_zero_cat

from lfw_seq.data.module import FaceRows
from lfw_seq.evaluation.biometrics import wilson


class PresentAUROC(MulticlassAUROC):
    """One-vs-rest area under the ROC curve, averaged over people with images.

    torchmetrics counts a person without images as 0; scikit-learn raises an error.
    """

    def compute(self) -> Tensor:  # type: ignore[override]  # torchmetrics types its curve parent
        """The mean, in [0, 1]; nan for fewer than two people with images."""
        with warnings.catch_warnings():  # people without images are left out below
            warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets")
            areas: Tensor = super().compute()  # (C,)
        present = torch.bincount(dim_zero_cat(self.target), minlength=len(areas)) > 0
        return areas[present].mean() if present.sum() > 1 else areas.new_tensor(torch.nan)


class PresentAccuracy(MulticlassAccuracy):
    """Recall averaged over people with images, as scikit-learn's balanced accuracy.

    torchmetrics counts a person without images as 0 once they are predicted.
    """

    def compute(self) -> Tensor:
        """The mean, in [0, 1]."""
        recalls: Tensor = super().compute()  # (C,)
        images = dim_zero_cat(self.tp) + dim_zero_cat(self.fn)
        weights = (images > 0).to(recalls)
        return (weights * recalls / weights.sum()).sum()


def classification_metrics(num_classes: int) -> MetricCollection:
    """Metrics of probabilities (N, C) against ids (N,); `f1_per_person` is (C,), all others are scalars.

    Only `accuracy` and `weighted_f1` depend on class frequencies: always predicting the largest class gives a high
    accuracy, but low macro averages.
    """
    alone: Any = {"sync_on_compute": False}  # every process of trainer=ddp evaluates all images: see the classifier
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(num_classes, average="micro", **alone),
            "balanced_accuracy": PresentAccuracy(num_classes, average="none", **alone),
            "macro_precision": MulticlassPrecision(num_classes, average="macro", **alone),
            "macro_f1": MulticlassF1Score(num_classes, average="macro", **alone),
            "weighted_f1": MulticlassF1Score(num_classes, average="weighted", **alone),
            "f1_per_person": MulticlassF1Score(num_classes, average="none", **alone),
            "auroc": PresentAUROC(num_classes, average="none", **alone),
        }
    )


def stage_metrics(
    stage: str, logits: Tensor, truth: Tensor, names: Sequence[str]
) -> dict[str, float | dict[str, float]]:
    """Metrics of logits (N, C) against ids (N,), with the names and exact values of a training run."""
    metrics = classification_metrics(len(names))
    metrics.update(logits.softmax(dim=1), truth)
    values = {"loss": functional.cross_entropy(logits, truth), **metrics.compute()}
    return {f"{stage}/{name}": by_person(value, names) for name, value in values.items()}


def by_person(value: Tensor, names: Sequence[str]) -> float | dict[str, float]:
    """A metric as a float, or, for a value (C,), as floats by person."""
    return value.item() if value.ndim == 0 else dict(zip(names, value.tolist(), strict=True))


def final_metrics(values: Mapping[str, Tensor], test_probabilities: Tensor | None, data: FaceRows) -> dict[str, Any]:
    """The metrics of result.json: those of `values`, by `stage/name`, that are not of training.

    With `test_probabilities` (N, C), also the test accuracy of always predicting the most frequent person, and the
    number of people predicted.
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
    low, high = wilson(round(metrics["test/accuracy"] * tested), tested)
    largest = names[max(range(len(names)), key=result["data"]["counts"]["train"].__getitem__)]
    lines = [
        ("accuracy", f"{metrics['test/accuracy']:.3f}", f"95 % Wilson interval {low:.3f} to {high:.3f}"),
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
