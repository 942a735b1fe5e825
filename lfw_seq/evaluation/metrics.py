"""The metrics of training, validation and test.

Shape legend: N images, C people.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC, MulticlassF1Score, MulticlassPrecision
from torchmetrics.utilities.data import dim_zero_cat


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
