"""What TensorBoard serves of a small sweep, over HTTP and in a browser; and that display changes no number."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning import Trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lfw_seq.runs import folder as runs
from lfw_seq.train import train
from lfw_seq.training.callbacks.scalars import Scalars
from lfw_seq.training.callbacks.summary import settings

from .browser import Browser
from .conftest import SMALL, Compose, command
from .test_sweeps import Killed, outcome

DISPLAY = (*SMALL[:-1], "display.figures.every_n_epochs=2")
SHOWN = ["Model", "model.cell", "Augment", "Data", "Experiment"]
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ("loss", "accuracy", "macro_f1")
CURVES = [f"curves/{place}_{name}" for place, name in enumerate(RESULTS, 1)]
FINAL = [curve.replace("curves", stage) for stage in ("test", "val") for curve in CURVES]
MORE = ("auroc", "balanced_accuracy", "macro_precision", "weighted_f1")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, Path]]]:
    """The address of a TensorBoard, started as `make tensorboard` starts it on a sweep, and the sweep's runs."""
    home = tmp_path_factory.mktemp("home")
    done = command("-m", *DISPLAY, "model=lstm,gru", "hydra.sweep.dir=multirun/s", cwd=home)
    assert done.returncode == 0, done.stderr
    folders = {path.parent.relative_to(home).as_posix(): path.parent for path in home.glob("multirun/s/*/result.json")}
    assert len(folders) == 2
    found = re.search(r"^tensorboard:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    *before, start = [line.lstrip("\t@") for line in found[1].splitlines()]
    for line in before:
        subprocess.run(line, shell=True, cwd=home, check=True)
    words = start.replace("$(BIN)/python", sys.executable).replace("$(ARGS)", "--port=0")
    with subprocess.Popen(words.split(), cwd=home, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address = next(match[0] for text in process.stderr if (match := re.search(r"http://[\w.:-]+/(?= )", text)))
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:  # it reads one run after the other, while it serves
                tags = ask(address, "scalars/tags")
                if all("test/1_loss" in tags.get(f"{run}/test", ()) for run in folders):
                    break
                time.sleep(0.2)
            yield address, folders
        finally:
            process.terminate()


def fetch(address: str, route: str, body: Any = None, **query: Any) -> bytes:
    """What a plugin answers."""
    url = f"{address}data/{route}?{urllib.parse.urlencode(query)}".rstrip("?")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def ask(address: str, route: str, body: Any = None, **query: Any) -> Any:
    return json.loads(fetch(address, f"plugin/{route}", body, **query))


@pytest.mark.slow
def test_train_and_val_share_charts_and_the_curves_come_first(served: tuple[str, dict[str, Path]]) -> None:
    address, folders = served
    tags = ask(address, "scalars/tags")
    for run, folder in folders.items():
        curves = {*CURVES, *(f"metrics/{name}" for name in MORE)}
        assert tags[f"{run}/val"].keys() == curves
        extra = {"curves/4_lr", "curves/5_images_per_second", "metrics/gradient_norm"}
        assert tags[f"{run}/train"].keys() == curves | extra
        for stage in ("train", "val"):
            for tag in tags[f"{run}/{stage}"]:
                points = ask(address, "scalars/scalars", run=f"{run}/{stage}", tag=tag)
                assert [step for _, step, _ in points] == [1, 2], tag
                assert all(value > 0 or tag[-2:] in ("f1", "cy", "on", "ll") for _, _, value in points), tag
        result = json.loads((folder / "result.json").read_text())
        losses = ask(address, "scalars/scalars", run=f"{run}/val", tag="curves/1_loss")
        assert losses[result["best_epoch"] - 1][2] == pytest.approx(result["metrics"]["val/loss"], abs=1e-6)
        for tag in tags[f"{run}/test"]:
            ((_, step, value),) = ask(address, "scalars/scalars", run=f"{run}/test", tag=tag)
            assert (step, value) == (2, pytest.approx(result["metrics"][re.sub(r"\d_", "", tag)], abs=1e-6))
        assert tags[f"{run}/test"].keys() == set(FINAL)
    charts = sorted({tag for run in tags.values() for tag in run})
    assert charts[:3] == CURVES  # TensorBoard sorts by name


@pytest.mark.slow
def test_figures_graph_projector_and_texts(served: tuple[str, dict[str, Path]]) -> None:
    address, folders = served
    drawn = {"confusion", "roc_and_precision_recall", "reliability", "mistakes"}
    drawn |= {"accuracy_by_step", "gates", "gradient_by_step", "saliency", "inputs_as_read"}
    for run, folder in folders.items():
        expected = {f"plots/{name}" for name in drawn if name != "gates" or "lstm" in run}  # a GRU has other gates
        for stage in ("val", "test"):
            tags = ask(address, "images/tags")[f"{run}/{stage}"]
            assert tags.keys() == expected | ({"plots/reading"} if stage == "test" else set())
            for tag in tags:
                samples = ask(address, "images/images", run=f"{run}/{stage}", tag=tag, sample=0)
                assert [sample["step"] for sample in samples] == [2], tag
                query = samples[-1]["query"]
                image = Image.open(BytesIO(fetch(address, f"plugin/images/individualImage?{query}")))
                assert getattr(image, "n_frames", 1) == (25 if tag == "plots/reading" else 1)
                picture = np.asarray(image.convert("RGB"))
                assert min(picture.shape[:2]) > 190, tag
                assert len(np.unique(picture)) > 20, tag  # not a blank one
        assert f"{run}/test" in ask(address, "graphs/info")
        assert f"{run}/test" in ask(address, "projector/runs")
        (table,) = folder.glob("test/*/projector/metadata.tsv")
        assert len(table.read_text().splitlines()) == 1 + 28
        texts = {tag: ask(address, "text/text", run=f"{run}/test", tag=f"{tag}/text_summary")[0]["text"]
                 for tag in ("result", "settings")}  # fmt: skip
        assert "hidden_size: 8" in texts["settings"]
        assert "<td>majority_rate</td>" in texts["result"]
        assert "nan" not in texts["result"]


@pytest.mark.slow
def test_hparams_compare_a_sweep(served: tuple[str, dict[str, Path]]) -> None:
    address, folders = served
    experiment = ask(address, "hparams/experiment", {"hparamsLimit": 0})
    columns = [info["name"] for info in experiment["hparamInfos"]]
    assert columns[:5] == SHOWN  # what differs, then choices: the page shows five
    assert [info["name"] for info in experiment["hparamInfos"] if info.get("differs")] == SHOWN[:2]
    assert {"seed", "optimizer.lr", "callbacks.plateau.patience", "trainer.max_epochs"} <= set(columns)
    assert not {"model._target_", "run_dir", "data.data_home", "callbacks.resume.seed"} & set(columns)
    assert [info["name"]["tag"] for info in experiment["metricInfos"]] == FINAL
    wanted = [{"hparam": name, "includeInResult": True} for name in columns]
    query = {"allowedStatuses": ["STATUS_SUCCESS"], "colParams": wanted, "startIndex": 0, "sliceSize": 10}
    groups = ask(address, "hparams/session_groups", query)["sessionGroups"]
    assert {group["hparams"]["Model"] for group in groups} == {"lstm", "gru"}
    for group in groups:
        assert all(value not in (None, "") for value in group["hparams"].values())
        values = {metric["name"]["tag"]: metric["value"] for metric in group["metricValues"]}
        result = json.loads((folders[group["name"].removesuffix("/test")] / "result.json").read_text())
        assert values["val/2_accuracy"] == pytest.approx(result["metrics"]["val/accuracy"], abs=1e-6)


# What a person comes for, by tab: an expression that TensorBoard's page makes true, of `all(TAG)` and `text(ELEMENT)`.
DEEP = """(() => {
const deep = root => [...root.querySelectorAll("*")].flatMap(e => [e, ...(e.shadowRoot ? deep(e.shadowRoot) : []),
  ...(e.tagName == "IFRAME" && e.contentDocument ? deep(e.contentDocument) : [])]);
const everything = deep(document).filter(e => e.getBoundingClientRect().width);
const all = tag => everything.filter(e => e.matches(tag));
const below = e => deep(e.shadowRoot || e);
const leaf = e => !e.children.length && e.tagName != "STYLE";
const text = e => [e, ...below(e)].filter(leaf).map(e => e.textContent.trim()).filter(t => t).join(" ");
const inside = (e, tag) => below(e).filter(e => e.matches(tag));
const CURVES = %s, FINAL = %s, SHOWN = %s, RUNS = %s;
return %s })()"""
TABS = {
    "timeseries": """CURVES.every((tag, i) => { const words = text(all("scalar-card")[i]);
        return words.includes(tag.replace("curves", "")) && RUNS.every(run => ["/train", "/val"].every(stage =>
        words.includes(run + stage))) })""",
    "scalars": """CURVES.every((tag, i) => { const card = all("tf-scalar-card")[i]; return text(card).includes(tag) &&
        inside(card, ".line-plot:not(.ghost) path.line").length == 4 &&
        inside(card, "path.line[d^=M]").length > 1 })""",
    "images": """all("tf-image-loader").length == 12 && text(all("tf-image-loader")[0]).includes("plots/accuracy") &&
        all("tf-image-loader").every(card => inside(card, "img").some(image => image.naturalWidth > 200))""",
    "images&tagFilter=reading": """all("tf-image-loader").slice(0, 2).every(card =>
        text(card).includes("plots/reading") && inside(card, "img").some(image => image.naturalWidth == 648))""",
    "graphs": """["input", "output", "RecurrentRea"].every(part =>
        all("text.nodelabel").some(label => text(label).startsWith(part)))""",
    "projector": """text(all("vz-projector")[0]).includes("28x8") && all("canvas").length > 1""",
    "text": """all("td").some(cell => text(cell) == "majority_rate") &&
        all("code").filter(e => text(e).includes("hidden_size: 8")).length == 2""",
    "hparams": """JSON.stringify(all("vaadin-grid-cell-content").map(text).filter(word => [...SHOWN, ...FINAL].includes(
        word))) == JSON.stringify([...SHOWN, ...FINAL.slice(0, 5)])""",
}


@pytest.mark.slow
def test_each_tab_shows_what_a_person_comes_for(served: tuple[str, dict[str, Path]], browser: Browser) -> None:
    browser.open("about:blank")
    browser.look(3000, "light")
    for tab, expected in TABS.items():
        browser.call("Page.navigate", url="about:blank")
        browser.call("Page.navigate", url=f"{served[0]}#{tab}")
        facts = [json.dumps(fact) for fact in (CURVES, FINAL, SHOWN, list(served[1]))]
        assert browser.wait_for(DEEP % (*facts, expected), 120), tab
    assert [url for url in browser.requested if not url.startswith((served[0], "data:", "blob:", "about:"))] == []


@pytest.mark.slow
def test_display_changes_no_number_not_even_after_a_kill(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("trainer.max_epochs=3", "optimizer.lr=0.05", "augment=faces")

    def kept(run: str) -> dict[str, Any]:
        return {**outcome(tmp_path / run), "result": None}  # which holds the keys of the display

    plain = train(config(*SMALL, *options))
    shown = config(*DISPLAY, *options, f"run_dir={tmp_path / 'shown'}")
    assert train(shown)["metrics"] == plain["metrics"]
    assert runs.config_hash(shown) == plain["config_hash"]
    assert kept("shown") == kept("run")
    again = config(*DISPLAY, *options, f"run_dir={tmp_path / 'again'}")
    with monkeypatch.context() as patch:

        def killed(self: Scalars, trainer: Any, model: Any) -> None:
            if trainer.current_epoch == 2:
                raise Killed  # validation has been logged, and no checkpoint been written

        patch.setattr(Scalars, "on_train_epoch_end", killed)
        with pytest.raises(Killed):
            train(again)
    assert train(again)["metrics"] == plain["metrics"]
    assert kept("again") == kept("run")
    for stage in ("train", "val"):
        events = EventAccumulator(str(tmp_path / "again" / stage)).Reload()
        assert [event.step for event in events.Scalars("curves/1_loss")] == [1, 2, 3]


@pytest.mark.parametrize(("precision", "named"), [("32-true", {"train/gradient_norm"}), ("16-mixed", set())])
def test_scaled_gradients_have_no_norm(
    config: Compose, monkeypatch: pytest.MonkeyPatch, precision: str, named: set[str]
) -> None:
    kept: list[dict[str, float]] = []
    monkeypatch.setattr(Trainer, "precision", precision)  # without a graphics card Lightning trains in bf16-mixed
    monkeypatch.setattr(Scalars, "on_train_epoch_end", lambda self, *_: kept.append(self.values))
    display = "+display.scalars._target_=lfw_seq.training.callbacks.scalars.Scalars"
    train(config(*SMALL, "trainer.max_epochs=1", "logger=none", display))
    assert [values.keys() for values in kept] == [named | {"train/images_per_second"}]


BESIDE = {  # a setting that figures depend on, beside some nets
    "gru": "data.order=columns", "lstm": "experiment=recipe", "mlp": "data.standardize=pixel",
    "residual": "test_mirror=true", "rnn": "trainer.precision=bf16-true", "row_conv": "trainer.precision=bf16-mixed",
    "two_readers": "trainer.precision=64-true", "window_conv": "data.val_from=test",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("net", sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml")))
def test_every_net_can_be_displayed(config: Compose, tmp_path: Path, net: str) -> None:
    train(config(*DISPLAY[:3], "trainer.max_epochs=1", f"model={net}", *BESIDE.get(net, "").split()))
    events = EventAccumulator(str(tmp_path / "run" / "test")).Reload()
    assert {"plots/saliency", "plots/mistakes"} <= set(events.Tags()["images"])
    assert events.Tags()["graph"]


def test_settings_are_words_and_numbers() -> None:
    model = {"_target_": "a.b.Net", "size": 3, "reader": {"cell": "gru", "_partial_": True}}
    callbacks = {"plateau": {"_target_": "c.P", "patience": 2, "mode": "min"}}
    config = {"model": model, "schedule": None, "flag": False, "run_dir": ".", "callbacks": callbacks}
    expected = {"model.size": 3, "model.reader.cell": "gru", "schedule": "None", "flag": "False"}
    assert settings(config, {}) == expected | {"callbacks.plateau.patience": 2}
    chosen = settings(config, {"model": "gru"})
    assert (chosen["Model"], chosen["Schedule"]) == ("gru", "None")
