"""Epoch time and peak memory against the number of faces, drawn ones."""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from lfw_seq.benchmarks.start import typed
from lfw_seq.benchmarks.turns import Cost, Report, spent, spread, threads_env

EPOCHS = {1_288: 11, 12_880: 3, 128_800: 1}  # by images; of several, the first only warms up


class EpochCosts(Callback):
    """Writes what each epoch took, validation included, as [wall, CPU] seconds.

    Attributes:
        path: the JSON file, written at the end.
    """

    def __init__(self, path: str) -> None:
        self.path, self.costs = Path(path), list[tuple[float, float]]()
        self.started = (0.0, 0.0)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks."""
        self.started = time.perf_counter(), time.process_time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop them."""
        wall, cpu = self.started
        self.costs.append((time.perf_counter() - wall, time.process_time() - cpu))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write."""
        self.path.write_text(json.dumps(self.costs))


def measure(cfg: DictConfig) -> Report:
    """Train on more and more faces, each number in a process of its own, in turn; `warm_up` rounds are not needed."""
    report = Report("Training on drawn faces, an image")
    names = {images: f"{images:,} faces" for images in EPOCHS}
    report.costs = {name: [] for name in names.values()}
    peaks: dict[int, list[float]] = {images: [] for images in EPOCHS}
    for _ in range(cfg.rounds):
        for images in EPOCHS:
            cost, held = train(cfg, images)
            report.costs[names[images]].append(cost)
            peaks[images].append(held)
    small, middle, large = EPOCHS
    report.compare(f"{names[large]} / {names[small]}", names[large], names[small])
    report.compare(f"{names[middle]} / {names[small]}", names[middle], names[small])
    for images, peak in peaks.items():
        report.figures[f"peak of {names[images]}, MiB"] = spread(peak)["median"]
    mib = 4 * cfg.data.height * cfg.data.width / 2**20 if "height" in cfg.data else 4 * 50 * 37 / 2**20  # of a face
    for less, more in ((small, middle), (middle, large)):
        growth = spread(peaks[more])["median"] - spread(peaks[less])["median"]
        report.figures[f"memory a face in faces, {less:,} to {more:,}"] = growth / ((more - less) * mib)
    return report


def train(cfg: DictConfig, images: int) -> tuple[Cost, float]:
    """What an image of an epoch took, and the peak memory of the run in MiB.

    Raises:
        RuntimeError: the run failed.
    """
    epochs = EPOCHS[images]
    with TemporaryDirectory() as folder:
        line = [
            *(sys.executable, "-m", "lfw_seq.train", *typed(), "data=synthetic", f"data.num_images={images}"),
            *(f"trainer.max_epochs={epochs}", "callbacks.early_stopping=null", "hydra.run.dir=run"),
            *(f"+callbacks.costs._target_={__name__}.EpochCosts", "+callbacks.costs.path=costs.json"),
        ]
        used = spent(line, folder, threads_env(cfg.threads))
        if used.status:
            raise RuntimeError(f"{' '.join(line)} ended with {used.status}: {used.said}")
        costs = [Cost(*cost) for cost in json.loads((Path(folder) / "costs.json").read_text())]
    timed = costs[1:] or costs
    trained = round(images * 0.8)  # of all images; the rest validates or tests
    wall, cpu = (sum(column) / (len(timed) * trained) for column in zip(*timed, strict=True))
    return Cost(wall, cpu), used.peak_mib
