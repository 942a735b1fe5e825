"""Cut the learning rate when a metric stops improving, counted as Keras counts."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lfw_seq.parts import Count, NotNegative, Part


class PlateauScheduler(Callback):
    """Keras' ReduceLROnPlateau around torch's.

    Keras cuts when `patience` epochs brought nothing (wait >= patience), torch one later; Keras asks for an absolute
    improvement, torch for a relative one. With patience 10, epochs 21 to 30 flat make epoch 31 run at the lower rate.

    Attributes:
        monitor: the metric.
        mode: "min" or "max".
        factor: what the rate is multiplied with, in (0, 1).
        patience: epochs without an improvement, at least 1.
        min_delta: the least absolute change that is an improvement.
        min_lr: the rate never falls below.
    """

    def __init__(
        self, monitor: str, mode: str, factor: Part, patience: Count, min_delta: float, min_lr: NotNegative
    ) -> None:
        self.monitor = monitor
        self.options: dict[str, Any] = {
            "mode": mode,
            "factor": factor,
            "patience": patience - 1,
            "threshold": min_delta,
            "threshold_mode": "abs",
            "min_lr": min_lr,
            "eps": 0,
        }
        self.scheduler: ReduceLROnPlateau | None = None
        self._restored: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take hold of the optimizer, and go on from a checkpoint."""
        self.scheduler = ReduceLROnPlateau(trainer.optimizers[0], **self.options)
        if self._restored:
            self.scheduler.best, self.scheduler.num_bad_epochs = self._restored["best"], self._restored["bad_epochs"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch; the next one runs at the new rate."""
        assert self.scheduler is not None
        self.scheduler.step(float(trainer.callback_metrics[self.monitor]))

    def state_dict(self) -> dict[str, Any]:
        """The best value and the epochs since; the optimizer keeps the rate."""
        if self.scheduler is None:
            return {}
        return {"best": float(self.scheduler.best), "bad_epochs": self.scheduler.num_bad_epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state for `on_fit_start`."""
        self._restored = state_dict
