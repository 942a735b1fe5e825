"""Find run folders and read what their result.json says; what cannot be read is named, and never fatal."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lfw_seq.errors import UsageError
from lfw_seq.reporting.folders import run_folders
from lfw_seq.runs import RESULT

PLAIN = (str, int, float, bool, type(None))
Value = str | int | float | bool | None  # of a key; a list is its JSON


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it is.
        config: its resolved configuration, dotted keys.
        choices: which file of each config group made it, as far as known.
        metrics: its finite numbers, `stage/metric` and the like.
        source: the data in words.
        fingerprint: of the data.
        class_names: the people.
        counts: images of each person in `train`, `val` and `test`.
        validation_is_test: validated on the test images, the lab's leak.
        parameters: of the net; None where not told.
        seconds: from start to end; None where not told.
    """

    folder: Path
    config: dict[str, Value]
    choices: dict[str, str]
    metrics: dict[str, float]
    source: str
    fingerprint: str
    class_names: tuple[str, ...]
    counts: dict[str, list[int]]
    validation_is_test: bool
    parameters: float | None
    seconds: float | None

    @property
    def test_share(self) -> float:
        """n_test / n_train of Nadeau and Bengio; validation images are train: the run has learned from them."""
        learned = sum(self.counts["train"]) + (0 if self.validation_is_test else sum(self.counts["val"]))
        return sum(self.counts["test"]) / learned


@dataclass
class Found:
    """All that lies in the folders, each list in the order of paths.

    Attributes:
        runs: the finished ones.
        failed: folder and error of each failed run.
        left_out: folder of each result.json that cannot be used, and why.
        unfinished: folders of runs without a result.json.
    """

    runs: list[Run] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)


def read(places: Sequence[str | Path], metric: str) -> Found:
    """Read every run in or under some places.

    Args:
        places: sweep folders, run folders, or globs of them.
        metric: what a run must have to be of use.

    Raises:
        UsageError: a place does not exist, or there is no run in any.
    """
    found = Found()
    for folder in run_folders(places, found.left_out):
        if not (folder / RESULT).is_file():
            found.unfinished.append(folder)
            continue
        try:
            result = _load(folder)
            if result["status"] == "failed":
                found.failed.append((folder, str(result.get("error", "no error kept"))))
            else:
                found.runs.append(_run(folder, result, metric))
        except (OSError, ValueError, RecursionError) as error:
            found.left_out.append((folder, " ".join(str(error).split()) or type(error).__name__))
    if not (found.runs or found.failed or found.left_out or found.unfinished):
        raise UsageError(f"sweep={','.join(map(str, places))}: no {RESULT} in or under it; give a sweep or run folder")
    return found


def _load(folder: Path) -> dict[str, Any]:
    try:
        result = json.loads((folder / RESULT).read_bytes())
    except ValueError as error:
        raise ValueError(f"not JSON, or cut off: {error}") from error
    if not isinstance(result, dict) or result.get("status") not in ("complete", "failed"):
        raise ValueError("not a result of this project: it has no status complete or failed")
    return result


def _run(folder: Path, result: dict[str, Any], metric: str) -> Run:
    data, model = _part(result, "data"), _part(result, "model")
    metrics = {
        name: number for name, value in _part(result, "metrics").items() if (number := _number(value)) is not None
    }
    if metric not in metrics:
        raise ValueError(f"metrics.{metric} is {_part(result, 'metrics').get(metric)!r}: expected a finite number")
    counts: dict[str, Any] = {stage: _part(data, "counts").get(stage) for stage in ("train", "val", "test")}
    if not all(map(_is_counts, counts.values())) or not (sum(counts["train"]) and sum(counts["test"])):
        raise ValueError("data.counts: expected whole numbers, one a person, for train, val and test")
    names, choices = data.get("class_names"), result.get("choices")
    return Run(
        folder=folder,
        config=flatten(_part(result, "config")),
        choices={**(choices if isinstance(choices, dict) else {}), "model": str(model.get("name"))},
        metrics=metrics,
        source=str(data.get("source")),
        fingerprint=str(data.get("fingerprint")),
        class_names=tuple(map(str, names)) if isinstance(names, list) else (),
        counts=counts,
        validation_is_test=data.get("validation_is_test") is True,
        parameters=_number(model.get("parameters")),
        seconds=_number(result.get("seconds")),
    )


def _part(result: dict[str, Any], name: str) -> dict[str, Any]:
    part = result.get(name)
    if not isinstance(part, dict):
        raise ValueError(f"{name} is {part!r:.40}: expected an object")
    return part


def _is_counts(part: object) -> bool:
    return isinstance(part, list) and all(type(count) is int and count >= 0 for count in part)


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]


def flatten(config: dict[str, Any]) -> dict[str, Value]:
    """Dotted keys and their values; a list becomes its JSON, an empty group vanishes."""
    flat: dict[str, Value] = {}
    open_groups: list[tuple[str, dict[str, Any]]] = [("", config)]
    while open_groups:
        prefix, group = open_groups.pop()
        for name, value in group.items():
            if isinstance(value, dict):
                open_groups.append((f"{prefix}{name}.", value))
            else:
                flat[f"{prefix}{name}"] = value if type(value) in PLAIN else json.dumps(value, default=str)
    return flat
