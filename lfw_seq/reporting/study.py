"""A report's content: the analysis of all runs found, and what to know before believing it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lfw_seq.reporting.analysis import Effect, Monitor, Pair, effects, find_monitor, pairs, rank
from lfw_seq.reporting.groups import Groups, group_runs
from lfw_seq.reporting.keys import ABSENT, short_names, show
from lfw_seq.reporting.results import Found


@dataclass(frozen=True)
class Study:
    """All a report tells.

    Attributes:
        metric: what is compared.
        monitor: what chooses; None where the runs disagree.
        found: the runs, and what was left out.
        groups: the configurations.
        ranked: numbers of groups, the best by validation first; those that cannot be ranked are not in it.
        effects: of each swept key.
        pairs: tests, the surest difference first.
        notes: what a reader has to know before believing a number.
    """

    metric: str
    monitor: Monitor | None
    found: Found
    groups: Groups
    ranked: list[int]
    effects: list[Effect]
    pairs: list[Pair]
    notes: list[str]

    @property
    def order(self) -> list[int]:
        """Numbers of all groups: the ranked, then the others."""
        ranked = set(self.ranked)
        return self.ranked + [index for index in range(len(self.groups.groups)) if index not in ranked]

    def label(self, index: int) -> str:
        """A group in a few words."""
        settings = self.groups.groups[index].settings
        return (
            " ".join(f"{self.names[key]}={show(value)}" for key, value in settings.items() if value != ABSENT)
            or "all runs"
        )

    @property
    def names(self) -> dict[str, str]:
        """The swept keys and their short names."""
        return short_names(self.groups.together)


def study(found: Found, metric: str, monitor: str | None, monitor_mode: str | None) -> Study:
    """Analyse the runs.

    Raises:
        UsageError: `monitor` or `monitor_mode` is not one of those there are.
    """
    groups = group_runs(found.runs, metric)
    chooser = find_monitor(groups.groups, monitor, monitor_mode)
    ranked = rank(groups.groups, chooser)
    tested = pairs(groups.groups, ranked)
    told = notes(groups, chooser, tested)
    return Study(metric, chooser, found, groups, ranked, effects(groups), tested, told)


def notes(groups: Groups, monitor: Monitor | None, tested: Sequence[Pair]) -> list[str]:
    """What a reader has to know before believing a number."""
    parts, found = groups.groups, []
    one_class = sum(group.one_class_runs for group in parts)
    if one_class:
        total = sum(len(group.runs) for group in parts)
        found.append(
            f"{one_class} of {total} runs give every test image the same answer: "
            "their accuracy is the share of that person, not skill."
        )
    if leaky := sum(group.is_leaky for group in parts):
        found.append(
            f"{leaky} of {len(parts)} configurations were validated on their test images: "
            "their figures are too good, and they are not ranked."
        )
    if monitor is None and parts:
        found.append("The runs did not all watch one validation value: monitor=val/loss ranks them, for example.")
    sources = Counter(f"{run.source} ({run.fingerprint})" for group in parts for run in group.runs)
    if len(sources) > 1:
        found.append(f"The runs read different data: {', '.join(sources)}. Scores on different data do not compare.")
    if len(parts) > 1 and not tested:
        found.append(
            "No difference between configurations could be tested: that takes two splits or more that both ran on, "
            "such as split_seed=10,11,12,13,14. Seeds on one split tell how training varies, not how data does."
        )
    if groups.repeated:
        found.append(
            f"{len(groups.repeated)} runs repeat the configuration, seeds and data of another and are counted once, "
            f"the first of them {groups.repeated[0].folder}."
        )
    return found
