"""TensorBoard with epochs on its axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

if TYPE_CHECKING:  # matplotlib takes half a second to import: where a figure is drawn
    from matplotlib.figure import Figure

DPI = 90


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


def writer_of(trainer: Trainer) -> SummaryWriter | None:
    """Where a run writes its events; None without TensorBoard, or in a process that logs nothing."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            writer: SummaryWriter = logger.experiment
            return writer
    return None


def add_figure(writer: SummaryWriter, tag: str, figure: Figure, step: int) -> None:
    """Write a figure as an image, without pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    writer.add_image(tag, np.asarray(canvas.buffer_rgba())[..., :3], step, dataformats="HWC")
