"""The recipe: weight decay, schedules, the average of the weights, and what a classifier does to its rows."""

import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from lfw_seq.cli import UsageError
from lfw_seq.data.augment import Augment
from lfw_seq.data.sequences import Layout, Standardize
from lfw_seq.models.predictor import Predictor
from lfw_seq.parts import build_part
from lfw_seq.train import train
from lfw_seq.training.classifier import Classifier
from lfw_seq.training.optimizers import WeightAverage, adamw, cosine

from .conftest import ANY_NET, SMALL, Compose, batches, plain_trainer

GRAY = Layout(columns=False, colours=1)
WEIGHT = "predictor.net.3.weight"


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
    assert seen[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert seen[4] == pytest.approx(2.0)
    assert seen[12] == pytest.approx(2 * (0.1 + 0.9 / 2)), "half way down"
    assert seen[-1] == pytest.approx(0.2)
    assert seen[4:] == sorted(seen[4:], reverse=True)
    with pytest.raises(UsageError, match=r"^schedule\.warmup=1: expected"):
        build_part("schedule", {"_target_": f"{cosine.__module__}.cosine", "warmup": 1, "final": 0})


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
    assert torch.allclose(model(rows), model(rows.flip(2)), atol=1e-6)
    assert torch.allclose(model(rows), model(rows * 0.1 + 0.3), atol=1e-4)
    standard = Standardize("image", 2, 3)(rows)
    assert torch.allclose(model(rows), (net(standard) + net(standard.flip(2))) / 2, atol=1e-6)
    assert torch.allclose(model.train()(rows), net(standard), atol=1e-6)
    assert not torch.allclose(model(rows), model(rows.flip(2)), atol=1e-3)


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
