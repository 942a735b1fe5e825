"""Pictures of answers: who is taken for whom, how sure, and how wrong."""

import numpy as np
from lightning import Trainer
from torch.utils.tensorboard import SummaryWriter

from lfw_seq.callbacks.periodic import Periodic
from lfw_seq.classifier import Classifier
from lfw_seq.data.module import FaceRows
from lfw_seq.tensorboard import add_figure, writer_of


class Figures(Periodic):
    """Confusion in images and in shares, ROC and precision-recall curves of each person, reliability.

    At the end, TensorBoard's own precision-recall curves too.
    """

    def show(self, writer: SummaryWriter, data: FaceRows, model: Classifier, stage: str, step: int) -> None:
        """Draw them."""
        from lfw_seq import figures  # matplotlib: not before training has begun

        if stage not in model.probabilities:
            return
        names, truth = data.faces.names, data.tensors[stage][1].cpu().numpy()
        probabilities = model.probabilities[stage].cpu().numpy()
        predicted = probabilities.argmax(axis=1)
        drawn = {
            "confusion": figures.confusion(predicted, truth, names, by_row=False),
            "confusion_by_row": figures.confusion(predicted, truth, names, by_row=True),
            "roc": figures.roc(probabilities, truth, names),
            "precision_recall": figures.precision_recall(probabilities, truth, names),
            "reliability": figures.reliability({stage: probabilities}, truth),
        }
        for name, figure in drawn.items():
            add_figure(writer, f"{stage}/{name}", figure, step)
        if stage == "test":
            for person, name in enumerate(names):
                writer.add_pr_curve(f"precision_recall/{name}", truth == person, probabilities[:, person], step)


class Photos(Periodic):
    """What the net reads, at the start, and its most confident mistakes: photos, into the run's own folder only.

    Attributes:
        every_n_epochs: see `Periodic`.
        time_share: see `Periodic`.
        count: how many of each.
    """

    def __init__(self, every_n_epochs: int, time_share: float, count: int) -> None:
        super().__init__(every_n_epochs, time_share)
        self.count, self.shown_inputs = count, False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """After the first epoch, show training images as sequences: one step a line, read from the top."""
        if not self.shown_inputs:
            self._show_inputs(writer_of(trainer), trainer.datamodule)  # type: ignore[attr-defined]
            self.shown_inputs = True
        super().on_train_epoch_end(trainer, pl_module)

    def _show_inputs(self, writer: SummaryWriter | None, data: FaceRows) -> None:
        from lfw_seq import figures

        if writer is None:
            return
        rows, labels = (tensor[: self.count].cpu().numpy() for tensor in data.tensors["train"])
        if data.faces.images.ndim == 4:
            rows = rows.reshape(*rows.shape[:2], -1, 3)
        titles = [figures.short(data.faces.names[label]) for label in labels]
        heading = f"As read: {rows.shape[1]} steps, from the top"
        add_figure(writer, "inputs/as_read", figures.faces(rows, titles, heading), 0)

    def show(self, writer: SummaryWriter, data: FaceRows, model: Classifier, stage: str, step: int) -> None:
        """Show the wrong answers with the highest probabilities, the surest first."""
        from lfw_seq import figures

        if stage not in model.probabilities:
            return
        truth, scores = data.tensors[stage][1].cpu().numpy(), model.probabilities[stage].cpu().numpy()
        best = scores.max(axis=1)
        wrong = np.flatnonzero(scores.argmax(axis=1) != truth)
        listed = wrong[np.argsort(-best[wrong], kind="stable")][: self.count]
        if not len(listed):
            return
        names = data.faces.names
        titles = [
            f"{figures.short(names[truth[index]])} {scores[index, truth[index]]:.2f}\n"
            f"as {figures.short(names[scores[index].argmax()])} {best[index]:.2f}"
            for index in listed
        ]
        images = data.faces.images[data.indices[stage][listed]]
        heading = "The most confident mistakes: true person, and as whom"
        add_figure(writer, f"{stage}/mistakes", figures.faces(images, titles, heading), step)
