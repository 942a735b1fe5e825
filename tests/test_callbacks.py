"""Counting epochs as Keras does, on scripted validation losses."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from lightning import Callback, LightningModule
from omegaconf import OmegaConf
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassCalibrationError, MulticlassF1Score

from lfw_seq.cli import UsageError
from lfw_seq.evaluation.metrics import classification_metrics
from lfw_seq.train import train
from lfw_seq.training.callbacks.core import History, Resume
from lfw_seq.training.callbacks.plateau import PlateauScheduler

from .conftest import SMALL, Compose, batches, plain_trainer, table

LR = 1e-3


class Scripted(LightningModule):
    """Logs the losses it is given, one an epoch, and keeps the learning rate and a random draw of each."""

    def __init__(self, losses: Sequence[float]) -> None:
        super().__init__()
        self.losses, self.layer, self.rates, self.draws = losses, nn.Linear(1, 1), list[float](), list[float]()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.draws.append(torch.rand(()).item())
        return self.layer(batch[0]).sum()  # type: ignore[no-any-return]

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.losses[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=LR)


Fit = Callable[..., Scripted]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    def fitted(
        losses: Sequence[float], *callbacks: Callback, resume: str | None = None, epochs: int | None = None
    ) -> Scripted:
        model = Scripted(losses)
        trainer = plain_trainer(epochs or len(losses), *callbacks, default_root_dir=tmp_path)
        data = batches(torch.ones(1, 1), torch.zeros(1), 1)
        trainer.fit(model, data, data, ckpt_path=resume, weights_only=True)
        trainer.save_checkpoint(tmp_path / "end.ckpt")
        return model

    return fitted


def configured(config: Compose, name: str) -> Any:
    return instantiate(OmegaConf.to_container(config().callbacks[name], resolve=True))


def falling(until: int, epochs: int) -> list[float]:
    """Losses that fall to the epoch `until` and stay."""
    return [2.0 - 0.05 * min(epoch, until) for epoch in range(1, epochs + 1)]


def test_best_at_25_stops_after_40(fit: Fit, config: Compose) -> None:
    assert len(fit(falling(25, 100), configured(config, "early_stopping")).rates) == 40


def test_epochs_21_to_30_flat_make_31_run_at_half(fit: Fit, config: Compose) -> None:
    rates = fit(falling(20, 45), configured(config, "plateau")).rates
    assert rates[:30] == [LR] * 30
    assert rates[30:40] == [LR / 2] * 10  # and ten more flat ones halve it again
    assert rates[40:] == [LR / 4] * 5


def plateau(**changes: Any) -> PlateauScheduler:
    keys: dict[str, Any] = {"monitor": "val/loss", "mode": "min", "factor": 0.5, "patience": 2}
    return PlateauScheduler(**(keys | {"min_delta": 1e-4, "min_lr": 1e-7} | changes))


def test_an_improvement_counts_from_an_absolute_ten_thousandth(fit: Fit) -> None:
    assert fit([10 - 0.00011 * epoch for epoch in range(8)], plateau()).rates == [LR] * 8
    assert fit([10 - 0.00004 * epoch for epoch in range(4)], plateau()).rates[3] == LR / 2


def test_the_rate_never_falls_below_its_least(fit: Fit) -> None:
    assert fit([1.0] * 9, plateau(min_lr=4e-4)).rates[-1] == 4e-4


def test_the_plateau_goes_on_from_a_checkpoint(fit: Fit, tmp_path: Path) -> None:
    losses = [3.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    whole = fit(losses, plateau(patience=3)).rates
    for stop in range(1, 9):
        first = fit(losses, plateau(patience=3), epochs=stop).rates
        rest = fit(losses, plateau(patience=3), resume=str(tmp_path / "end.ckpt")).rates
        assert first + rest == whole


def test_the_plateau_takes_no_best_value_of_another_metric(fit: Fit, tmp_path: Path) -> None:
    fit([1e-9], plateau(patience=1))
    assert fit([2.0, 2.0, 1.0, 0.5], plateau(patience=1, mode="max"), resume=str(tmp_path / "end.ckpt")).rates[1] == LR


def test_a_metric_is_monitored_in_the_direction_that_is_better(
    config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_error(num_classes: int) -> MetricCollection:
        more = {"ece": MulticlassCalibrationError(num_classes), "f1_per_person": MulticlassF1Score(num_classes)}
        return MetricCollection({**dict(classification_metrics(num_classes).items()), **more})

    monkeypatch.setattr("lfw_seq.training.classifier.classification_metrics", with_error)
    with pytest.raises(UsageError, match="monitor=val/ece needs monitor_mode=min"):
        train(config(*SMALL, "monitor=val/ece", "monitor_mode=max"))
    assert train(config(*SMALL, "monitor=val/ece", "monitor_mode=min"))["metrics"]["val/ece"] < 1


def test_random_draws_are_a_function_of_seed_and_epoch(fit: Fit, tmp_path: Path) -> None:
    whole = fit([1.0] * 4, Resume(0)).draws
    assert len(set(whole)) == 4
    torch.rand(7)
    assert fit([1.0] * 4, Resume(0)).draws == whole
    assert fit([1.0] * 4, Resume(1)).draws != whole
    fit([1.0] * 4, Resume(0), epochs=2)
    assert fit([1.0] * 4, Resume(0), resume=str(tmp_path / "end.ckpt")).draws == whole[2:]


def test_a_run_begun_with_other_metrics_goes_on(fit: Fit, tmp_path: Path) -> None:
    history = History(str(tmp_path / "metrics.csv"))
    history.load_state_dict({"rows": [{"epoch": 0, "val/gone": 0.5}]})
    fit([1.0], history)
    assert table(tmp_path / "metrics.csv") == [
        {"epoch": "0", "val/gone": "0.5", "val/loss": ""},
        {"epoch": "1", "val/gone": "", "val/loss": "1.0"},
    ]
