"""The classifier and the recipe: loss, metrics, weight decay, schedules, averaged weights, and the study in small."""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn import metrics as sk
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from lfw_seq.data.augment import Augment
from lfw_seq.data.sequences import Layout, Standardize
from lfw_seq.evaluation.metrics import classification_metrics
from lfw_seq.models.predictor import Predictor
from lfw_seq.parts import build_part
from lfw_seq.train import train
from lfw_seq.training.classifier import Classifier
from lfw_seq.training.optimizers import WeightAverage, adamw, cosine

from .conftest import ANY_NET, SMALL, Compose, batches, plain_trainer

GRAY = Layout(columns=False, colours=1)
WEIGHT = "predictor.net.3.weight"
FACES = ("data=synthetic", "data.num_images=420", "data.height=32", "data.width=24", "trainer=cpu", "logger=none")


def classifier(label_smoothing: float = 0.0, class_weights: list[float] | None = None) -> Classifier:
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    predictor = Predictor(net, Standardize("none", 2, 3), 1.0, None)
    return Classifier(predictor, functools.partial(SGD, lr=0.1), 3, label_smoothing, class_weights)


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


def test_weight_decay_spares_biases_and_gains() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.LSTM(3, 2))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = adamw(net.parameters(), lr=0.1, weight_decay=0.5, fused=False)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in net.named_parameters():
        assert torch.allclose(p, before[name] * (0.95 if p.ndim > 1 else 1)), name


def test_cosine_rises_then_falls_to_its_end() -> None:
    optimizer, seen = SGD([nn.Parameter(torch.zeros(1))], lr=2.0), list[float]()
    scheduler = cosine(optimizer, total_steps=21, warmup=0.2, final=0.1)
    for _ in range(21):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert seen[12] == pytest.approx(2 * (0.1 + 0.9 / 2)), "half way down"
    assert seen[-1] == pytest.approx(0.2)
    assert seen[4:] == sorted(seen[4:], reverse=True)


class Watch(Callback):
    """Keeps the weights of each step and of each validation."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []
        self.validated: list[Tensor] = []
        self.steps = 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step > self.steps:  # with accumulated gradients most batches bring no step
            self.weights.append(pl_module.state_dict()[WEIGHT].clone())
        self.steps = trainer.global_step

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.validated.append(pl_module.state_dict()[WEIGHT].clone())


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 3), (2, 2)])
def test_the_average_is_validated_kept_and_left_behind(tmp_path: Path, accumulate: int, steps: int) -> None:
    """A small training of four epochs with the whole recipe."""
    seed_everything(0)
    augment = Augment(GRAY, 3, 0.5, 0.1, 10, 0.1, 0.1, 0.1, 0.5, 0.5, 0.4)
    make = functools.partial(adamw, lr=0.01, weight_decay=0.1, fused=True)
    schedule = functools.partial(OneCycleLR, max_lr=0.01)
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
    model = Classifier(Predictor(net, Standardize("image", 2, 3), 1.0, GRAY), make, 3, 0.1, None, augment, schedule)
    rows, ids = torch.rand(24, 2, 3), torch.arange(24) % 3
    watch, last = Watch(), ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True)
    keys: dict[str, Any] = {"gradient_clip_val": 1.0, "accumulate_grad_batches": accumulate}
    trainer = plain_trainer(4, WeightAverage(0.9), watch, last, **keys, enable_checkpointing=True)
    trainer.fit(model, batches(rows, ids, 8), batches(rows, ids, 24))
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    average, averages = torch.zeros(3, 6), []
    for step, weight in enumerate(watch.weights, start=1):
        decay = min(0.9, (1 + step) / (10 + step)) if step > 1 else 0.0
        average = decay * average + (1 - decay) * weight
        averages.append(average)
    assert len(averages) == 4 * steps  # it counts the optimizer's, not batches
    for epoch, validated in enumerate(watch.validated):
        assert torch.allclose(validated, averages[steps * (epoch + 1) - 1], atol=1e-6)
    kept, trained, left = checkpoint["state_dict"], checkpoint["current_model_state"], model.state_dict()
    assert torch.allclose(kept[WEIGHT], average, atol=1e-6)
    assert torch.equal(trained[WEIGHT], watch.weights[-1])
    assert torch.equal(left[WEIGHT], kept[WEIGHT])


def test_permutations_are_not_averaged(config: Compose, tmp_path: Path) -> None:
    net = ("model=reordered", "model.encoder.pixels=each", "model.reader.hidden_size=8", "average_decay=0.9")
    train(config(*ANY_NET, *net))
    state = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    drawn = build_part("model", config(*net).model, num_features=37, num_rows=50, num_classes=7).state_dict()
    for name in ("encoder.row_order", "encoder.pixel_order"):
        assert torch.equal(state[f"predictor.net.{name}"], drawn[name])


def test_the_mirror_and_standardization_are_part_of_the_prediction() -> None:
    torch.manual_seed(0)
    net, make = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), functools.partial(SGD, lr=0.1)
    model = Classifier(Predictor(net, Standardize("image", 2, 3), 1.0, GRAY), make, 3).eval()
    rows = torch.rand(5, 2, 3)
    standard = Standardize("image", 2, 3)(rows)
    assert torch.allclose(model(rows), (net(standard) + net(standard.flip(2))) / 2, atol=1e-6)
    assert torch.allclose(model.train()(rows), net(standard), atol=1e-6)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_a_schedule_ends_where_the_training_ends(config: Compose, tmp_path: Path, schedule: str) -> None:
    cfg = config(*SMALL, f"schedule={schedule}", "optimizer=adamw", "average_decay=0.9", "trainer.max_epochs=3")
    assert cfg.callbacks.early_stopping is None
    assert cfg.callbacks.plateau is None
    assert train(cfg)["epochs"] == 3
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    (state,) = last["lr_schedulers"]
    assert state["last_epoch"] == last["global_step"] == 3 * math.ceil(101 / 32)
    assert "current_model_state" in last


@pytest.mark.slow
def test_each_fix_does_what_it_says(config: Compose, tmp_path: Path) -> None:
    def metrics(experiment: str) -> dict[str, Any]:
        words = (f"experiment={experiment}", f"run_dir={tmp_path / experiment}", "trainer.max_epochs=20")
        measured: dict[str, Any] = train(config(*FACES, *words))["metrics"]
        return measured

    collapsed, fixed = metrics("lab_double_scaled"), metrics("lab_fixed")
    assert collapsed["predicted_classes"] == 1, "pixels divided twice: one answer for everybody"
    assert collapsed["test/accuracy"] == pytest.approx(collapsed["majority_rate"])
    assert collapsed["val/loss"] == collapsed["test/loss"], "the leak: validation is the test set"
    assert fixed["val/loss"] != fixed["test/loss"]
    assert fixed["test/accuracy"] > collapsed["test/accuracy"] + 0.3, "the same network, pixels divided once"
    standardized, cnn = (metrics(name)["test/accuracy"] for name in ("standardized", "cnn"))
    assert standardized > fixed["test/accuracy"] + 0.02, "standardised images are learned sooner"
    assert metrics("best_lab_net")["test/auroc"] > 0.98
    assert cnn >= standardized, "what reads the whole image at once is the easier learner"
