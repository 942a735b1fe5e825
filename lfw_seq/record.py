"""What a finished run leaves to be read: result.json, predictions.csv, and where its numbers come from."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lfw_seq import runs, summary
from lfw_seq.errors import UsageError
from lfw_seq.runs import plain

if TYPE_CHECKING:
    from lfw_seq.data.module import FaceRows

PREDICTIONS = "predictions.csv"
PACKAGES = ("lfw_seq", "torch", "lightning", "torchmetrics", "scikit-learn", "hydra-core", "numpy", "pillow")


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
    result = {
        "status": "complete",
        "config_hash": runs.config_hash(cfg),
        "config": placeless(cfg),
        "choices": choices(),
        "data": summary.data_card(data),
        "model": {"name": model_name(cfg), "parameters": parameters},
        "metrics": summary.final_metrics(answered, data),
        "best_epoch": best_epoch,
        "epochs": epochs,
        "seconds": round(took, 1),
        "device": device(cfg),
        "versions": versions(),
        "git": git_state(),
    }
    runs.write_json(Path(cfg.run_dir) / runs.RESULT, result)
    return result


def placeless(cfg: DictConfig) -> dict[str, Any]:
    """The config of a run, its own folder being "."."""
    config: dict[str, Any] = plain(OmegaConf.merge(cfg, {"run_dir": "."}))
    return config


def write_answers(folder: Path, classifier: summary.Answered, data: FaceRows) -> None:
    """Write predictions.csv: one row for each test image, with what was answered."""
    tested = data.indices["test"]
    write_predictions(
        folder / PREDICTIONS,
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


def write_predictions(
    path: Path,
    files: Sequence[str],
    truth: Sequence[int],
    probabilities: Sequence[Sequence[float]],
    names: Sequence[str],
) -> None:
    """Write one row per image: file, true name, predicted name, and a probability for each person."""
    answers = zip(files, truth, probabilities, strict=True)
    rows = [[file, names[true], names[max(range(len(row)), key=row.__getitem__)], *row] for file, true, row in answers]
    runs.write_csv(path, ["file", "true", "predicted", *names], rows)


def read_predictions(path: Path) -> tuple[list[str], list[int], list[list[float]], list[str]]:
    """What `write_predictions` wrote: files, truth, probabilities and names.

    Raises:
        UsageError: the file is missing or no such table.
    """
    import csv

    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        names = header[3:]
        truth = [names.index(row[1]) for row in rows]
        return [row[0] for row in rows], truth, [[float(cell) for cell in row[3:]] for row in rows], names
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"{path}: not a table of predictions ({error}); run the training again") from error


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that make the numbers."""
    from importlib.metadata import version

    return {"python": sys.version.split()[0], **{package: version(package) for package in PACKAGES}}


def git_state() -> dict[str, Any] | None:
    """The commit this code stands at and whether files differ from it; None outside a git checkout."""
    import subprocess

    root = Path(__file__).parent.parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None
