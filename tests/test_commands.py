"""The command line as a user types it."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import SMALL, command, invoke, save_face

DRAWN = ("data=synthetic", "data.num_images=140")
MISTAKES: list[tuple[str, str]] = [  # what is typed, and what the line must hold
    ("data.resiz=1", r"data\.resiz: no such key; did you mean data\.resize\?"),
    ("model=residual model.num_layers=4", r"num_layers: no such key; did you mean model\.\w+\.num_layers\?"),
    ("model=nothing data.resiz=1", "model=nothing: no such choice"),
    ("model=lstmm", r"model=lstmm: no such choice; expected one of .*gru, .*lstm"),
    ("data=folder", r"data\.root: needs a value"),
    ("data.data_home=/no/such/place", r"data\.data_home=/no/such/place: no such folder.*data=synthetic"),
    ("data.val_size=0", r"data\.val_size=0: expected a number above 0 and below 1"),
    ("data.test_size=1.5", r"data\.test_size=1\.5: expected"),
    ("data.batch_size=0", r"data\.batch_size=0: expected a whole number"),
    ("data.order=sideways", r"data\.order=sideways: expected one of top_down"),
    ("data=null", "data"),
    ("model.hidden_size=-1", r"model\.hidden_size=-1: expected a whole number"),
    ("model.hidden_size=1e9", r"model\.hidden_size=1000000000\.0: expected a whole number"),
    ("model.num_layers=1000000", r"model\.num_layers=1000000: expected a whole number from 1 to 1000"),
    ("model.bidirectional=abc", r"model\.bidirectional=abc: expected true or false"),
    ("model=cnn model.channels=[0]", r"model\.channels=0: expected a whole number"),
    ("model=cnn model.channels=[]", r"model\.channels=\[\]: expected"),
    ("model.cell=elman", r"model\.cell=elman: expected one of lstm, gru, rnn"),
    ("model=null", "model"),
    ("optimizer.lr=-1", "optimizer: ValueError: Invalid learning rate"),
    ("optimizer.lr=abc", "optimizer: TypeError"),
    ("optimizer=null", "optimizer"),
    ("+optimizer.betas=[0.9]", "optimizer: "),
    ("+optimizer.foreach=true", "optimizer: "),
    ("+optimizer.nothing=1", "optimizer: .*nothing"),
    ("schedule=one_cycle schedule.pct_start=2", "schedule: .*pct_start"),
    ("schedule=one_cycle schedule.max_lr=abc", "schedule: "),
    ("schedule=cosine schedule.warmup=1", r"schedule\.warmup=1: expected"),
    ("augment=faces +augment.foo=1", "augment: .*foo"),
    ("augment=faces augment.mirror=2", r"augment\.mirror=2: expected"),
    ("loss.label_smoothing=1", r"loss\.label_smoothing=1: expected"),
    ("loss.class_weights=abc", r"loss\.class_weights=abc: expected null, balanced or a list"),
    ("loss.class_weights=[1,2]", r"loss\.class_weights=\[1, 2\]: expected 7 numbers"),
    ("loss.class_weights=[a,b,c,d,e,f,g]", r"loss\.class_weights=a: expected a number"),
    ("average_decay=1", r"average_decay=1: expected"),
    ("callbacks.plateau.mode=foo", r"callbacks\.plateau\.mode=foo: expected one of min, max"),
    ("callbacks.plateau.factor=2", r"callbacks\.plateau\.factor=2: expected"),
    ("callbacks.early_stopping.monitor=null", r"callbacks\.early_stopping\.monitor=None: expected one of"),
    ("callbacks.early_stopping.patience=abc", r"callbacks\.early_stopping"),
    ("callbacks.best.monitor=val/f1", r"callbacks\.best\.monitor=val/f1: expected one of val/"),
    ("callbacks.best.filename=../../up", r"callbacks\.best\.filename=\.\./\.\./up: expected a file name"),
    ("callbacks.history.path=result.json", r"callbacks\.history\.path"),
    ("+callbacks.x=5", r"callbacks\.x: "),
    ("+callbacks.x._target_=os.getcwd", r"callbacks\.x: "),
    ("callbacks=null", "callbacks"),
    ("trainer.precision=8", r"trainer: .*Precision '?8'? is invalid"),
    ("trainer.max_epochs=0", r"trainer\.max_epochs=0: expected"),
    ("trainer.gradient_clip_val=-1", r"trainer\.gradient_clip_val=-1: expected"),
    ("trainer.devices=1000", r"trainer\.devices=1000"),
    ("trainer.devices=2", r"trainer\.devices=2"),
    ("+trainer.num_nodes=2", r"trainer\.num_nodes=2: leave it out"),
    ("+trainer.max_steps=0", r"trainer\.max_steps=0: leave it out"),
    ("+trainer.limit_train_batches=0", r"trainer\.limit_train_batches=0: expected"),
    ("+trainer.limit_train_batches=0.001", "trainer: You requested to check 0.001"),
    ("+trainer.limit_test_batches=1", r"trainer\.limit_test_batches=1: leave it out"),
    ("+trainer.check_val_every_n_epoch=2", r"trainer\.check_val_every_n_epoch=2: leave it out"),
    ("+trainer.accumulate_grad_batches=0", "accumulate_grad_batches=0: expected a whole"),
    ("+trainer.nothing=1", "trainer: .*nothing"),
    ("trainer=null", "trainer"),
    ("monitor=val/los", "monitor=val/los: expected one of val/loss"),
    ("monitor=val/accuracy", "monitor_mode=min: monitor=val/accuracy needs monitor_mode=max"),
    ("monitor_mode=abc", "monitor_mode=abc: expected one of min, max"),
    ("seed=abc", "seed=abc: expected a whole number"),
    ("seed=-1", "seed=-1: expected a whole number"),
    ("split_seed=1.5", r"split_seed=1\.5: expected a whole number"),
    ("threads=100000", "threads=100000: expected a whole number from 1 to 1024"),
    ("test_mirror=abc", "test_mirror=abc: expected true or false"),
    ("fail_fast=abc", "fail_fast=abc: expected true or false"),
    ("data.pixel_guard=abc", r"data\.pixel_guard=abc: expected true or false"),
    ("hydra/launcher=nothing", "hydra/launcher=nothing: no such choice"),
    ("model=[", "no viable alternative|mismatched|extraneous"),
    ("hydra.run.dir=/dev/null/x", "/dev/null/x"),
    (f"hydra.run.dir={'x' * 300}", "File name too long"),
]


@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=[words[:40] for words, _ in MISTAKES])
def test_a_mistake_ends_in_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = () if words.startswith(("data=", "data.data_home", "data.resiz", "model=n")) else DRAWN
    assert invoke(*drawn, *words.split(), "callbacks=core", monkeypatch=monkeypatch) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert re.search(f"^error: .*({expected})", lines[0]), lines[0]
    assert list(tmp_path.iterdir()) == []


def test_only_folders_of_the_run_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    for folder in ("a/b/c/d", "a/b", "x/y"):
        assert invoke(*DRAWN, "data.val_size=0", f"hydra.run.dir={folder}", monkeypatch=monkeypatch) == 2
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a", "a/b"]


def test_a_folder_of_the_users_own_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "predictions.csv").write_text("mine")
    assert invoke(*SMALL, "hydra.run.dir=mine", monkeypatch=monkeypatch) == 2
    assert "holds files that are no run of lfw_seq" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["predictions.csv"]
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert invoke(*SMALL, "trainer.max_epochs=1", "hydra.run.dir=~/run", monkeypatch=monkeypatch) == 0
    assert (tmp_path / "home" / "run" / "result.json").is_file()
    assert not (tmp_path / "~").exists()
    (tmp_path / "home" / "run" / "result.json").write_bytes(b'{"status": "complete"\xff')
    assert invoke(*SMALL, "trainer.max_epochs=1", "hydra.run.dir=~/run", monkeypatch=monkeypatch) == 2
    assert "result.json: cannot be read" in capsys.readouterr().err


def test_a_key_that_not_every_choice_of_a_sweep_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("-m", "model=lstm,residual", "model.num_layers=4", monkeypatch=monkeypatch) != 0
    assert "model.num_layers: no such key; not every choice has it; " in capsys.readouterr().err


def test_a_person_with_one_photo_is_named(tmp_path: Path) -> None:
    for person, count in (("Ann", 9), ("Bo", 9), ("Cy", 1)):
        for index in range(count):
            save_face(tmp_path / "faces" / person / f"{index}.png", index + 1, (40, 50))
    done = command("data=folder", "data.root=faces", cwd=tmp_path)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]
    (line,) = done.stderr.splitlines()
    assert "'Cy' has fewer than 3 photos" in line


def test_debug_shows_the_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"data\.val_size=0"):
        invoke("data=synthetic", "data.val_size=0", "debug=true", monkeypatch=monkeypatch)


def test_divergence_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(*SMALL, "optimizer.lr=1e38", "hydra.run.dir=run", monkeypatch=monkeypatch) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"error: the loss is (nan|inf) in epoch \d at learning rate 1e\+38: lower optimizer\.lr", line)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "failed"


def test_drawn_faces_stand_in_only_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    words = ("data.data_home=empty", "data.download=false", *SMALL[2:], "trainer.max_epochs=1", "data.val_size=0.2")
    assert invoke(*words, monkeypatch=monkeypatch) == 2
    assert invoke(*words, "substitute_data=true", "hydra.run.dir=run", monkeypatch=monkeypatch) == 0
    assert "Training on drawn faces, not on photos of people: no LFW in " in capsys.readouterr().out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["data"]["source"].startswith("synthetic")
    assert [sum(result["data"]["counts"][stage]) for stage in ("train", "val", "test")] == [824, 206, 258]


def test_a_model_that_replaces_an_experiments_own_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = "model=lstm replaces the model of experiment=cnn, cnn"
    for words, named in ((("model=lstm", "model.hidden_size=4"), True), (("model=cnn",), False), ((), False)):
        small = [word for word in SMALL if not word.startswith("model.")]
        assert invoke("experiment=cnn", *words, *small, "trainer.max_epochs=1", monkeypatch=monkeypatch) == 0
        assert (line in capsys.readouterr().out) == named


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
def test_ctrl_c_names_the_command_that_goes_on(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "lfw_seq.train", *SMALL, "trainer.max_epochs=2000", "callbacks.early_stopping=null"]
    hears = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background ignores Ctrl-C
    run = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=hears)
    while not list(tmp_path.glob("outputs/*/*/checkpoints/last.ckpt")):
        assert run.poll() is None
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGINT)
    last = run.communicate(timeout=60)[1].splitlines()[-1]
    assert run.returncode == 130
    assert last.startswith("Interrupted. Go on with: python -m lfw_seq.train data=synthetic")
    assert last.endswith(f"hydra.run.dir={next(tmp_path.glob('outputs/*/*'))}")


@pytest.mark.parametrize("name", ["train", "baselines", "report", "benchmark"])
def test_help_is_hydras_own(tmp_path: Path, name: str) -> None:
    ours = command("--help", cwd=tmp_path, module=f"lfw_seq.{name}")
    code = f"import sys; from lfw_seq import {name}; sys.argv = ['{name}', '--help']; {name}.main()"
    hydras = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ours.stdout == hydras.stdout
    assert "== Config ==" in ours.stdout
