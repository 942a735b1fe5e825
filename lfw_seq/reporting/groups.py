"""Runs of one configuration that differ by seeds only: a group. What groups differ by: the swept keys."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from lfw_seq import statistics
from lfw_seq.reporting.results import Run, Value
from lfw_seq.runs import NOT_HASHED

SEEDS = ("seed", "split_seed", "data.fold")
FINGERPRINT = "data.fingerprint"
ABSENT = "–"  # the key is not in that configuration
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


def group(runs: Sequence[Run], metric: str) -> Groups:
    """Put runs of one configuration together and find what the configurations differ by."""
    derived = _copies_of_seeds(runs)
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


def experiment(run: Run, derived: Collection[str] = ()) -> dict[str, Value]:
    """What makes a run's numbers besides its seeds: configuration without paths and devices, and the data."""
    folder = str(run.config.get("run_dir") or "\0")
    settings: dict[str, Value] = {FINGERPRINT: run.fingerprint}
    for key, value in run.config.items():
        if key not in derived and not _is_ignored(key):
            inside = isinstance(value, str) and value.startswith(folder)
            settings[key] = str(value).removeprefix(folder) if inside else value
    return settings


@cache
def _is_ignored(key: str) -> bool:
    return key in SEEDS or any(key == name or key.startswith(f"{name}.") for name in NOT_HASHED)


def _copies_of_seeds(runs: Iterable[Run]) -> set[str]:
    """Keys that repeat a seed wherever they stand, as `callbacks.seeds.seed: ${seed}` does."""
    copies: set[str] = set()
    for seed in SEEDS:
        keys = {key for run in runs for key in run.config} - {seed}
        for run in runs:
            own = run.config.get(seed)
            keys -= {key for key in keys if run.config.get(key, own) != own}
        copies |= {key for key in keys if len({run.config[key] for run in runs if key in run.config}) > 1}
    return copies


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


def swept(columns: Sequence[dict[str, Value]], choices: Collection[str]) -> dict[str, list[str]]:
    """The keys the columns differ by, and beside each the keys that follow from it.

    A key follows from another that has the same value everywhere, and from the choice of a config group that settles
    its value: `model=mlp` brings its own keys. Other keys that happen to change together are both told.
    """
    names = {name for column in columns for name in column}
    choices = {*choices, *(name for name in names if name.endswith("_target_"))}
    kept: dict[str, list[Value]] = {}
    together: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: _rank(name, choices)):
        values = [column.get(name, ABSENT) for column in columns]
        if len(set(values)) == 1 or (name == FINGERPRINT and _settles(list(zip(*kept.values(), strict=True)), values)):
            continue
        owner = next(
            (key for key in kept if kept[key] == values or (key in choices and _settles(kept[key], values))), None
        )
        if owner is None:
            kept[name], together[name] = values, []
        else:
            together[owner].append(name)
    return together


def _rank(name: str, choices: Collection[str]) -> tuple[Any, ...]:
    """Whole experiments first, then models, other choices, keys from the root down; data that no key explains last."""
    return name == FINGERPRINT, name != "experiment", name != "model", name not in choices, name.count("."), name


def _settles(choice: Sequence[Any], values: Sequence[Value]) -> bool:
    return len(set(zip(choice, values, strict=True))) == len(set(choice))


def split(run: Run) -> Split:
    """Which images test a run: the data, how many of each person, and the seeds of the cut."""
    seeds = (run.config.get("split_seed"), run.config.get("data.fold"))
    return (run.source, run.class_names, tuple(run.counts["test"]), *seeds)


def in_order(value: Value) -> tuple[int, float, str]:
    """A sorting key for values of any type: numbers by size, then words."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if is_number else (1, 0.0, show(value))  # type: ignore[arg-type]


def show(value: Value) -> str:
    """A value as it is typed."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def short_names(keys: Collection[str]) -> dict[str, str]:
    """The last word of each key where no other ends in it."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)}
