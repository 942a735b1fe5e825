"""TensorBoard with epochs on its axis."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger


class EpochLogger(TensorBoardLogger):
    """Lightning's logger, but metrics stand at their epoch, from 1, so that runs with other batch sizes compare."""

    def go_on_after(self, epochs: int) -> None:
        """Replace what an interrupted run logged after so many epochs; before anything is logged."""
        self._kwargs["purge_step"] = epochs + 1

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers; Lightning adds the epoch, counted from 0, to those of its hooks."""
        values = dict(metrics)
        epoch = values.pop("epoch", None)
        super().log_metrics(values, step if epoch is None else int(epoch) + 1)
