"""Callbacks that look at a net now and then, and never get in its way."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning import Callback, Trainer
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from lfw_seq.classifier import Classifier
from lfw_seq.data.module import FaceRows
from lfw_seq.errors import check_real, check_whole
from lfw_seq.tensorboard import writer_of


class Periodic(Callback):
    """Shows something every few epochs, and once more at the end, of the best weights.

    A turn that would take the callback beyond its share of the run's time is passed over. What is shown takes no random
    number: a run is the same to the last bit with it and without it.

    Attributes:
        every_n_epochs: how often.
        time_share: of the processor time since training began, in (0, 1]; 1 passes no turn over.
        guess: seconds a turn takes, before one has been taken.
    """

    guess = 1.0

    def __init__(self, every_n_epochs: int, time_share: float) -> None:
        check_whole("look.every_n_epochs", every_n_epochs)
        check_real("look.time_share", time_share, 0, 1.001, open_low=True)
        self.every_n_epochs, self.time_share = every_n_epochs, time_share
        self.started, self.spent, self.cost = 0.0, 0.0, self.guess

    def show(self, writer: SummaryWriter, data: FaceRows, model: Classifier, stage: str, step: int) -> None:
        """Write to TensorBoard.

        Args:
            writer: where to.
            data: the faces.
            model: in evaluation mode.
            stage: "val" while training, "test" at the end.
            step: the epoch, from 1.
        """
        raise NotImplementedError

    def on_train_start(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Start the clock."""
        self.started, self.spent, self.cost = time.process_time(), 0.0, self.guess

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Show, when it is time and there is time."""
        begun, epoch = time.process_time(), trainer.current_epoch + 1
        affordable = self.time_share >= 1 or self.spent + self.cost <= self.time_share * (begun - self.started)
        if epoch % self.every_n_epochs == 0 and affordable:
            self._show(trainer, pl_module, "val", epoch)
            self.cost = time.process_time() - begun
            self.spent += self.cost

    def on_test_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Show what the best weights do."""
        self._show(trainer, pl_module, "test", trainer.current_epoch)

    def _show(self, trainer: Trainer, model: Classifier, stage: str, step: int) -> None:
        writer, data = writer_of(trainer), trainer.datamodule  # type: ignore[attr-defined]
        if writer is not None:
            with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
                self.show(writer, data, model, stage, step)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """A net without dropout; on a GPU without cuDNN, whose recurrent layers have no gradient then."""
    training = net.training
    net.eval()
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        net.train(training)
