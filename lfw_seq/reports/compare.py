"""Compare configurations: the best by validation, the effect of each key, paired significance tests."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from lfw_seq.cli import UsageError
from lfw_seq.reports.group import ABSENT, group, levels, short
from lfw_seq.reports.read import Runs, Skipped
from lfw_seq.reports.significance import estimate, holm

MAX_ALL_PAIRS = 15  # with more configurations, only the best by validation is compared with each other one
SHARES = ("accuracy", "f1", "precision", "recall", "auroc")  # suffixes of metrics in [0, 1]
UNKNOWN = (float("nan"),) * 6  # in place of an Estimate
COLUMNS = {"runs", "splits", "mean", "sd", "min", "max", "parameters", "seconds", "remark", "folder"}  # of tables


@dataclass(frozen=True)
class Comparison:
    """What a report displays. Configurations are numbered from 0; tables have one row for each unless noted."""

    metric: str  # to compare
    monitor: str | None  # validation metric that ranks configurations; None if the runs monitored different ones
    mode: str  # "min" or "max": the better end of monitor
    runs: pd.DataFrame  # a row for each run used: number of its configuration, facts, metrics
    settings: pd.DataFrame  # value of each swept key, as text
    decided: dict[str, list[str]]  # for each swept key, the other keys that its value determines
    table: pd.DataFrame  # statistics of the metric
    ranked: list[int]  # configurations, best by validation first, without those validated on test images
    effects: pd.DataFrame  # a row for each level of each swept key, averaged over the other keys
    pairs: pd.DataFrame  # a row for each test between two configurations
    skipped: list[Skipped]  # folders not used

    @property
    def order(self) -> list[int]:
        """All configurations, the ranked ones first."""
        return self.ranked + [number for number in self.table.index if number not in set(self.ranked)]

    @property
    def names(self) -> dict[str, str]:
        """Short names of the swept keys: the last part of the dotted key where that is unique and no column name."""
        last = {key: key.rpartition(".")[2] for key in self.settings}
        taken = [*last.values(), *COLUMNS]
        return {key: word if taken.count(word) == 1 else key for key, word in last.items()}

    def label(self, number: int) -> str:
        """Short label of a configuration, such as `model=gru dropout=0.3`."""
        values = [(name, self.settings.at[number, key]) for key, name in self.names.items()]
        return " ".join(f"{name}={short(value)}" for name, value in values if value != ABSENT) or "all runs"


def compare(loaded: Runs, metric: str, monitor: str | None = None) -> Comparison:
    """Compare the runs that have a metric; configurations are ranked by `monitor`, by default that of all runs.

    Raises:
        UsageError: no run has `metric` or `monitor`.
    """
    _check_metric("metric", metric, loaded.metrics)
    config = loaded.config.reindex(columns=["monitor", "monitor_mode"])
    if monitor is not None:
        _check_metric("monitor", monitor, [name for name in loaded.metrics if name.startswith("val/")])
    else:
        monitors = config["monitor"].dropna().unique()
        monitor = str(monitors[0]) if len(monitors) == 1 and monitors[0].startswith("val/") else None
    modes = config.loc[config["monitor"] == monitor, "monitor_mode"].unique()  # of the runs that monitored it
    mode = "min" if str(monitor).endswith("/loss") or list(modes) == ["min"] else "max"
    usable = loaded.metrics[metric].notna()
    numbers, settings, decided = group(*(table[usable] for table in (loaded.facts, loaded.config, loaded.choices)))
    runs = pd.concat([numbers, loaded.facts, loaded.metrics], axis=1, join="inner")
    paths, repeats = loaded.facts["path"], usable & ~usable.index.isin(runs.index)
    skipped = [*loaded.skipped, *((path, "unusable", f"{metric} is missing or not finite") for path in paths[~usable])]
    skipped += [(path, "repeated", "configuration, seeds and data of another run") for path in paths[repeats]]
    table = _summarize(runs, metric, monitor)
    rankable = table["mean_monitor"].where(~table["validation_is_test"]).dropna()
    ranked = list(rankable.sort_values(ascending=mode == "min", kind="stable").index)
    effects, pairs = _effects(settings, table["mean"]), _pairs(runs, metric, table, ranked)
    return Comparison(metric, monitor, mode, runs, settings, decided, table, ranked, effects, pairs, skipped)


def _check_metric(key: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        names = sorted(metric for metric in known if metric.count("/") < 2)
        raise UsageError(f"{key}={name}: no run has it; expected one of {', '.join(names)}")


def _summarize(runs: pd.DataFrame, metric: str, monitor: str | None) -> pd.DataFrame:
    """Statistics of the metric by configuration: Student's interval over runs, the corrected interval over splits."""
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
    table["mean_monitor"] = groups[monitor].mean() if monitor in runs else float("nan")
    table["majority_rate"] = groups["majority_rate"].mean()
    table["one_class_runs"] = (runs["predicted_classes"] == 1).groupby(runs["configuration"]).sum()
    table["validation_is_test"] = groups["validation_is_test"].any()
    return table


def _effects(settings: pd.DataFrame, means: pd.Series) -> pd.DataFrame:
    """Marginal effect of each key: the mean over the combinations of the other keys, with equal weights.

    Uses the combinations that ran with every level of the key; without any, all of them, `matched` is False, and the
    other keys differ between levels as well.
    """
    by_key = {key: levels(settings[key]) for key in settings}
    rows = []
    for key, (own, names) in by_key.items():
        others = [level for other, (level, _) in by_key.items() if other != key]
        cells = means.groupby([pd.Series(0, means.index), *others, own]).mean().unstack()
        matched = cells.dropna()
        used = cells if matched.empty else matched
        rows += [(key, name, used[name].mean(), used[name].count(), not matched.empty) for name in names]
    return pd.DataFrame(rows, columns=["key", "value", "mean", "combinations", "matched"])


def _pairs(runs: pd.DataFrame, metric: str, table: pd.DataFrame, ranked: Sequence[int]) -> pd.DataFrame:
    """Corrected paired t-tests on the splits that two configurations share, sorted by p.

    Scores of several seeds on one split are averaged first, as they are no independent splits.
    """
    scores = runs.pivot_table(index="split", columns="configuration", values=metric)
    shares = runs.groupby("configuration")["test_share"].mean()
    chosen = list(combinations(table.index[table["splits"] > 1], 2))
    if len(table) > MAX_ALL_PAIRS and ranked:
        chosen = [(best, other) for best in ranked[:1] for other in table.index if other != best]
    tests = [estimate((scores[one] - scores[two]).dropna(), shares[[one, two]].mean()) for one, two in chosen]
    rows = [(*pair, *test) for pair, test in zip(chosen, tests, strict=True) if test]
    columns = ["first", "second", "splits", "difference", "low", "high", "t", "p"]
    pairs = pd.DataFrame(rows, columns=columns).astype({"p": float})
    return pairs.assign(p_holm=holm(pairs["p"])).sort_values("p", kind="stable", ignore_index=True)
