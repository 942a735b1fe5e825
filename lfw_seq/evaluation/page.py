"""One HTML page in one file: metadata, then sections of sentences, tables and figures; no script, nothing fetched.

The template escapes every text, so that a name or a path can hold anything.
"""

import base64
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

PIXELS_PER_INCH = 96  # CSS
SHARPNESS = 2  # pixels of a picture for each CSS pixel, for dense screens
# Also `.71 [.65, .77]`, `.71 ± .02`, `.65 to .77`, `< .001`, `1e-5`; but not `2 of 3 runs`
NUMBER = re.compile(r"(?=.*\d)(?:[\d\s.,%<≤±+−–()\[\]-]|(?<=\s)to(?=\s)|(?<=\d)e(?=[\d+-]))+")
# autoescape is for all templates; StrictUndefined makes a misspelt name fail
TEMPLATE = Environment(
    loader=PackageLoader("lfw_seq", "evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
).get_template("page.html")


@dataclass(frozen=True)
class Table:
    """Cells of text under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""  # a line above, on how to read it
    marked: Collection[int] = ()  # numbers of the rows to stand out, from 0

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers, and are set flush right.

        Raises:
            ValueError: a row has more or fewer cells than the header.
        """
        return [is_numeric(column[1:]) for column in zip(self.header, *self.rows, strict=True)]


@dataclass(frozen=True)
class Picture:
    """A PNG picture."""

    png: bytes
    alt: str  # what it shows and what is found in it, for those who cannot see it
    caption: str  # a line below
    width: int  # in CSS pixels; a narrower screen shrinks it

    @property
    def source(self) -> str:
        """The picture as a URL that holds it."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Section:
    """A part of the page; what it does not hold is not shown."""

    heading: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()


def render(title: str, metadata: Mapping[str, str], sections: Iterable[Section]) -> str:
    """The whole page, as HTML: its title as first heading, metadata by name, then the sections."""
    return TEMPLATE.render(title=title, metadata=metadata, sections=list(sections))


def picture(figure: Figure, alt: str, caption: str = "") -> Picture:
    """A figure as a picture, at its size in inches and sharp on dense screens."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=PIXELS_PER_INCH * SHARPNESS)
    return Picture(file.getvalue(), alt, caption, round(figure.get_figwidth() * PIXELS_PER_INCH))


def is_numeric(cells: Iterable[str]) -> bool:
    """Whether a column holds numbers, and blanks or dashes where there is none."""
    filled = [cell for cell in cells if cell not in ("", "–")]
    return bool(filled) and all(NUMBER.fullmatch(cell) for cell in filled)
