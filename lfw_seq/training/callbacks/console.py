"""Progress of a run on the terminal."""

import logging
import sys
import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

log = logging.getLogger(__name__)

SHOWN = ("train/loss", "val/loss", "val/accuracy", "val/macro_f1", "train/lr")


class Console(ProgressBar):
    """One progress bar over the whole run on a terminal, one line an epoch elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: Any = None
        self.started = 0.0
        self.enabled = True

    def disable(self) -> None:
        """Print nothing: Lightning calls this in all processes but the first."""
        self.enabled = False

    def enable(self) -> None:
        """Print again."""
        self.enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        if self.enabled and sys.stderr.isatty():
            steps, epochs = int(trainer.num_training_batches), trainer.max_epochs
            done = trainer.current_epoch * steps
            self.bar = tqdm(total=steps * (epochs or 0), initial=done, unit="step", dynamic_ncols=True, mininterval=0.2)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the metrics of the epoch."""
        seen = trainer.callback_metrics
        values = "  ".join(f"{name} {float(seen[name]):.4g}" for name in SHOWN if name in seen)
        epoch = f"epoch {trainer.current_epoch + 1:>3}/{trainer.max_epochs}"
        if self.bar is not None:
            self.bar.set_description(epoch, refresh=False)
            self.bar.set_postfix_str(values, refresh=False)
        elif self.enabled:
            log.info("%s  %s  %.1f s", epoch, values, time.perf_counter() - self.started)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()
