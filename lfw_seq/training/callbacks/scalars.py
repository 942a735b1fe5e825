"""Throughput and gradient norm, for loggers only: neither is a result of a run."""

import time
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor
from torch.optim import Optimizer

from lfw_seq.training.classifier import Classifier


class Scalars(Callback):
    """Log `train/images_per_second`, without validation, and `train/gradient_norm`, the mean before clipping.

    In 16-mixed there is no norm, as gradients may be scaled.
    """

    def __init__(self) -> None:
        self.started, self.images = 0.0, 0
        self.norms: list[Tensor] = []
        self.values: dict[str, float] = {}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Start the clock."""
        self.started, self.images, self.norms = time.perf_counter(), 0, []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Optimizer) -> None:
        """Compute the norm; it stays on the device until the epoch's end."""
        if trainer.precision != "16-mixed":
            gradients = (part.grad for part in pl_module.predictor.net.parameters() if part.grad is not None)
            self.norms.append(torch.nn.utils.get_total_norm(gradients))

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count images; stop the clock after the last step."""
        self.images += len(batch[0]) * trainer.world_size
        if trainer.is_last_batch:
            self.values = {"train/gradient_norm": torch.stack(self.norms).mean().item()} if self.norms else {}
            self.values["train/images_per_second"] = self.images / (time.perf_counter() - self.started)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Log both."""
        for logger in trainer.loggers:
            logger.log_metrics(self.values | {"epoch": trainer.current_epoch}, trainer.global_step)
