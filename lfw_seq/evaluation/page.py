"""One HTML page in one file: what was made, then sections of sentences, tables and figures; nothing fetched.

The template escapes every text, so that a name or a path can hold anything.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from lfw_seq.evaluation.drawing import Picture
from lfw_seq.runs.folder import csv_text

# autoescape is for all templates; StrictUndefined makes a misspelt name fail
TEMPLATE = Environment(
    loader=PackageLoader("lfw_seq", "evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
).get_template("page.html")


NUMBER = r"–?|[^a-zA-Z]*\d[^a-zA-Z]*(e[+-]\d+)?"  # intervals too, dashes and blanks where there is none


class Table(NamedTuple):
    """Cells of text, a line on how to read them, and the numbers of the rows to stand out, from 0."""

    cells: pd.DataFrame
    note: str = ""
    marked: Collection[int] = ()

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers, intervals too, and are set flush right."""
        return [
            column.str.fullmatch(NUMBER).all() and column.str.contains(r"\d").any() for _, column in self.cells.items()
        ]


class Section(NamedTuple):
    """A part of the page; what it does not hold is not shown."""

    heading: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()


def render(title: str, card: Mapping[str, str], figures: Sequence[Picture], sections: Iterable[Section]) -> str:
    """The whole page, as HTML: its title as first heading, the card and figures beside it, then the sections."""
    return TEMPLATE.render(title=title, card=card, figures=figures, sections=list(sections))


def as_csv(table: pd.DataFrame) -> str:
    """A table as CSV with every digit; no cell is a formula to a spreadsheet, and missing values are blank."""
    return csv_text(list(map(str, table)), table.astype(object).where(table.notna(), "").itertuples(index=False))
