"""The learning rate as a metric."""

import torch
from lightning import Callback, Trainer

from lfw_seq.classifier import Classifier


class LearningRate(Callback):
    """Logs `train/lr`, the rate an epoch ran at.

    Lightning's own monitor names it after the optimizer's class and plots it by step, not by epoch.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Log before a scheduler changes the rate."""
        pl_module.publish({"train/lr": torch.tensor(trainer.optimizers[0].param_groups[0]["lr"])})
