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

Tqdm.set_lock(threading.RLock())  # tqdm's default is shared by processes: a killed worker leaks it


class Console(TQDMProgressBar):
    """Lightning's bar in one row, with the time left of the whole run; without a terminal, one line per epoch."""

    BAR_FORMAT = "{desc} |{bar}|{postfix}"

    def __init__(self) -> None:
        super().__init__(refresh_rate=5)
        self.fit_start, self.epoch_start, self.first_epoch = 0.0, 0.0, 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Show a bar on a terminal only."""
        super().setup(trainer, pl_module, stage)
        if not sys.stdout.isatty():
            self.disable()

    def init_validation_tqdm(self) -> Tqdm:
        """Disable the bar of the short validations."""
        return Tqdm(disable=True)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Metrics beside the bar."""
        metrics = trainer.callback_metrics
        return {label: float(metrics[name]) for name, label in SHOWN.items() if name in metrics}

    def on_train_start(self, *args: Any) -> None:
        """Start the clock."""
        super().on_train_start(*args)
        self.fit_start, self.first_epoch = time.perf_counter(), self.trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Show the epoch and the estimated time left."""
        super().on_train_epoch_start(trainer, *args)
        self.epoch_start, epoch, last = time.perf_counter(), trainer.current_epoch, trainer.max_epochs or 0
        each = (self.epoch_start - self.fit_start) / max(1, epoch - self.first_epoch)
        left = Tqdm.format_interval(each * (last - epoch)) if epoch > self.first_epoch else "??:??"
        self.train_progress_bar.set_description_str(f"epoch {epoch + 1:>3}/{last}, {left} left")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch where there is no bar."""
        super().on_train_epoch_end(trainer, pl_module)
        if self.is_disabled and trainer.is_global_zero:
            metrics = trainer.callback_metrics
            values = "  ".join(f"{name} {float(metrics[name]):.4g}" for name in (*SHOWN, "train/lr") if name in metrics)
            seconds = time.perf_counter() - self.epoch_start
            log.info("epoch %3d/%s  %s  %.1f s", trainer.current_epoch + 1, trainer.max_epochs, values, seconds)
