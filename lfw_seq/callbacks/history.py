"""The run's epochs as a table: metrics.csv."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from lfw_seq.runs import write_text


class History(Callback):
    """Writes one row an epoch: its number from 1, the learning rate, and every metric.

    Attributes:
        path: the file; whole after each epoch.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.rows: list[tuple[tuple[str, float], ...]] = []  # tuples: each checkpoint copies what may change

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's row; one of several processes writes."""
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append((("epoch", trainer.current_epoch + 1), *sorted(metrics.items())))
        text = io.StringIO()
        writer = csv.DictWriter(text, [name for name, _ in self.rows[-1]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(dict, self.rows))
        write_text(self.path, text.getvalue(), sync=False)  # a run that goes on writes all rows again

    def state_dict(self) -> dict[str, Any]:
        """The rows so far: a resumed run writes them again."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows."""
        self.rows = state_dict["rows"]
