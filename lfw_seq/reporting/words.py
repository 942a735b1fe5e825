"""Numbers and findings in words."""

from collections.abc import Sequence

from lfw_seq.reporting.groups import Group
from lfw_seq.reporting.keys import ABSENT
from lfw_seq.reporting.study import Study
from lfw_seq.statistics import Interval, deviation, mean

MAX_NAMES = 6
# From 0 to 1
SHARES = {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "macro_precision", "macro_recall", "auroc"}


def lead(study: Study) -> list[str]:
    """What to say first: how much there is, the best, and what to know before believing a number."""
    groups = study.groups.groups
    if not groups:
        return ["No run has ended well."]
    count = sum(len(group.runs) for group in groups)
    lines = [f"Finished runs: {count:,}. Configurations, seeds aside: {len(groups):,}."]
    also = [f"With {key} changes {_some(names)}." for key, names in study.groups.together.items() if names]
    return lines + best(study) + study.notes + also


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + rest


def best(study: Study) -> list[str]:
    """The configuration that validation chooses, and its test score beside it, in sentences."""
    if not study.ranked or study.monitor is None:
        return ["No configuration can be chosen by validation."]
    group, summary = study.groups.groups[study.ranked[0]], study.groups.groups[study.ranked[0]].summary
    chosen = number(group.mean(study.monitor.name))
    way = "lowest" if study.monitor.mode == "min" else "highest"
    shown = group.corrected or summary.interval
    kind = "95 % interval" + (" corrected for overlapping splits" if group.corrected else "")
    lines = [
        f"Best by validation: {study.label(study.ranked[0])}, {study.monitor.name} {chosen}, "
        f"the {way} mean of {len(study.ranked):,} configuration{'s' * (len(study.ranked) > 1)}.",
        f"Its {study.metric}: {number(summary.mean)} over {summary.n} run{'s' * (summary.n > 1)}"
        + (f", {kind} {interval(shown, study.metric)}." if shown else ".")
        + (
            f" Always answering the most frequent person gets {number(group.mean('majority_rate'))}."
            * is_accuracy(study.metric)
        ),
    ]
    if group.one_class_runs:
        lines.append(f"Beware: {one_class(group)}.")
    return lines


def number(value: float | None, digits: int = 3) -> str:
    """A number for people; a dash for none."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def interval(value: Interval | None, metric: str) -> str:
    """From low to high, no further than the metric can go; a dash for none."""
    if value is None:
        return ABSENT
    low, high = within(value, metric)
    return f"{number(low)} to {number(high)}"


def within(value: Interval, metric: str) -> tuple[float, float]:
    """An interval's ends, no further than the metric can go."""
    if metric.rpartition("/")[2] in SHARES:
        return max(0.0, value.low), min(1.0, value.high)
    return value.low, value.high


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation; a dash for no numbers."""
    if not values:
        return ABSENT
    sd = deviation(values)
    return number(mean(values)) + (f" ± {number(sd)}" if sd is not None else "")


def probability(p: float) -> str:
    """A p-value."""
    return "< .001" if p < 0.001 else f"{p:.3f}"


def is_accuracy(metric: str) -> bool:
    """Whether the majority rate is a value of the metric that takes no skill."""
    return metric.endswith("/accuracy")


def one_class(group: Group) -> str:
    """How many of a group's runs answer one person only."""
    runs, all_runs = group.one_class_runs, len(group.runs)
    return f"{'the run answers' if all_runs == 1 else f'{runs} of {all_runs} runs answer'} one person only"


def printable(text: str) -> str:
    """One line without control characters, whatever stood in a file."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
