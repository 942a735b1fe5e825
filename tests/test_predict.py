"""Who is on a photo, and a run's net as a file for other programs."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from lfw_seq import export as exporting
from lfw_seq import record
from lfw_seq.command import CONF
from lfw_seq.data.synthetic import Synthetic
from lfw_seq.errors import UsageError
from lfw_seq.export import export
from lfw_seq.load import load_run
from lfw_seq.predict import predict
from lfw_seq.train import train

from .conftest import SMALL, Compose, command, save_face
from .test_lfw import draw_lfw

Ask = Callable[..., DictConfig]


@pytest.fixture
def asked(run: Path) -> Ask:
    def composed(name: str, *overrides: str, of: Path = run) -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(name, [f"run='{of}'", *overrides])

    return composed


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three drawn faces as files, one of them in a folder inside."""
    folder = tmp_path / "фото (a), b"
    faces = Synthetic(num_people=7, num_images=21, height=50, width=37, seed=0).load()
    for name, image in zip(("a.png", "b c.PNG", "in/d.webp"), faces.images, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255).astype(np.uint8)).save(folder / name, lossless=True)
    (folder / "notes.txt").write_text("x")
    return folder


def test_the_answers_are_the_nets(run: Path, photos: Path, asked: Ask) -> None:
    result = predict(asked("predict", f"images='{photos}'", "top_k=2"))
    back = load_run(run)
    assert [Path(answer["file"]).name for answer in result["answers"]] == ["a.png", "b c.PNG", "d.webp"]
    for answer in result["answers"]:
        pixels = np.asarray(Image.open(answer["file"]).convert("L"), dtype=np.float32) / 255
        with torch.no_grad():
            scores = back.net(torch.from_numpy(pixels)[None]).softmax(dim=1)[0]
        best = scores.topk(2)
        assert [top["person"] for top in answer["top"]] == [back.names[index] for index in best.indices]
        assert [top["probability"] for top in answer["top"]] == pytest.approx(best.values.tolist(), abs=1e-6)
        assert answer["answer"] == answer["top"][0]["person"]


@pytest.mark.parametrize("change", ["data.order=bottom_up", "data.order=columns", "data.color=true"])
def test_photos_are_prepared_as_in_training(config: Compose, asked: Ask, tmp_path: Path, change: str) -> None:
    """On the photos a run was tested on, predict says what predictions.csv says."""
    draw_lfw(tmp_path)
    root = tmp_path / "lfw_home" / "lfw_funneled"
    for person in ("Ann_Lee", "Bo"):
        for index in range(5, 14):
            save_face(root / person / f"{person}_{index:04d}.jpg", index * (3 if person == "Bo" else 1))
    data = [f"data.data_home={tmp_path}", "data.min_faces_per_person=5", "data.val_size=0.3"]
    train(config(*SMALL[2:], *data, change))
    files, _, rows, _ = record.read_predictions(tmp_path / "run" / "predictions.csv")
    answers = predict(asked("predict", f"images='{root}'", "top_k=9", of=tmp_path / "run"))["answers"]
    by_file = {str(Path(answer["file"]).relative_to(root)): answer["top"] for answer in answers}
    for file, expected in zip(files, rows, strict=True):
        assert [top["probability"] for top in by_file[file]] == pytest.approx(sorted(expected, reverse=True), abs=1e-6)


def test_files_folders_and_patterns(photos: Path, asked: Ask) -> None:
    for images, count in ((photos / "a.png", 1), (photos / "*.png", 1), (photos / "**" / "*", 3), (photos / "in", 1)):
        assert len(predict(asked("predict", f"images='{images}'"))["answers"]) == count
    for images in (photos / "none.png", photos / "*.gif", photos / "nowhere"):
        with pytest.raises(UsageError, match="no image there"):
            predict(asked("predict", f"images='{images}'"))


