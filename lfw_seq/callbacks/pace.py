"""How fast and how steeply a net learns, for TensorBoard alone: neither belongs among a run's results."""

import time
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor
from torch.optim import Optimizer

from lfw_seq.classifier import Classifier
from lfw_seq.tensorboard import writer_of


class Speed(Callback):
    """`train/images_per_second`, from an epoch's first step to its last, without validation."""

    def __init__(self) -> None:
        self.started = self.seconds = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop it after the last step."""
        if trainer.is_last_batch:
            self.seconds = time.perf_counter() - self.started

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Write the rate."""
        writer = writer_of(trainer)
        if writer is not None:
            images = len(trainer.datamodule.tensors["train"][1])  # type: ignore[attr-defined]
            writer.add_scalar("train/images_per_second", images / self.seconds, trainer.current_epoch + 1)


class GradientNorm(Callback):
    """`train/gradient_norm`: the 2-norm of all gradients before clipping, mean over an epoch's steps."""

    def __init__(self) -> None:
        self.norms: list[Tensor] = []

    def on_before_optimizer_step(  # type: ignore[override]
        self, trainer: Trainer, pl_module: Classifier, optimizer: Optimizer
    ) -> None:
        """Take the norm; it stays on the device until the epoch's end."""
        gradients = [part.grad for part in pl_module.net.parameters() if part.grad is not None]
        self.norms.append(torch.nn.utils.get_total_norm(gradients))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Write the mean."""
        writer = writer_of(trainer)
        if writer is not None and self.norms:
            writer.add_scalar("train/gradient_norm", torch.stack(self.norms).mean().item(), trainer.current_epoch + 1)
        self.norms = []
