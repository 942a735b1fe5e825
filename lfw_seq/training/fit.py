"""Checks of the config, seeds and threads of the process, and run time and device around Lightning's fit."""

import logging
import math
import os
import secrets
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from lightning import Trainer, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from lfw_seq.cli import CONF, USAGE_ERRORS, UsageError, as_typed, describe, name_key
from lfw_seq.data.lfw import LFW
from lfw_seq.data.module import build as build_data
from lfw_seq.parts import Count, NotNegative, Positive, Seed, Share, Threads, check_keys, check_value, to_plain
from lfw_seq.runs.checkpoint import set_up_gpus
from lfw_seq.runs.record import choices, cpu_name
from lfw_seq.training.callbacks.core import Resume
from lfw_seq.training.classifier import Classifier

log = logging.getLogger(__name__)

Mode = Literal["min", "max"]
KEYS: dict[str, Any] = {  # not checked by any constructor's signature
    **dict.fromkeys(("data", "model", "optimizer", "trainer", "loss", "callbacks", "display", "logger"), Mapping),
    **dict.fromkeys(("test_mirror", "fail_fast", "traceback", "substitute_data", "train", "test"), bool),
    "run_dir": str,
    "tags": list[str],
    "seed": Seed | None,
    "threads": Threads,
    "monitor_mode": Mode,
    "average_decay": Share | None,
    "loss.label_smoothing": Share,
    "loss.class_weights": Literal["balanced"] | list[Positive] | None,
    "trainer.max_epochs": Count,
    "trainer.accumulate_grad_batches": Count | None,
    "trainer.gradient_clip_val": NotNegative | None,
    "trainer.limit_train_batches": Positive | None,
    "callbacks.early_stopping.patience": Count | None,
}
# Each epoch validates on all images, the test uses all of its own, and every run trains; `debug=` may differ.
FIXED = {"check_val_every_n_epoch": 1, "limit_val_batches": 1.0, "limit_test_batches": 1.0, "num_nodes": 1}
FIXED |= {"max_steps": -1, "fast_dev_run": False, "val_check_interval": 1.0}
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")  # https://pytorch.org/docs/stable/elastic/run.html
SILENCED = (  # Lightning's warnings about intended settings
    ".*LeafSpec.* is deprecated",
    "Total length of .list. across ranks is zero",  # data.val_from=none
    "You called .* no logger configured",  # logger=none
    "Checkpoint directory .* exists",  # a resumed run
    "The .srun. command is available",  # jobs of submitit
    ".*does not have many workers",  # the data are on the device already
    "You requested to overfit but enabled",  # debug=overfit: nothing is shuffled
    "It is recommended to use .self.log.*sync_dist=True",  # logged values are equal in all processes
)


def check_root(cfg: DictConfig) -> None:
    """Check keys that no constructor checks, required groups, and keys that depend on others.

    Raises:
        UsageError: one of them is of another type, out of range, or does not fit the others.
    """
    check_keys(cfg, KEYS)
    if not cfg.train and cfg.ckpt_path is None:
        raise UsageError("train=false: nothing to test; add ckpt_path=DIR/checkpoints/best.ckpt")
    for key, fixed in () if cfg.get("debug") else FIXED.items():
        if repr(value := cfg.trainer.get(key, fixed)) != repr(fixed):  # 1.0 is all batches, 1 only the first
            raise UsageError(f"trainer.{key}={as_typed(value)}: leave it out; expected {as_typed(fixed)}")
    devices = cfg.trainer.get("devices", 1)
    if devices not in (1, "1", "auto") and cfg.trainer.get("strategy", "auto") == "auto":
        raise UsageError(f"trainer.devices={devices}: expected 1; a run of several processes needs trainer=ddp")
    if isinstance(devices, int) and devices > (os.cpu_count() or 1):
        raise UsageError(f"trainer.devices={devices}: expected at most {os.cpu_count()}, the cores of this machine")
    nodes = {str(name): node for name, node in cfg.callbacks.items() if isinstance(node, DictConfig)}
    for name, node in nodes.items():
        file = node.get("filename")
        if name in ("best", "last") and file != name:  # what `load_run` and a resumed run look for
            raise UsageError(f"callbacks.{name}.filename={as_typed(file)}: leave it out; expected {name}")
        for key in {"dirpath", "path"} & set(node):
            if not Path(str(node[key])).is_relative_to(cfg.run_dir):
                raise UsageError(f"callbacks.{name}.{key}={as_typed(node[key])}: expected a path inside {cfg.run_dir}")
    monitoring = [name for name, node in nodes.items() if node.get("monitor") == cfg.monitor]
    if cfg.data.val_from == "none" and monitoring:
        values = {"best": "callbacks.best.monitor=step callbacks.best.mode=max"}
        remedy = " ".join(values.get(name, f"callbacks.{name}=null") for name in monitoring)
        raise UsageError(f"data.val_from=none: no {cfg.monitor} to monitor; add {remedy}")


