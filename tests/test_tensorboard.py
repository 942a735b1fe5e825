"""What TensorBoard serves of a small sweep, over HTTP and in a browser; and that display changes no number."""

import json
import re
import shutil
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
import torch
from lightning import Trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lfw_seq.runs import folder as runs
from lfw_seq.train import train
from lfw_seq.training.callbacks.scalars import Scalars
from lfw_seq.training.callbacks.summary import settings

from .conftest import SMALL, Compose, command

DISPLAY = (*SMALL[:-1], "display.figures.every_n_epochs=2")
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ("loss", "accuracy", "macro_f1")
CURVES = [f"curves/{place}_{name}" for place, name in enumerate(RESULTS, 1)]
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
                if all("test/loss" in tags.get(f"{run}/test", ()) for run in folders):
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
            assert (step, value) == (2, pytest.approx(result["metrics"][tag], abs=1e-6))
        assert tags[f"{run}/test"].keys() == {f"{stage}/{name}" for stage in ("val", "test") for name in RESULTS}
    charts = sorted({tag for run in tags.values() for tag in run})
    assert charts[:3] == CURVES  # TensorBoard sorts by name


def test_figures_graph_projector_and_texts(served: tuple[str, dict[str, Path]]) -> None:
    address, folders = served
    drawn = {"confusion", "roc_and_precision_recall", "reliability", "mistakes"}
    drawn |= {"accuracy_by_step", "gates", "gradient_by_step", "saliency", "inputs_as_read"}
    for run, folder in folders.items():
        expected = {f"plots/{name}" for name in drawn if name != "gates" or "lstm" in run}  # a GRU has other gates
        for stage in ("val", "test"):
            tags = ask(address, "images/tags")[f"{run}/{stage}"]
            assert tags.keys() == expected
            for tag in tags:
                samples = ask(address, "images/images", run=f"{run}/{stage}", tag=tag, sample=0)
                assert [sample["step"] for sample in samples] == [2], tag
                query = samples[-1]["query"]
                picture = np.asarray(Image.open(BytesIO(fetch(address, f"plugin/images/individualImage?{query}"))))
                assert min(picture.shape[:2]) > 200, tag
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


def test_hparams_compare_a_sweep(served: tuple[str, dict[str, Path]]) -> None:
    address, folders = served
    experiment = ask(address, "hparams/experiment", {"hparamsLimit": 0})
    columns = [info["name"] for info in experiment["hparamInfos"]]
    assert columns[:2] == ["model", "model.cell"]  # what differs comes first
    assert [info["name"] for info in experiment["hparamInfos"] if info.get("differs")] == columns[:2]
    assert {"seed", "optimizer.lr", "callbacks.plateau.patience", "trainer.max_epochs"} <= set(columns)
    assert not {"model._target_", "run_dir", "data.data_home", "callbacks.resume.seed"} & set(columns)
    metrics = [info["name"]["tag"] for info in experiment["metricInfos"]]
    assert {*metrics} == {f"{stage}/{name}" for stage in ("val", "test") for name in RESULTS}
    wanted = [{"hparam": name, "includeInResult": True} for name in columns]
    query = {"allowedStatuses": ["STATUS_SUCCESS"], "colParams": wanted, "startIndex": 0, "sliceSize": 10}
    groups = ask(address, "hparams/session_groups", query)["sessionGroups"]
    assert {group["hparams"]["model"] for group in groups} == {"lstm", "gru"}
    for group in groups:
        assert all(value not in (None, "") for value in group["hparams"].values())
        values = {metric["name"]["tag"]: metric["value"] for metric in group["metricValues"]}
        result = json.loads((folders[group["name"].removesuffix("/test")] / "result.json").read_text())
        assert values["val/accuracy"] == pytest.approx(result["metrics"]["val/accuracy"], abs=1e-6)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
