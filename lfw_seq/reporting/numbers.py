"""The report's numbers as CSV, every digit of them."""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lfw_seq.reporting.keys import SEEDS
from lfw_seq.reporting.study import Study


def files(study: Study, folder: Path) -> dict[str, str]:
    """The text of each CSV file by its name; paths are told from the folder they will lie in."""
    return {
        "groups.csv": _csv(_groups(study)),
        "runs.csv": _csv(_runs(study, folder)),
        "effects.csv": _csv(vars(effect) for effect in study.effects),
        "tests.csv": _csv(_tests(study)),
    }


def _groups(study: Study) -> Iterable[dict[str, Any]]:
    ranks = {index: place for place, index in enumerate(study.ranked, start=1)}
    metrics = _metrics(study)
    for index, group in enumerate(study.groups.groups):
        summary, interval, corrected = group.summary, group.summary.interval, group.corrected
        yield {
            "group": index,
            "rank_by_validation": ranks.get(index),
            **group.settings,
            "runs": summary.n,
            "splits": len(group.splits),
            "metric": study.metric,
            **{name: getattr(summary, name) for name in ("mean", "sd", "min", "max")},
            "low": interval and interval.low,
            "high": interval and interval.high,
            "corrected_low": corrected and corrected.low,
            "corrected_high": corrected and corrected.high,
            "one_class_runs": group.one_class_runs,
            "validation_is_test": group.is_leaky,
            **{f"mean {name}": group.mean(name) for name in metrics},
        }


def _runs(study: Study, folder: Path) -> Iterable[dict[str, Any]]:
    metrics = _metrics(study)
    for index, group in enumerate(study.groups.groups):
        for run in group.runs:
            yield {
                "group": index,
                "folder": os.path.relpath(run.folder, folder),
                **group.settings,
                **{name: run.config.get(name) for name in SEEDS},
                "fingerprint": run.fingerprint,
                "parameters": run.parameters,
                "seconds": run.seconds,
                **{name: run.metrics.get(name) for name in metrics},
            }


def _tests(study: Study) -> Iterable[dict[str, Any]]:
    for pair in study.pairs:
        yield {
            "first": pair.first,
            "second": pair.second,
            "splits": pair.test.n,
            "difference": pair.test.difference,
            "low": pair.test.interval.low,
            "high": pair.test.interval.high,
            "t": pair.test.t,
            "p": pair.test.p,
            "p_holm": pair.adjusted,
        }


def _metrics(study: Study) -> list[str]:
    return sorted({name for group in study.groups.groups for run in group.runs for name in run.metrics})


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    """The rows under a header, all with the keys of the first."""
    text, lines = io.StringIO(), list(rows)
    if lines:
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return text.getvalue()
