"""A report's tables on a terminal, in Markdown and on a page."""

from collections.abc import Sequence
from dataclasses import replace

from lfw_seq import page
from lfw_seq.reporting.tables import Table


def cut(table: Table, rows: int) -> Table:
    """The first rows of a table, and in its note how many were cut."""
    if len(table.rows) <= rows:
        return table
    note = f"{len(table.rows) - rows:,} more rows are in the CSV files. {table.note}".strip()
    return replace(table, rows=table.rows[:rows], note=note)


def text(table: Table) -> str:
    """For a terminal: columns one under the other, numbers flush right."""
    widths = [max(map(len, column)) for column in _columns(table)]
    numbers = [page.is_numeric(column[1:]) for column in _columns(table)]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(cells, widths, numbers, strict=True)
        ]
        return "  " + "  ".join(parts).rstrip()

    lines = [table.title, *map(line, [table.header, *table.rows]), *([f"  {table.note}"] if table.note else [])]
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """A section with a table; the marked rows in bold."""
    numbers = [page.is_numeric(column[1:]) for column in _columns(table)]
    rows = [
        [f"**{_escaped(cell)}**" if index in table.marked and cell else _escaped(cell) for cell in row]
        for index, row in enumerate(table.rows)
    ]
    head = [list(map(_escaped, table.header)), ["---:" if number else "---" for number in numbers]]
    lines = [f"| {' | '.join(cells)} |" for cells in [*head, *rows]]
    return "\n".join(
        [f"## {_escaped(table.title)}\n", *lines, *([f"\n{_escaped(table.note)}"] if table.note else []), ""]
    )


def markdown_list(lines: Sequence[str]) -> str:
    """A list of lines."""
    return "".join(f"- {_escaped(line)}\n" for line in lines)


def html(table: Table) -> page.Html:
    """For the page."""
    return page.table(table.header, table.rows, table.note, table.marked)


def _columns(table: Table) -> list[tuple[str, ...]]:
    return list(zip(table.header, *table.rows, strict=True))


def _escaped(cell: str) -> str:
    """Text that Markdown does not take for a column, a tag or emphasis."""
    return "".join(f"\\{letter}" if letter in "\\|<>*_`[]" else letter for letter in cell)
