"""`python -m lfw_seq.train`: train a row reader, test it once, and leave a run folder. Read top to bottom."""

from __future__ import annotations

import logging
import math
import os
import platform
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lfw_seq import command, runs, summary, sweeps
from lfw_seq.errors import UsageError, check_choice, check_whole

if TYPE_CHECKING:  # torch and Lightning take seconds to import: inside the task, so that --help stays fast
    from collections.abc import Callable, Iterable

    from lightning import Callback, Trainer
    from torch import nn
    from torch.optim import Optimizer

    from lfw_seq.classifier import Classifier
    from lfw_seq.data.module import FaceRows

log = logging.getLogger(__name__)

MEMORY_COPIES = 5  # of the parameters: weights, gradients, Adam's two moments, the best weights


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
        What result.json holds.

    Raises:
        UsageError: a value, a file or a folder that the user has to mend.
    """
    check_root(cfg)
    folder, name = Path(cfg.run_dir), runs.config_hash(cfg)
    with runs.claimed(folder, name):
        prepare_process(cfg)
        from lfw_seq.data.module import build

        data = build(plain(cfg.data), cfg.split_seed, cfg.seed)
        data.setup()
        net = build_net(cfg, data)
        classifier = build_classifier(cfg, net, data)
        check_choice("monitor", cfg.monitor, classifier.monitored("val"))
        trainer = build_trainer(cfg)
        log.info("%s", summary.describe(data, net))
        if cfg.data.val_from == "test":
            log.warning("Validation is the test set (data.val_from=test): the test figures are too good")
        runs.save_config(cfg, folder, overrides())
        trainer.fit(classifier, data, ckpt_path=last_checkpoint(trainer, folder), weights_only=True)
        best_epoch = restore_best(trainer, classifier)
        if cfg.data.val_from != "none":
            trainer.validate(classifier, data, verbose=False)
        trainer.test(classifier, data, verbose=False)
        write_predictions(folder, classifier, data)
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
    watching = [name for name, callback in cfg.callbacks.items() if callback and callback.get("monitor") == cfg.monitor]
    if cfg.data.val_from == "none" and watching:
        values = {"best": "callbacks.best.monitor=step callbacks.best.mode=max"}
        remedy = " ".join(values.get(name, f"callbacks.{name}=null") for name in watching)
        raise UsageError(f"data.val_from=none: no {cfg.monitor} to watch; add {remedy}")


def prepare_process(cfg: DictConfig) -> None:
    """Set what a process shares with the jobs before it, and hide what nobody can act on."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or CUDA's matrix products are not reproducible
    import torch
    from lightning import seed_everything

    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # devices found, tips
    logging.getLogger("lightning.fabric.utilities.seed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", module="lightning")  # Lightning's to mend
    warnings.filterwarnings("ignore", message="Total length of .list. across ranks is zero")  # data.val_from=none
    warnings.filterwarnings("ignore", message="You called .* no logger configured", module="lightning")  # logger=none
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists", module="lightning")  # claimed by us
    torch.set_num_threads(cfg.threads)
    seed_everything(cfg.seed)


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
    """The optimizer without its parameters; built once on the net's to see whether its values are good."""
    from hydra.utils import instantiate

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = instantiate(cfg.optimizer, _convert_="all")
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


def write_result(
    cfg: DictConfig,
    data: FaceRows,
    answered: summary.Answered,
    parameters: int,
    took: float,
    best_epoch: int = 0,
    epochs: int = 0,
) -> dict[str, Any]:
    """Write result.json, the last file of a run; returns what it holds. No path in it: folders move."""
    here = OmegaConf.merge(cfg, {"run_dir": "."})
    result = {
        "status": "complete",
        "config_hash": runs.config_hash(cfg),
        "config": plain(here),
        "choices": choices(),
        "data": summary.data_card(data),
        "model": {"name": model_name(cfg), "parameters": parameters},
        "metrics": summary.final_metrics(answered, data),
        "best_epoch": best_epoch,
        "epochs": epochs,
        "seconds": round(took, 1),
        "device": device(cfg),
        "versions": runs.versions(),
        "git": runs.git_state(),
    }
    runs.write_json(Path(cfg.run_dir) / runs.RESULT, result)
    return result


def write_predictions(folder: Path, classifier: summary.Answered, data: FaceRows) -> None:
    """Write predictions.csv, one row per test image."""
    tested = data.indices["test"]
    runs.write_predictions(
        folder / runs.PREDICTIONS,
        [data.faces.files[index] for index in tested],
        data.faces.labels[tested].tolist(),
        classifier.probabilities["test"].tolist(),
        data.faces.names,
    )


def model_name(cfg: DictConfig) -> str:
    """The choice of the group `model` where there is one, else its class."""
    if HydraConfig.initialized():
        return str(HydraConfig.get().runtime.choices["model"])
    return str(cfg.model._target_.rpartition(".")[2])


def device(cfg: DictConfig) -> str:
    """What computed: the graphics card's name, or the processor's kind and the threads used of it."""
    import torch

    if "trainer" in cfg and cfg.trainer.accelerator != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {cfg.threads} thread{'s' * (cfg.threads > 1)}"


def choices() -> dict[str, str]:
    """Which file of each config group made the config, `experiment` among them."""
    if not HydraConfig.initialized():
        return {}
    chosen = HydraConfig.get().runtime.choices.items()
    return {str(group): str(name) for group, name in chosen if name and not str(group).startswith("hydra")}


def overrides() -> list[str]:
    """What the user typed."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def plain(node: Any) -> Any:
    """A config node as dicts, lists and primitives."""
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node


if __name__ == "__main__":
    command.start(main)
