"""What the groups say: the best by validation, the effect of each key, which differences are more than chance."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from lfw_seq import statistics
from lfw_seq.errors import UsageError, check_choice
from lfw_seq.reporting.groups import Group, Groups
from lfw_seq.reporting.keys import in_order, show
from lfw_seq.reporting.results import Value

MAX_LEVELS = 8  # more numbers of one key are put into quarters
MAX_ALL_PAIRS = 12  # with more groups, the best by validation is compared with each other one


@dataclass(frozen=True)
class Monitor:
    """The validation value that chooses.

    Attributes:
        name: a metric of validation.
        mode: `min` or `max`.
    """

    name: str
    mode: str


@dataclass(frozen=True)
class Effect:
    """One value of one key, the other keys averaged out.

    Attributes:
        key: the swept key.
        level: its value, or a range of values.
        mean: the mean over combinations of the other keys, each counting once.
        combinations: how many those are.
        is_matched: whether every value of the key was run in each of them; else the other keys differ too.
    """

    key: str
    level: str
    mean: float
    combinations: int
    is_matched: bool


@dataclass(frozen=True)
class Pair:
    """Two groups on the splits they share.

    Attributes:
        first: number of a group.
        second: number of the other.
        test: of first less second.
        adjusted: Holm's p over all pairs of the report.
    """

    first: int
    second: int
    test: statistics.PairedTest
    adjusted: float


def find_monitor(groups: Sequence[Group], name: str | None, mode: str | None) -> Monitor | None:
    """The validation value all runs were told to watch, unless the user names one; None where they disagree.

    Raises:
        UsageError: `name` is no validation metric of any run, or `mode` is neither min nor max.
    """
    configs = [run.config for group in groups for run in group.runs]
    if name is None:
        watched = {(config.get("monitor"), config.get("monitor_mode")) for config in configs if "monitor" in config}
        if len(watched) != 1:
            return None
        ((name, told),) = watched  # type: ignore[assignment]
        return Monitor(str(name), str(mode or told or _way(str(name)))) if str(name).startswith("val/") else None
    known = sorted({key for group in groups for run in group.runs for key in run.metrics if key.startswith("val/")})
    if groups and name not in known:
        raise UsageError(
            f"monitor={name}: expected one of {', '.join(known) or 'the val/ metrics, but no run has any'}"
        )
    mode = mode or _way(name)
    check_choice("monitor_mode", mode, ("min", "max"))
    return Monitor(name, mode)


def _way(metric: str) -> str:
    return "min" if metric.endswith("loss") else "max"


def rank(groups: Sequence[Group], monitor: Monitor | None) -> list[int]:
    """Numbers of groups from the best validation value to the worst; those that cannot be ranked are not in it.

    A group validated on its test images cannot: that would be choosing by test.
    """
    if monitor is None:
        return []
    values = {
        index: value
        for index, group in enumerate(groups)
        if not group.is_leaky and (value := group.mean(monitor.name)) is not None
    }
    return sorted(values, key=values.__getitem__, reverse=monitor.mode == "max")


def effects(groups: Groups) -> list[Effect]:
    """The effect of each swept key alone: its values in the order they sort in."""
    keys = list(groups.together)
    cut = {key: levels([group.settings[key] for group in groups.groups]) for key in keys}
    found = []
    for key in keys:
        cells: defaultdict[tuple[str, ...], defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for index, group in enumerate(groups.groups):
            others = tuple(cut[other][0][index] for other in keys if other != key)
            cells[others][cut[key][0][index]].append(group.summary.mean)
        names = cut[key][1]
        matched = [cell for cell in cells.values() if len(cell) == len(names)]
        for name in names:
            means = [statistics.mean(cell[name]) for cell in matched or cells.values() if name in cell]
            found.append(Effect(key, name, statistics.mean(means), len(means), bool(matched)))
    return found


def levels(values: Sequence[Value]) -> tuple[list[str], list[str]]:
    """Each value as it is shown, many numbers as the quarter they fall in; and the different ones in order."""
    distinct = sorted(set(values), key=in_order)
    names = {value: show(value) for value in distinct}
    numbers = [value for value in distinct if in_order(value)[0] == 0]
    if len(numbers) > MAX_LEVELS:
        for part in range(4):
            quarter = numbers[len(numbers) * part // 4 : len(numbers) * (part + 1) // 4]
            names.update(dict.fromkeys(quarter, f"{show(quarter[0])} to {show(quarter[-1])}"))
    return [names[value] for value in values], list(dict.fromkeys(names.values()))


def pairs(groups: Sequence[Group], ranked: Sequence[int]) -> list[Pair]:
    """Corrected paired tests between groups on the splits they share, the surest difference first.

    All pairs of up to `MAX_ALL_PAIRS` groups; of more, the best by validation with each other one. Seeds on one split
    are averaged: they are no further splits.
    """
    if len(groups) <= MAX_ALL_PAIRS:
        chosen = list(combinations(range(len(groups)), 2))
    else:
        chosen = [(ranked[0], other) for other in range(len(groups)) if other != ranked[0]] if ranked else []
    repeated = {index for index, group in enumerate(groups) if len(group.splits) > 1}
    chosen = [pair for pair in chosen if repeated.issuperset(pair)]
    tests = [(first, second, test) for first, second in chosen if (test := _test(groups[first], groups[second]))]
    adjusted = statistics.holm([test.p for _, _, test in tests])
    found = [Pair(*parts, p) for parts, p in zip(tests, adjusted, strict=True)]
    return sorted(found, key=lambda pair: pair.test.p)


def _test(first: Group, second: Group) -> statistics.PairedTest | None:
    shared = [key for key in first.splits if key in second.splits]
    share = statistics.mean([first.test_share, second.test_share])
    return statistics.corrected_test([first.splits[key] - second.splits[key] for key in shared], share)
