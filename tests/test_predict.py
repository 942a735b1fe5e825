"""Who is on a photo, and a run's net as a file for other programs."""

import csv
import errno
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from lfw_seq import export as exporting
from lfw_seq import predict as predicting
from lfw_seq.cli import CONF, UsageError
from lfw_seq.export import export
from lfw_seq.predict import predict
from lfw_seq.runs import formats, record
from lfw_seq.runs.checkpoint import load_run
from lfw_seq.train import train

from .conftest import ANY_NET, SMALL, Compose, Shell, composed, imported, save_face
from .test_lfw import draw_lfw

Ask = Callable[..., DictConfig]


@pytest.fixture
def asked(run: Path) -> Ask:
    def ask(name: str, *overrides: str, of: Path = run) -> DictConfig:
        return composed(name, f"run='{of}'", *overrides)

    return ask


@pytest.fixture(scope="module")
def program(run: Path) -> bytes:
    """The shared run as a `torch.export` program, which takes seconds to make."""
    return formats.to_torch(load_run(run))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures, one of them in a folder inside."""
    folder = tmp_path / "фото (a), b"
    for tone, name in enumerate(("a.png", "b c.PNG", "in/d.webp"), start=1):
        save_face(folder / name, tone, (37, 50))
    (folder / "notes.txt").write_text("x")
    return folder


@pytest.mark.parametrize("change", ["data.order=bottom_up", "data.order=columns", "data.color=true"])
def test_photos_are_prepared_as_in_training(config: Compose, asked: Ask, tmp_path: Path, change: str) -> None:
    """On the photos a run was tested on, predict says what predictions.csv says."""
    draw_lfw(tmp_path, 12, 11)
    root = tmp_path / "lfw_home" / "lfw_funneled"
    data = [f"data.data_home={tmp_path}", "data.min_faces_per_person=5", "data.val_size=0.3"]
    train(config(*SMALL[2:], *data, change))
    files, _, rows, names = record.read_predictions(tmp_path / "run" / "predictions.csv")
    found = predict(asked("predict", f"images='{root}'", "top_k=9", of=tmp_path / "run"))["predictions"]
    by_file = {str(Path(prediction["file"]).relative_to(root)): prediction for prediction in found}
    for file, row in zip(files, rows, strict=True):
        probabilities, people = zip(*sorted(zip(row, names, strict=True), reverse=True), strict=True)
        top = by_file[file]["top"]
        assert [one["probability"] for one in top] == pytest.approx(probabilities, abs=1e-6)
        assert (*(one["person"] for one in top), by_file[file]["predicted"]) == (*people, people[0])


def test_files_folders_and_patterns(photos: Path, asked: Ask) -> None:
    for images, count in ((photos / "a.png", 1), (photos / "*.png", 1), (photos / "**" / "*", 3), (photos / "in", 1)):
        assert len(predict(asked("predict", f"images='{images}'"))["predictions"]) == count
    found = predict(asked("predict", f"images='{photos}'", "top_k=2"))["predictions"]
    assert [(Path(one["file"]).name, len(one["top"])) for one in found] == [("a.png", 2), ("b c.PNG", 2), ("d.webp", 2)]


def test_formats_hold_the_same(photos: Path, asked: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = predict(asked("predict", f"images='{photos}'", "format=json", f"out={tmp_path / 'out.json'}"))[
        "predictions"
    ]
    assert json.loads((tmp_path / "out.json").read_text()) == found
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "3 images\n")
    predict(asked("predict", f"images='{photos}'", "format=csv"))
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    for row, prediction in zip(rows, found, strict=True):
        assert (row["file"], row["predicted"]) == (prediction["file"], prediction["predicted"])
        assert float(row["probability_3"]) == prediction["top"][2]["probability"]
    assert said.err == "3 images\n"
    predict(asked("predict", f"images='{photos}'"))
    said = capsys.readouterr()
    header, *table, last = said.out.splitlines()
    assert header.split() == ["image", "predicted", "the", "most", "likely", *header.split()[5:]]
    assert (len(table), last, said.err) == (3, "3 images", "")
    top = found[0]["top"][0]
    assert re.search(rf"a\.png +{top['person']} +{top['person']} {top['probability']:.3f}, ", table[0])


def test_a_file_name_that_is_not_utf_8_is_written(photos: Path, asked: Ask, tmp_path: Path) -> None:
    shutil.copy(photos / "a.png", os.fsdecode(os.fsencode(photos) + b"/x\xff.png"))
    for format_ in ("csv", "json"):
        predict(asked("predict", f"images='{photos}'", f"format={format_}", f"out='{tmp_path / 'out'}'"))
        assert "x\N{REPLACEMENT CHARACTER}.png" in (tmp_path / "out").read_text(encoding="utf-8")


def test_names_are_neither_formulas_nor_commands_of_a_terminal() -> None:
    odd = [{"file": "=1+1.png", "predicted": "@x\x1b[2J", "top": [{"person": "@x\x1b[2J", "probability": 0.5}]}]
    assert predicting.as_csv(odd).splitlines()[1].startswith("'=1+1.png,'@x")
    assert "\x1b" not in predicting.as_table(odd)
    assert json.loads(predicting.as_json(odd)) == odd


def test_unknown_only_where_asked_for(
    run: Path, photos: Path, asked: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    before = predict(asked("predict", f"images='{photos}'"))["predictions"]
    levels = sorted(prediction["top"][0]["probability"] for prediction in before)
    points = [
        {"score": "probability", "target": target, "threshold": level, "fnir": 0.4, "turned_away": away}
        for target, level, away in ((0.05, levels[1], 0.3), (0.01, 0.999, 0.6))
    ]
    (tmp_path / "run" / "evaluation").mkdir()
    (tmp_path / "run" / "evaluation" / "evaluation.json").write_text(json.dumps({"open_set": {"points": points}}))
    assert predict(asked("predict", f"images='{photos}'", of=tmp_path / "run"))["predictions"] == before
    capsys.readouterr()
    found = predict(asked("predict", f"images='{photos}'", "fpir=0.05", of=tmp_path / "run"))["predictions"]
    assert [p["predicted"] == "unknown" for p in found] == [p["top"][0]["probability"] < levels[1] for p in before]
    assert sum(prediction["predicted"] == "unknown" for prediction in found) == 1
    assert [prediction["top"] for prediction in found] == [prediction["top"] for prediction in before]
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "3 images, 1 of them unknown"
    rates = "this rejects or misnames 40.0% of known people on the test images (FNIR)"
    assert said.err == f"unknown below probability {levels[1]:.4f}: {rates}\n"
    predict(asked("predict", f"images='{photos}'", "fpir=0.01", of=tmp_path / "run"))
    assert "warning: the threshold rejects 60% of known people; fpir=null names all" in capsys.readouterr().err
    nobody = tmp_path / "run" / "evaluation" / "evaluation.json"
    for fpir, of in ((0.2, tmp_path / "run"), (0.05, run), ("abc", run)):
        with pytest.raises(UsageError, match=rf"fpir={fpir}: no threshold for it in .*; use null, or"):
            predict(asked("predict", f"images='{photos}'", f"fpir={fpir}", of=of))
    with pytest.raises(UsageError, match=r"fpir=0.05: no threshold for it in .*; score=state is for nets that read"):
        predict(asked("predict", f"images='{photos}'", "fpir=0.05", "score=state", of=tmp_path / "run"))
    nobody.write_text('{"open_set": null}')  # evaluated without strangers
    with pytest.raises(UsageError, match=r"use null; it needs strangers.*in the data of the run$"):
        predict(asked("predict", f"images='{photos}'", "fpir=0.05", of=tmp_path / "run"))


def test_more_images_than_open_files_and_an_unreadable_one(
    run: Path, photos: Path, tmp_path: Path, shell: Shell
) -> None:
    many = tmp_path / "много"
    many.mkdir()
    for index in range(1100):
        (many / f"{index:04d}.png").hardlink_to(photos / "a.png")
    (many / "0500.png").unlink()
    (many / "0500.png").write_text("no image")
    Image.new("L", (37, 50)).save(many / "black.png")
    done = shell(f"run={run}", f"images={many}", "format=csv", module="predict")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1101
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert re.search(r"много/0500\.png: not a readable JPEG, PNG or WebP [^;]*$", errors[0])
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_predict_needs_neither_the_data_nor_lightning(run: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("*.json", ".hydra", "*.csv"))
    words = (f"run={tmp_path / 'elsewhere'}", f"images={photos}")
    heavy = ("lightning", "sklearn", "torchmetrics", "matplotlib", "scipy")
    printed, found = imported("predict", *words, cwd=tmp_path, of=heavy)
    assert found == []
    assert len(printed.splitlines()) == 5  # the header, three photos, the summary


def test_onnx_predicts_as_the_run_and_names_itself(
    run: Path, asked: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x y" / "net.onnx"
    path.parent.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", "/no/such")  # nothing is left there by a kill, as nothing is put there
    result = export(asked("export", f"out='{path}'"))
    assert (result["checked"], result["checked_on"]) == (28, "test images")
    session = onnxruntime.InferenceSession(str(path))
    held = json.loads(session.get_modelmeta().custom_metadata_map["lfw_seq"])
    assert held["class_names"] == [f"Person {index}" for index in range(1, 8)]
    assert held["preprocessing"] == {"crop": None, "height": 50, "width": 37, "color": False, "order": "top_down"}
    assert session.get_inputs()[0].shape == ["batch", 50, 37]
    onnx.checker.check_model(str(path))
    back = load_run(run)
    for size in (1, 2, 33):
        rows = torch.rand(size, 50, 37)
        expected = back.predictor(rows).softmax(dim=1).detach().numpy()
        assert np.allclose(session.run(None, {"rows": rows.numpy()})[0], expected, atol=1e-5)
    assert [file.name for file in path.parent.iterdir()] == ["net.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(path.stem for path in (CONF / "model").glob("*.yaml")))
def test_every_net_exports(
    config: Compose, asked: Ask, tmp_path: Path, model: str, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["data.height=12", "data.width=16"]  # an exported LSTM has nodes for each step
    more = ["model.pooling=attention"] if model in ("gru", "rnn") else []
    changed = ["data.standardize=image", "test_mirror=true"]
    train(config(*ANY_NET, *words, "trainer.max_epochs=1", f"model={model}", *more, *changed))
    capfd.readouterr()
    for format_ in ("onnx", "torch"):
        result = export(asked("export", f"format={format_}", of=tmp_path / "run"))
        assert result["difference"] <= 1e-5
        assert result["checked_on"] == "test images"
        assert Path(result["file"]).parent == tmp_path / "run"
    assert "graph(" not in capfd.readouterr().out
    blank = torch.full((1, 12, 16), 150 / 255)  # whose mean onnxruntime rounds otherwise
    net = load_run(tmp_path / "run").predictor
    found = formats.run_onnx((tmp_path / "run" / "model.onnx").read_bytes(), blank)
    assert np.allclose(found, net(blank).softmax(dim=1).detach(), atol=1e-5)


def test_a_net_without_an_onnx_form_is_named(asked: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.onnx, "export", Mock(side_effect=RuntimeError("operator X.  [Caused by a graph]")))
    with pytest.raises(UsageError, match=r"no ONNX form \(operator X\.\); use format=torch"):
        export(asked("export"))


def test_a_torch_program_holds_its_names(
    run: Path, asked: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bytes
) -> None:
    monkeypatch.setattr(formats, "to_torch", lambda run: program)
    assert export(asked("export", "format=torch", f"out={tmp_path / 'net.pt2'}"))["difference"] <= 1e-5
    files = {"lfw_seq": ""}
    exported = torch.export.load(tmp_path / "net.pt2", extra_files=files).module()
    assert json.loads(files["lfw_seq"])["preprocessing"]["height"] == 50
    rows = torch.rand(33, 50, 37)
    with torch.no_grad():
        assert torch.allclose(exported(rows), load_run(run).predictor(rows).softmax(dim=1), atol=1e-6)


def test_without_the_test_images_drawn_inputs_are_checked(asked: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfw_seq.evaluation.predictions.build", Mock(side_effect=UsageError("gone")))
    rows, said = exporting.rows_to_check(asked("export"), load_run(asked("export").run))
    assert rows.shape == (256, 50, 37)
    assert "no test images" in said


@pytest.mark.parametrize("value", [1 / 7, np.nan])
def test_a_file_that_predicts_otherwise_is_not_written(
    asked: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    (tmp_path / "net.pt2").write_text("old")
    monkeypatch.setattr(formats, "to_torch", lambda run: b"new")
    monkeypatch.setattr(formats, "run_torch", lambda _, rows: np.full((len(rows), 7), value, dtype=np.float32))
    with pytest.raises(UsageError, match=r"net\.pt2: not written, because its probabilities differ"):
        export(asked("export", "format=torch", f"out={tmp_path / 'net.pt2'}"))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_full_disk_leaves_the_old_file_whole(
    asked: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bytes
) -> None:
    (tmp_path / "net").write_text("old")
    monkeypatch.setattr(formats, "to_torch", lambda run: program)
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    monkeypatch.setattr(tempfile, "tempdir", "/no/such")  # as above
    with pytest.raises(OSError, match=r"No space left on device: '.*net'"):
        export(asked("export", "format=torch", f"out={tmp_path / 'net'}"))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_without_onnx_its_extra_is_named(asked: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(MetaPathFinder):
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "onnx":
                raise ModuleNotFoundError("No module named 'onnx'")

    monkeypatch.delitem(sys.modules, "onnx", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(UsageError, match=r'format=onnx: .*pip install -e "\.\[export\]"'):
        export(asked("export"))
