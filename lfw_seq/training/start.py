"""Where a run starts and ends: its seed, the checkpoint it goes on from, and the weights it tests."""

import logging
import secrets
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from lfw_seq.cli import UsageError
from lfw_seq.parts import check_value
from lfw_seq.runs.archive import METADATA, open_checkpoint
from lfw_seq.training.classifier import Classifier

log = logging.getLogger(__name__)


def draw_seed(cfg: DictConfig, folder: Path, helps: bool) -> DictConfig:
    """The config with a seed: for `seed=null` the one that the run in this folder began with, else a new one.

    Raises:
        UsageError: a process that helps another under `trainer=ddp` would draw a seed of its own.
    """
    if cfg.seed is not None:
        return cfg
    begun = folder / ".hydra" / "config.yaml"
    if helps and not begun.is_file():
        raise UsageError("seed=null: processes that torchrun starts would draw one each; give a number")
    seed = OmegaConf.load(begun).seed if begun.is_file() else secrets.randbelow(2**32)
    return DictConfig(OmegaConf.merge(cfg, {"seed": seed}))


def start_checkpoint(cfg: DictConfig, folder: Path, classifier: Classifier) -> tuple[Path | None, int]:
    """Where the run begins: the checkpoint it was interrupted at, or `ckpt_path`, and the epochs trained by then.

    A damaged one of its own is passed over.

    Raises:
        UsageError: the run was interrupted on other photos, or `ckpt_path` is none that it can go on from.
    """
    path = folder / "checkpoints" / "last.ckpt"
    if path.exists():
        try:
            checkpoint = open_checkpoint(path)
        except UsageError as error:
            log.warning("%s: starting again", error)
        else:
            if (checkpoint.get(METADATA) or {}).get("fingerprint") != classifier.metadata["fingerprint"]:
                raise UsageError(f"{folder} holds an unfinished run on other photos: put them back, or remove the run")
            epochs = int(checkpoint["epoch"]) + 1
            log.info("Going on after epoch %s of an interrupted run", epochs)
            return path, epochs
    if cfg.ckpt_path is None:
        return None, 0
    check_value("ckpt_path", cfg.ckpt_path, str)
    path = Path(cfg.ckpt_path).expanduser()
    return path, check_checkpoint(path, classifier, goes_on=cfg.train)


def check_checkpoint(path: Path, classifier: Classifier, goes_on: bool) -> int:
    """The epochs trained by the checkpoint `ckpt_path`, if it is of this net and people; to go on, of this optimizer.

    Raises:
        UsageError: it is not, is damaged, or asks for code.
    """
    if not path.is_file():
        raise UsageError(f"ckpt_path={path}: no such file; expected DIR/checkpoints/last.ckpt or best.ckpt of a run")
    checkpoint = open_checkpoint(path)
    found, own = checkpoint["state_dict"], classifier.state_dict()
    if {name: value.shape for name, value in found.items()} != {name: value.shape for name, value in own.items()}:
        raise UsageError(f"ckpt_path={path}: holds the weights of another net; choose model and data as its run did")
    if (checkpoint.get(METADATA) or {}).get("class_names") != classifier.metadata["class_names"]:
        raise UsageError(f"ckpt_path={path}: knows other people than data; choose data as its run did")
    new, saved = classifier.optimizer(classifier.parameters()), checkpoint["optimizer_states"][0]["param_groups"][0]
    if goes_on and (not {*new.defaults} <= {*saved} or bool(checkpoint["lr_schedulers"]) != bool(classifier.schedule)):
        raise UsageError(f"ckpt_path={path}: goes on with its own optimizer and schedule only; choose as its run did")
    return int(checkpoint["epoch"]) + 1


def restore_best(trainer: Trainer, classifier: Classifier, path: Path | None = None) -> int:
    """Load the weights of the best epoch, or of a given checkpoint; the number of their epoch, from 1.

    Where none was kept, the weights stay those of the last epoch.
    """
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
            path = Path(callback.best_model_path)
            break
    if path is None:
        log.warning("No best epoch was kept: testing the weights of the last one")
        return trainer.current_epoch
    checkpoint = torch.load(path, weights_only=True, map_location="cpu")
    classifier.load_state_dict(checkpoint["state_dict"])
    return int(checkpoint["epoch"]) + 1
