"""A comparison as sentences and tables of text, and as CSV."""

from collections.abc import Sequence

import pandas as pd

from lfw_seq.cli import printable
from lfw_seq.evaluation.page import Table
from lfw_seq.evaluation.settings import SEEDS
from lfw_seq.reports.compare import Comparison
from lfw_seq.reports.group import ABSENT, in_order, short

ALPHA = 0.05  # of Holm's adjusted p-values
MAX_LIST = 40  # characters of a key's values in a title
SHOWN = ["test/accuracy", "test/balanced_accuracy", "test/macro_f1", "test/auroc", "test/loss"]
CORRECTED = "; rely on the corrected ones (Nadeau and Bengio), because the training sets of splits overlap"
EFFECTS = "Means over the combinations of the other keys that ran with every value of the key, with equal weights."
TESTS = (
    "Two-sided paired t-tests on shared splits with Nadeau and Bengio's variance, sd² (1/n + n_test/n_train). "
    f"A difference is significant where p is below {ALPHA} after Holm's correction for all tests."
)


def title(result: Comparison) -> str:
    """The keys that vary between the runs, and the metric compared."""
    varying = {result.names[key]: result.settings[key] for key in result.settings}
    varying |= {seed: result.runs[seed] for seed in SEEDS if result.runs[seed].nunique() > 1}
    words = []
    for name, values in varying.items():
        distinct = sorted(values.unique(), key=in_order)
        text = ",".join(map(short, distinct))
        words.append(f"{name}={text}" if len(text) <= MAX_LIST else f"{len(distinct):,} values of {name}")
    return printable(f"Comparison of {some(words) or 'runs'} by {result.metric}")


def all_tables(result: Comparison) -> dict[str, Table]:
    """Every table that has rows, by title, most important first."""
    tables = {
        "Configurations": configurations(result),
        "What each key changes": effects(result),
        "Differences on the same splits": differences(result),
        "Test metrics, mean ± standard deviation": other_metrics(result),
        "Runs": runs(result),
        "Skipped folders": _table(pd.DataFrame(result.skipped, columns=["folder", "what", "why"])),
    }
    return {title: table for title, table in tables.items() if len(table.cells)}


def head(table: Table, rows: int) -> Table:
    """The first rows, with a note on how many were cut."""
    cut = f"{len(table.cells) - rows:,} more rows are in the CSV files. " * (len(table.cells) > rows)
    return table._replace(cells=table.cells.head(rows), note=f"{cut}{table.note}".strip())


def csv_tables(result: Comparison) -> dict[str, pd.DataFrame]:
    """Tables with every digit, by file name."""
    settings = result.settings.rename_axis("configuration").reset_index()
    facts = result.runs.drop(columns=["path", "split", *result.runs.columns.intersection(result.settings.columns)])
    rank = pd.Series(range(1, len(result.ranked) + 1), result.ranked, dtype="Int64", name="rank_by_validation")
    return {
        "runs.csv": settings.merge(facts, on="configuration"),
        "configurations.csv": settings.join(rank).join(result.table),
        "effects.csv": result.effects,
        "differences.csv": result.pairs,
    }


def configurations(result: Comparison) -> Table:
    """A row for each configuration, the best by validation first."""
    table, has_splits = result.table.loc[result.order], bool((result.table["splits"] > 1).any())
    frame = _settings(result, result.order).join(table[["runs", "mean", "sd", "min", "max"]])
    frame["95 % interval"] = _intervals(table["low"], table["high"])
    if has_splits:
        frame["splits"] = table["splits"]
        frame["corrected interval"] = _intervals(table["corrected_low"], table["corrected_high"])
    frame[f"mean {result.monitor}"] = table["mean_monitor"]
    if result.metric == "test/accuracy":
        frame["majority rate"] = table["majority_rate"]
    leaky = table["validation_is_test"].map({True: "validated on its test images; ", False: ""})
    one_class = table["one_class_runs"].map(str) + " of " + table["runs"].map(str) + " predict one person only"
    frame["remark"] = (leaky + one_class.where(table["one_class_runs"] > 0, "")).str.removesuffix("; ")
    note = "The best by validation comes first. " * bool(result.ranked) + "Intervals are Student's over runs"
    return _table(frame, f"{note}{CORRECTED * has_splits}.", marked=[0] if result.ranked else [])


def effects(result: Comparison) -> Table:
    """A row for each value of each swept key; none for a single key."""
    frame = result.effects.head(0 if len(result.settings.columns) < 2 else None)
    frame.insert(3, "above average", frame["mean"] - frame.groupby("key")["mean"].transform("mean"))
    remark = frame.pop("matched").map({True: "", False: "other keys differ too"})
    return _table(frame.assign(remark=remark), EFFECTS)


def differences(result: Comparison) -> Table:
    """A row for each pair of configurations, sorted by p."""
    names, pairs = {row: result.label(row) for row in result.table.index}, result.pairs
    frame = pairs.assign(first=pairs["first"].map(names), second=pairs["second"].map(names))
    frame["higher"] = frame["first"].where(pairs["difference"] > 0, frame["second"])
    frame.loc[pairs["p_holm"] >= ALPHA, "higher"] = "not significant"
    frame.insert(4, "95 % interval", _intervals(frame.pop("low"), frame.pop("high")))
    for name in ("p", "p_holm"):
        frame[name] = ["< .001" if p < 0.001 else number(p) for p in pairs[name]]
    columns = {"difference": "first minus second", "p_holm": "p (Holm)"}
    return _table(frame.rename(columns=columns), TESTS)


