"""The page builder: valid, closed against whatever a text holds, and without anything from elsewhere."""

import base64
import re
import struct
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from lfw_seq import page

EVIL = "</td></p></title><script>alert(1)</script><img src=x onerror=\"a\" 'b'>&amp; Łukasz 山田"
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Collects elements and texts, and fails on an element that is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def everything(text: str) -> str:
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot([1, 2])
    return page.page(
        text,
        [
            page.heading(text),
            page.heading(text, 3),
            page.paragraph(text),
            page.bullets([text, text]),
            page.table([text, "n"], [[text, "1"], [text, "2"]], caption=text, marked={1}),
            page.fold(text, [page.drawing(figure, text, text)]),
        ],
    )


def test_every_text_is_escaped_and_arrives_as_it_was() -> None:
    reader = Reader(everything(EVIL))
    assert reader.all("script") == []
    (image,) = reader.all("img")
    assert image["alt"] == EVIL
    assert "onerror" not in image
    # title, h1, h2, h3, p, 2 li, caption, header, 2 rows, summary, figcaption
    assert sum(text == EVIL for text in reader.texts) == 13


def test_nothing_comes_from_elsewhere() -> None:
    text = everything("plain")
    assert not re.search(r"https?:|[\"'(]//|@import|url\(|<link|<iframe|<script", text)
    reader = Reader(text)
    sources = [value for _, attributes in reader.found for name, value in attributes.items() if name in ("src", "href")]
    assert [source[:22] for source in sources if source] == ["data:image/png;base64,"]
    policies = [meta["content"] for meta in reader.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_columns_of_numbers_are_flush_right() -> None:
    header = ["key", "accuracy", "p", "value", "range", "empty", "remark"]
    rows = [
        ["lstm", ".71 [.65, .77]", "< .001", "8", "−0.02 ± 0.01", "", "2 of 3 runs"],
        ["2-layer", "41.1 %", "3.2e-05", "lstm", "0.5 to 1.0", "–", ""],
    ]
    reader = Reader(page.table(header, rows))
    columns = [attributes.get("class") for attributes in reader.all("th") if attributes.get("scope") == "col"]
    assert columns == [None, "number", "number", None, "number", None, None]
    assert [attributes.get("class") for attributes in reader.all("td")] == columns[1:] * 2
    assert len(reader.all("tr")) == 3


def test_marked_rows_and_a_wrong_row() -> None:
    reader = Reader(page.table(["a"], [["1"], ["2"], ["3"]], marked=[1]))
    assert [row.get("class") for row in reader.all("tr")] == [None, None, "marked", None]
    with pytest.raises(ValueError, match="1 cells under a header of 2"):
        page.table(["a", "b"], [["1", "2"], ["3"]])


def test_a_drawing_is_a_sharp_png_of_its_size() -> None:
    figure = Figure(figsize=(5, 2))
    (image,) = Reader(page.drawing(figure, "lines")).all("img")
    assert image["style"] == "width: 480px; min-width: 336px"
    data = base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,"))
    assert struct.unpack(">II", data[16:24]) == (960, 384)


def test_svg_is_shown_as_an_image_and_other_bytes_are_refused() -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    reader = Reader(page.picture(svg, "a drawing"))
    assert reader.all("svg") == reader.all("script") == []
    assert reader.all("img")[0]["src"] == "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    with pytest.raises(ValueError, match="expected a PNG or SVG"):
        page.picture(b"GIF89a", "a film")
