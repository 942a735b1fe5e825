"""Around Lightning's fit: the settings it would trip over, the time it took, and the device."""

import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from lfw_seq.cli import CONF, UsageError, as_typed, describe, name_key
from lfw_seq.parts import Count, NotNegative, Seed, Share, Threads, check_keys, check_value
from lfw_seq.runs.record import choices, cpu_name
from lfw_seq.training.callbacks.core import Resume
from lfw_seq.training.classifier import Classifier

log = logging.getLogger(__name__)

Mode = Literal["min", "max"]
GROUPS = ("data", "model", "optimizer", "trainer", "loss", "callbacks", "display", "logger")
SWITCHES = ("test_mirror", "fail_fast", "traceback", "substitute_data", "train", "test")
KEYS: dict[str, Any] = {
    **dict.fromkeys(GROUPS, Mapping),
    **dict.fromkeys(SWITCHES, bool),
    "run_dir": str,
    "seed": Seed | None,
    "threads": Threads,
    "monitor_mode": Mode,
    "average_decay": Share | None,
    "loss.label_smoothing": Share,
    "trainer.max_epochs": Count,
    "trainer.accumulate_grad_batches": Count | None,
    "trainer.gradient_clip_val": NotNegative | None,
}  # which no constructor of ours takes
# All validation images are read each epoch, and all test images; a run that trains on nothing is none. Not of `debug=`.
FIXED = {"check_val_every_n_epoch": 1, "limit_val_batches": 1.0, "limit_test_batches": 1.0, "num_nodes": 1}
FIXED |= {"max_steps": -1, "fast_dev_run": False, "val_check_interval": 1.0}


def check_root(cfg: DictConfig) -> None:
    """Check the keys that no constructor of ours takes, and groups that a run cannot do without.

    Raises:
        UsageError: one of them is of another type, or out of its range.
    """
    check_keys(cfg, KEYS)
    if not cfg.train and cfg.ckpt_path is None:
        raise UsageError("train=false: nothing to test; add ckpt_path=DIR/checkpoints/best.ckpt")
    for key, fixed in () if cfg.get("debug") else FIXED.items():
        if repr(value := cfg.trainer.get(key, fixed)) != repr(fixed):  # 1.0 is all batches, 1 the first alone
            raise UsageError(f"trainer.{key}={as_typed(value)}: leave it out; expected {as_typed(fixed)}")
    devices = cfg.trainer.get("devices", 1)
    if devices not in (1, "1", "auto") and cfg.trainer.get("strategy", "auto") == "auto":
        raise UsageError(f"trainer.devices={devices}: expected 1; a run of several processes needs trainer=ddp")
    if isinstance(devices, int) and devices > (os.cpu_count() or 1):
        raise UsageError(f"trainer.devices={devices}: expected at most {os.cpu_count()}, the cores of this machine")
    limit = cfg.trainer.get("limit_train_batches", 1.0)
    if not limit:
        raise UsageError(f"trainer.limit_train_batches={limit}: expected more than nothing to train on")
    for name in ("best", "last"):
        if (node := cfg.callbacks.get(name)) and Path(str(node.filename)).name != node.filename:
            raise UsageError(f"callbacks.{name}.filename={as_typed(node.filename)}: expected a file name")
    nodes = {str(name): node for name, node in cfg.callbacks.items() if isinstance(node, DictConfig)}
    for name, node in nodes.items():
        if "patience" in node:
            check_value(f"callbacks.{name}.patience", node.patience, Count)
        for key in {"dirpath", "path"} & set(node):
            if not Path(str(node[key])).is_relative_to(cfg.run_dir):
                raise UsageError(f"callbacks.{name}.{key}={as_typed(node[key])}: expected a place inside {cfg.run_dir}")
    watching = [name for name, node in nodes.items() if node.get("monitor") == cfg.monitor]
    if cfg.data.val_from == "none" and watching:
        values = {"best": "callbacks.best.monitor=step callbacks.best.mode=max"}
        remedy = " ".join(values.get(name, f"callbacks.{name}=null") for name in watching)
        raise UsageError(f"data.val_from=none: no {cfg.monitor} to watch; add {remedy}")


def check_monitors(cfg: DictConfig, classifier: Classifier) -> None:
    """Check what a sweep and callbacks watch: a validation metric; one of any stage, the rate, a step or an epoch."""
    check_value("monitor", cfg.monitor, Literal[classifier.monitored("val")])
    check_mode("monitor", cfg.monitor, "monitor_mode", cfg.monitor_mode)
    known = (*classifier.monitored("val"), *classifier.monitored("train"), "train/lr", "step", "epoch")
    for name, callback in cfg.callbacks.items():
        if isinstance(callback, DictConfig) and "monitor" in callback:
            key = f"callbacks.{name}"
            check_value(f"{key}.monitor", callback.monitor, Literal[known])
            check_mode(f"{key}.monitor", callback.monitor, f"{key}.mode", callback.get("mode", "min"))


def check_mode(monitor_key: str, monitor: str, key: str, mode: object) -> None:
    """Raise UsageError unless a mode is what a metric needs: "min" for a loss, "max" for the others."""
    check_value(key, mode, Mode)
    expected = "min" if monitor.endswith("/loss") else "max"
    if monitor.startswith(("val/", "train/")) and monitor != "train/lr" and mode != expected:
        raise UsageError(f"{key}={mode}: {monitor_key}={monitor} needs {key}={expected}")


def warn_of_overridden_model() -> None:
    """Say in one line that a model was typed which is not the experiment's own."""
    chosen = choices()
    if (name := chosen.get("experiment")) is None:
        return
    entries: Any = OmegaConf.load(CONF / "experiment" / f"{name}.yaml").defaults
    own = [entry["override /model"] for entry in entries if "override /model" in entry]
    if own and own[0] != chosen["model"]:
        log.warning("model=%s replaces the model of experiment=%s, %s", chosen["model"], name, own[0])


@contextmanager
def misconfigured() -> Iterator[None]:
    """End what Lightning's fit finds wrong with its Trainer's settings in one line, as every mistake."""
    try:
        yield
    except MisconfigurationException as error:
        raise UsageError(name_key("trainer", describe(error))) from error


def seconds(trainer: Trainer) -> float:
    """What the run took, interruptions left out."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it where mypy does not see it
    return next((callback.elapsed() for callback in callbacks if isinstance(callback, Resume)), math.nan)


def device_name(trainer: Trainer, threads: int) -> str:
    """The graphics card's name, or the processor's kind and the threads used of it."""
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(threads)
