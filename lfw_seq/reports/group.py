"""Group runs that differ only in seed, split or fold into configurations; find the keys that these differ in."""

import numpy as np
import pandas as pd

from lfw_seq.evaluation.settings import NO_CHOICES, NO_SETTINGS, SEEDS, is_under

FINGERPRINT = "data.fingerprint"
ABSENT = "–"  # the configuration has no such key
MAX_LEVELS = 8  # more numeric values of a key are grouped into quarters


def group(
    facts: pd.DataFrame, config: pd.DataFrame, choices: pd.DataFrame
) -> tuple[pd.Series, pd.DataFrame, dict[str, list[str]]]:
    """Group runs by configuration; for the arguments see `lfw_seq.reports.read.Runs`.

    Returns:
        The number of each run's configuration, from 0 in the order of settings, without runs that repeat the
        configuration, seeds and data of an earlier one; the value of each swept key as text, a row for each
        configuration; and for each swept key the other keys that its value determines.
    """
    varying = config.loc[:, config.nunique() > 1]
    ignored = {key for key in config if is_under(key, (*SEEDS, *NO_SETTINGS))}
    for seed in config.columns.intersection(SEEDS):  # with its copies, such as `model.seed: ${seed}`
        copies = varying.loc[:, [key.rpartition(".")[2] == seed.rpartition(".")[2] for key in varying]]
        ignored.update(copies.columns[(copies.isna() | copies.eq(config[seed], axis=0)).all()])
    config = config.drop(columns=list(ignored)).fillna(ABSENT)
    config = config.loc[:, config.nunique() > 1].assign(**{FINGERPRINT: facts["fingerprint"]})
    numbers = config.groupby(list(config), sort=False).ngroup()
    by_group = choices.drop(columns=list(NO_CHOICES), errors="ignore").groupby(numbers)
    choices = by_group.first().where(by_group.nunique(dropna=False) == 1)
    if "experiment" in choices and choices["experiment"].notna().any():
        choices["experiment"] = choices["experiment"].fillna(choices["model"])  # baselines beside experiments
    own = config.groupby(numbers).first().drop(columns=choices.columns, errors="ignore")
    settings = choices.join(own).fillna(ABSENT)
    decided = _swept(settings, {*choices, *(name for name in settings if name.endswith("_target_"))})
    settings = settings[list(decided)].sort_values(list(decided), key=lambda column: column.map(in_order))
    of_run = numbers.map({number: place for place, number in enumerate(settings.index)}).rename("configuration")
    repeated = facts[SEEDS].assign(configuration=of_run).duplicated()
    return of_run[~repeated], settings.reset_index(drop=True), decided


def _swept(settings: pd.DataFrame, choices: set[str]) -> dict[str, list[str]]:
    """The keys that configurations differ in, and for each the keys that its value determines.

    A key is determined by another with equal values in all rows, and by a config group or class whose choice fixes its
    value, as `model=mlp` sets its own keys. Other keys that change together are all swept. Priority: experiments,
    models, other choices, keys by depth; last the data, where no key explains their change.
    """
    ranks = {
        name: (name == FINGERPRINT, name != "experiment", name != "model", name not in choices, name.count("."), name)
        for name in settings.columns[settings.nunique() > 1]
    }
    decided: dict[str, list[str]] = {}
    for name in sorted(ranks, key=ranks.__getitem__):
        values = settings[name]
        for key in decided:
            if settings[key].equals(values) or (key in choices and _decides(settings[[key]], values)):
                decided[key].append(name)
                break
        else:
            if not (name == FINGERPRINT and decided and _decides(settings[list(decided)], values)):
                decided[name] = []
    return decided


def _decides(deciding: pd.DataFrame, values: pd.Series) -> bool:
    return len(deciding.assign(decided=values).drop_duplicates()) == len(deciding.drop_duplicates())


def in_order(text: str) -> tuple[int, float, str]:
    """Sort key for values: numbers by size, then words."""
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text


def short(text: str) -> str:
    """Format a value for tables: long numbers with six digits."""
    rank, number, _ = in_order(text)
    return f"{number:g}" if rank == 0 and len(text) > 8 else text


def levels(values: pd.Series) -> tuple[pd.Series, list[str]]:
    """The level of each value of a key, and all levels in order: the values, or quarters of many numbers."""
    distinct = sorted(values.unique(), key=in_order)
    names = {value: short(value) for value in distinct}
    numbers = [value for value in distinct if in_order(value)[0] == 0]
    for quarter in np.array_split(numbers, 4) if len(numbers) > MAX_LEVELS else []:
        names |= dict.fromkeys(map(str, quarter), f"{short(quarter[0])} to {short(quarter[-1])}")
    return values.map(names), list(dict.fromkeys(names.values()))