def check_monitors(cfg: DictConfig, classifier: Classifier) -> None:
    """Check `monitor`, a validation metric, and each callback's, also a train metric, the rate, step or epoch.

    Raises:
        UsageError: an unknown metric, or the wrong mode, by torchmetrics' `higher_is_better`.
    """
    validated = classifier.monitored("val")
    logged = (*validated, *classifier.monitored("train"), "train/lr", "step", "epoch")
    keys = {"monitor": ("monitor_mode", validated)}
    for name, callback in cfg.callbacks.items():
        if isinstance(callback, DictConfig) and "monitor" in callback:
            keys[f"callbacks.{name}.monitor"] = (f"callbacks.{name}.mode", logged)
    for key, (mode_key, names) in keys.items():
        monitor, mode = OmegaConf.select(cfg, key), OmegaConf.select(cfg, mode_key, default="min")
        check_value(key, monitor, Literal[names])
        check_value(mode_key, mode, Mode)
        stage, _, name = monitor.partition("/")
        metric = dict(classifier.val_metrics.items()).get(name)
        lower = name == "loss" or getattr(metric, "higher_is_better", True) is False
        if stage in ("val", "train") and name != "lr" and mode != (expected := "min" if lower else "max"):
            raise UsageError(f"{mode_key}={mode}: {key}={monitor} needs {mode_key}={expected}")


def warn_of_overridden_model() -> None:
    """Warn if the model is not the experiment's own."""
    chosen = choices()
    if name := chosen.get("experiment"):
        folders = [source.path for source in HydraConfig.get().runtime.config_sources]
        for path in filter(Path.is_file, (Path(folder, "experiment", f"{name}.yaml") for folder in folders)):
            for entry in OmegaConf.select(OmegaConf.load(path), "defaults", default=()):
                if "override /model" in entry and (own := entry["override /model"]) != chosen["model"]:
                    log.warning("model=%s replaces the model of experiment=%s, %s", chosen["model"], name, own)


@contextmanager
def fitting(trainer: Trainer, checkpoint: Path | None) -> Iterator[None]:
    """Turn errors about Trainer settings, or before the first epoch about a checkpoint's state, into a UsageError."""
    try:
        yield
    except MisconfigurationException as error:
        raise UsageError(name_key("trainer", describe(error))) from error
    except Exception as error:
        if isinstance(error, USAGE_ERRORS) or checkpoint is None or any(one.restored for one in _resumes(trainer)):
            raise
        raise UsageError(f"{checkpoint}: cannot be continued ({describe(error)}); start without it") from error


def prepare_process(threads: int, seed: int) -> None:
    """Set process-wide threads and seeds; silence irrelevant messages."""
    set_up_gpus()
    for name in ("pytorch.utilities.rank_zero", "fabric.utilities.seed", "fabric.utilities.distributed"):
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)  # devices found, tips
    for message in SILENCED:
        warnings.filterwarnings("ignore", message=message)
    threading.excepthook = hide_full_disk
    # `deterministic` would fill all new memory first, a fifth of an epoch: no operation reads what none has written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    seed_everything(seed)


def hide_full_disk(args: threading.ExceptHookArgs) -> None:
    """Print the exception of a thread, except TensorBoard's OSError on a full disk, which ends the run as well."""
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


def is_secondary_process(cfg: DictConfig) -> bool:
    """Whether this process has a rank above 0 under `trainer=ddp`; only rank 0 writes the run folder and logs."""
    secondary = cfg.trainer.get("strategy", "auto") != "auto" and any(os.environ.get(n, "0") != "0" for n in RANKS)
    if secondary:
        logging.root.setLevel(logging.WARNING)
    return secondary


def available_data(cfg: DictConfig) -> DictConfig:
    """Replace LFW by drawn faces in the config where it is not available and `substitute_data` is true."""
    if not cfg.substitute_data:
        return cfg
    source = build_data(to_plain(cfg.data), cfg.split_seed, cfg.seed).source
    try:
        if isinstance(source, LFW):
            source.root()
        return cfg
    except UsageError as error:
        log.warning("Training on drawn faces, not on photos of people: %s", error)
    base, drawn = (to_plain(OmegaConf.load(CONF / "data" / f"{name}.yaml")) for name in ("base", "synthetic"))
    del drawn["defaults"]
    changed = cfg.copy()
    changed.data = {key: cfg.data[key] for key in base} | drawn
    return changed


def draw_seed(cfg: DictConfig, folder: Path, secondary: bool) -> DictConfig:
    """Replace `seed=null` in the config by the seed of the interrupted run in this folder, else by a new one.

    Raises:
        UsageError: processes under `trainer=ddp` would each draw another seed.
    """
    if cfg.seed is not None:
        return cfg
    saved = folder / ".hydra" / "config.yaml"
    if secondary and not saved.is_file():
        raise UsageError("seed=null: processes that torchrun starts would draw one each; give a number")
    seed = secrets.randbelow(2**32)
    if saved.is_file():
        content = saved.read_text(encoding="utf-8")
        seed = yaml.safe_load(content)["seed"]  # not by OmegaConf, which calls what the file interpolates
        check_value("seed", seed, Seed)
    return DictConfig(OmegaConf.merge(cfg, {"seed": seed}))


def seconds(trainer: Trainer) -> float:
    """Duration of the run in seconds, without interruptions."""
    return next((one.elapsed() for one in _resumes(trainer)), math.nan)


def _resumes(trainer: Trainer) -> list[Resume]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it where mypy does not see it
    return [callback for callback in callbacks if isinstance(callback, Resume)]


def device_name(trainer: Trainer, threads: int) -> str:
    """The GPU's name, or the processor's architecture and the number of threads."""
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(threads)
