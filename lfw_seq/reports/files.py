"""A report's files: Markdown, one HTML page, CSV."""

from collections.abc import Mapping, Sequence

import pandas as pd

from lfw_seq.evaluation import page
from lfw_seq.reports.compare import Comparison
from lfw_seq.reports.tables import Table, some

ESCAPES = str.maketrans({letter: f"\\{letter}" for letter in "\\|<>*_`[]"})  # of Markdown
FORMULA = ("=", "+", "@", "\t")  # what a spreadsheet would compute
METADATA = {
    "data": "source",
    "fingerprint": "fingerprint",
    "device": "device",
    "code": "commit",
    "versions": "versions",
}


def markdown(title: str, lead: Sequence[str], tables: Sequence[Table]) -> str:
    """The sentences and tables of a report as Markdown."""
    lines = [f"# {title}\n", *(f"- {line.translate(ESCAPES)}" for line in lead)]
    for heading, cells, note in tables:
        rows = [[cell.translate(ESCAPES) for cell in row] for row in [cells, *cells.itertuples(index=False)]]
        rows.insert(1, ["---"] * len(rows[0]))
        lines += [f"\n## {heading}\n", *(f"| {' | '.join(row)} |" for row in rows), f"\n{note}"]
    return "\n".join([*lines, ""])


def html(
    title: str,
    made: Comparison,
    lead: Sequence[str],
    tables: Sequence[Table],
    pictures: Mapping[str, list[page.Picture]],
) -> str:
    """The same as a page, with pictures beside the table of their title."""
    found = {name: list(made.runs[fact].dropna().unique()) for name, fact in METADATA.items()}
    sections = [page.Section("Summary", lead)]
    for heading, cells, note in tables:
        marked = [0] if made.ranked and heading == "Configurations" else []
        table = page.Table(list(cells), cells.to_numpy().tolist(), note, marked)
        sections.append(page.Section(heading, tables=[table], figures=pictures.get(heading, ())))
    return page.render(
        title, {"metric": made.metric, **{name: some(values) for name, values in found.items() if values}}, sections
    )


def csv_files(made: Comparison) -> dict[str, str]:
    """The numbers with every digit, by file name; no cell is a formula to a spreadsheet."""
    settings = made.settings.rename_axis("configuration").reset_index()
    facts = made.runs.drop(columns=["path", "split", *made.runs.columns.intersection(made.settings.columns)])
    rank = pd.Series(range(1, len(made.ranked) + 1), made.ranked, dtype="Int64", name="rank_by_validation")
    frames = {
        "runs.csv": settings.merge(facts, on="configuration"),
        "configurations.csv": settings.join(rank).join(made.table),
        "effects.csv": made.effects,
        "differences.csv": made.pairs,
    }
    quoted = (
        (name, frame.map(lambda cell: f"'{cell}" if str(cell).startswith(FORMULA) else cell))
        for name, frame in frames.items()
    )
    return {name: frame.to_csv(index=False, lineterminator="\n") for name, frame in quoted}
