"""What a command takes before it trains: help, the config, the first step, a run of three epochs."""

import itertools
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from lfw_seq.benchmarks.turns import Contender, Cost, Report, in_turn, spent, threads_env

OWN_KEYS = {"what", "rounds", "warm_up", "epochs", "out"}  # those of conf/benchmark.yaml that training has not
EMPTY = "import hydra\nmain = hydra.main(config_path=None, version_base='1.3')(lambda cfg: None)\nmain()\n"
# What lightning-hydra-template's train.py and its src.utils import at their top, before Hydra sees a word of the
# command line; its own modules, rootutils and torchvision left out.
TEMPLATE = """
import hydra, lightning, rich, rich.prompt, rich.syntax, rich.tree, torch, torchmetrics
from hydra.core.hydra_config import HydraConfig
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf, open_dict
"""
HELP, CONFIG, STEP, RUN = "--help", "--cfg job", "to the end of the first step", "a run of three epochs"
EMPTY_HELP, EMPTY_CONFIG = "empty Hydra app --help", "empty Hydra app --cfg job"
IMPORTS, TEMPLATE_IMPORTS = "import torch, lightning", "lightning-hydra-template's imports"


class FirstStep(Callback):
    """Ends the process after its first training step."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: object, **kwargs: object) -> None:
        """End."""
        os._exit(0)


def measure(cfg: DictConfig) -> Report:
    """Time commands and imports, each in a process of its own, in turn; the warm-up fills the cache."""
    report = Report("Starting")
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY)
        train = ["-m", "lfw_seq.train"]
        run = [*train, *typed(), "trainer.max_epochs=3", "hydra.run.dir=run-{number}"]
        lines = {
            EMPTY_HELP: [str(empty), "--help"],
            HELP: [*train, "--help"],
            EMPTY_CONFIG: [str(empty), "--cfg", "job"],
            CONFIG: [*train, "--cfg", "job"],
            IMPORTS: ["-c", "import torch, lightning"],
            STEP: [*run, f"+callbacks.first_step._target_={__name__}.FirstStep"],
            RUN: run,
            TEMPLATE_IMPORTS: ["-c", TEMPLATE],
        }
        contenders = {name: process(line, folder, threads_env(cfg.threads)) for name, line in lines.items()}
        report.costs = in_turn(contenders, cfg.rounds, cfg.warm_up)
    report.compare(f"{HELP} / empty Hydra app", HELP, EMPTY_HELP)
    report.compare(f"{CONFIG} / empty Hydra app", CONFIG, EMPTY_CONFIG)
    report.compare(f"first step / {IMPORTS}", STEP, IMPORTS)
    report.compare(f"template's imports / our {HELP}", TEMPLATE_IMPORTS, HELP)
    return report


def typed() -> list[str]:
    """The overrides of this command that training takes too, after those of conf/benchmark.yaml."""
    words = HydraConfig.get().overrides.task
    return ["experiment=lab", *(word for word in words if word.lstrip("+").split("=")[0] not in OWN_KEYS)]


def process(line: Sequence[str], folder: str, env: dict[str, str]) -> Contender:
    """A contender that is a run of Python; `{number}` in its words is another each time.

    Raises:
        RuntimeError: when run, for an exit status that is not 0; with what it said.
    """
    numbers = itertools.count()

    def turn() -> Cost:
        number = str(next(numbers))
        used = spent(
            [sys.executable, *(word.replace("{number}", f"{id(line)}-{number}") for word in line)], folder, env
        )
        if used.status:
            raise RuntimeError(f"{' '.join(line)} ended with {used.status}: {used.said}")
        return used.cost

    return turn
