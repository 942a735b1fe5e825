"""Callbacks of every run: relocatable checkpoints, exact resume, and metrics.csv; choice of the checkpoint to load."""

import io
import logging
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig

from lfw_seq.cli import UsageError, as_typed, describe
from lfw_seq.data.module import SPLIT, derive_seed
from lfw_seq.parts import check_value
from lfw_seq.runs.archive import METADATA, open_checkpoint
from lfw_seq.runs.folder import RESULT, csv_text, write_bytes, write_text
from lfw_seq.runs.record import PREDICTIONS
from lfw_seq.training.classifier import Classifier

log = logging.getLogger(__name__)

RESUME = "resume"  # a checkpoint's key


class CheckpointFiles(TorchCheckpointIO):
    """Write checkpoints atomically: Lightning moves them from the system's temporary folder.

    From another disk that is a copy, which is torn when the process is killed.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint, and create its folder when missing."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), content.getvalue(), sync=False)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint as `open_checkpoint` does, whoever wrote it."""
        return open_checkpoint(Path(path))


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback, but a resumed run uses only file names of a checkpoint, never its folders.

    So a run folder can be moved, and a foreign checkpoint cannot make Lightning remove files outside it.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score, with all paths inside this run's folder."""
        folder = Path(self.dirpath or "")

        def inside(path: object) -> str:
            file = folder / Path(str(path)).name
            return str(file) if file.is_file() else ""

        state = {**state_dict, "dirpath": self.dirpath}
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[key] = inside(state.get(key))
        known = {inside(path): score for path, score in dict(state["best_k_models"]).items()}
        state["best_k_models"] = {path: score for path, score in known.items() if path}
        if not state["best_model_path"]:
            state["best_model_score"] = None
        super().load_state_dict(state)
        self.current_score = state["current_score"]  # not restored by Lightning


class Resume(Callback):
    """Make randomness a function of seed and epoch, and save state that Lightning's checkpoints lack.

    The order of batches is such a function already. torch is reseeded each epoch, so that dropout and augmentation
    draw as in an uninterrupted run. Lightning's checkpoints do not store whether early stopping has triggered.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seconds = 0.0  # duration of the run before its last interruption
        self.restored = False  # whether training has begun, with all state of a checkpoint restored
        self._started = time.perf_counter()
        self._stopped = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop again if early stopping had triggered before the run was killed."""
        self.restored = True
        trainer.should_stop = trainer.should_stop or (self._stopped and bool(trainer.early_stopping_callbacks))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed all devices; under `trainer=ddp` each rank differently, rank 0 as a run of one process."""
        seed = derive_seed(self.seed, trainer.current_epoch)
        torch.manual_seed(derive_seed(seed, trainer.global_rank) if trainer.global_rank else seed)

    def elapsed(self) -> float:
        """Duration of this run in seconds, including the time before an interruption."""
        return self.seconds + time.perf_counter() - self._started

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save whether early stopping has triggered, and the time so far."""
        checkpoint[RESUME] = {"stopped": trainer.should_stop, "seconds": self.elapsed()}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore both."""
        self._stopped, self.seconds = bool(checkpoint[RESUME]["stopped"]), float(checkpoint[RESUME]["seconds"])


class History(Callback):
    """Write metrics.csv: one row per epoch with its number from 1, the learning rate, and every metric."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        if self.path.name in (RESULT, PREDICTIONS):
            raise UsageError(f"callbacks.history.path={path}: expected another file; that one holds something else")
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's row, in rank 0 only."""
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        self.rows.append({"epoch": trainer.current_epoch + 1, **metrics})
        names = list(dict.fromkeys(name for row in self.rows for name in row))  # an older version may have had others
        text = csv_text(names, [[row.get(name, "") for name in names] for row in self.rows])
        write_text(self.path, text, sync=False)  # a resumed run writes all rows again

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        self.rows = list(state_dict["rows"])


def start_checkpoint(cfg: DictConfig, folder: Path, classifier: Classifier) -> tuple[Path | None, int]:
    """Checkpoint to start from, that of the interrupted run or `ckpt_path`, and the number of its epochs.

    A damaged checkpoint of the run itself is ignored.

    Raises:
        UsageError: the run was interrupted on other photos, or `ckpt_path` is missing, damaged, contains code, or is
            of another net, other training images or, to train on, another optimizer or a run that has ended by itself.
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
            log.info("Resuming after epoch %s of an interrupted run", epochs)
            return path, epochs
    if cfg.ckpt_path is None:
        return None, 0
    check_value("ckpt_path", cfg.ckpt_path, str)
    path = Path(cfg.ckpt_path).expanduser()
    if not path.is_file():
        raise UsageError(f"ckpt_path={path}: no such file; expected DIR/checkpoints/last.ckpt or best.ckpt of a run")
    checkpoint = open_checkpoint(path)
    try:
        _check_start(cfg, checkpoint, classifier)
    except Exception as error:  # a crafted file can raise anything
        raise UsageError(f"ckpt_path={path}: {describe(error)}") from error
    return path, int(checkpoint["epoch"]) + 1


def _check_start(cfg: DictConfig, checkpoint: dict[str, Any], classifier: Classifier) -> None:
    """Raise ValueError for a checkpoint that this run cannot continue, or whose training images differ."""
    loaded, own, metadata = checkpoint["state_dict"], classifier.state_dict(), checkpoint.get(METADATA) or {}
    if {name: value.shape for name, value in loaded.items()} != {name: value.shape for name, value in own.items()}:
        raise ValueError("holds the weights of another net; choose model and data as its run did")
    if _training_images(metadata) != _training_images(classifier.metadata):
        raise ValueError("trained on other images, maybe test images here; choose data and split_seed as its run did")
    if not cfg.train:
        return
    for group in ("optimizer", "schedule"):  # Lightning restores the checkpoint's
        before, now = (config.get(group) or {} for config in (metadata["config"], classifier.metadata["config"]))
        for key in sorted({*before, *now} - {"fused"}):
            if before.get(key) != now.get(key):
                was = as_typed(before.get(key))
                raise ValueError(f"continues with its own optimizer and schedule only, and its {group}.{key} is {was}")
    epochs, done = metadata["config"]["trainer"]["max_epochs"], checkpoint["epoch"] + 1
    if classifier.schedule and epochs != cfg.trainer.max_epochs:
        raise ValueError(f"its schedule ends with its run; expected trainer.max_epochs={epochs}")
    if done >= cfg.trainer.max_epochs:
        raise ValueError(f"has {done} epochs behind it; expected a trainer.max_epochs above, or train=false")
    if checkpoint[RESUME]["stopped"] and cfg.callbacks.get("early_stopping"):
        raise ValueError("its run was stopped early; add callbacks.early_stopping=null to train on")


def _training_images(metadata: dict[str, Any]) -> list[Any]:
    """What determines the training images of a checkpoint, from its metadata."""
    config = metadata.get("config") or {}
    return [metadata.get("fingerprint"), config.get("split_seed"), *map((config.get("data") or {}).get, SPLIT)]


def restore_best(trainer: Trainer, classifier: Classifier, path: Path | None = None) -> int:
    """Load the weights of the best epoch, else of the checkpoint `path`; returns their epoch, from 1.

    Without either, the weights of the last epoch stay.
    """
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
            path = Path(callback.best_model_path)
            break
    if path is None:
        log.warning("No best epoch was kept: testing the weights of the last one")
        return trainer.current_epoch
    checkpoint = open_checkpoint(path)
    classifier.load_state_dict(checkpoint["state_dict"])
    return int(checkpoint["epoch"]) + 1
