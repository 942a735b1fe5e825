"""What a resumed run needs so that it ends as one never interrupted."""

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from lfw_seq.data.batches import mix


class Resume(Callback):
    """Makes randomness a function of seed and epoch, and keeps whether the run has stopped and how long it took.

    The order of batches is one already. torch is seeded anew each epoch, so that dropout and augmentation draw what
    an uninterrupted run would. Lightning's checkpoints hold no generator's state, nor that early stopping has struck.

    Attributes:
        seed: the run's seed.
        seconds: how long the run has trained, interruptions left out.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seconds = 0.0
        self._started = time.perf_counter()
        self._trainer: Trainer | None = None
        self._stopped = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep hold of the trainer."""
        self._trainer = trainer

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop again where the run had stopped already, and was killed before its end."""
        trainer.should_stop = trainer.should_stop or self._stopped

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed every device in use; under `trainer=ddp` each process its own way, the first as a run of one process."""
        seed = mix(self.seed, trainer.current_epoch)
        seed = mix(seed, trainer.global_rank) if trainer.global_rank else seed
        if trainer.strategy.root_device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # without the stack traces that torch.manual_seed takes
        else:
            torch.manual_seed(seed)

    def elapsed(self) -> float:
        """Seconds this run has taken, those before an interruption included."""
        return self.seconds + time.perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        """Whether early stopping has struck, and the time so far; checkpoints are written after it."""
        assert self._trainer is not None
        return {"stopped": self._trainer.should_stop, "seconds": self.elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._stopped, self.seconds = state_dict["stopped"], state_dict["seconds"]
