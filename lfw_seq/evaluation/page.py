"""A self-contained HTML page: facts, then sections of sentences, tables and figures.

The template escapes every text, so that names and paths may hold any characters.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from lfw_seq.evaluation.drawing import Picture
from lfw_seq.runs.folder import csv_text

pd.set_option("mode.string_storage", "python")  # pyarrow refuses the names of files that are not UTF-8
# autoescape=True escapes in all templates; StrictUndefined raises on misspelt names
TEMPLATE = Environment(
    loader=PackageLoader("lfw_seq", "evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
).get_template("page.html")
NUMBER = r"–?|[^a-zA-Z]*\d[^a-zA-Z]*(e[+-]\d+)?"  # or an interval; a dash or nothing for a missing value


class Table(NamedTuple):
    """Cells of text, a caption, and the indices of highlighted rows."""

    cells: pd.DataFrame
    note: str = ""
    marked: Collection[int] = ()

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers or intervals, and so is right-aligned."""
        return [
            column.str.fullmatch(NUMBER).all() and column.str.contains(r"\d").any() for _, column in self.cells.items()
        ]


class Section(NamedTuple):
    """A section of the page; empty parts are omitted."""

    heading: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()


def render(title: str, facts: Mapping[str, str], figures: Sequence[Picture], sections: Iterable[Section]) -> str:
    """Render the page as HTML: the title, facts beside figures, then the sections."""
    return TEMPLATE.render(title=title, facts=facts, figures=figures, sections=list(sections))


def as_csv(table: pd.DataFrame) -> str:
    """A table as CSV at full precision; missing values are blank, and no cell is a spreadsheet formula."""
    return csv_text(list(map(str, table)), table.astype(object).where(table.notna(), "").itertuples(index=False))
