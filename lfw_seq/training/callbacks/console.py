"""Progress of a run on the terminal."""

import logging
import sys
import threading
import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

log = logging.getLogger(__name__)

SHOWN = {"train/loss": "loss", "val/loss": "val", "val/accuracy": "acc", "val/macro_f1": "f1"}  # fits 80 columns

Tqdm.set_lock(threading.RLock())  # its own is for several processes, and Python names it as leaked by a killed worker


class Console(TQDMProgressBar):
    """Lightning's bar in one row, with the time left of the whole run; one line an epoch where there is no terminal."""

    BAR_FORMAT = "{desc} |{bar}|{postfix}"

    def __init__(self) -> None:
        super().__init__(refresh_rate=5)
        self.begun, self.started, self.first = 0.0, 0.0, 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Show a bar on a terminal only."""
        super().setup(trainer, pl_module, stage)
        if not sys.stdout.isatty():
            self.disable()

    def init_validation_tqdm(self) -> Tqdm:
        """No second bar for the moments of a validation."""
        return Tqdm(disable=True)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The numbers beside the bar."""
        seen = trainer.callback_metrics
        return {label: float(seen[name]) for name, label in SHOWN.items() if name in seen}

    def on_train_start(self, *args: Any) -> None:
        """Start the clock."""
        super().on_train_start(*args)
        self.begun, self.first = time.perf_counter(), self.trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Name the epoch, and estimate the time left."""
        super().on_train_epoch_start(trainer, *args)
        self.started, epoch, last = time.perf_counter(), trainer.current_epoch, trainer.max_epochs or 0
        each = (self.started - self.begun) / max(1, epoch - self.first)
        left = Tqdm.format_interval(each * (last - epoch)) if epoch > self.first else "??:??"
        self.train_progress_bar.set_description_str(f"epoch {epoch + 1:>3}/{last}, {left} left")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch where there is no bar."""
        super().on_train_epoch_end(trainer, pl_module)
        if self.is_disabled and trainer.is_global_zero:
            seen = {**trainer.callback_metrics}
            values = "  ".join(f"{name} {float(seen[name]):.4g}" for name in (*SHOWN, "train/lr") if name in seen)
            spent = time.perf_counter() - self.started
            log.info("epoch %3d/%s  %s  %.1f s", trainer.current_epoch + 1, trainer.max_epochs, values, spent)
