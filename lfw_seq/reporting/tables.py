"""The report as tables of text."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lfw_seq.reporting.analysis import Pair
from lfw_seq.reporting.groups import Group
from lfw_seq.reporting.keys import ABSENT, show
from lfw_seq.reporting.study import Study
from lfw_seq.reporting.words import interval, is_accuracy, number, one_class, printable, probability, spread
from lfw_seq.statistics import mean

CONFIGURATIONS = "Configurations"
EFFECTS = "Each key alone"
METRICS = "All test metrics, mean ± sd"
CERTAIN = 0.05  # Holm's p below it is called a difference
SHOWN = ("test/accuracy", "test/balanced_accuracy", "test/macro_f1", "test/auroc", "test/loss")


@dataclass(frozen=True)
class Table:
    """Rows of text under a header.

    Attributes:
        title: what it shows.
        header: the columns.
        rows: one text a column.
        note: a line on how to read it.
        marked: numbers of the rows to stand out.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""
    marked: list[int] = field(default_factory=list)


def configurations(study: Study) -> Table:
    """One row a group, the best by validation first."""
    groups = [study.groups.groups[index] for index in study.order]
    summaries = [group.summary for group in groups]
    columns = {name: [show(group.settings[key]) for group in groups] for key, name in study.names.items()}
    columns["runs"] = [str(summary.n) for summary in summaries]
    for name in ("mean", "sd", "min", "max"):
        columns[name] = [number(getattr(summary, name)) for summary in summaries]
    columns["95 % interval"] = [interval(summary.interval, study.metric) for summary in summaries]
    if any(len(group.splits) > 1 for group in groups):
        columns["splits"] = [str(len(group.splits)) for group in groups]
        columns["corrected interval"] = [interval(group.corrected, study.metric) for group in groups]
    if study.monitor:
        columns[study.monitor.name] = [number(group.mean(study.monitor.name)) for group in groups]
    if is_accuracy(study.metric):
        columns["majority rate"] = [number(group.mean("majority_rate")) for group in groups]
    columns["remark"] = [_remark(group) for group in groups]
    note = "The best by validation comes first. " if study.ranked else ""
    note += "Intervals are Student's over the runs"
    if "splits" in columns:
        note += "; the corrected ones (Nadeau and Bengio) know that the training sets of splits overlap: believe those"
    return _table(CONFIGURATIONS, columns, f"{note}.", [0] if study.ranked else [])


def other_metrics(study: Study) -> Table:
    """The test metrics beside each other: mean ± standard deviation."""
    groups = [study.groups.groups[index] for index in study.order]
    columns = {name: [show(group.settings[key]) for group in groups] for key, name in study.names.items()}
    for name in SHOWN:
        columns[name] = [spread(group.values(name)) for group in groups]
        if name == "test/accuracy":
            columns["majority rate"] = [number(group.mean("majority_rate")) for group in groups]
    for name in ("parameters", "seconds"):
        values = [[value for run in group.runs if (value := getattr(run, name)) is not None] for group in groups]
        columns[name] = [number(mean(part), 0) if part else ABSENT for part in values]
    return _table(METRICS, columns, "", [0] if study.ranked else [])


def key_effects(study: Study) -> Table:
    """One row a value of each swept key, the other keys averaged out."""
    centers = {
        key: mean([effect.mean for effect in study.effects if effect.key == key]) for key in study.groups.together
    }
    columns = {
        "key": [effect.key for effect in study.effects],
        "value": [effect.level for effect in study.effects],
        "mean": [number(effect.mean) for effect in study.effects],
        "less the key's mean": [f"{effect.mean - centers[effect.key]:+.3f}" for effect in study.effects],
        "combinations": [str(effect.combinations) for effect in study.effects],
        "remark": ["" if effect.is_matched else "other keys differ too" for effect in study.effects],
    }
    return _table(
        EFFECTS,
        columns,
        "Means over combinations of the other keys, each counting once: those that ran with all values of the key.",
    )


def comparisons(study: Study) -> Table:
    """One row a pair of groups, the surest difference first."""
    tests = [pair.test for pair in study.pairs]
    columns = {
        "first": [study.label(pair.first) for pair in study.pairs],
        "second": [study.label(pair.second) for pair in study.pairs],
        "splits": [str(test.n) for test in tests],
        "first less second": [f"{test.difference:+.3f}" for test in tests],
        "95 % interval": [f"{test.interval.low:+.3f} to {test.interval.high:+.3f}" for test in tests],
        "t": [f"{test.t:.2f}" for test in tests],
        "p": [probability(test.p) for test in tests],
        "p (Holm)": [probability(pair.adjusted) for pair in study.pairs],
        "reading": [_reading(pair) for pair in study.pairs],
    }
    return _table(
        "Configurations compared on the same splits",
        columns,
        "Corrected paired t-tests (Nadeau and Bengio), two-sided, variance factor 1/n + n_test/n_train; "
        f"a difference is called one where p is below {CERTAIN} after Holm's correction, here for {len(tests)}.",
    )


def problems(study: Study) -> Table:
    """Folders that count for nothing here, and why."""
    found = study.found
    rows = [
        *((folder, "failed", error) for folder, error in found.failed),
        *((folder, "left out", reason) for folder, reason in found.left_out),
        *((folder, "not ended", "it has no result.json yet") for folder in found.unfinished),
    ]
    columns = {
        "folder": [printable(str(folder)) for folder, _, _ in rows],
        "what": [what for _, what, _ in rows],
        "why": [printable(why) for _, _, why in rows],
    }
    return _table("Runs that are not counted", columns)


def _table(title: str, columns: dict[str, list[str]], note: str = "", marked: Sequence[int] = ()) -> Table:
    """A table of the columns that hold something."""
    filled = {name: cells for name, cells in columns.items() if any(cell not in ("", ABSENT) for cell in cells)}
    return Table(title, list(filled), [list(row) for row in zip(*filled.values(), strict=True)], note, list(marked))


def _remark(group: Group) -> str:
    leak = ["validated on its test images"] if group.is_leaky else []
    return "; ".join(leak + ([one_class(group)] if group.one_class_runs else []))


def _reading(pair: Pair) -> str:
    if pair.adjusted >= CERTAIN:
        return "no difference shown"
    return "first is higher" if pair.test.difference > 0 else "second is higher"
