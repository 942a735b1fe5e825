"""The net reading a face: the numbers shown, the GIF, and the page in a real browser."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfw_seq.cli import UsageError
from lfw_seq.demo import demo, draw_photo
from lfw_seq.evaluation.reading import Reading, draw, read
from lfw_seq.runs.checkpoint import TrainedRun, load_run

from .browser import Browser
from .conftest import composed, hear_ctrl_c


def read_photo(run: TrainedRun, path: Path, threshold: float = 0) -> Reading:
    return read(run.predictor, run.preprocessing, run.class_names, run.preprocessing.image(path), threshold)


@pytest.mark.filterwarnings("error:Glyph")
def test_after_each_row_the_probabilities_are_those_of_the_rows_read(run: Path, tmp_path: Path) -> None:
    back = load_run(run)
    path = draw_photo(back, 3, tmp_path)
    reading = read_photo(back, path, 0.9)
    image = back.preprocessing.image(path)
    whole = back.probabilities(image[None])[0]
    assert np.allclose(reading.probabilities[-1], whole, atol=1e-6)
    assert reading.probabilities.shape == (50, 7)
    assert np.allclose(reading.probabilities.sum(axis=1), 1, atol=1e-5)
    assert len({tuple(row) for row in reading.probabilities.round(6).tolist()}) == 50
    assert reading.face.shape == (50, 37, 3)
    assert reading.saliency.shape == reading.row.shape == (50, 37)
    assert (reading.row == np.arange(50)[:, None]).all()
    shapes = dict.fromkeys(("forget", "input", "output"), (2, 50))
    assert {name: means.shape for name, means in reading.gates.items()} == shapes
    reading = reading._replace(names=["日本"] * 7)  # which the font lacks
    (alone,), (before, after) = (draw([reading], rows, 50) for rows in ([25], [10, 25]))
    assert np.array_equal(after, alone)  # nothing of a picture is left in the next
    assert not np.array_equal(before, after)
    assert reading.caption(50) == f"after 50 of 50 rows: unknown, {whole.max():.2f}"


@pytest.mark.slow
def test_a_gif_shows_one_row_more_in_each_frame(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "reading.gif"
    assert demo(composed("demo", f"run='{run}'", f"against='{run}'", f"out='{out}'")) == {"frames": 50}
    for change, expected in (
        ("image=none.png", "image=none.png: no such file"),
        ("out=x.png", r"out=x.png: expected a name that ends in \.gif"),
        ("fpir=0.05", "no threshold"),
        ("out=/no/x.gif", "/no/x"),
    ):
        with pytest.raises((UsageError, OSError), match=expected):
            demo(composed("demo", f"run='{run}'", f"out='{out}'", change))
    (*_, last) = lines = capsys.readouterr().out.splitlines()
    assert (len(lines), last) == (3, f"in {out}")
    with Image.open(out) as picture:
        assert getattr(picture, "n_frames", 1) == 50
    assert out.stat().st_size < 2 * 400_000  # two runs


NAMED = "document.querySelector('#names textarea')?.value"
MOVE = """(() => { const slider = document.querySelector('#rows input[type=range]'); slider.value = ROWS;
slider.dispatchEvent(new Event('input', {bubbles: true})); slider.dispatchEvent(new Event('change', {bubbles: true}));
slider.dispatchEvent(new Event('pointerup', {bubbles: true})); return true })()"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gradio") is None, reason="no gradio here")
def test_on_the_page_names_change_as_rows_are_read(run: Path, tmp_path: Path, browser: Browser) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = tmp_path / "tmp"
    kept.mkdir()
    line = [sys.executable, "-m", "lfw_seq.demo", f"run={run}", f"against={run}", f"port={port}"]
    env = {**os.environ, "TMPDIR": str(kept)}
    served = subprocess.Popen(line, env=env, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c)
    try:
        for _ in range(300):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert served.poll() is None
            time.sleep(0.2)
        browser.open(f"http://127.0.0.1:{port}/")
        back = load_run(run)
        first, second = (read_photo(back, draw_photo(back, number, tmp_path)) for number in (0, 7))
        assert first.caption(50) != second.caption(50)
        for reading, rows, before in (
            (first, 50, "true"),
            (first, 5, MOVE.replace("ROWS", "5")),
            (first, 50, MOVE.replace("ROWS", "50")),
            (second, 50, "document.querySelector('#draw').click()"),
        ):
            browser.call("Runtime.evaluate", expression=before)
            twice = json.dumps("\n".join([reading.caption(rows)] * 2))
            assert browser.wait_for(f"{NAMED} == {twice}"), (twice, before)
        assert browser.wait_for("document.querySelectorAll('img').length") >= 2
        elsewhere = [url for url in browser.requested if not re.match(rf"http://127\.0\.0\.1:{port}/|data:|blob:", url)]
        assert elsewhere == []
    finally:
        served.send_signal(signal.SIGINT)
        served.wait(30)
    assert list(kept.iterdir()) == []
