"""How soon a reader knows: its accuracy if it had stopped at a row.

Shape legend: N images, T steps, F features a step.
"""

import logging

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from lfw_seq.callbacks.periodic import Periodic
from lfw_seq.classifier import Classifier
from lfw_seq.data.module import FaceRows
from lfw_seq.errors import check_whole
from lfw_seq.tensorboard import add_figure

log = logging.getLogger(__name__)


class Reading(Periodic):
    """Validation accuracy after the first 1, ..., T rows. Nets that need all rows are left alone.

    Attributes:
        every_n_epochs: see `Periodic`.
        time_share: see `Periodic`.
        points: at how many rows to stop, the last one included.
    """

    def __init__(self, every_n_epochs: int, time_share: float, points: int) -> None:
        super().__init__(every_n_epochs, time_share)
        check_whole("callbacks.reading.points", points)
        self.points, self.able = points, True

    def show(self, writer: SummaryWriter, data: FaceRows, model: Classifier, stage: str, step: int) -> None:
        """Read the validation images in part, also at the end."""
        from lfw_seq import row_figures  # matplotlib: not before training has begun

        if not len(data.tensors["val"][1]):
            return
        rows, labels = (tensor.to(model.device) for tensor in data.tensors["val"])
        rows = model.standardize(rows)
        stops = np.unique(np.linspace(1, rows.shape[1], self.points + 1).round().astype(int)[1:])
        try:
            found = stopped_accuracy(model.net, rows, labels, stops.tolist()) if self.able else None
        except (RuntimeError, ValueError):
            log.info("This net cannot stop early: no accuracy by row")
            self.able, found = False, None
        if found is not None:
            title, y = "If reading stopped at a row", "validation accuracy"
            add_figure(writer, "rows/accuracy", row_figures.by_step(title, y, {"": (stops, np.array(found))}), step)


@torch.no_grad()
def stopped_accuracy(model: nn.Module, rows: Tensor, labels: Tensor, stops: list[int]) -> list[float]:
    """Accuracy on rows (N, T, F) cut after each number of rows in `stops`."""
    return [(model(rows[:, :stop]).argmax(dim=1) == labels).float().mean().item() for stop in stops]
