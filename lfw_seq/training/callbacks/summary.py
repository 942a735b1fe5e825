"""TensorBoard's views of a whole run: settings and result as HPARAMS and TEXT, the net as graph and projector."""

import logging
import math
import warnings
from typing import Any, ClassVar

import torch
from hydra.core.hydra_config import HydraConfig
from lightning import Callback, Trainer
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional
from torch.utils.tensorboard.summary import hparams

from lfw_seq.evaluation.metrics import final_metrics
from lfw_seq.evaluation.rows import inspecting, record_inputs
from lfw_seq.evaluation.settings import NO_SETTINGS, flat, is_under
from lfw_seq.runs.record import choices
from lfw_seq.training.classifier import Classifier
from lfw_seq.training.tensorboard import RESULTS, writer_of

log = logging.getLogger(__name__)

GROUPS = ("augment", "data", "experiment", "model", "optimizer", "schedule")
SPRITE = 32  # pixels per side at most: TensorBoard arranges sprites in float64, and shows them small


class Summary(Callback):
    """Write the settings when training starts, so that an unfinished run has them, and the result at the end.

    Columns are not declared: TensorBoard then collects them from all runs and shows five, first those that differ
    between runs, then by name, uppercase before lowercase.
    """

    def on_train_start(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Write the settings."""
        config = pl_module.metadata["config"]
        text = f"```yaml\n{OmegaConf.to_yaml(OmegaConf.create(config))}```"
        self._write(trainer, "settings", text, hparams(settings(config, choices()), {})[1])

    def on_test_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Write the result."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        metrics = final_metrics(pl_module.values, pl_module.probabilities["test"], data)
        lines = ["| metric | test | val |", "|---|---|---|", f"| majority_rate | {metrics['majority_rate']:.4g} | |"]
        for name in dict.fromkeys((*RESULTS, *pl_module.test_metrics)):
            if name != "f1_per_person":
                values = (metrics.get(f"{stage}/{name}", math.nan) for stage in ("test", "val"))
                lines.append(f"| {name} | " + " | ".join(f"{value:.4g}" for value in values) + " |")
        self._write(trainer, "result", "\n".join(lines), hparams({}, {})[2])

    def _write(self, trainer: Trainer, tag: str, text: str, summary: Any) -> None:
        if (writer := writer_of(trainer, "test")) is not None:
            writer.add_text(tag, text)
            assert writer.file_writer is not None  # add_text opened it
            writer.file_writer.add_summary(summary)  # SummaryWriter.add_hparams would make a run of its own


def settings(config: dict[str, Any], chosen: dict[str, str]) -> dict[str, float | str]:
    """Choices of config groups, and settings that change results by dotted key; of callbacks only numbers.

    Choices are capitalized, as `Model`, to be sorted before keys; null choices are included, or TensorBoard would show
    no difference in a sweep over a choice and `null`.
    """
    found: dict[str, float | str] = {name.capitalize(): chosen.get(name, "None") for name in GROUPS if chosen}
    for key, value in flat(config).items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        shown = "._" not in key and not is_under(key, (*NO_SETTINGS, "callbacks.resume"))
        if shown and (number or not key.startswith("callbacks.")):
            found[key] = value if number else str(value)
    return found


class Network(Callback):
    """Write the net's graph, and its features of the test images to the projector; photos stay in the run folder.

    Of a sweep's jobs with equal nets one writes the graph: torch.jit never frees a trace, 1.6 MB per job.
    """

    drawn: ClassVar[set[str]] = set()  # the nets whose graphs this process has written

    def __init__(self, projected: int) -> None:
        self.projected = projected  # test images at most

    def on_test_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Write both."""
        writer, data = writer_of(trainer, "test"), trainer.datamodule  # type: ignore[attr-defined]
        if writer is None:
            return
        predicted = pl_module.probabilities["test"].argmax(dim=1)[: self.projected]  # fewer under `debug=limit`
        rows, labels = (part[: len(predicted)] for part in data.tensors["test"])
        rows = rows.to(next(pl_module.parameters()))
        with inspecting(pl_module), torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
            warnings.filterwarnings("ignore", message=r".*torch\.jit\.", category=DeprecationWarning)
            inputs = list(record_inputs(pl_module, nn.Linear, rows)[1].values())
            net, size = pl_module.predictor.net, len(Network.drawn)
            Network.drawn.add(f"{net} {tuple(rows.shape[1:])}")
            try:
                if size < len(Network.drawn) or not HydraConfig.initialized():
                    writer.add_graph(net, rows[:1])
            except (RuntimeError, ValueError) as error:  # a net that cannot be traced
                log.info("No graph of this net: %s", str(error).splitlines()[0])
        if not inputs or inputs[-1].ndim != 2:  # no linear layer computes the logits
            return
        names, pairs = data.faces.names, zip(labels.tolist(), predicted.tolist(), strict=True)
        table = [[names[true], names[guess], "right" if true == guess else "wrong"] for true, guess in pairs]
        images = torch.from_numpy(data.faces.images[data.indices["test"][: len(predicted)]])
        sprites = images.permute(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
        side = max(sprites.shape[2:])  # the projector lays out squares
        sprites = functional.pad(sprites, (0, side - sprites.shape[3], 0, side - sprites.shape[2]), value=1.0)
        sprites = functional.adaptive_avg_pool2d(sprites, min(side, SPRITE))
        header = ["person", "predicted", "right or wrong"]
        writer.add_embedding(inputs[-1].float().cpu(), table, sprites, tag="projector", metadata_header=header)
