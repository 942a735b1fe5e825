"""How soon a reader knows: its accuracy if it had stopped at a row."""

import logging

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from lfw_seq.callbacks.periodic import Periodic
from lfw_seq.classifier import Classifier
from lfw_seq.data.module import FaceRows
from lfw_seq.errors import check_whole
from lfw_seq.inference import accuracy_by_step
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
        found = accuracy_by_step(model.read, model.standardize(rows), labels, self.points) if self.able else {}
        if found:
            series = {"": (np.array(list(found)), np.array(list(found.values())))}
            figure = row_figures.by_step("If reading stopped at a row", "validation accuracy", series)
            add_figure(writer, "rows/accuracy", figure, step)
        elif self.able:
            log.info("This net cannot stop early: no accuracy by row")
            self.able = False
