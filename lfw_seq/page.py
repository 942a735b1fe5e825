"""One HTML page in one file: text, tables and pictures, nothing from elsewhere and no script.

Each function turns plain text or an image into a piece of the page; `page` puts the pieces together. Every text given
is escaped here, so that a name or a path can hold anything.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Html = NewType("Html", str)  # a finished piece; a plain `str` is text still to be escaped

PIXELS_PER_INCH = 96  # CSS
SHARPNESS = 2  # pixels of a drawing for each CSS pixel, for dense screens
SMALLEST_SCALE = 0.7  # a picture is not shrunk further on a narrow screen: it scrolls in its box, and stays readable
# Also `.71 [.65, .77]`, `.71 ± .02`, `.65 to .77`, `< .001`, `1e-5`; but not `2 of 3 runs`
NUMBER = re.compile(r"(?=.*\d)(?:[\d\s.,%<≤±+−–()\[\]-]|(?<=\s)to(?=\s)|(?<=\d)e(?=[\d+-]))+")
MARK = ' class="marked"'
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"<svg": "image/svg+xml", b"<?xml": "image/svg+xml"}

STYLE = """
:root { color-scheme: light; --line: #d5d9de; --soft: #f4f6f8; --ink: #1b1f24; --quiet: #57606a; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 75rem; color: var(--ink); background: #fff;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif;
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.5rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p, ul { max-width: 46rem; margin: .6rem 0; }
ul { padding-left: 1.25rem; }
.scroll { overflow-x: auto; margin: .75rem 0 1.25rem; }
table { border-collapse: collapse; width: max-content; font-size: .9rem; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
caption, figcaption { text-align: left; color: var(--quiet); font-size: .9rem; padding: .25rem 0;
  max-width: min(46rem, calc(100vw - 2rem)); }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  max-width: 26rem; }
thead th { background: var(--soft); vertical-align: bottom; }
tbody th { font-weight: normal; }
.number { text-align: right; white-space: nowrap; }
.marked > * { background: #fff4d6; font-weight: 600; }
figure { margin: .75rem 0 1.5rem; }
img { display: block; max-width: 100%; height: auto; }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--quiet); }
@media (max-width: 40rem) {
  table { width: auto; }
  th, td { max-width: 14rem; padding: .35rem .4rem; overflow-wrap: anywhere; }
  th:not(.number), td:not(.number) { min-width: 6.4rem; }
}
@media print { .scroll { overflow: visible; } h2, figure { break-inside: avoid; } }
"""

# Nothing may be fetched, whatever a text manages to say; a browser holds the page to it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, pieces: Iterable[Html]) -> str:
    """The whole page, with its title as first heading."""
    name = html.escape(title)
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>",
            *pieces,
            "</body>\n</html>\n",
        ]
    )


def heading(text: str, level: int = 2) -> Html:
    """A heading of level 2 (a section) or deeper; level 1 is the page's title."""
    return Html(f"<h{level}>{html.escape(text)}</h{level}>")


def paragraph(text: str) -> Html:
    """A paragraph."""
    return Html(f"<p>{html.escape(text)}</p>")


def bullets(items: Iterable[str]) -> Html:
    """A list of lines."""
    return Html("<ul>\n" + "\n".join(f"<li>{html.escape(item)}</li>" for item in items) + "\n</ul>")


def fold(summary: str, pieces: Iterable[Html]) -> Html:
    """Pieces behind a line that opens them."""
    return Html(f"<details><summary>{html.escape(summary)}</summary>\n" + "\n".join(pieces) + "\n</details>")


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", marked: Collection[int] = ()
) -> Html:
    """A table that scrolls in a box of its own where the screen is narrower.

    Args:
        header: one text a column.
        rows: one text a column, each; columns of numbers are set flush right.
        caption: a line above.
        marked: numbers of the rows to stand out, from 0.

    Raises:
        ValueError: a row has more or fewer cells than the header.
    """
    lines = [list(row) for row in rows]
    for row in lines:
        if len(row) != len(header):
            raise ValueError(f"a row has {len(row)} cells under a header of {len(header)}: {row}")
    numbers = [is_numeric([row[column] for row in lines]) for column in range(len(header))]
    body = [
        f"<tr{MARK if index in marked else ''}>{_cells(row, numbers, 'td')}</tr>" for index, row in enumerate(lines)
    ]
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return Html(
        f'<div class="scroll" tabindex="0">\n<table>{title}\n<thead><tr>{_cells(header, numbers, "th")}</tr></thead>\n'
        "<tbody>\n" + "\n".join(body) + "\n</tbody>\n</table>\n</div>"
    )


def is_numeric(cells: Sequence[str]) -> bool:
    """Whether a column holds numbers, and blanks or dashes where there is none: it is set flush right."""
    filled = [cell for cell in cells if cell not in ("", "–")]
    return bool(filled) and all(NUMBER.fullmatch(cell) for cell in filled)


def _cells(texts: Sequence[str], numbers: Sequence[bool], tag: str) -> str:
    cells = []
    for index, (text, number) in enumerate(zip(texts, numbers, strict=True)):
        name, scope = ("th", "row") if index == 0 and tag == "td" else (tag, "col" if tag == "th" else "")
        attributes = (f' scope="{scope}"' if scope else "") + (' class="number"' if number else "")
        cells.append(f"<{name}{attributes}>{html.escape(text)}</{name}>")
    return "".join(cells)


def picture(image: bytes, alt: str, caption: str = "", width: int | None = None) -> Html:
    """A picture inside the page.

    Args:
        image: the file's bytes, PNG or SVG. An SVG is shown as an image: nothing in it can act.
        alt: what it shows, for who cannot see it.
        caption: a line under it.
        width: in CSS pixels where the screen has room; the picture's own by default.

    Raises:
        ValueError: the bytes are of another format.
    """
    kind = next((kind for start, kind in SIGNATURES.items() if image.startswith(start)), None)
    if kind is None:
        raise ValueError(f"expected a PNG or SVG picture, found bytes that begin {image[:8]!r}")
    source = f"data:{kind};base64,{base64.b64encode(image).decode()}"
    size = f' style="width: {width}px; min-width: {SMALLEST_SCALE * width:.0f}px"' if width else ""
    under = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    shown = f'<img src="{source}" alt="{html.escape(alt)}"{size}>'
    return Html(f'<figure><div class="scroll" tabindex="0">{shown}</div>{under}</figure>')


def drawing(figure: Figure, alt: str, caption: str = "") -> Html:
    """A matplotlib figure as a picture, at its size in inches and sharp on dense screens."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=PIXELS_PER_INCH * SHARPNESS)
    return picture(file.getvalue(), alt, caption, round(figure.get_figwidth() * PIXELS_PER_INCH))
