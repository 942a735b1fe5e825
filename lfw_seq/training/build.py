"""Build the parts of a training from its config: net, optimizer, LightningModule, Trainer."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer

from lfw_seq import models
from lfw_seq.cli import UsageError, as_typed, configuring
from lfw_seq.data.module import FaceRows
from lfw_seq.evaluation.metrics import count_parameters
from lfw_seq.models.predictor import Predictor
from lfw_seq.models.recurrent import bf16_error
from lfw_seq.parts import build_part, to_plain
from lfw_seq.runs import record
from lfw_seq.runs.archive import FORMAT, construct
from lfw_seq.runs.checkpoint import AUTOCAST
from lfw_seq.training.callbacks.core import CheckpointFiles
from lfw_seq.training.classifier import Classifier
from lfw_seq.training.optimizers import WeightAverage
from lfw_seq.training.tensorboard import EpochLogger

log = logging.getLogger(__name__)

MEMORY_COPIES = 5  # of the parameters: weights, gradients, Adam's two moments, the best weights


def build_net(cfg: DictConfig, data: FaceRows) -> nn.Module:
    """Build the net for the data's shape, first on the meta device, to check its memory and that it can be loaded.

    Raises:
        UsageError: its training would not fit into memory, or `load_run` would refuse its checkpoint.
    """
    steps, features = data.shape
    shape = {"num_features": features, "num_rows": steps, "num_classes": len(data.faces.names)}
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with torch.device("meta"):
        parameters = count_parameters(build_part("model", cfg.model, nn.Module, **shape))
        try:
            construct("model", to_plain(cfg.model), models, shape)
        except UsageError as error:
            raise UsageError(f"{error}: a net is a class in lfw_seq/models, its arguments annotated") from error
    if (need := MEMORY_COPIES * 4 * parameters) > memory:
        raise UsageError(
            f"model={record.model_name(cfg)}: {parameters:,} parameters need {need / 2**30:,.0f} GiB to train and "
            f"this machine has {memory / 2**30:,.0f}; make it smaller"
        )
    net: nn.Module = build_part("model", cfg.model, nn.Module, **shape)
    return net


def choose_precision(cfg: DictConfig) -> DictConfig:
    """Replace `trainer.precision=auto` by bf16-mixed on a processor with bfloat16 instructions, else by 32-true.

    On a GPU it is 32-true. On a CPU, 16-mixed is bf16-mixed, as in Lightning; either is slow on a processor without the
    instructions, and 32-true where oneDNN has no such LSTM, both with a warning.
    """
    precision = cfg.trainer.get("precision")
    on_gpu = cfg.trainer.accelerator != "cpu" and torch.accelerator.is_available()
    if precision not in ("auto", *AUTOCAST) or (on_gpu and precision != "auto"):
        return cfg
    flags: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    lacks, error = not (on_gpu or flags.get("avx512_bf16")), "" if on_gpu else bf16_error()
    float32 = bool(on_gpu or error or (lacks and precision == "auto"))
    if lacks or error:
        reason = "has no instructions for bfloat16" if lacks else f"refuses bfloat16 ({error})"
        log.warning("trainer.precision=%s: this processor %s%s", precision, reason, "; float32 is used" * float32)
    changed = cfg.copy()
    changed.trainer.precision = "32-true" if float32 else "bf16-mixed"
    return changed


def build_optimizer(cfg: DictConfig, net: nn.Module) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    """Build the optimizer as a function of parameters; call it once on the net's to check its values.

    `fused` is turned off where it unscales gradients itself: Lightning then refuses to clip them in mixed precision.
    """
    node = to_plain(cfg.optimizer)
    if "mixed" in str(cfg.trainer.get("precision")) and cfg.trainer.get("gradient_clip_val") and node.get("fused"):
        node["fused"] = False
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = build_part("optimizer", node)
    optimizer(net.parameters())
    return optimizer


def build_classifier(cfg: DictConfig, data: FaceRows) -> Classifier:
    """Build the net with preprocessing, loss, optimizer and schedule, and the metadata to load it again.

    Raises:
        UsageError: a value that its constructor refuses.
    """
    names, net = data.faces.names, build_net(cfg, data)
    with configuring("optimizer"):
        optimizer = build_optimizer(cfg, net)
    with configuring("schedule"):
        schedule = build_part("schedule", cfg.schedule) if cfg.get("schedule") else None
        if schedule is not None:
            schedule(optimizer(net.parameters()), total_steps=100)
    metadata = {
        "format": FORMAT,
        "config": record.without_paths(cfg),
        "class_names": list(names),
        "shape": list(data.shape),
        "fingerprint": data.faces.fingerprint,
        "preprocessing": asdict(data.preprocessing),
    }
    mirror = data.preprocessing.layout if cfg.test_mirror else None
    with configuring("augment"):
        layout = {"layout": data.preprocessing.layout, "num_classes": len(names)}
        augment = build_part("augment", cfg.augment)(**layout) if cfg.get("augment") else None
    with configuring("loss"):
        predictor = Predictor(net, data.standardizer(), float(cfg.data.pixel_scale), mirror)
        weights = class_weights(cfg, data)
        return Classifier(
            predictor, optimizer, len(names), cfg.loss.label_smoothing, weights, augment, schedule, metadata
        )


def class_weights(cfg: DictConfig, data: FaceRows) -> list[float] | None:
    """Weights (C) of people in the training loss; "balanced" is N / (C x count), scikit-learn's rule."""
    counts = data.class_counts("train")
    if cfg.loss.class_weights == "balanced":
        return [sum(counts) / (len(counts) * count) for count in counts]
    weights: list[float] | None = to_plain(cfg.loss.class_weights)
    if weights is not None and len(weights) != len(counts):
        raise UsageError(f"loss.class_weights={as_typed(weights)}: expected {len(counts)} numbers, one per person")
    return weights


