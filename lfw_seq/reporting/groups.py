"""Runs of one configuration that differ by seeds only: a group. What groups differ by: the swept keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lfw_seq import statistics
from lfw_seq.reporting.keys import ABSENT, SEEDS, copies_of_seeds, experiment, in_order, swept
from lfw_seq.reporting.results import Run, Value

DEVICE_CHOICES = ("trainer", "logger")  # where it ran and what was shown
Split = tuple[Any, ...]  # equal for runs tested on the same images


@dataclass(frozen=True)
class Group:
    """A configuration and its runs.

    Attributes:
        settings: the value of each swept key.
        runs: at least one.
        metric: what is compared.
    """

    settings: dict[str, Value]
    runs: list[Run]
    metric: str

    @cached_property
    def summary(self) -> statistics.Summary:
        """Of the metric over the runs."""
        return statistics.summarise(self.values(self.metric))

    @cached_property
    def splits(self) -> dict[Split, float]:
        """The metric's mean over the runs on each split."""
        values: dict[Split, list[float]] = {}
        for run in self.runs:
            values.setdefault(split(run), []).append(run.metrics[self.metric])
        return {key: statistics.mean(part) for key, part in values.items()}

    @property
    def test_share(self) -> float:
        """n_test / n_train, the mean over the runs."""
        return statistics.mean([run.test_share for run in self.runs])

    @property
    def corrected(self) -> statistics.Interval | None:
        """The interval that knows that training sets overlap; None for one split."""
        return statistics.corrected_interval(list(self.splits.values()), self.test_share)

    @property
    def one_class_runs(self) -> int:
        """How many runs give every test image the same answer."""
        return self.values("predicted_classes").count(1)

    @property
    def is_leaky(self) -> bool:
        """Whether its validation images are its test images."""
        return any(run.validation_is_test for run in self.runs)

    def values(self, name: str) -> list[float]:
        """A metric of the runs that have it."""
        return [run.metrics[name] for run in self.runs if name in run.metrics]

    def mean(self, name: str) -> float | None:
        """A metric's mean; None unless every run has it."""
        values = self.values(name)
        return statistics.mean(values) if len(values) == len(self.runs) else None


@dataclass(frozen=True)
class Groups:
    """All groups.

    Attributes:
        groups: in the order of their settings.
        together: the swept keys, and beside each those that change with it.
        repeated: runs left out: same configuration, seeds and data as one that counts.
    """

    groups: list[Group]
    together: dict[str, list[str]]
    repeated: list[Run]


def group_runs(runs: Sequence[Run], metric: str) -> Groups:
    """Put runs of one configuration together and find what the configurations differ by."""
    derived = copies_of_seeds(runs)
    members: dict[tuple[Any, ...], dict[tuple[Value, ...], Run]] = {}
    experiments: dict[tuple[Any, ...], dict[str, Value]] = {}
    repeated = []
    for run in runs:
        settings = experiment(run, derived)
        key, seeds = tuple(sorted(settings.items())), tuple(run.config.get(name) for name in SEEDS)
        experiments[key] = settings
        if members.setdefault(key, {}).setdefault(seeds, run) is not run:
            repeated.append(run)
    lists = [list(part.values()) for part in members.values()]
    columns = [{**_choices(part), **settings} for part, settings in zip(lists, experiments.values(), strict=True)]
    together = swept(columns, {name for part in lists for run in part for name in run.choices})
    groups = [
        Group({key: column.get(key, ABSENT) for key in together}, part, metric)
        for column, part in zip(columns, lists, strict=True)
    ]
    return Groups(
        sorted(groups, key=lambda one: [in_order(value) for value in one.settings.values()]), together, repeated
    )


def _choices(runs: Sequence[Run]) -> dict[str, Value]:
    """The choices all runs of a group share."""
    first, *others = [run.choices.items() for run in runs]
    return {
        name: choice
        for name, choice in first
        if choice is not None
        and name not in DEVICE_CHOICES
        and not name.startswith("hydra")
        and all((name, choice) in other for other in others)
    }


def split(run: Run) -> Split:
    """Which images test a run: the data, how many of each person, and the seeds of the cut."""
    seeds = (run.config.get("split_seed"), run.config.get("data.fold"))
    return (run.source, run.class_names, tuple(run.counts["test"]), *seeds)
