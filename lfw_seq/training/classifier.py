"""The LightningModule: loss, metrics and optimizer around any net from rows to logits.

Shape legend: B batch, T rows, F pixels a row, C people, N images of an epoch.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics.utilities.distributed import gather_all_tensors

from lfw_seq.cli import RunError
from lfw_seq.data.module import Batch
from lfw_seq.evaluation.metrics import classification_metrics
from lfw_seq.models.predictor import Predictor
from lfw_seq.parts import Share
from lfw_seq.runs.archive import METADATA

Schedule = Callable[..., LRScheduler]  # arguments: the optimizer and `total_steps`


class Classifier(LightningModule):
    """Train a predictor by cross-entropy.

    Label smoothing and class weights apply to the training loss only: `val/loss` and `test/loss` are the plain
    cross-entropy, to compare runs with other losses. Metrics are computed once per epoch from all its logits.
    """

    def __init__(
        self,
        predictor: Predictor,  # rows (B, T, F) in [0, 1] to logits (B, C)
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        num_classes: int,  # C
        label_smoothing: Share = 0.0,  # fraction of the target spread over all people
        class_weights: list[float] | None = None,  # weight of each person in the training loss, C positive numbers
        augment: Callable[[Tensor, Tensor], Batch] | None = None,  # of prepared training rows and their ids
        schedule: Schedule | None = None,  # sets the learning rate of each step
        metadata: dict[str, Any] | None = None,  # stored in every checkpoint, to load it without any other file
    ) -> None:
        super().__init__()
        self.predictor, self.optimizer, self.label_smoothing = predictor, optimizer, label_smoothing
        self.augment, self.schedule, self.metadata = augment, schedule, metadata or {}
        self.weight: Tensor | None
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("weight", weight, persistent=False)
        metrics = classification_metrics(num_classes)
        self.train_metrics, self.val_metrics, self.test_metrics = (metrics.clone() for _ in range(3))
        self.outputs: dict[str, list[Batch]] = {"train": [], "val": [], "test": []}
        self.probabilities: dict[str, Tensor] = {}  # of the last epoch of each stage, (N, C)
        self.values: dict[str, Tensor] = {}  # metrics of the last epoch of each stage, by `stage/name`
        self.trained_epochs: int = 0  # set once the fit has ended

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows (B, T, F) in [0, 1]."""
        logits: Tensor = self.predictor(rows)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of a batch; augmented targets are ids (B,) or probabilities (B, C)."""
        rows, targets = self.predictor.prepare(batch[0]), batch[1]
        if self.augment is not None:
            rows, targets = self.augment(rows, targets)
        logits = self.predictor.logits(rows)
        self.outputs["train"].append((logits.detach(), targets))
        return functional.cross_entropy(logits, targets, self.weight, label_smoothing=self.label_smoothing)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Store the logits of a batch for the epoch's metrics."""
        self.outputs["val"].append((self(batch[0]), batch[1]))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Store the logits of a batch for the epoch's metrics."""
        self.outputs["test"].append((self(batch[0]), batch[1]))

    def on_train_epoch_start(self) -> None:
        """Log the learning rate of the epoch, before a scheduler changes it."""
        self._log({"train/lr": torch.tensor(float(self.trainer.optimizers[0].param_groups[0]["lr"]))})

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Log after the last batch: at the epoch's end callbacks read the metrics before this module's own hook."""
        if self.trainer.is_last_batch:
            self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_epoch("test")

    def _log_epoch(self, stage: str) -> None:
        """Compute and log a stage's metrics; RunError where its loss is not finite."""
        logits, targets = (torch.cat(parts) for parts in zip(*self.outputs[stage], strict=True))
        self.outputs[stage].clear()
        if stage == "train" and self.trainer.world_size > 1:  # only training batches are distributed
            logits, targets = torch.cat(gather_all_tensors(logits)), torch.cat(gather_all_tensors(targets))
        logits = logits.float()  # (N, C), targets (N,) or (N, C)
        probabilities = logits.softmax(dim=1)
        metrics = {"train": self.train_metrics, "val": self.val_metrics, "test": self.test_metrics}[stage]
        metrics.update(probabilities, targets if targets.ndim == 1 else targets.argmax(dim=1))
        loss = functional.cross_entropy(logits, targets)
        values = {f"{stage}/{name}": value for name, value in {"loss": loss, **metrics.compute()}.items()}
        metrics.reset()
        self.values |= values
        self.probabilities[stage] = probabilities
        self._log({name: value for name, value in values.items() if value.ndim == 0})
        if not torch.isfinite(loss):
            rates = [f" at learning rate {one.param_groups[0]['lr']:g}" for one in self.trainer.optimizers]
            raise RunError(
                f"{stage}/loss is {loss.item()} in epoch {self.trained_epochs or self.trainer.current_epoch + 1}"
                f"{''.join(rates)}: lower optimizer.lr, or clip with trainer.gradient_clip_val=1.0"
            )

    def _log(self, values: dict[str, Tensor]) -> None:
        """Log numbers of a whole epoch, equal in all processes."""
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1)

    def monitored(self, stage: str) -> tuple[str, ...]:
        """Names of the numbers logged at the end of a stage."""
        return (f"{stage}/loss", *(f"{stage}/{name}" for name in self.val_metrics if name != "f1_per_person"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the metadata."""
        checkpoint[METADATA] = self.metadata

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer, and the schedule that sets its rate at each step."""
        optimizer = self.optimizer(self.predictor.net.parameters())
        if self.schedule is None:
            return optimizer
        scheduler = self.schedule(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