def build_trainer(cfg: DictConfig, epochs_before: int = 0, more: Iterable[Callback] = ()) -> Trainer:
    """Build Lightning's Trainer with the callbacks and loggers of the config, and `more` callbacks.

    TensorBoard drops what was logged after `epochs_before`, those trained before an interruption.

    Raises:
        UsageError: a value that its constructor refuses.
    """
    callbacks, loggers = [*build_callbacks(cfg, "callbacks"), *build_callbacks(cfg, "display")], []
    if cfg.average_decay is not None:
        callbacks.append(WeightAverage(cfg.average_decay))
    for key, node in ((key, node) for key, node in cfg.logger.items() if node is not None):
        if epochs_before and isinstance(node, DictConfig) and "purge_step" in node:
            node = {**to_plain(node), "purge_step": epochs_before + 1}
        loggers.append(build_part(f"logger.{key}", node, Logger))
        if not isinstance(loggers[-1], EpochLogger):  # it has no hparams, but texts
            loggers[-1].log_hyperparams(record.without_paths(cfg))
    parts = {"callbacks": [*callbacks, *more], "logger": loggers, "plugins": [CheckpointFiles()]}
    trainer: Trainer = build_part("trainer", cfg.trainer, Trainer, **parts)
    return trainer


def build_callbacks(cfg: DictConfig, group: str) -> list[Callback]:
    """Build the callbacks of a group that are not null."""
    return [build_part(f"{group}.{key}", node, Callback) for key, node in cfg[group].items() if node is not None]


def build_tester(cfg: DictConfig, trainer: Trainer) -> Trainer:
    """Build a Trainer of one process to validate and test after `trainer`, with its TensorBoard and `display`."""
    alone = {"devices": 1, "strategy": "auto", "profiler": None, "enable_progress_bar": False}
    node = {**to_plain(cfg.trainer), **alone, "enable_checkpointing": False}
    loggers = [logger for logger in trainer.loggers if isinstance(logger, EpochLogger)]  # for others see log_result
    for logger in loggers:
        logger.fitted = True  # also where train=false
    tester: Trainer = build_part("trainer", node, Trainer, callbacks=build_callbacks(cfg, "display"), logger=loggers)
    return tester


def log_result(trainer: Trainer, metrics: Mapping[str, Any], epoch: int) -> None:
    """Log final metrics of an epoch, from 1, to loggers that count from 0; Lightning logs every test at epoch 0."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    for logger in trainer.loggers:
        if not isinstance(logger, EpochLogger):
            logger.log_metrics({**numbers, "epoch": epoch - 1}, trainer.global_step)
            logger.save()
            logger.finalize("success")
