"""Figures for TensorBoard: the predictions of a net, and how it reads."""

import io
from collections.abc import Iterator
from contextlib import suppress

import pandas as pd
import torch
from lightning import Callback, Trainer
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from lfw_seq.cli import UsageError
from lfw_seq.data.module import FaceRows
from lfw_seq.data.sequences import Preprocessing, pictures
from lfw_seq.evaluation import figures, reading, rows
from lfw_seq.evaluation.drawing import curves, ignoring_glyphs, short
from lfw_seq.parts import Natural
from lfw_seq.training.classifier import Classifier
from lfw_seq.training.tensorboard import writer_of

INSPECTED = 32  # images at most whose gradients are computed: no more memory than a training step
PHOTOS = 20
STOPS = 25  # frames of an animated reading: oneDNN caches its kernels for each length
Drawn = Iterator[tuple[str, Figure]]


class Figures(Callback):
    """Draw figures of the test images at the end, with the best weights; photos stay in the run folder."""

    def __init__(self, every_n_epochs: Natural) -> None:
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Draw the validation images every n epochs."""
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._draw(trainer, pl_module, "val", trainer.current_epoch + 1)

    def on_test_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Draw the test images."""
        self._draw(trainer, pl_module, "test", pl_module.trained_epochs)
        if (writer := writer_of(trainer, "test")) is not None and "test" in pl_module.probabilities:
            write_reading(writer, pl_module, pl_module.trained_epochs)

    def _draw(self, trainer: Trainer, model: Classifier, stage: str, step: int) -> None:
        writer, data = writer_of(trainer, stage), trainer.datamodule  # type: ignore[attr-defined]
        if writer is not None and stage in model.probabilities:
            with rows.inspecting(model), ignoring_glyphs():
                for draw in (draw_predictions, draw_reading):
                    for name, figure in draw(model, data, stage):
                        writer.add_figure(f"plots/{name}", figure, step)


def write_reading(writer: SummaryWriter, model: Classifier, step: int) -> None:
    """Write an animated reading of a drawn face, never of a photo; `SummaryWriter` has no method for animations."""
    prepare, names = Preprocessing(**model.metadata["preprocessing"]), model.metadata["class_names"]
    with suppress(UsageError):  # too small or too large for a drawn face
        face = reading.draw_face(prepare, len(names), model.metadata["config"]["data"].get("seed", 0))
        gif = reading.animate([reading.read(model.predictor, prepare, names, face, most=STOPS)])
        width, height = Image.open(io.BytesIO(gif)).size
        picture = Summary.Image(encoded_image_string=gif, width=width, height=height, colorspace=3)
        assert writer.file_writer is not None  # add_figure opened it
        writer.file_writer.add_summary(Summary(value=[Summary.Value(tag="plots/reading", image=picture)]), step)


def draw_predictions(model: Classifier, data: FaceRows, stage: str) -> Drawn:
    """Draw confusion, curves of each person, reliability, and the mistakes with the highest probabilities."""
    names, scores = data.faces.names, model.probabilities[stage].cpu().numpy()
    truth = data.tensors[stage][1][: len(scores)].numpy()  # fewer under `debug=limit`
    yield "confusion", figures.confusion(scores.argmax(axis=1), truth, names)
    yield "roc_and_precision_recall", figures.per_person(scores, truth, names)
    yield "reliability", figures.reliability({stage: (scores, truth)})
    if order := figures.confident_mistakes(scores, truth, PHOTOS):
        images = data.faces.images[data.indices[stage][order]]
        yield "mistakes", figures.mistakes(images, scores[order], truth[order], names)


def draw_reading(model: Classifier, data: FaceRows, stage: str) -> Drawn:
    """Draw images as they are read, accuracy by step, gates of LSTM layers, gradients by step and by pixel."""
    color, images = data.faces.images.ndim == 4, data.faces.images[data.indices[stage]]
    pixels, labels = data.tensors[stage]
    inputs_read = pixels[:PHOTOS].unflatten(2, (-1, 3)) if color else pixels[:PHOTOS]
    titles = [short(data.faces.names[label]) for label in labels[:PHOTOS]]
    yield (
        "inputs_as_read",
        figures.faces(inputs_read.numpy(), titles, f"As read: {pixels.shape[1]} steps, from the top"),
    )
    pixels, labels = pixels.to(next(model.parameters())), labels.to(model.device)
    if accuracy := rows.accuracy_by_step(model.predictor, pixels, labels):
        counts = data.class_counts("train")
        majority = data.class_counts(stage)[counts.index(max(counts))] / len(labels)
        yield "accuracy_by_step", by_step({f"{stage} accuracy if reading had stopped": {"": accuracy}}, majority)
    pixels, labels = pixels[:INSPECTED], labels[:INSPECTED]
    with torch.no_grad():
        inputs = rows.record_inputs(model, nn.LSTM, pixels)[1].items()
    if inputs:
        layers = enumerate(inputs, 1)
        gates = {f"layer {index}: 0 closed, 1 open": rows.mean_gates(layer, x) for index, (layer, x) in layers}
        yield "gates", by_step(gates)
    reach = {"How far back the loss reaches: mean norm of d loss / d input": rows.row_gradients(model, pixels, labels)}
    gradients = by_step(reach)
    gradients.axes[0].set_yscale("log")  # `curves` sets no limits where the title names a loss
    yield "gradient_by_step", gradients
    strength = pictures(rows.saliency(model, pixels, labels)[None], data.order, color)[0]
    yield "saliency", figures.saliency(*(p.mean(axis=2) if color else p for p in (images.mean(axis=0), strength)))


def by_step(panels: dict[str, dict[str, rows.ByStep]], majority: float | None = None) -> Figure:
    """Draw curves over the steps, {title: {label: {step: value}}}."""
    lines = {title: {name: [pd.Series(values)] for name, values in panel.items()} for title, panel in panels.items()}
    return curves(lines, "step, in the order of reading", majority)
