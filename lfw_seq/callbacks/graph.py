"""The net as a graph, and charts that hold training and validation together."""

import logging
import warnings

import torch
from lightning import Callback, Trainer

from lfw_seq.callbacks.periodic import evaluating
from lfw_seq.classifier import Classifier
from lfw_seq.tensorboard import writer_of

log = logging.getLogger(__name__)

CHARTS = {
    "Learning": {
        name: ["Multiline", [rf"^train/{key}$", rf"^val/{key}$"]]
        for name, key in (("loss", "loss"), ("accuracy", "accuracy"), ("macro-F1", "macro_f1"), ("AUROC", "auroc"))
    },
    "Optimisation": {
        "learning rate": ["Multiline", [r"^train/lr$"]],
        "gradient norm": ["Multiline", [r"^train/gradient_norm$"]],
        "images a second": ["Multiline", [r"^train/images_per_second$"]],
    },
}


class Charts(Callback):
    """TensorBoard's custom scalars: train and val in one chart."""

    def on_train_start(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Write the layout."""
        writer = writer_of(trainer)
        if writer is not None:
            writer.add_custom_scalars(CHARTS)


class Graph(Callback):
    """TensorBoard's graph of the net."""

    def __init__(self) -> None:
        self.shown = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """After the first epoch, trace one image through it; a net that cannot be traced has no graph."""
        writer = writer_of(trainer)
        if writer is None or self.shown:
            return
        self.shown = True
        row = trainer.datamodule.tensors["train"][0][:1].to(pl_module.device)  # type: ignore[attr-defined]
        with warnings.catch_warnings(), evaluating(pl_module.net), torch.no_grad():
            warnings.filterwarnings("ignore", message="Converting a tensor to a Python")
            warnings.filterwarnings("ignore", message=r".*torch\.jit\.", category=DeprecationWarning)
            try:
                writer.add_graph(pl_module.net, row)
            except (RuntimeError, ValueError) as error:
                log.info("No graph of this net: %s", str(error).splitlines()[0])
