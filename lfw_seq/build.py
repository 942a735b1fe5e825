"""The parts of a training from its config: net, optimizer, LightningModule, Trainer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lfw_seq import summary
from lfw_seq.errors import UsageError
from lfw_seq.record import model_name
from lfw_seq.runs import plain

if TYPE_CHECKING:  # torch and Lightning take seconds to import
    from collections.abc import Callable, Iterable

    from lightning import Trainer
    from torch import nn
    from torch.optim import Optimizer

    from lfw_seq.classifier import Classifier
    from lfw_seq.data.module import FaceRows

MEMORY_COPIES = 5  # of the parameters: weights, gradients, Adam's two moments, the best weights


def build_net(cfg: DictConfig, data: FaceRows) -> nn.Module:
    """The net for the data's shape; first without memory, to see whether it fits.

    Raises:
        UsageError: its training would not fit into memory.
    """
    import torch
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    steps, features = data.shape
    shape = {"num_features": features, "num_rows": steps, "num_classes": len(data.faces.names)}
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with torch.device("meta"):
            parameters = summary.count_parameters(instantiate(cfg.model, **shape, _convert_="all"))
    except InstantiationException as error:
        if not isinstance(error.__cause__, RuntimeError | OverflowError):
            raise
        raise UsageError(f"model={model_name(cfg)}: too large to count its parameters; make it smaller") from error
    if (need := MEMORY_COPIES * 4 * parameters) > memory:
        raise UsageError(
            f"model={model_name(cfg)}: {parameters:,} parameters need {need / 2**30:,.0f} GiB to train and "
            f"this machine has {memory / 2**30:,.0f}; make it smaller"
        )
    net: nn.Module = instantiate(cfg.model, **shape, _convert_="all")
    return net


def build_optimizer(cfg: DictConfig, net: nn.Module) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    """The optimizer without its parameters; built once on the net's to see whether its values are good.

    One kernel for all parameters (`fused`) takes scaled gradients: Lightning clips none for it in mixed precision.
    """
    from hydra.utils import instantiate

    clips = "mixed" in str(cfg.trainer.get("precision")) and cfg.trainer.get("gradient_clip_val")
    several = {"fused": False} if clips and cfg.optimizer.get("fused") else {}
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = instantiate(cfg.optimizer, **several, _convert_="all")
    try:
        optimizer(net.parameters())
    except (TypeError, ValueError) as error:
        raise UsageError(f"optimizer: {error}") from error
    return optimizer


def build_classifier(cfg: DictConfig, net: nn.Module, data: FaceRows) -> Classifier:
    """The net with its loss, its optimizer and schedule, and what changes the rows before it reads them."""
    from hydra.utils import instantiate

    from lfw_seq.classifier import Classifier
    from lfw_seq.hooks import skip_empty

    classifier = Classifier(
        net,
        build_optimizer(cfg, net),
        len(data.faces.names),
        cfg.loss.label_smoothing,
        class_weights(cfg, data),
        data.standardizer(),
        instantiate(cfg.augment)(layout=data.layout, num_classes=len(data.faces.names)),
        data.layout.mirror if cfg.test_mirror else None,
        instantiate(cfg.schedule) if cfg.schedule else None,
    )
    skip_empty(classifier)
    return classifier


def build_trainer(cfg: DictConfig) -> Trainer:
    """Lightning's Trainer with the callbacks and loggers of the config; a profiler where `trainer.profiler` asks."""
    from hydra.utils import instantiate

    from lfw_seq.hooks import NoProfiler, skip_empty

    callbacks = [instantiate(callback, _convert_="all") for callback in cfg.callbacks.values() if callback]
    loggers = [instantiate(logger, _convert_="all") for logger in cfg.logger.values() if logger]
    profiler = cfg.trainer.get("profiler") or NoProfiler()
    trainer: Trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, profiler=profiler)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        skip_empty(callback)
    return trainer


def class_weights(cfg: DictConfig, data: FaceRows) -> list[float] | None:
    """Weights of people in the training loss; "balanced" is N / (C x count), scikit-learn's rule."""
    weights = plain(cfg.loss.class_weights)
    if weights == "balanced":
        counts = data.class_counts("train")
        return [sum(counts) / (len(counts) * count) for count in counts]
    if weights is not None and not isinstance(weights, list):
        raise UsageError(f"loss.class_weights={weights}: expected null, balanced or a list of numbers")
    return weights