def other_metrics(result: Comparison) -> Table:
    """Test metrics side by side."""
    groups = result.runs.reindex(columns=[*SHOWN, "parameters", "seconds"]).groupby(result.runs["configuration"])
    mean, sd = groups.mean().loc[result.order], groups.std().loc[result.order].map(lambda sd: f" ± {number(sd)}")
    frame = _settings(result, result.order)
    for name in SHOWN:
        frame[name] = (mean[name].map(number) + sd[name]).str.removesuffix(f" ± {ABSENT}")
    frame.insert(frame.columns.get_loc(SHOWN[0]) + 1, "majority rate", result.table["majority_rate"])
    frame[["parameters", "seconds"]] = mean[["parameters", "seconds"]].round().astype("Int64")
    return _table(frame)


def runs(result: Comparison) -> Table:
    """A row for each run, in the order of configurations."""
    rows = result.runs.set_index("configuration").loc[result.order]
    seeds = [seed for seed in SEEDS if rows[seed].nunique() > 1]
    columns = dict.fromkeys([*seeds, result.metric, result.monitor or "", "best_epoch", "epochs", "seconds", "folder"])
    rows["seconds"] = rows["seconds"].round().astype("Int64")
    return _table(pd.concat([_settings(result, rows.index), rows.reindex(columns=list(columns))], axis=1))


def sentences(result: Comparison) -> list[str]:
    """The summary: counts, the best configuration, and caveats."""
    table, count = result.table, f"{len(result.runs):,}"
    finished = f"{count} finished run{'s' * (len(result.runs) > 1)}"
    of = "of one configuration" if len(table) == 1 else f"of {len(table):,} configurations"
    data = list((result.runs["source"] + " (" + result.runs["fingerprint"] + ")").unique())
    one_class, leaky = table["one_class_runs"].sum(), table["validation_is_test"].sum()
    unranked = len(table) - len(result.ranked) - leaky
    holds = {
        f"{finished} {of}. Runs of one configuration differ only in seed, split or fold.": True,
        **dict.fromkeys(_best(result), True),
        f"{one_class} of {count} runs predict one person only: their accuracy is that person's share.": one_class,
        f"{leaky} {of} were validated on their test images: too good, and not ranked.": leaky,
        f"{unranked} {of} have no validation score, and are not ranked.": unranked and result.ranked,
        f"The runs use different data; their scores are not comparable: {some(data)}.": len(data) > 1,
        "No difference is tested: a test needs two splits or more that two configurations both ran on, such as "
        "split_seed=10,11,12,13,14, and scores that differ on them.": result.pairs.empty and len(table) > 1,
        **{f"Keys that change with {key}: {some(keys)}.": keys for key, keys in result.decided.items()},
    }
    return [sentence for sentence, applies in holds.items() if applies]


def _best(result: Comparison) -> list[str]:
    """The best configuration by validation, and its test score."""
    if not result.ranked:
        why = (
            "none has a score on validation images of its own"
            if result.monitor
            else "the runs monitored different metrics; try monitor=val/accuracy"
        )
        return [f"No configuration is the best by validation: {why}."]
    row, way = configurations(result).cells.iloc[0], "lowest" if result.mode == "min" else "highest"
    names = ["runs", "splits", "95 % interval", "corrected interval", "majority rate", "remark"]
    beside = ", ".join(f"{name} {row[name]}" for name in names if row.get(name, ABSENT) not in ("", ABSENT))
    score = f"{row[f'mean {result.monitor}']}, the {way} mean {result.monitor} of {len(result.ranked):,}"
    label = result.label(result.ranked[0])
    return [f"Best by validation: {label}, with {score}.", f"Its mean {result.metric}: {row['mean']} ({beside})."]


def some(names: Sequence[str]) -> str:
    """A list as text, cut after six."""
    return ", ".join(names[:6]) + f" and {len(names) - 6} more" * (len(names) > 6)


def _settings(result: Comparison, numbers: Sequence[int]) -> pd.DataFrame:
    return result.settings.loc[numbers].map(short).rename(columns=result.names)


def _intervals(low: pd.Series, high: pd.Series) -> pd.Series:
    return ("[" + low.map(number) + ", " + high.map(number) + "]").replace(f"[{ABSENT}, {ABSENT}]", ABSENT)


def number(value: float) -> str:
    """Three decimals below 1,000, none above or for whole numbers; a dash for NaN."""
    if pd.isna(value):
        return ABSENT
    return f"{value:.3f}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def _table(frame: pd.DataFrame, note: str = "", marked: Sequence[int] = ()) -> Table:
    """A table without empty columns."""
    cells = frame.map(lambda cell: printable(cell) if isinstance(cell, str) else number(cell))
    return Table(cells.loc[:, ~cells.isin(["", ABSENT]).all()], note, marked)
