"""The LightningModule: loss, metrics and optimizer around any net from rows to logits.

Shape legend: B batch, T rows, F pixels a row, C people, N images of an epoch.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MetricCollection
from torchmetrics.utilities.distributed import gather_all_tensors

from lfw_seq.errors import UsageError, check_real
from lfw_seq.metrics import classification_metrics

Batch = tuple[Tensor, Tensor]
Schedule = Callable[..., LRScheduler]  # of the optimizer and `total_steps`


class Classifier(LightningModule):
    """Trains a net by cross-entropy.

    Label smoothing and class weights shape the training loss only: `val/loss` and `test/loss` are the plain
    cross-entropy, so that runs with other losses compare.

    Attributes:
        net: rows (B, T, F) to logits (B, C).
        optimizer: builds the optimizer from the net's parameters.
        num_classes: C.
        label_smoothing: share of the target spread over all people, in [0, 1).
        class_weights: weight of each person in the training loss, C positive numbers; None weighs all alike.
        standardize: what the net reads, from rows as the source gives them; part of the saved state.
        augment: changes training rows and their ids, after `standardize`.
        mirror: swaps left and right: outside training the logits are the mean over the rows and their mirror.
        schedule: builds the scheduler that sets the learning rate of each step.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        num_classes: int,
        label_smoothing: float,
        class_weights: list[float] | None,
        standardize: nn.Module | None = None,
        augment: Callable[[Tensor, Tensor], Batch] | None = None,
        mirror: Callable[[Tensor], Tensor] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__()
        check_real("loss.label_smoothing", label_smoothing, 0, 1)
        if class_weights is not None and (len(class_weights) != num_classes or min(class_weights) <= 0):
            raise UsageError(
                f"loss.class_weights={class_weights}: expected {num_classes} positive numbers, one a person"
            )
        self.net, self.optimizer, self.label_smoothing = net, optimizer, label_smoothing
        self.standardize = standardize or nn.Identity()
        self.augment, self.mirror, self.schedule = augment, mirror, schedule
        self.weight: Tensor | None
        self.register_buffer("weight", None if class_weights is None else torch.tensor(class_weights), persistent=False)
        metrics = classification_metrics(num_classes)
        self.train_metrics, self.val_metrics, self.test_metrics = (metrics.clone() for _ in range(3))
        self.seen: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "val": [], "test": []}
        self.probabilities: dict[str, Tensor] = {}
        self.values: dict[str, Tensor] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; Lightning's note of the running hook, some fifty a step, is no parameter to look for."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows as the source gives them."""
        return self.read(self.standardize(rows.to(self.dtype)))

    def read(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of standardised rows."""
        logits: Tensor = self.net(rows)
        if self.mirror is not None and not self.training:
            logits = (logits + self.net(self.mirror(rows))) / 2
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch; targets are ids (B,) or probabilities (B, C)."""
        logits, targets = self._step(batch, "train")
        return functional.cross_entropy(logits, targets, self.weight, label_smoothing=self.label_smoothing)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Read a batch."""
        self._step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Read a batch."""
        self._step(batch, "test")

    def _step(self, batch: Batch, stage: str) -> Batch:
        """Read a batch and keep what it said: metrics are computed once an epoch, not once a step."""
        rows, targets = batch
        rows = self.standardize(rows)
        if self.augment is not None and stage == "train":
            rows, targets = self.augment(rows, targets)
        logits = self.read(rows)
        self.seen[stage].append((logits.detach(), targets))
        return logits, targets

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Log after the last batch, not at the epoch's end, so that every callback sees the metrics there."""
        if self.trainer.is_last_batch:
            self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log the test metrics and keep the probabilities."""
        self._log_epoch("test")

    def _metrics(self, stage: str) -> MetricCollection:
        return {"train": self.train_metrics, "val": self.val_metrics, "test": self.test_metrics}[stage]

    def _log_epoch(self, stage: str) -> None:
        logits, targets = (self._everyones(torch.cat(parts)) for parts in zip(*self.seen[stage], strict=True))
        self.seen[stage].clear()
        logits = logits.float()  # (N, C), targets (N,) or (N, C)
        probabilities = logits.softmax(dim=1)
        metrics = self._metrics(stage)
        metrics.update(probabilities, targets if targets.ndim == 1 else targets.argmax(dim=1))
        values = {"loss": functional.cross_entropy(logits, targets), **metrics.compute()}
        metrics.reset()
        self.values |= {f"{stage}/{name}": value for name, value in values.items()}
        self.probabilities[stage] = probabilities
        self.publish({f"{stage}/{name}": value for name, value in values.items() if value.ndim == 0})

    def publish(self, scalars: dict[str, Tensor]) -> None:
        """Show an epoch's numbers to callbacks and loggers, the mean over processes where there are several.

        `self.log` would keep a metric for each number, and come to the same: there is one value an epoch.
        """
        trainer = self.trainer
        numbers = torch.stack([value.double() for value in scalars.values()])
        if trainer.world_size > 1:
            numbers = trainer.strategy.reduce(numbers, reduce_op="mean")
        numbers = numbers.cpu()  # one wait for the device, not one a number
        trainer.callback_metrics.update(zip(scalars, numbers.float(), strict=True))
        if trainer.state.fn != TrainerFn.VALIDATING:  # the best epoch's values have been logged
            for logger in trainer.loggers:
                epoch = {"epoch": float(trainer.current_epoch)}
                logger.log_metrics(dict(zip(scalars, numbers.tolist(), strict=True)) | epoch, trainer.global_step)

    def _everyones(self, part: Tensor) -> Tensor:
        """What all processes of `trainer=ddp` have seen, in the order of their ranks."""
        return part if self.trainer.world_size == 1 else torch.cat(gather_all_tensors(part))

    def monitored(self, stage: str) -> tuple[str, ...]:
        """The numbers logged at the end of a stage."""
        return (
            f"{stage}/loss",
            *(f"{stage}/{name}" for name in self._metrics(stage) if name != "f1_per_person"),
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of the config, and what sets its rate step by step."""
        optimizer = self.optimizer(self.net.parameters())
        if self.schedule is None:
            return optimizer
        scheduler = self.schedule(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
