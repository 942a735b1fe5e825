"""Files of a finished run: result.json with versions and commit, and predictions.csv."""

from __future__ import annotations

import csv
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lfw_seq.cli import CONF, UsageError
from lfw_seq.parts import to_plain
from lfw_seq.runs import folder as runs

if TYPE_CHECKING:
    from lfw_seq.data.module import FaceRows

PREDICTIONS = "predictions.csv"
UNKNOWN = "unknown"  # predicted name below the threshold
GUARDED = tuple(f"'{sign}" for sign in runs.FORMULA)  # see csv_text
PACKAGES = ("lfw_seq", "torch", "lightning", "torchmetrics", "scikit-learn", "hydra-core", "numpy", "pillow")


def write_result(
    cfg: DictConfig,
    experiment: str,
    data: FaceRows,
    metrics: dict[str, Any],
    *,
    parameters: int,
    seconds: float,
    device: str,
    best_epoch: int = 0,
    epochs: int = 0,
) -> dict[str, Any]:
    """Write result.json, the last file of a run, and return its content. It has no paths, as folders may move.

    `experiment` is the config's hash, `best_epoch` the epoch of the tested weights, from 1.
    """
    result = {
        "status": "complete",
        "config_hash": experiment,
        "config": without_paths(cfg),
        "choices": choices(),
        "data": {
            "source": data.faces.source,
            "fingerprint": data.faces.fingerprint,
            "shape": [len(data.faces.labels), *data.shape],
            "class_names": list(data.faces.names),
            "counts": {stage: data.class_counts(stage) for stage in data.indices},
            "validation_is_test": data.split.val_from == "test",
        },
        "model": {"name": model_name(cfg), "parameters": parameters},
        "metrics": metrics,
        "best_epoch": best_epoch,
        "epochs": epochs,
        "seconds": round(seconds, 1),
        "device": device,
        "versions": versions(),
        "git": git_state(),
    }
    runs.write_json(Path(cfg.run_dir) / runs.RESULT, result)
    return result


def without_paths(cfg: DictConfig) -> dict[str, Any]:
    """The config of a run as plain values, with "." as its own folder."""
    config: dict[str, Any] = to_plain(OmegaConf.merge(cfg, {"run_dir": "."}))
    return config


def model_name(cfg: DictConfig) -> str:
    """Name of the baseline, else of the choice in the group `model`, else of the model's class."""
    return str(cfg.get("baseline") or choices().get("model") or cfg.model._target_.rpartition(".")[2])


def choices() -> dict[str, str]:
    """The choice of each config group, `experiment` included; empty outside a Hydra command."""
    if not HydraConfig.initialized():
        return {}
    chosen = HydraConfig.get().runtime.choices.items()
    return {str(group): str(name) for group, name in chosen if name and not str(group).startswith("hydra")}


def cpu_name(threads: int) -> str:
    """The processor's architecture and the number of threads."""
    return f"{platform.machine()} CPU, {threads} thread{'s' * (threads > 1)}"


def write_predictions(folder: Path, data: FaceRows, probabilities: Sequence[Sequence[float]]) -> None:
    """Write predictions.csv: one row per test image with its file, true and predicted name, and all probabilities.

    Args:
        folder: the run folder.
        data: with the test images.
        probabilities: (N, C) of all test images, or of the first N under `debug=limit`.
    """
    tested, faces = data.indices["test"][: len(probabilities)], data.faces
    files, truth = [faces.files[index] for index in tested], [int(faces.labels[index]) for index in tested]
    runs.write_text(folder / PREDICTIONS, predictions_csv(files, truth, probabilities, faces.names))


def predictions_csv(
    files: Sequence[str], truth: Sequence[int], probabilities: Sequence[Sequence[float]], names: Sequence[str]
) -> str:
    """Format the table of `write_predictions` for files (N), true ids (N), probabilities (N, C) and names (C)."""
    rows = [
        [file, names[person], names[max(range(len(row)), key=row.__getitem__)], *row]
        for file, person, row in zip(files, truth, probabilities, strict=True)
    ]
    return runs.csv_text(["file", "true", "predicted", *names], rows)


def read_predictions(path: Path) -> tuple[list[str], list[int], list[list[float]], list[str]]:
    """Read predictions.csv: files (N), true ids (N), probabilities (N, C) and names (C).

    Raises:
        UsageError: the file is missing or no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = [[cell[cell.startswith(GUARDED) :] for cell in row] for row in csv.reader(file)]
        names = header[3:]
        truth = [names.index(row[1]) for row in rows]
        return [row[0] for row in rows], truth, [[float(cell) for cell in row[3:]] for row in rows], names
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise UsageError(f"{path}: not a table of predictions ({error}); run the training again") from error


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that affect results."""
    return {"python": sys.version.split()[0], **{package: version(package) for package in PACKAGES}}


def git_state() -> dict[str, Any] | None:
    """The commit of this code and whether package or configs differ from it; None outside a checkout of its own."""
    root = CONF.parent

    def git(*arguments: str) -> str:
        line = ["git", "-C", str(root), *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return None
        changed = git("status", "--porcelain", "--", "lfw_seq", "conf")  # new files too
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None
