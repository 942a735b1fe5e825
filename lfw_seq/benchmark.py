"""`python -m lfw_seq.benchmark what=epoch`: what training costs beside the arithmetic, contenders in turn."""

from __future__ import annotations

import copy
import os
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import command, runs
from lfw_seq.errors import check_choice, check_whole
from lfw_seq.train import build_classifier, build_net, build_trainer, plain, prepare_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn
    from torch.optim import Optimizer

    from lfw_seq.data.module import FaceRows

WARM_UP = 2


@hydra.main(config_path=str(command.CONF), config_name="benchmark", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """The command: a table on the terminal, JSON in `out`."""
    if result := command.run(benchmark, cfg):
        for line in table(result):
            print(line)
        print(f"  in {cfg.out}")


def benchmark(cfg: DictConfig) -> dict[str, Any]:
    """Time our epoch and a bare one, in turn in one process.

    Returns:
        Seconds of each, paired, the median ratio with its least and largest, and the machine.
    """
    check_choice("what", cfg.what, ("epoch",))
    check_whole("pairs", cfg.pairs)
    prepare_process(cfg)
    pairs = time_epochs(cfg)[WARM_UP:]
    ratios = sorted(ours / bare for ours, bare in pairs)
    result = {
        "what": "epoch",
        "seconds": {"ours": [ours for ours, _ in pairs], "bare": [bare for _, bare in pairs]},
        "ratio": {"median": statistics.median(ratios), "min": ratios[0], "max": ratios[-1]},
        "threads": cfg.threads,
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "versions": runs.versions(),
    }
    runs.write_json(Path(cfg.out), result)
    return result


def time_epochs(cfg: DictConfig) -> list[tuple[float, float]]:
    """Pairs of seconds: an epoch of `lfw_seq.train`, whole, and one of the bare loop on a copy of its net.

    Both train on the same batches and validate. Ours also logs, computes all metrics and keeps two checkpoints.
    """
    from lightning import Callback, LightningModule, Trainer

    from lfw_seq.data.module import build

    data = build(plain(cfg.data), cfg.split_seed, cfg.seed)
    data.setup()
    net = build_net(cfg, data)
    classifier = build_classifier(cfg, net, data)
    bare_epoch = bare_loop(copy.deepcopy(net), classifier.optimizer, data)
    seconds: list[tuple[float, float]] = []

    class Alternate(Callback):
        """Runs the bare epoch between two of ours."""

        started = 0.0
        bare = 0.0

        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            now = time.perf_counter()
            if trainer.current_epoch:
                seconds.append((now - self.started, self.bare))
            bare_started = time.perf_counter()
            bare_epoch(trainer.current_epoch)
            self.started = time.perf_counter()
            self.bare = self.started - bare_started

    cfg.trainer.max_epochs = WARM_UP + cfg.pairs + 1
    cfg.callbacks.early_stopping.patience = cfg.trainer.max_epochs
    trainer = build_trainer(cfg)
    trainer.callbacks.insert(0, Alternate())  # type: ignore[attr-defined]
    trainer.fit(classifier, data)
    return seconds


def bare_loop(net: nn.Module, optimizer: Callable[..., Optimizer], data: FaceRows) -> Callable[[int], None]:
    """The shortest loop that trains and validates a net on our batches."""
    import torch
    from torch.nn.functional import cross_entropy

    from lfw_seq.data.batches import shuffled

    rows, labels = data.tensors["train"]
    val_rows, val_labels = data.tensors["val"]
    steps = optimizer(net.parameters())

    def epoch(number: int) -> None:
        net.train()
        for part in shuffled(len(labels), data.seed, number).split(data.batch_sizes["train"]):
            steps.zero_grad()
            cross_entropy(net(rows[part]), labels[part]).backward()
            steps.step()
        net.eval()
        with torch.no_grad():
            cross_entropy(net(val_rows), val_labels).item()

    return epoch


def table(result: dict[str, Any]) -> list[str]:
    """The medians and their ratio."""
    ratio = result["ratio"]
    return [
        f"One epoch, {len(result['seconds']['ours'])} pairs in turn, {result['threads']} thread(s)",
        *(f"  {name:<5} {statistics.median(values) * 1000:8.1f} ms" for name, values in result["seconds"].items()),
        f"  ratio {ratio['median']:8.3f}   of pairs: {ratio['min']:.3f} to {ratio['max']:.3f}",
    ]


if __name__ == "__main__":
    command.start(main)
