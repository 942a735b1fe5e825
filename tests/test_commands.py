"""The command line as a user types it."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from lfw_seq.__main__ import COMMANDS
from lfw_seq.cli import CONF, start
from lfw_seq.compose import quoted

from .conftest import SMALL, Shell, imported, interrupted

DRAWN = ("data=synthetic", "data.num_images=140")


def test_new_places_may_have_commas() -> None:
    assert quoted("out=a,b=1.csv") == "out='a,b=1.csv'"
    assert quoted("hydra.run.dir=/a,b") == "hydra.run.dir='/a,b'"
    assert quoted("run=no/such,x") == "run=no/such,x"  # a sweep


def test_only_folders_of_the_run_are_removed(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for folder in ("a/b/c/d", "a/b", "x/y"):
        assert shell(*DRAWN, "data.val_size=0", f"hydra.run.dir={folder}").returncode == 2
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a", "a/b"]


def test_a_run_below_home_whose_result_is_damaged_is_refused(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert shell(*SMALL, "trainer.max_epochs=1", "hydra.run.dir=~/run").returncode == 0
    assert (tmp_path / "home" / "run" / "result.json").is_file()
    assert not (tmp_path / "~").exists()
    (tmp_path / "home" / "run" / "result.json").write_bytes(b'{"status": "complete"\xff')
    refused = shell(*SMALL, "trainer.max_epochs=1", "hydra.run.dir=~/run")
    assert refused.returncode == 2
    assert "result.json: cannot be read" in refused.stderr


def test_traceback_shows_the_traceback(shell: Shell) -> None:
    with pytest.raises(ValueError, match=r"data\.val_size=0"):
        shell("data=synthetic", "data.val_size=0", "traceback=true")
    done = shell("-m", "data=synthetic", "data.val_size=0,2", "traceback=true")
    assert done.returncode == 1
    assert set(re.findall(r"^lfw_seq\.cli\.UsageError: data\.val_size=(\d)", done.stderr, re.MULTILINE)) == {"0", "2"}
    assert "0 finished, 2 not" in done.stdout


ONE_STEP = ("data.batch_size=200", "trainer.max_epochs=1")
UNSEEN = "data.val_from=none callbacks.early_stopping=null callbacks.plateau=null callbacks.best.monitor=step"
LAST = (*ONE_STEP, *UNSEEN.split(), "callbacks.best.mode=max")


@pytest.mark.parametrize(("stage", "words"), [("train", ()), ("val", ONE_STEP), ("test", LAST)])
def test_divergence_is_named(shell: Shell, tmp_path: Path, stage: str, words: tuple[str, ...]) -> None:
    done = shell(*SMALL, *words, "optimizer.lr=1e38", "hydra.run.dir=run")
    assert done.returncode == 2
    rate = r" at learning rate 1e\+38" if stage != "test" else ""
    line = rf"error: {stage}/loss is (nan|inf) in epoch \d{rate}: lower optimizer\.lr"
    assert re.match(line, done.stderr.splitlines()[-1])
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "failed"


def test_drawn_faces_stand_in_only_where_that_is_allowed(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    words = ("data.data_home=empty", "data.download=false", *SMALL[2:], "trainer.max_epochs=1", "data.val_size=0.2")
    assert shell(*words).returncode == 2
    done = shell(*words, "substitute_data=true", "hydra.run.dir=run")
    assert done.returncode == 0
    assert "Training on drawn faces, not on photos of people: no LFW in " in done.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["data"]["source"].startswith("synthetic")
    assert [sum(result["data"]["counts"][stage]) for stage in ("train", "val", "test")] == [824, 206, 258]
    sweep = ("-m", *words, "substitute_data=true", "hydra.sweep.dir=sweep")
    assert shell(*sweep).returncode == 0
    assert "finished before" in shell(*sweep).stdout


def test_a_model_that_replaces_an_experiments_own_is_named(shell: Shell) -> None:
    line = "model=lstm replaces the model of experiment=cnn, cnn"
    for words, named in ((("model=lstm", "model.hidden_size=4"), True), (("model=cnn",), False), ((), False)):
        done = shell("experiment=cnn", *words, *DRAWN, "data.val_size=0")  # which ends it before it trains
        assert done.returncode == 2
        assert (line in done.stdout) == named


def test_an_experiment_needs_no_defaults_and_may_lie_elsewhere(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "plain.yaml").write_text("# @package _global_\nmodel:\n  hidden_size: 4\n")
    done = shell("-cd", "own", "experiment=plain", *DRAWN, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    text = "# @package _global_\ndefaults:\n  - override /model: gru\n"
    (tmp_path / "own" / "experiment" / "other.yaml").write_text(text)
    done = shell("-cd", "own", "experiment=other", "model=rnn", *DRAWN, "data.val_size=0")
    assert "model=rnn replaces the model of experiment=other, gru" in done.stdout
    assert json.loads((tmp_path / "run" / "result.json").read_text())["config"]["model"]["hidden_size"] == 4


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]])
def test_help_imports_no_torch(tmp_path: Path, words: list[str]) -> None:
    assert imported("train", *words, cwd=tmp_path, of=("torch", "lightning", "sklearn"))[1] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_names_the_command_that_goes_on(tmp_path: Path) -> None:
    done = interrupted(*SMALL, "trainer.max_epochs=2000", "callbacks.early_stopping=null", cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 130
    assert last.startswith("Interrupted. Resume with: python -m lfw_seq.train data=synthetic")
    assert last.endswith(f"hydra.run.dir={next(tmp_path.glob('outputs/*/*'))}")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_the_commands_own_keys_and_examples_that_compose(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"lfw_seq.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    start(module.main)
    purpose, examples, *_ = (text := capsys.readouterr().out).split("\n\n")
    if name == "train":
        nets = ", ".join(sorted(path.stem for path in (CONF / "model").glob("*.yaml")))  # those of test_structure
        assert re.findall(r"^model: lstm *# (.*)$", text, re.MULTILINE) == [nets]
    assert purpose == (module.__doc__ or "").splitlines()[0]
    root = CONF / name if (CONF / name).is_dir() and (CONF / name / f"{name}.yaml").exists() else CONF
    with initialize_config_dir(str(root), version_base="1.3"):
        for line in examples.splitlines():
            program, *words = shlex.split(line.partition(" -m ")[2])
            assert program == f"lfw_seq.{name}"
            swept = "-m" in words
            words = [word.split(",")[0] if swept else quoted(word) for word in words if word != "-m"]
            keys = {str(key) for key in compose(name, words)}
    shown = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    assert shown <= keys | {"augment", "schedule", "experiment", "debug"}  # groups of which nothing is chosen
    assert shown >= (keys if name not in ("benchmark",) else {"what", "rounds", "runs"}) - {"data"}


def test_a_reader_of_help_may_stop_early(tmp_path: Path) -> None:
    line = f"{sys.executable} -m lfw_seq.train --help | true"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
