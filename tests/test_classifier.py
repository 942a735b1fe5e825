"""Loss and metrics."""

import functools
import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from lfw_seq.data.sequences import Standardize
from lfw_seq.evaluation.metrics import classification_metrics
from lfw_seq.models.predictor import Predictor
from lfw_seq.training.classifier import Classifier


def classifier(label_smoothing: float = 0.0, class_weights: list[float] | None = None) -> Classifier:
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    predictor = Predictor(net, Standardize("none", 2, 3), 1.0, None)
    return Classifier(predictor, functools.partial(torch.optim.SGD, lr=0.1), 3, label_smoothing, class_weights)


@pytest.mark.parametrize(("p", "loss"), [(0.60, 0.51), (0.92, 0.08), (0.15, 1.90)])
def test_the_labs_losses(p: float, loss: float) -> None:
    logits = torch.tensor([[math.log(p), math.log((1 - p) / 2), math.log((1 - p) / 2)]])
    assert round(cross_entropy(logits, torch.tensor([0])).item(), 2) == loss


@pytest.mark.parametrize("weights", [[1.0, 2.0, 0.5], [1, 2, 1]])
def test_hard_targets_give_the_same_loss_as_ids_and_one_hot(weights: list[float]) -> None:
    torch.manual_seed(0)
    rows, ids = torch.rand(8, 2, 3), torch.arange(8) % 3
    model = classifier(label_smoothing=0.1, class_weights=weights)
    by_ids = model.training_step((rows, ids), 0)
    # torch divides by the summed weights of ids, but by the count of rows of soft targets
    by_vectors = model.training_step((rows, one_hot(ids, 3).float()), 0) * 8 / model.weight[ids].sum()  # type: ignore[index]
    assert by_ids.item() == pytest.approx(by_vectors.item(), rel=1e-6)
    plain = classifier()
    plain.load_state_dict(model.state_dict())
    unweighted = plain.training_step((rows, ids), 0).item()
    assert plain.training_step((rows, one_hot(ids, 3).float()), 0).item() == pytest.approx(unweighted, rel=1e-6)
    assert unweighted != pytest.approx(by_ids.item(), rel=1e-3)


def test_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), 300)
    truth = rng.integers(0, 5, 300)
    predicted = probabilities.argmax(axis=1)
    values = classification_metrics(5)(torch.from_numpy(probabilities), torch.from_numpy(truth))
    expected = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "macro_precision": sk.precision_score(truth, predicted, average="macro"),
        "macro_f1": sk.f1_score(truth, predicted, average="macro"),
        "weighted_f1": sk.f1_score(truth, predicted, average="weighted"),
        "auroc": sk.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro"),
    }
    for name, value in expected.items():
        assert values[name].item() == pytest.approx(value, abs=1e-6), name
    numbers = [value.item() for name, value in values.items() if name in expected]
    assert len(set(numbers)) == len(numbers), "one number under two names"
    alone = sk.f1_score(truth, predicted, average=None)
    assert values["f1_per_person"].tolist() == pytest.approx(alone.tolist(), abs=1e-6)


def test_a_person_without_an_image_leaves_the_auroc_alone() -> None:
    rng = np.random.default_rng(1)
    probabilities, truth = rng.dirichlet(np.ones(4), 60), rng.integers(0, 3, 60)  # nobody is 3
    areas = [sk.roc_auc_score(truth == person, probabilities[:, person]) for person in range(3)]
    auroc = classification_metrics(4)(torch.from_numpy(probabilities), torch.from_numpy(truth))["auroc"]
    assert auroc.item() == pytest.approx(np.mean(areas), abs=1e-6)
    one = classification_metrics(4)(torch.from_numpy(probabilities), torch.zeros(60, dtype=torch.int64))["auroc"]
    assert one.isnan()
