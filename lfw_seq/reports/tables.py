"""A comparison as sentences and tables of text, and as CSV."""

from collections.abc import Sequence

import pandas as pd

from lfw_seq.cli import printable
from lfw_seq.evaluation.page import Table
from lfw_seq.evaluation.settings import SEEDS
from lfw_seq.reports.compare import Comparison
from lfw_seq.reports.group import ABSENT, in_order, short

CERTAIN = 0.05  # a difference is called one where Holm's p is below
LONGEST_LIST = 40  # letters of a key's values in a title
SHOWN = ["test/accuracy", "test/balanced_accuracy", "test/macro_f1", "test/auroc", "test/loss"]
CORRECTED = "; believe the corrected ones (Nadeau and Bengio), because the training sets of splits overlap"
EFFECTS = "Means over the combinations of the other keys that ran with every value of the key; each counts once."
TESTS = (
    "Two-sided paired t-tests on shared splits with Nadeau and Bengio's variance, sd² (1/n + n_test/n_train). "
    f"A difference is shown where p is below {CERTAIN} after Holm's correction for all tests."
)


def title(made: Comparison) -> str:
    """What varies between the runs, and what is compared."""
    varying = {made.names[key]: made.settings[key] for key in made.settings}
    varying |= {seed: made.runs[seed] for seed in SEEDS if made.runs[seed].nunique() > 1}
    lists = {name: sorted(values.unique(), key=in_order) for name, values in varying.items()}
    texts = {name: ",".join(map(short, values)) for name, values in lists.items()}
    words = [
        f"{name}={text}" if len(text) <= LONGEST_LIST else f"{len(lists[name]):,} values of {name}"
        for name, text in texts.items()
    ]
    return printable(f"Comparison of {some(words) or 'runs'} by {made.metric}")


def all_tables(made: Comparison) -> dict[str, Table]:
    """Every table that has rows, by title, the most important first."""
    tables = {
        "Configurations": configurations(made),
        "What each key changes": effects(made),
        "Differences on the same splits": differences(made),
        "Test metrics, mean ± standard deviation": other_metrics(made),
        "Runs": runs(made),
        "Folders that do not count": _table(pd.DataFrame(made.skipped, columns=["folder", "what", "why"])),
    }
    return {title: table for title, table in tables.items() if len(table.cells)}


def head(table: Table, rows: int) -> Table:
    """The first rows, with a note of how many were cut."""
    cut = f"{len(table.cells) - rows:,} more rows are in the CSV files. " * (len(table.cells) > rows)
    return table._replace(cells=table.cells.head(rows), note=f"{cut}{table.note}".strip())


def csv_tables(made: Comparison) -> dict[str, pd.DataFrame]:
    """The numbers with every digit, by file name."""
    settings = made.settings.rename_axis("configuration").reset_index()
    facts = made.runs.drop(columns=["path", "split", *made.runs.columns.intersection(made.settings.columns)])
    rank = pd.Series(range(1, len(made.ranked) + 1), made.ranked, dtype="Int64", name="rank_by_validation")
    return {
        "runs.csv": settings.merge(facts, on="configuration"),
        "configurations.csv": settings.join(rank).join(made.table),
        "effects.csv": made.effects,
        "differences.csv": made.pairs,
    }


def configurations(made: Comparison) -> Table:
    """One row a configuration, the best by validation first."""
    table, has_splits = made.table.loc[made.order], bool((made.table["splits"] > 1).any())
    frame = _settings(made, made.order).join(table[["runs", "mean", "sd", "min", "max"]])
    frame["95 % interval"] = _intervals(table["low"], table["high"])
    if has_splits:
        frame["splits"] = table["splits"]
        frame["corrected interval"] = _intervals(table["corrected_low"], table["corrected_high"])
    frame[f"mean {made.monitor}"] = table["monitor"]
    if made.metric.endswith("/accuracy"):
        frame["majority rate"] = table["majority_rate"]
    leaky = table["validation_is_test"].map({True: "validated on its test images; ", False: ""})
    one_class = table["one_class_runs"].map(str) + " of " + table["runs"].map(str) + " predict one person only"
    frame["remark"] = (leaky + one_class.where(table["one_class_runs"] > 0, "")).str.removesuffix("; ")
    note = "The best by validation comes first. " * bool(made.ranked) + "Intervals are Student's over runs"
    return _table(frame, f"{note}{CORRECTED * has_splits}.", marked=[0] if made.ranked else [])


def effects(made: Comparison) -> Table:
    """One row a value of each swept key, where there are two keys or more."""
    frame = made.effects.head(0 if len(made.settings.columns) < 2 else None)
    frame.insert(3, "above average", frame["mean"] - frame.groupby("key")["mean"].transform("mean"))
    remark = frame.pop("matched").map({True: "", False: "other keys differ too"})
    return _table(frame.assign(remark=remark), EFFECTS)


