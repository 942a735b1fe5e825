"""The page: valid, closed against whatever a text holds, readable on a desk and a phone, and without a network."""

import base64
import re
import struct
from collections.abc import Collection
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lfw_seq.evaluate import evaluate
from lfw_seq.evaluation import drawing, page
from lfw_seq.report import write_report

from .browser import Browser
from .conftest import composed
from .test_report import ACCURACY, sweep

EVIL = "</td></p></title><script>alert(1)</script><img src=x onerror=\"a\" 'b'>&amp; {{ 1 }} Łukasz 山田"


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
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def drawn(text: str, width: float = 5.3) -> drawing.Picture:
    figure = Figure(figsize=(width, 2))
    figure.add_subplot(title="a").plot([1, 2])
    return drawing.picture(figure)._replace(alt=text)


def table_of(header: list[str], rows: list[list[str]], note: str = "", marked: Collection[int] = ()) -> page.Table:
    return page.Table(pd.DataFrame(rows, columns=header, dtype=str), note, marked)


def rendered(*tables: page.Table) -> Reader:
    return Reader(page.render("", {}, [], [page.Section("", tables=tables)]))


def everything(text: str, columns: int = 2) -> str:
    table = table_of([text] * (columns - 1) + ["n"], [[text] * (columns - 1) + ["1"]] * 2, text, marked={1})
    sections = [page.Section(text, [text, text], [table, table], [drawn(text), drawn(text, 9)]), page.Section("empty")]
    return page.render(text, {text: text}, [], sections)


def test_every_text_is_escaped_and_arrives_as_it_was() -> None:
    reader = Reader(everything(EVIL))
    assert reader.all("script") == []
    assert [image["alt"] for image in reader.all("img")] == [EVIL] * 2
    assert not any("onerror" in image for image in reader.all("img"))
    # title, h1, dt, dd, h2, 2 p; caption, header and 2 rows of 2 tables
    assert sum(text == EVIL for text in reader.texts) == 15


def test_nothing_comes_from_elsewhere() -> None:
    text = everything("plain")
    assert not re.search(r"https?:|[\"'(]//|@import|url\(|<link|<iframe|<script", text)
    reader = Reader(text)
    sources = [value for _, attributes in reader.found for name, value in attributes.items() if name in ("src", "href")]
    assert [source[:22] for source in sources if source] == ["data:image/png;base64,"] * 2
    policies = [meta["content"] for meta in reader.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_columns_of_numbers_are_flush_right() -> None:
    header = ["key", "accuracy", "p", "value", "range", "empty", "remark"]
    rows = [
        ["lstm", ".71 [.65, .77]", "< .001", "8", "−0.02 ± 0.01", "", "2 of 3 runs"],
        ["2-layer", "41.1 %", "3.2e-05", "lstm", "–", "–", ""],
    ]
    table = table_of(header, rows)
    assert table.numeric == [False, True, True, False, True, False, False]
    reader = rendered(table)
    columns = [attributes.get("class") for attributes in reader.all("th") if attributes.get("scope") == "col"]
    assert columns == [None, "number", "number", None, "number", None, None]
    assert [attributes.get("class") for attributes in reader.all("td")] == columns[1:] * 2


def test_marked_rows_and_an_empty_table() -> None:
    reader = rendered(table_of(["a"], [["1"], ["2"], ["3"]], marked=[1]), table_of(["a", "b"], []))
    assert [row.get("class") for row in reader.all("tr")] == [None, None, "marked", None, None]


def test_a_picture_is_a_sharp_png_of_its_size() -> None:
    figure = Figure(figsize=(5, 2))
    figure.add_subplot(title="Loss").plot([1, 2], label="train 0.5")
    figure.axes[0].text(0, 0, "12")  # a number of a matrix
    picture = drawing.picture(figure)
    assert picture.alt == "Loss: train 0.5."
    assert picture.width == 480
    assert base64.b64decode(picture.source.removeprefix("data:image/png;base64,")) == picture.png
    assert struct.unpack(">II", picture.png[16:24]) == (960, 384)


def test_two_columns_on_a_desk_and_one_on_a_phone_nothing_cut_off(tmp_path: Path, browser: Browser) -> None:
    wide = everything("A word of a name_without_any_place_to_break_it_" + "x" * 60, columns=9)
    narrow = page.render("", {}, [], [page.Section("", figures=[drawn("a"), drawn("b")])])
    tops = "new Set([...document.querySelectorAll('figure')].map(f => f.offsetTop)).size"
    measure = f"document.readyState == 'complete' && [document.documentElement.scrollWidth, {tops}]"
    # a figure wider than a column has its own row
    for text, width, rows in ((wide, 1400, 2), (wide, 390, 2), (narrow, 1400, 1), (narrow, 390, 2)):
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        browser.open((tmp_path / "page.html").as_uri())
        browser.look(width, "light")
        seen = browser.wait_for(measure)
        assert (seen[0] <= width, seen[1]) == (True, rows), (width, seen)


SEEN = """(() => {
  const rgb = c => c.match(/\\d+/g).slice(0, 3).map(v => { v /= 255; return v <= .04045 ? v / 12.92 :
    ((v + .055) / 1.055) ** 2.4 }).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const page = rgb(getComputedStyle(document.body).backgroundColor);
  const ratio = e => { const [a, b] = [rgb(getComputedStyle(e).color), page].sort((x, y) => y - x);
    return (a + .05) / (b + .05) };
  const images = [...document.images];
  return { width: document.documentElement.scrollWidth, page,
    contrast: Math.min(...[...document.querySelectorAll("h1, h2, p, dt, dd, caption, th, td")].map(ratio)),
    images: images.length, shown: images.filter(i => i.complete && i.naturalWidth > 0 && i.alt.length > 10).length }
})()"""


@pytest.mark.slow
def test_real_pages_on_a_desk_and_a_phone_in_light_and_dark(run: Path, tmp_path: Path, browser: Browser) -> None:
    evaluate(composed("evaluate", f"run='{run}'", f"out='{tmp_path / 'one'}'", f"against='{run}'"))
    sweep(tmp_path / "runs", *((0.6 + number / 20, {"seed": number}) for number in range(3)))
    write_report([tmp_path / "runs"], ACCURACY)
    for path in (tmp_path / "one" / "report.html", tmp_path / "runs" / "report" / "report.html"):
        browser.open(path.as_uri())
        for width in (1400, 390):
            for colours in ("light", "dark"):
                browser.look(width, colours)
                seen = browser.wait_for(f"document.readyState == 'complete' && {SEEN}")
                assert seen["width"] <= width, (path, width, colours)
                assert seen["contrast"] >= 4.5, (path, width, colours)
                assert seen["images"] == seen["shown"] > 0, (path, width, colours)
                assert (seen["page"] > 0.5) == (colours == "light")
