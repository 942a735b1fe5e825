"""Find run folders and load each result.json into tables; unusable files are listed, never fatal."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lfw_seq.cli import UsageError
from lfw_seq.evaluation.settings import SEEDS, flat, show
from lfw_seq.runs.folder import LOCK, RESULT, read_json

OF_TEST = ("majority_rate", "predicted_classes")  # metrics without a stage
RUN = {RESULT, LOCK, ".hydra", "metrics.csv", "checkpoints"}  # a folder that holds any of these is a run
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ArithmeticError)
Skipped = tuple[str, str, str]  # folder, kind (failed, unfinished, debug, unusable or repeated) and reason


class Runs(NamedTuple):
    """Finished runs as tables with one row for each run."""

    facts: pd.DataFrame  # folder, seeds, split, image counts, parameters, seconds, versions etc.
    metrics: pd.DataFrame  # finite values by stage/metric; NaN where missing
    config: pd.DataFrame  # values of dotted keys as text; NaN where a run has no such key
    choices: pd.DataFrame  # the choice in each config group, where known
    skipped: list[Skipped]  # folders not used


def read(paths: Sequence[str | Path]) -> Runs:
    """Load every run in or below some paths: sweep folders, run folders, or globs of them.

    Raises:
        UsageError: a path does not exist, or none has a finished run.
    """
    roots = [root for path in paths for root in _expand(str(path))]
    top = os.path.commonpath([root.absolute() for root in roots])
    skipped: list[Skipped] = []
    rows = []
    for folder in _run_folders(roots, skipped):
        kind, reason = "unusable", ""
        try:
            result = read_json(folder / RESULT)
            if result["status"] == "failed":
                kind, reason = "failed", str(result.get("error"))
            elif debug := (result.get("choices") or {}).get("debug"):
                kind, reason = "debug", f"debug={debug} measures nothing"
            else:
                rows.append(_row(folder, os.path.relpath(folder, top), result))
        except FileNotFoundError:
            kind, reason = "unfinished", f"no {RESULT} yet"
        except DAMAGED as error:
            reason = f"not a result of lfw_seq ({type(error).__name__}: {error})"
        skipped += [(str(folder), kind, reason)] if reason else []
    if not rows:
        first = ": ".join(skipped[0]) if skipped else "give a sweep or run folder"
        raise UsageError(f"sweep={','.join(map(str, paths))}: no finished run in or under it; {first}")
    facts, metrics, config, choices = (pd.DataFrame(list(part)) for part in zip(*rows, strict=True))
    return Runs(facts, metrics, config, choices, skipped)


def _expand(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    matches = [path] if path.exists() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    if not (folders := [match for match in matches if match.is_dir()]):
        raise UsageError(f"sweep={pattern}: no such folder; expected a sweep folder, a run folder, or a glob of them")
    return folders


def _run_folders(roots: Sequence[Path], skipped: list[Skipped]) -> Iterator[Path]:
    """Yield each run folder once, sorted within a root, without descending into it or following links."""
    seen: set[Path] = set()
    errors: list[OSError] = []
    for root in roots:
        for name, folders, files in os.walk(root, onerror=errors.append):
            if RUN & {*files, *folders}:
                folders.clear()
                if (real := Path(name).resolve()) not in seen:
                    yield Path(name)
                seen.add(real)
            folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
    skipped += [(str(error.filename), "unusable", str(error.strerror)) for error in errors]


def _row(folder: Path, name: str, result: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """A row of each table of `Runs` from a result.json."""
    data, model, config = result["data"], result["model"], flat(result["config"])
    images = {stage: sum(data["counts"][stage]) for stage in ("train", "val", "test")}
    leaky, git = data.get("validation_is_test") is True, result.get("git") or {}
    split = [data["source"], data["class_names"], data["counts"]["test"], *map(config.get, SEEDS[1:])]
    facts = {
        "path": str(folder),
        "folder": name,
        "model": str(model["name"]),
        **{seed: show(config.get(seed)) for seed in SEEDS},
        "split": json.dumps(split),  # runs of the same split have the same test images
        # Nadeau and Bengio's n_test/n_train; validation images select the epoch, so they count as training images.
        "test_share": images["test"] / (images["train"] + (0 if leaky else images["val"])),
        "validation_is_test": leaky,
        **_finite({key: {**model, **result}.get(key) for key in ("parameters", "best_epoch", "epochs", "seconds")}),
        "device": result.get("device"),
        **{f"{stage}_images": count for stage, count in images.items()},
        **{key: str(data[key]) for key in ("source", "fingerprint")},
        "commit": str(git.get("commit") or "") + "-dirty" * bool(git.get("dirty")),
        "versions": ", ".join(f"{package} {version}" for package, version in (result.get("versions") or {}).items()),
    }
    choices = {key: value for key, value in (result.get("choices") or {}).items() if isinstance(value, str)}
    choices["model"] = facts["model"]
    own = {key: value for key, value in flat(result["metrics"], "/").items() if "/" in key or key in OF_TEST}
    metrics = dict.fromkeys(OF_TEST, math.nan) | _finite(own)
    return facts, metrics, {key: show(value) for key, value in config.items()}, choices


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in values.items() if type(value) in (int, float) and abs(value) < 1e18}
