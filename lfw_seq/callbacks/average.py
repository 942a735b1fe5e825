"""An exponential moving average of the weights."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lfw_seq.errors import check_real

RAW = "raw_weights"  # the checkpoint's key for the weights the optimizer goes on from


class WeightAverage(Callback):
    """Validates, keeps and tests the average of the weights over the steps (Polyak and Juditsky, 1992).

    The average follows faster at the start, decay = min(decay, (1 + step) / (10 + step)), as TensorFlow's. The
    `state_dict` of a checkpoint is the average; the weights stand beside it, so that a resumed run goes on exactly.
    Lightning's own EMAWeightAveraging would validate the last average again after the best weights were restored.

    Attributes:
        decay: share of the average that a step leaves, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        check_real("callbacks.average.decay", decay, 0, 1)
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._raw: dict[str, Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the weights as they are, or go on from a checkpoint."""
        weights = floats(pl_module)
        self.average = {name: value.clone() for name, value in weights.items()}
        if self._raw is not None:
            copy(self._raw, weights)
            self._raw = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Follow the weights."""
        step = trainer.global_step
        follow = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
        follow(list(self.average.values()), list(floats(pl_module).values()), step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in the net's place."""
        self._exchange(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights back."""
        self._exchange(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the net."""
        if self.average:
            copy(self.average, floats(pl_module))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep both."""
        checkpoint[RAW] = {name: checkpoint["state_dict"][name] for name in self.average}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **self.average}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the weights up; the net has the average."""
        self._raw = checkpoint[RAW]

    def _exchange(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or not self.average:
            return
        weights = floats(pl_module)
        held = {name: value.clone() for name, value in weights.items()}
        copy(self.average, weights)
        self.average = held


def floats(pl_module: LightningModule) -> dict[str, Tensor]:
    """The net's parameters and running statistics by their name in the state, sharing its memory."""
    return {
        name: value
        for name, value in pl_module.state_dict().items()
        if name.startswith("net.") and value.is_floating_point()
    }


def copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    """Write numbers into tensors in place."""
    with torch.no_grad():
        for name, value in target.items():
            value.copy_(source[name])
