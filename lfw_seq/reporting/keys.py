"""The keys of a configuration: which make the experiment, which differ, how they are shown."""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any

from lfw_seq.reporting.results import Run, Value
from lfw_seq.runs import NOT_HASHED

SEEDS = ("seed", "split_seed", "data.fold")
FINGERPRINT = "data.fingerprint"
COLUMNS = {"runs", "splits", "mean", "sd", "min", "max", "parameters", "seconds", "remark"}
ABSENT = "–"  # the key is not in that configuration


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


def copies_of_seeds(runs: Iterable[Run]) -> set[str]:
    """Keys that repeat a seed wherever they stand, as `callbacks.seeds.seed: ${seed}` does."""
    copies: set[str] = set()
    for seed in SEEDS:
        keys = {key for run in runs for key in run.config} - {seed}
        for run in runs:
            own = run.config.get(seed)
            keys -= {key for key in keys if run.config.get(key, own) != own}
        copies |= {key for key in keys if len({run.config[key] for run in runs if key in run.config}) > 1}
    return copies


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
        settings = list(zip(*kept.values(), strict=True)) or [()] * len(values)
        if len(set(values)) == 1 or (name == FINGERPRINT and _settles(settings, values)):
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
    """The last word of each key where no other ends in it and no column of the report is called so."""
    last = [key.rpartition(".")[2] for key in keys]
    return {
        key: word if last.count(word) == 1 and word not in COLUMNS else key
        for key, word in zip(keys, last, strict=True)
    }