@pytest.mark.parametrize("tab", ["timeseries", "scalars", "images", "graphs", "text", "hparams"])
def test_tabs_open_in_a_browser(served: tuple[str, dict[str, Path]], tab: str, tmp_path: Path) -> None:
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1400"]
    dark = 0.0
    for patience in (20, 40, 80):  # a busy machine draws late
        more = [f"--virtual-time-budget={1000 * patience}", f"--screenshot={tmp_path / 'tab.png'}"]
        line = ["chromium", *words, *more, f"{served[0]}#{tab}"]
        subprocess.run(line, check=True, capture_output=True, timeout=240)
        page = np.asarray(Image.open(tmp_path / "tab.png").convert("L"))[70:, 370:]  # without bar and list of runs
        if (dark := float((page < 100).mean())) > 0.0005:  # something is written or drawn
            break
    assert dark > 0.0005


class Killed(BaseException):
    """Stands in for a kill."""


@pytest.mark.slow
def test_display_changes_no_number_not_even_after_a_kill(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("trainer.max_epochs=3", "optimizer.lr=0.05", "augment=faces")

    def outcome(run: str) -> dict[str, Any]:
        paths = (tmp_path / run / name for name in ("predictions.csv", "metrics.csv"))
        checkpoint = torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)
        weights = {name: value.tolist() for name, value in checkpoint["state_dict"].items()}
        return {"texts": [path.read_bytes() for path in paths], "weights": weights}

    plain = train(config(*SMALL, *options))
    shown = config(*DISPLAY, *options, f"run_dir={tmp_path / 'shown'}")
    assert train(shown)["metrics"] == plain["metrics"]
    assert runs.config_hash(shown) == plain["config_hash"]
    assert outcome("shown") == outcome("run")
    again = config(*DISPLAY, *options, f"run_dir={tmp_path / 'again'}")
    with monkeypatch.context() as patch:

        def killed(self: Scalars, trainer: Any, model: Any) -> None:
            if trainer.current_epoch == 2:
                raise Killed  # validation has been logged, and no checkpoint been written

        patch.setattr(Scalars, "on_train_epoch_end", killed)
        with pytest.raises(Killed):
            train(again)
    assert train(again)["metrics"] == plain["metrics"]
    assert outcome("again") == outcome("run")
    for stage in ("train", "val"):
        events = EventAccumulator(str(tmp_path / "again" / stage))
        events.Reload()
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


VARIANTS = [*(f"model={path.stem}" for path in sorted((ROOT / "conf" / "model").glob("*.yaml"))), "data.order=columns"]
VARIANTS += [f"trainer.precision={name}" for name in ("64-true", "bf16-mixed", "bf16-true")]
VARIANTS += ["test_mirror=true", "data.val_from=test", "experiment=recipe", "data.standardize=pixel"]


@pytest.mark.slow
@pytest.mark.parametrize("change", VARIANTS)
def test_every_net_can_be_displayed(config: Compose, tmp_path: Path, change: str) -> None:
    train(config(*DISPLAY[:3], "trainer.max_epochs=1", change))
    events = EventAccumulator(str(tmp_path / "run" / "test"))
    events.Reload()
    assert {"plots/saliency", "plots/mistakes"} <= set(events.Tags()["images"])
    assert events.Tags()["graph"]


def test_settings_are_words_and_numbers() -> None:
    model = {"_target_": "a.b.Net", "size": 3, "reader": {"cell": "gru", "_partial_": True}}
    callbacks = {"plateau": {"_target_": "c.P", "patience": 2, "mode": "min"}}
    config = {"model": model, "schedule": None, "flag": False, "run_dir": ".", "callbacks": callbacks}
    expected = {"model.size": 3, "model.reader.cell": "gru", "schedule": "None", "flag": "False"}
    assert settings(config, {}) == expected | {"callbacks.plateau.patience": 2}
    assert settings(config, {"model": "gru"})["model"] == "gru"
