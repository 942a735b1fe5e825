"""TensorBoard by epoch: train and val have a folder each and equal tags, to share a chart.

TensorBoard sorts charts and columns by name: the main ones are numbered, `curves` precede `metrics`. The folder `test`
has figures, texts and the final numbers that HPARAMS compares.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter

RESULTS = ("loss", "accuracy", "macro_f1")
CURVES = (*RESULTS, "lr", "images_per_second")
NUMBERED = {name: f"{place}_{name}" for place, name in enumerate(CURVES, 1)}


class EpochLogger(TensorBoardLogger):
    """Log `stage/name` by epoch, from 1, to compare runs with other batch sizes; after the fit, log final results.

    TensorBoard drops what was logged from epoch `purge_step` on, the first of a resumed run.
    """

    def __init__(self, save_dir: str, flush_secs: int, purge_step: int | None = None) -> None:
        self.options: dict[str, Any] = {"flush_secs": flush_secs, "purge_step": purge_step}
        super().__init__(save_dir, "", "", default_hp_metric=False, sub_dir="test", **self.options)
        self.curves: dict[str, SummaryWriter] = {}
        self.epoch, self.fitted = (purge_step or 1) - 1, False

    def writer(self, stage: str) -> SummaryWriter:
        """Writer of the stage "train", "val" or "test"."""
        if stage != "test" and stage not in self.curves:
            self.curves[stage] = SummaryWriter(str(Path(self.save_dir) / stage), **self.options)
        writer: SummaryWriter = self.experiment if stage == "test" else self.curves[stage]
        return writer

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; Lightning adds the epoch, counted from 0."""
        if not self.fitted:
            self.epoch = int(metrics.get("epoch", self.epoch - 1)) + 1
        for name, value in metrics.items():
            stage, _, metric = name.partition("/")
            if metric in RESULTS and self.fitted:
                self.writer("test").add_scalar(f"{stage}/{NUMBERED[metric]}", value, self.epoch)
            elif metric and not self.fitted:
                tag = f"curves/{NUMBERED[metric]}" if metric in NUMBERED else f"metrics/{metric}"
                self.writer(stage).add_scalar(tag, value, self.epoch)

    def save(self) -> None:
        """Skip Lightning's hparams.yaml: the config is in .hydra."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush the writers; later numbers are final results."""
        super().finalize(status)
        self.fitted = True
        for writer in self.curves.values():
            writer.close()


def writer_of(trainer: Trainer, stage: str) -> SummaryWriter | None:
    """Writer of a stage; None without TensorBoard or in a process of a rank above 0."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, EpochLogger)]
    return loggers[0].writer(stage) if loggers and trainer.is_global_zero else None
