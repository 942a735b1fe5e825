"""`python -m lfw_seq.train`: train a row reader, test it once, and leave a run folder. Read top to bottom."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import command, processes, record, runs, summary, sweeps
from lfw_seq.build import build_classifier, build_net, build_trainer
from lfw_seq.errors import UsageError, check_choice, check_whole
from lfw_seq.record import overrides, write_answers, write_result
from lfw_seq.runs import plain

if TYPE_CHECKING:  # torch and Lightning take seconds to import: inside the task, so that --help stays fast
    from lightning import Callback, Trainer

    from lfw_seq.classifier import Classifier

log = logging.getLogger(__name__)


@hydra.main(config_path=str(command.CONF), config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """The command; returns the best validation value of `monitor` for Hydra's sweepers, NaN without validation."""
    result = command.run(train, cfg)
    if result and not sweeps.in_sweep():
        print(summary.closing_table(result, cfg.run_dir))
    return float(result["metrics"].get(cfg.monitor, math.nan)) if result else math.nan


def train(cfg: DictConfig) -> dict[str, Any]:
    """Fit, restore the best weights, test once, write the run folder.

    Args:
        cfg: the composed `conf/train.yaml`.

    Returns:
        What result.json holds; nothing in the processes that help the first one under `trainer=ddp`.

    Raises:
        UsageError: a value, a file or a folder that the user has to mend.
    """
    check_root(cfg)
    folder, name, helps = Path(cfg.run_dir), runs.config_hash(cfg), processes.helps_another(cfg)
    with nullcontext() if helps else runs.claimed(folder, name):
        prepare_process(cfg)
        from lfw_seq.callbacks.card import Card
        from lfw_seq.data.module import build

        data = build(plain(cfg.data), cfg.split_seed, cfg.seed)
        data.setup()
        net = build_net(cfg, data)
        classifier = build_classifier(cfg, net, data)
        check_watched(cfg, classifier)
        trainer = build_trainer(cfg)
        trainer.callbacks.append(Card(record.placeless(cfg), data))  # type: ignore[attr-defined]
        log.info("%s", summary.describe(data, net))
        if cfg.data.val_from == "test":
            log.warning("Validation is the test set (data.val_from=test): the test figures are too good")
        if not helps:
            runs.save_config(cfg, folder, overrides())
        with misconfigured():
            trainer.fit(classifier, data, ckpt_path=last_checkpoint(trainer, folder), weights_only=True)
        best_epoch = restore_best(trainer, classifier)
        if cfg.data.val_from != "none":
            trainer.validate(classifier, data, verbose=False)
        trainer.test(classifier, data, verbose=False)
        if helps:
            return {}
        write_answers(folder, classifier, data)
        forget_before(folder)
        size = summary.count_parameters(net)
        result = write_result(cfg, data, classifier, size, seconds(trainer), best_epoch, trainer.current_epoch)
    return result


def check_root(cfg: DictConfig) -> None:
    """Check the keys no constructor takes."""
    check_whole("seed", cfg.seed, 0, 2**32 - 1)
    check_whole("threads", cfg.threads, 1, 1024)
    check_choice("monitor_mode", cfg.monitor_mode, ("min", "max"))
    check_whole("trainer.max_epochs", cfg.trainer.max_epochs)
    check_whole("trainer.accumulate_grad_batches", cfg.trainer.get("accumulate_grad_batches", 1))
    for key, whole in (("check_val_every_n_epoch", 1), ("limit_val_batches", 1.0), ("limit_test_batches", 1.0)):
        if repr(value := cfg.trainer.get(key, whole)) != repr(whole):  # 1.0 is all batches, 1 the first alone
            raise UsageError(
                f"trainer.{key}={value}: leave it out; a run reads all validation images each epoch and all test images"
            )
    watching = [name for name, callback in cfg.callbacks.items() if callback and callback.get("monitor") == cfg.monitor]
    if cfg.data.val_from == "none" and watching:
        values = {"best": "callbacks.best.monitor=step callbacks.best.mode=max"}
        remedy = " ".join(values.get(name, f"callbacks.{name}=null") for name in watching)
        raise UsageError(f"data.val_from=none: no {cfg.monitor} to watch; add {remedy}")


def check_watched(cfg: DictConfig, classifier: Classifier) -> None:
    """Check what a sweep and callbacks watch: a validation metric; one of any stage, the rate, a step or an epoch."""
    check_choice("monitor", cfg.monitor, classifier.monitored("val"))
    known = (*classifier.monitored("val"), *classifier.monitored("train"), "train/lr", "step", "epoch")
    for name, callback in cfg.callbacks.items():
        if callback and callback.get("monitor") is not None:
            check_choice(f"callbacks.{name}.monitor", callback.monitor, known)


@contextmanager
def misconfigured() -> Iterator[None]:
    """Have what Lightning finds wrong with its Trainer's settings end in one line, as every mistake does."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        yield
    except MisconfigurationException as error:
        raise UsageError(f"trainer: {error}") from error


def prepare_process(cfg: DictConfig) -> None:
    """Set what a process shares with the jobs before it, and hide what nobody can act on."""
    os.environ.setdefault("OMP_NUM_THREADS", str(cfg.threads))  # read at the import of NumPy's libraries and torch
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or CUDA's matrix products are not reproducible
    import torch
    from lightning import seed_everything

    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # devices found, tips
    for name in ("seed", "distributed"):
        logging.getLogger(f"lightning.fabric.utilities.{name}").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", module="lightning")  # Lightning's to mend
    warnings.filterwarnings("ignore", message="Total length of .list. across ranks is zero")  # data.val_from=none
    warnings.filterwarnings("ignore", message="You called .* no logger configured", module="lightning")  # logger=none
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists", module="lightning")  # claimed by us
    warnings.filterwarnings("ignore", message="The .srun. command is available", module="lightning")  # submitit's jobs
    torch.set_num_threads(cfg.threads)
    seed_everything(cfg.seed)


def last_checkpoint(trainer: Trainer, folder: Path) -> Path | None:
    """Where an interrupted run goes on; TensorBoard forgets what it logged after that."""
    from lfw_seq.checkpoints import find_last
    from lfw_seq.tensorboard import EpochLogger

    found = find_last(folder / "checkpoints")
    if found is None:
        return None
    path, epochs = found
    log.info("Going on after epoch %s of an interrupted run", epochs)
    for logger in trainer.loggers:
        if isinstance(logger, EpochLogger):
            logger.go_on_after(epochs)
    return path


def forget_before(folder: Path) -> None:
    """Remove the checkpoint before the last: a finished run needs none to fall back on."""
    from lfw_seq.checkpoints import BEFORE

    (folder / "checkpoints" / BEFORE).unlink(missing_ok=True)


def seconds(trainer: Trainer) -> float:
    """What the run took, up to now."""
    from lfw_seq.callbacks.resume import Resume

    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback.elapsed() for callback in callbacks if isinstance(callback, Resume)), math.nan)


def restore_best(trainer: Trainer, classifier: Classifier) -> int:
    """Load the weights of the best epoch, or keep the last where none was kept; its number from 1."""
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint

    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
            checkpoint = torch.load(callback.best_model_path, weights_only=True, map_location="cpu")
            classifier.load_state_dict(checkpoint["state_dict"])
            return int(checkpoint["epoch"]) + 1
    log.warning("No best epoch was kept: testing the weights of the last one")
    return trainer.current_epoch


if __name__ == "__main__":
    command.start(main)
