"""An epoch of `lfw_seq.train`, whole, beside what a user would otherwise run, and beside its matrix products alone."""

from __future__ import annotations

import copy
from pathlib import Path
from tempfile import TemporaryDirectory

from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from lfw_seq.benchmarks.loops import augmentation, bare_loop, clocked, keeping_loop, matrix_products
from lfw_seq.benchmarks.peers import BACKENDS, Peer, missing
from lfw_seq.benchmarks.turns import Contender, Cost, Report, now
from lfw_seq.build import build_classifier, build_net, build_trainer
from lfw_seq.data.module import build
from lfw_seq.errors import UsageError
from lfw_seq.models.recurrent import RecurrentReader
from lfw_seq.runs import plain

OURS, BARE, PRODUCTS = "ours, Lightning", "bare PyTorch loop", "matrix products alone"
KEEPING = "bare loop with metrics, checkpoints"
AUGMENTATION = "augmentation alone"


def measure(cfg: DictConfig) -> Report:
    """Time turns of `cfg.epochs` epochs of each contender.

    All train the same sizes on the same batches; all but the matrix products validate. Ours also computes all metrics,
    logs, watches and keeps two checkpoints: its turn ends when its files are written. One bare loop does so too.

    Raises:
        UsageError: the model is not the lab's kind of net.
    """
    data = build(plain(cfg.data), cfg.split_seed, cfg.seed)
    data.setup()
    net = build_net(cfg, data)
    if not isinstance(net, RecurrentReader) or cfg.model.cell != "lstm" or net.bidirectional:
        raise UsageError(
            f"model={cfg.model._target_}: expected model=lab or lstm, whose matrix products are known here"
        )
    cfg.trainer.max_epochs = 1 + (cfg.warm_up + cfg.rounds) * cfg.epochs
    if cfg.callbacks.early_stopping:
        cfg.callbacks.early_stopping.patience = cfg.trainer.max_epochs
    classifier, trainer = build_classifier(cfg, net, data), build_trainer(cfg)
    device = trainer.strategy.root_device
    bare, keeping = (copy.deepcopy(net).to(device) for _ in range(2))
    kept = TemporaryDirectory()
    contenders = {
        BARE: clocked(bare_loop(bare, classifier.optimizer, data, device), cfg.epochs, device),
        KEEPING: clocked(
            keeping_loop(keeping, classifier.optimizer, data, device, Path(kept.name)), cfg.epochs, device
        ),
        PRODUCTS: clocked(matrix_products(bare, data, device), cfg.epochs, device),
    }
    if classifier.augment is not None:  # part of our epoch, of no other
        epoch = augmentation(classifier.augment, data, device)
        contenders[AUGMENTATION] = clocked(epoch, cfg.epochs, device)
    report = Report(
        f"An epoch of {len(data.tensors['train'][1]):,} images in batches of {cfg.data.batch_size}, {device}"
    )
    report.notes += [f"{name}: left out, {lack}" for name, backend in BACKENDS.items() if (lack := missing(backend))]
    peers = {name: Peer(cfg, data, backend) for name, backend in BACKENDS.items() if not missing(backend)}
    try:
        turns = Turns({**contenders, **peers}, cfg.rounds, cfg.warm_up, cfg.epochs)
        trainer.callbacks.insert(0, turns)  # type: ignore[attr-defined]
        trainer.fit(classifier, data)
    finally:
        for peer in peers.values():
            peer.stop()
        kept.cleanup()
    report.costs = turns.costs
    for name in (BARE, KEEPING, PRODUCTS):
        report.compare(f"ours / {name}", OURS, name)
    for name in peers:
        report.compare(f"{name} / ours", name, OURS)
    report.compare(f"{BARE} / {PRODUCTS}", BARE, PRODUCTS)
    report.compare(f"{AUGMENTATION} / ours", AUGMENTATION, OURS)
    return report


class Turns(Callback):
    """Lets the other contenders run between epochs of ours.

    Attributes:
        costs: seconds an epoch, one a round; those of the warm-up are left out.
    """

    def __init__(self, others: dict[str, Contender], rounds: int, warm_up: int, epochs: int) -> None:
        self.others, self.rounds, self.warm_up, self.epochs = others, rounds, warm_up, epochs
        self.costs: dict[str, list[Cost]] = {name: [] for name in (OURS, *others)}
        self.started: Cost | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End our turn, run the others, begin our next."""
        turn, within = divmod(trainer.current_epoch, self.epochs)
        if within:
            return
        if self.started is not None:
            if hasattr(trainer.strategy.checkpoint_io, "wait"):
                trainer.strategy.checkpoint_io.wait()
            self._keep(turn - 1, OURS, now(trainer.strategy.root_device).since(self.started).of(self.epochs))
        if turn < self.warm_up + self.rounds:
            for name, other in self.others.items():
                self._keep(turn, name, other())
            self.started = now(trainer.strategy.root_device)

    def _keep(self, turn: int, name: str, cost: Cost) -> None:
        if turn >= self.warm_up:
            self.costs[name].append(cost)
