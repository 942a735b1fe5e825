"""The command line as a user types it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import SMALL, command, invoke, save_face


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data.resiz=1"], r"data\.resiz: no such key; did you mean data\.resize\?"),
        (["model=residual", "model.num_layers=4"], r"num_layers: no such key; did you mean model\.\w+\.num_layers\?"),
        (["model=nothing", "data.resiz=1"], r"model=nothing: no such choice"),
        (["model=lstmm"], r"model=lstmm: no such choice; expected one of .*gru, .*lstm"),
        (["data=folder"], r"data\.root: needs a value"),
        (["data.data_home=/no/such/place"], r"data\.data_home=/no/such/place: no such folder.*data=synthetic"),
        (["data=synthetic", "data.val_size=0"], r"data\.val_size=0: expected a number above 0 and below 1"),
        (["data=synthetic", "data.test_size=1.5"], r"data\.test_size=1\.5: expected"),
        (["data=synthetic", "model.hidden_size=-1"], r"model\.hidden_size=-1: expected a whole number"),
        (["data=synthetic", "model.hidden_size=1e9"], r"model\.hidden_size=1000000000\.0: expected a whole number"),
        (["data=synthetic", "optimizer.lr=-1"], r"optimizer: Invalid learning rate"),
        (["data=synthetic", "trainer.precision=8"], r"trainer: Precision '?8'? is invalid"),
        (["data=synthetic", "monitor=val/los"], r"monitor=val/los: expected one of val/loss"),
        (["data=synthetic", "+trainer.limit_test_batches=1"], r"trainer\.limit_test_batches=1: leave it out"),
        (["data=synthetic", "+trainer.check_val_every_n_epoch=2"], r"trainer\.check_val_every_n_epoch=2: leave it out"),
        (["data=synthetic", "+trainer.accumulate_grad_batches=0"], r"accumulate_grad_batches=0: expected a whole"),
        (["data=synthetic", "callbacks.best.monitor=val/f1"], r"callbacks\.best\.monitor=val/f1: expected one of val/"),
        (["model=["], r"no viable alternative|mismatched|extraneous"),
        (["seed=abc"], r"seed=abc: expected a whole number"),
    ],
)
def test_a_mistake_ends_in_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(*words, monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(f"^error: .*{expected}", line), line
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_not_every_choice_of_a_sweep_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("-m", "model=lstm,residual", "model.num_layers=4", monkeypatch=monkeypatch) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: model.num_layers: no such key; not every choice has it; ")


def test_what_lightning_finds_wrong_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("data=synthetic", "+trainer.limit_train_batches=0.001", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: trainer: You requested to check 0.001")


def test_a_person_with_one_photo_is_named(tmp_path: Path) -> None:
    for person, count in (("Ann", 9), ("Bo", 9), ("Cy", 1)):
        for index in range(count):
            save_face(tmp_path / "faces" / person / f"{index}.png", index + 1, (40, 50))
    done = command("data=folder", "data.root=faces", cwd=tmp_path)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]
    assert "'Cy' has one photo" in done.stderr


def test_debug_shows_the_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("data=synthetic", "data.val_size=0", "debug=true", monkeypatch=monkeypatch) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "UsageError: data.val_size=0" in error


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]])
def test_help_imports_no_torch(tmp_path: Path, words: list[str]) -> None:
    code = f"""
import runpy, sys
sys.argv = ['train', *{words}]
try:
    runpy.run_module('lfw_seq.train', run_name='__main__')
finally:
    print([name for name in ('torch', 'lightning', 'sklearn') if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_and_a_grid(tmp_path: Path) -> None:
    done = command(*SMALL, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "majority rate" in done.stdout
    assert len(re.findall(r"^epoch +\d/2 ", done.stdout, flags=re.MULTILINE)) == 2
    again = command(*SMALL, "hydra.run.dir=run", cwd=tmp_path)
    assert again.returncode == 2
    assert "holds a finished run" in again.stderr

    grid = command("-m", *SMALL, "model=lstm,gru", "seed=0,1", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert grid.returncode == 0, grid.stderr
    results = {path.parent: json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/result.json")}
    assert sorted(result["model"]["name"] for result in results.values()) == ["gru", "gru", "lstm", "lstm"]
    single = json.loads((tmp_path / "run" / "result.json").read_text())
    twin = [folder for folder, result in results.items() if result["config_hash"] == single["config_hash"]]
    assert len(twin) == 1  # lstm, seed 0: the same numbers alone and inside a sweep
    assert results[twin[0]]["metrics"] == single["metrics"]
    assert (twin[0] / "predictions.csv").read_bytes() == (tmp_path / "run" / "predictions.csv").read_bytes()