def differences(made: Comparison) -> Table:
    """One row a pair of configurations, the surest difference first."""
    names, pairs = {number: made.label(number) for number in made.table.index}, made.pairs
    frame = pairs.assign(first=pairs["first"].map(names), second=pairs["second"].map(names))
    frame["higher"] = frame["first"].where(pairs["difference"] > 0, frame["second"])
    frame.loc[pairs["p_holm"] >= CERTAIN, "higher"] = "not shown"
    frame.insert(4, "95 % interval", _intervals(frame.pop("low"), frame.pop("high")))
    for name in ("p", "p_holm"):
        frame[name] = ["< .001" if p < 0.001 else number(p) for p in pairs[name]]
    columns = {"difference": "first minus second", "p_holm": "p (Holm)"}
    return _table(frame.rename(columns=columns), TESTS)


def other_metrics(made: Comparison) -> Table:
    """Test metrics side by side."""
    groups = made.runs.reindex(columns=[*SHOWN, "parameters", "seconds"]).groupby(made.runs["configuration"])
    mean, sd = groups.mean().loc[made.order], groups.std().loc[made.order].map(lambda sd: f" ± {number(sd)}")
    frame = _settings(made, made.order)
    for name in SHOWN:
        frame[name] = (mean[name].map(number) + sd[name]).str.removesuffix(f" ± {ABSENT}")
    frame.insert(frame.columns.get_loc(SHOWN[0]) + 1, "majority rate", made.table["majority_rate"])
    frame[["parameters", "seconds"]] = mean[["parameters", "seconds"]].round().astype("Int64")
    return _table(frame)


def runs(made: Comparison) -> Table:
    """One row a run, in the order of configurations."""
    rows = made.runs.set_index("configuration").loc[made.order]
    seeds = [seed for seed in SEEDS if rows[seed].nunique() > 1]
    columns = dict.fromkeys([*seeds, made.metric, made.monitor or "", "best_epoch", "epochs", "seconds", "folder"])
    rows["seconds"] = rows["seconds"].round().astype("Int64")
    return _table(pd.concat([_settings(made, rows.index), rows.reindex(columns=list(columns))], axis=1))


def sentences(made: Comparison) -> list[str]:
    """What a reader has to know first: how much there is, the best, and what speaks against the numbers."""
    table, count, of = made.table, f"{len(made.runs):,}", f"of {len(made.table):,} configurations"
    data = list((made.runs["source"] + " (" + made.runs["fingerprint"] + ")").unique())
    one_class, leaky = table["one_class_runs"].sum(), table["validation_is_test"].sum()
    found = {
        f"{count} finished runs {of}. Runs of one configuration differ only in seed, split or fold.": True,
        **dict.fromkeys(_best(made), True),
        f"{one_class} of {count} runs predict one person only: their accuracy is that person's share.": one_class,
        f"{leaky} {of} were validated on their test images: too good, and not ranked.": leaky,
        f"The runs read different data, and their scores do not compare: {some(data)}.": len(data) > 1,
        "No difference is tested: that takes two splits or more that two configurations both ran on, such as "
        "split_seed=10,11,12,13,14, and scores that differ on them.": made.pairs.empty and len(table) > 1,
        **{
            f"Where {key} differs, so does what comes with it: {some(keys)}.": keys
            for key, keys in made.decided.items()
        },
    }
    return [sentence for sentence, holds in found.items() if holds]


def _best(made: Comparison) -> list[str]:
    """The configuration that validation chooses, with its test score beside it."""
    if not made.ranked:
        why = "none has a score" if made.monitor else "the runs watched different metrics; try monitor=val/accuracy"
        return [f"No configuration is the best by validation: {why}."]
    row, way = configurations(made).cells.iloc[0], "lowest" if made.mode == "min" else "highest"
    names = ["runs", "splits", "95 % interval", "corrected interval", "majority rate", "remark"]
    beside = ", ".join(f"{name} {row[name]}" for name in names if row.get(name, ABSENT) not in ("", ABSENT))
    score = f"{row[f'mean {made.monitor}']}, the {way} mean {made.monitor} of {len(made.ranked):,}"
    label = made.label(made.ranked[0])
    return [f"Best by validation: {label}, with {score}.", f"Its mean {made.metric}: {row['mean']} ({beside})."]


def some(names: Sequence[str]) -> str:
    """A list in words, cut after six."""
    return ", ".join(names[:6]) + f" and {len(names) - 6} more" * (len(names) > 6)


def _settings(made: Comparison, numbers: Sequence[int]) -> pd.DataFrame:
    return made.settings.loc[numbers].map(short).rename(columns=made.names)


def _intervals(low: pd.Series, high: pd.Series) -> pd.Series:
    return ("[" + low.map(number) + ", " + high.map(number) + "]").replace(f"[{ABSENT}, {ABSENT}]", ABSENT)


def number(value: float) -> str:
    """Three decimals below 1,000, none above or for whole numbers; a dash for a missing value."""
    if pd.isna(value):
        return ABSENT
    return f"{value:.3f}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def _table(frame: pd.DataFrame, note: str = "", marked: Sequence[int] = ()) -> Table:
    """A table of the columns that hold something."""
    cells = frame.map(lambda cell: printable(cell) if isinstance(cell, str) else number(cell))
    return Table(cells.loc[:, ~cells.isin(["", ABSENT]).all()], note, marked)