def test_formats_hold_the_same(photos: Path, asked: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = asked("predict", f"images='{photos}'", "format=json", f"out={tmp_path / 'out.json'}")
    answers = predict(cfg)["answers"]
    assert json.loads((tmp_path / "out.json").read_text()) == answers
    assert capsys.readouterr().out == ""
    predict(asked("predict", f"images='{photos}'", "format=csv"))
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for row, answer in zip(rows, answers, strict=True):
        assert (row["file"], row["answer"]) == (answer["file"], answer["answer"])
        assert float(row["probability_3"]) == answer["top"][2]["probability"]
    predict(asked("predict", f"images='{photos}'"))
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 3
    assert f"{answers[0]['top'][0]['person']} {answers[0]['top'][0]['probability']:.3f}" in table[0]


def test_below_the_runs_threshold_a_person_is_unknown(run: Path, photos: Path, asked: Ask, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "evaluation").mkdir()
    before = predict(asked("predict", f"images='{photos}'"))["answers"]
    level = sorted(answer["top"][0]["probability"] for answer in before)[1]
    evaluation = {"open_set": {"points": [{"target": 0.05, "threshold": level}]}}
    (tmp_path / "run" / "evaluation" / "evaluation.json").write_text(json.dumps(evaluation))
    answers = predict(asked("predict", f"images='{photos}'", of=tmp_path / "run"))["answers"]
    assert [answer["answer"] == "unknown" for answer in answers] == [a["top"][0]["probability"] < level for a in before]
    assert sum(answer["answer"] == "unknown" for answer in answers) == 1
    assert [answer["top"] for answer in answers] == [answer["top"] for answer in before]
    never = predict(asked("predict", f"images='{photos}'", "fpir=null", of=tmp_path / "run"))["answers"]
    assert never == before
    with pytest.raises(UsageError, match=r"fpir=0.2: expected null or one of 0\.05"):
        predict(asked("predict", f"images='{photos}'", "fpir=0.2", of=tmp_path / "run"))


def test_thousands_of_images_and_an_unreadable_one(run: Path, photos: Path, tmp_path: Path) -> None:
    many = tmp_path / "много"
    many.mkdir()
    for index in range(3000):
        (many / f"{index:04d}.png").hardlink_to(photos / "a.png")
    (many / "1500.png").unlink()
    (many / "1500.png").write_text("no image")
    black = Image.new("L", (37, 50))
    (many / "black.png").unlink(missing_ok=True)
    black.save(many / "black.png")
    done = command(f"run={run}", f"images={many}", "format=csv", cwd=tmp_path, module="lfw_seq.predict")
    assert done.returncode == 1, done.stderr
    assert len(done.stdout.splitlines()) == 3001
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert re.search(r"много/1500\.png: not a readable image", errors[0])
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_predict_needs_neither_the_data_nor_lightning(run: Path, photos: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    shutil.copytree(run, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("*.json", ".hydra", "*.csv"))
    code = f"""
import runpy, sys
sys.argv = ['predict', "run={tmp_path / "elsewhere"}", "images={photos}"]
try:
    runpy.run_module('lfw_seq.predict', run_name='__main__')
finally:
    print([name for name in ('lightning', 'sklearn', 'torchmetrics', 'matplotlib', 'scipy') if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert len(done.stdout.splitlines()) == 4


def test_onnx_answers_as_the_run_and_names_itself(run: Path, asked: Ask, tmp_path: Path) -> None:
    path = tmp_path / "x y" / "net.onnx"
    path.parent.mkdir()
    result = export(asked("export", f"out='{path}'"))
    assert (result["checked"], result["checked_on"]) == (28, "test images")
    session = onnxruntime.InferenceSession(str(path))
    held = json.loads(session.get_modelmeta().custom_metadata_map["lfw_seq"])
    assert held["names"] == [f"Person {index}" for index in range(1, 8)]
    assert held["reading"] == {"crop": None, "height": 50, "width": 37, "color": False, "order": "top_down"}
    assert session.get_inputs()[0].shape == ["batch", 50, 37]
    onnx.checker.check_model(str(path))
    back = load_run(run)
    for size in (1, 2, 33):
        rows = torch.rand(size, 50, 37)
        expected = back.net(rows).softmax(dim=1).detach().numpy()
        assert np.allclose(session.run(None, {"rows": rows.numpy()})[0], expected, atol=1e-5)
    assert [file.name for file in path.parent.iterdir()] == ["net.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "lstm",
        "gru",
        "rnn",
        "mlp",
        "cnn",
        "bidirectional",
        "residual",
        "row_conv",
        "two_readers",
        "window_conv",
        "windows",
    ],
)
def test_every_net_exports(config: Compose, asked: Ask, tmp_path: Path, model: str) -> None:
    words = [word for word in SMALL if "hidden_size" not in word]
    more = ["model.pooling=attention"] if model in ("gru", "rnn") else []
    changed = ["data.standardize=image", "test_mirror=true"]
    train(config(*words, "trainer.max_epochs=1", f"model={model}", *more, *changed))
    if model == "windows":
        with pytest.raises(UsageError, match=r"no ONNX form .*operator Unfold.*use format=torch"):
            export(asked("export", of=tmp_path / "run"))
    for format_ in ("torch",) if model == "windows" else ("onnx", "torch"):
        result = export(asked("export", f"format={format_}", of=tmp_path / "run"))
        assert result["difference"] <= 1e-5
        assert result["checked_on"] == "test images"
        assert Path(result["file"]).parent == tmp_path / "run"


def test_a_torch_program_holds_its_names(run: Path, asked: Ask, tmp_path: Path) -> None:
    export(asked("export", "format=torch", f"out={tmp_path / 'net.pt2'}"))
    files = {"lfw_seq": ""}
    program = torch.export.load(tmp_path / "net.pt2", extra_files=files).module()
    assert json.loads(files["lfw_seq"])["reading"]["height"] == 50
    rows = torch.rand(33, 50, 37)
    with torch.no_grad():
        assert torch.allclose(program(rows), load_run(run).net(rows).softmax(dim=1), atol=1e-6)


def test_without_the_test_images_drawn_inputs_are_checked(asked: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise UsageError("gone")

    monkeypatch.setattr("lfw_seq.data.module.build", missing)
    rows, said = exporting.rows_to_check(asked("export"), load_run(asked("export").run))
    assert rows.shape == (256, 50, 37)
    assert "no test images" in said


def test_a_file_that_answers_otherwise_is_not_written(
    asked: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "run_torch", lambda path, rows: np.full((len(rows), 7), 1 / 7, dtype=np.float32))
    with pytest.raises(RuntimeError, match="not written"):
        export(asked("export", "format=torch", f"out={tmp_path / 'net.pt2'}"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="format=h5: expected one of onnx, torch"):
        export(asked("export", "format=h5"))
