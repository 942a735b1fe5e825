"""The metrics of every stage.

Shape legend: N images, C people.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassPrecision,
)
from torchmetrics.utilities.data import dim_zero_cat


class PresentAUROC(MulticlassAUROC):
    """One-vs-rest area under the ROC curve, the plain mean over people who occur.

    torchmetrics counts 0 for a person without an image, which drags the mean down; scikit-learn refuses.
    """

    def compute(self) -> Tensor:  # type: ignore[override]  # torchmetrics types its curve parent
        """The mean, in [0, 1]; nan when fewer than two people occur."""
        with warnings.catch_warnings():  # about the people who do not occur: taken care of below
            warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets")
            areas: Tensor = super().compute()  # (C,)
        present = torch.bincount(dim_zero_cat(self.target), minlength=len(areas)) > 0
        return areas[present].mean() if present.sum() > 1 else areas.new_tensor(torch.nan)


def classification_metrics(num_classes: int) -> MetricCollection:
    """Metrics of probabilities (N, C) against ids (N,); `f1_per_person` gives (C,), all others a number.

    Only `accuracy` and `weighted_f1` follow how often people occur: the share of the largest class is a good accuracy
    for a model that learned nothing, and a bad value of every macro average.
    """
    alone: Any = {"sync_on_compute": False}  # every process of trainer=ddp has all images: see the classifier
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(num_classes, average="micro", **alone),
            "balanced_accuracy": MulticlassAccuracy(num_classes, average="macro", **alone),
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
    """The metrics of logits (N, C) against ids (N,), named and computed as in a training run, to the last digit."""
    metrics = classification_metrics(len(names))
    metrics.update(logits.softmax(dim=1), truth)
    values = {"loss": functional.cross_entropy(logits, truth), **metrics.compute()}
    return {f"{stage}/{name}": by_person(value, names) for name, value in values.items()}


def by_person(value: Tensor, names: Sequence[str]) -> float | dict[str, float]:
    """A metric as plain numbers: one, or for a value (C,) one a person."""
    return value.item() if value.ndim == 0 else dict(zip(names, value.tolist(), strict=True))
