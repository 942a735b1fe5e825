"""Reduce the learning rate when a metric stops improving, counting epochs as Keras does."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lfw_seq.parts import Count, NotNegative, Part


class PlateauScheduler(Callback):
    """Keras' ReduceLROnPlateau, based on torch's.

    Keras reduces the rate after `patience` epochs without improvement (wait >= patience), torch one epoch later; Keras
    requires an absolute improvement, torch a relative one. With patience 10 and epochs 21-30 flat, 31 has the new rate.

    Args:
        monitor: the metric.
        mode: "min" or "max".
        factor: multiplies the rate, in (0, 1).
        patience: epochs without an improvement, at least 1.
        min_delta: least absolute change that counts as an improvement.
        min_lr: lower bound of the rate.
    """

    def __init__(
        self, monitor: str, mode: str, factor: Part, patience: Count, min_delta: float, min_lr: NotNegative
    ) -> None:
        self.monitor = monitor
        self.options: dict[str, Any] = {"mode": mode, "factor": factor, "patience": patience - 1}
        self.options |= {"threshold": min_delta, "threshold_mode": "abs", "min_lr": min_lr, "eps": 0}
        self.scheduler: ReduceLROnPlateau | None = None
        self._restored: dict[str, Any] = {}

    @property
    def state_key(self) -> str:
        """Key of the state in checkpoints: the best value of another metric is not restored."""
        return f"{type(self).__name__}, {self.monitor}, {self.options['mode']}"

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach to the optimizer, and restore the state of a checkpoint."""
        self.scheduler = ReduceLROnPlateau(trainer.optimizers[0], **self.options)
        if self._restored:
            self.scheduler.best, self.scheduler.num_bad_epochs = self._restored["best"], self._restored["bad_epochs"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch; the next one has the new rate."""
        assert self.scheduler is not None
        self.scheduler.step(float(trainer.callback_metrics[self.monitor]))

    def state_dict(self) -> dict[str, Any]:
        """The best value and the epochs since; the rate is in the optimizer's state."""
        if self.scheduler is None:
            return {}
        return {"best": float(self.scheduler.best), "bad_epochs": self.scheduler.num_bad_epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Store the state for `on_fit_start`."""
        self._restored = state_dict
