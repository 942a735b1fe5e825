"""Compare configurations: the best by validation, the effect of each key, which differences are more than chance."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from lfw_seq.cli import UsageError
from lfw_seq.reports.group import ABSENT, group, levels, short
from lfw_seq.reports.read import Runs, Skipped
from lfw_seq.reports.significance import estimate, holm

MAX_ALL_PAIRS = 15  # with more configurations, the best by validation is compared with each other one
SHARES = ("accuracy", "f1", "precision", "recall", "auroc")  # ends of the names of metrics from 0 to 1
UNKNOWN = (float("nan"),) * 6  # an estimate
COLUMNS = {"runs", "splits", "mean", "sd", "min", "max", "parameters", "seconds", "remark", "folder"}


@dataclass(frozen=True)
class Comparison:
    """All that a report shows; configurations have numbers from 0, and tables one row each or as told."""

    metric: str  # what is compared
    monitor: str | None  # the validation metric that ranks; None where the runs watched different ones
    mode: str  # whether monitor is better at its min or its max
    runs: pd.DataFrame  # number of the configuration, facts and metrics of each run that counts
    settings: pd.DataFrame  # text of each swept key
    decided: dict[str, list[str]]  # for each swept key, other keys that its value decides
    table: pd.DataFrame  # statistics
    ranked: list[int]  # configurations from the best by validation on, without those validated on test images
    effects: pd.DataFrame  # a row for each level of each swept key, the other keys averaged out
    pairs: pd.DataFrame  # a row for each test between two configurations
    skipped: list[Skipped]  # folders that do not count

    @property
    def order(self) -> list[int]:
        """All configurations: the ranked, then the others."""
        return self.ranked + [number for number in self.table.index if number not in set(self.ranked)]

    @property
    def names(self) -> dict[str, str]:
        """Short names of the swept keys: the last word, where it is no other key's and no column's."""
        last = {key: key.rpartition(".")[2] for key in self.settings}
        taken = [*last.values(), *COLUMNS]
        return {key: word if taken.count(word) == 1 else key for key, word in last.items()}

    def label(self, number: int) -> str:
        """A configuration in a few words, such as `model=gru dropout=0.3`."""
        values = [(name, self.settings.at[number, key]) for key, name in self.names.items()]
        return " ".join(f"{name}={short(value)}" for name, value in values if value != ABSENT) or "all runs"


def compare(found: Runs, metric: str, monitor: str | None = None) -> Comparison:
    """Compare the runs that have a metric.

    Args:
        found: what was read.
        metric: such as `test/accuracy`.
        monitor: the validation metric that ranks; by default what all runs watched.

    Raises:
        UsageError: no run has `metric` or `monitor`.
    """
    _check_metric("metric", metric, found.metrics)
    monitor = _choose_monitor(found, monitor)
    mode = "min" if str(monitor).endswith("loss") else "max"
    has = found.metrics[metric].notna()
    of_run, settings, decided = group(found.facts[has], found.config[has], found.choices[has])
    runs = pd.concat([of_run, found.facts, found.metrics], axis=1, join="inner")
    paths, repeats = found.facts["path"], has & ~has.index.isin(runs.index)
    skipped = [*found.skipped, *((path, "unusable", f"{metric} is missing or not finite") for path in paths[~has])]
    skipped += [(path, "repeated", "configuration, seeds and data of another run") for path in paths[repeats]]
    table = _summarize(runs, metric, monitor)
    rankable = table["monitor"].where(~table["validation_is_test"]).dropna()
    ranked = list(rankable.sort_values(ascending=mode == "min", kind="stable").index)
    effects, pairs = _effects(settings, table["mean"]), _pairs(runs, metric, table, ranked)
    return Comparison(metric, monitor, mode, runs, settings, decided, table, ranked, effects, pairs, skipped)


def _check_metric(key: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        names = sorted(metric for metric in known if metric.count("/") < 2)
        raise UsageError(f"{key}={name}: no run has it; expected one of {', '.join(names)}")


def _choose_monitor(found: Runs, monitor: str | None) -> str | None:
    """The validation metric that ranks."""
    if monitor is not None:
        _check_metric("monitor", monitor, [name for name in found.metrics if name.startswith("val/")])
        return monitor
    watched = found.config.reindex(columns=["monitor"])["monitor"].dropna().unique()
    return str(watched[0]) if len(watched) == 1 and watched[0].startswith("val/") else None


def _summarize(runs: pd.DataFrame, metric: str, monitor: str | None) -> pd.DataFrame:
    """Statistics of the metric for each configuration; Student's interval over runs, the corrected one over splits."""
    groups = runs.groupby("configuration")
    by_split = runs.groupby(["configuration", "split"])[metric].mean().groupby("configuration")
    share = groups["test_share"].mean()
    table = groups[metric].agg(runs="size", mean="mean", sd="std", min="min", max="max")
    plain = [(estimate(values) or UNKNOWN)[2:4] for _, values in groups[metric]]
    corrected = [(estimate(values, share[number]) or UNKNOWN)[2:4] for number, values in by_split]
    limits = (0, 1) if metric.endswith(SHARES) else (None, None)
    table[["low", "high"]] = np.clip(plain, *limits)
    table[["corrected_low", "corrected_high"]] = np.clip(corrected, *limits)
    table["splits"] = by_split.size()
    table["monitor"] = groups[monitor].mean() if monitor in runs else float("nan")
    table["majority_rate"] = groups["majority_rate"].mean()
    table["one_class_runs"] = (runs["predicted_classes"] == 1).groupby(runs["configuration"]).sum()
    table["validation_is_test"] = groups["validation_is_test"].any()
    return table


def _effects(settings: pd.DataFrame, means: pd.Series) -> pd.DataFrame:
    """The effect of each key alone: means over combinations of the other keys, each counting once.

    Only combinations that ran with every level of the key count; where there is none, all do, and the other keys
    differ between levels as well.
    """
    found = {key: levels(settings[key]) for key in settings}
    rows = []
    for key, (own, names) in found.items():
        others = [level for other, (level, _) in found.items() if other != key]
        cells = means.groupby([pd.Series(0, means.index), *others, own]).mean().unstack()
        matched = cells.dropna()
        used = cells if matched.empty else matched
        rows += [(key, name, used[name].mean(), used[name].count(), not matched.empty) for name in names]
    return pd.DataFrame(rows, columns=["key", "value", "mean", "combinations", "matched"])


def _pairs(runs: pd.DataFrame, metric: str, table: pd.DataFrame, ranked: Sequence[int]) -> pd.DataFrame:
    """Corrected paired tests on the splits that two configurations share, the surest difference first.

    Seeds on one split are averaged: they are no further splits.
    """
    scores = runs.pivot_table(index="split", columns="configuration", values=metric)
    shares = runs.groupby("configuration")["test_share"].mean()
    chosen = list(combinations(table.index[table["splits"] > 1], 2))
    if len(table) > MAX_ALL_PAIRS:
        chosen = [(best, other) for best in ranked[:1] for other in table.index if other != best]
    tests = (
        (pair, estimate((scores[pair[0]] - scores[pair[1]]).dropna(), shares[list(pair)].mean())) for pair in chosen
    )
    columns = ["first", "second", "splits", "difference", "low", "high", "t", "p"]
    pairs = pd.DataFrame([(*pair, *test) for pair, test in tests if test], columns=columns).astype({"p": float})
    return pairs.assign(p_holm=holm(pairs["p"])).sort_values("p", kind="stable", ignore_index=True)
