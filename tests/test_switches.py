"""What users of Lightning templates type: debug, other loggers, ckpt_path, train=false, test=false, tags, seed=null."""

import json
import os
import re
import sys
import termios
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from omegaconf import OmegaConf

from lfw_seq.cli import CONF, UsageError
from lfw_seq.evaluation.metrics import closing_table
from lfw_seq.reports.read import read
from lfw_seq.runs import folder as runs
from lfw_seq.sweeps import jobs, names
from lfw_seq.train import train
from lfw_seq.training.classifier import Classifier
from lfw_seq.training.fit import draw_seed

from .conftest import SMALL, Compose, Shell, Trained, table


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


@pytest.mark.parametrize("choice", sorted(path.stem for path in (CONF / "debug").glob("*.yaml")))
def test_a_debugging_run_ends_and_no_report_takes_it_for_a_real_one(
    tmp_path: Path, shell: Shell, run: Path, choice: str
) -> None:
    words = [word for word in SMALL if "max_epochs" not in word and word != "callbacks=core"]  # with all figures
    more = ["trainer.max_epochs=3"] if choice == "overfit" else []
    limits = ["data.eval_batch_size=5", "data.batch_size=10"]
    done = shell(*words, *limits, *more, f"debug={choice}", "hydra.run.dir=run")
    assert done.returncode == 0
    assert f"  debug={choice}: no report counts this run.\n" in done.stdout
    result = result_of(tmp_path / "run")
    assert (result["choices"]["debug"], result["config"]["debug"]) == (choice, choice)
    tested = len(table(tmp_path / "run" / "predictions.csv"))
    assert tested == {"fdr": 5, "limit": 5}.get(choice, 28)
    assert result["epochs"] == {"limit": 3, "overfit": 3}.get(choice, 1)
    made = read([tmp_path / "run", run])
    assert len(made.facts) == 1
    assert [kind for _, kind, _ in made.skipped] == ["debug"]


def test_overfitting_trains_on_the_same_images_each_epoch(config: Compose) -> None:
    words = ("callbacks.console=null", "data.batch_size=10", "test=false", "debug=overfit", "trainer.max_epochs=2")
    with patch.object(Classifier, "training_step", autospec=True, side_effect=Classifier.training_step) as step:
        train(config(*SMALL, *words))
    seen = [call.args[1][1].tolist() for call in step.call_args_list]
    assert len(seen) == 6
    assert seen[:3] == seen[3:]


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="a Mac, which has what is named")
def test_what_this_machine_has_not_is_named(config: Compose) -> None:
    with pytest.raises(UsageError, match=r"trainer: .*MPSAccelerator"):
        train(config(*SMALL, "trainer=mps"))


def test_csv_beside_tensorboard_and_the_tested_epoch_has_its_number(config: Compose, tmp_path: Path) -> None:
    result = train(config(*SMALL, "trainer.max_epochs=3", "logger=[csv,tensorboard]", "optimizer=sgd"))
    rows = table(tmp_path / "run" / "csv" / "metrics.csv")
    last, curve = rows[-1], {row["epoch"]: row["val/loss"] for row in rows[:-1] if row["val/loss"]}
    assert list(curve) == ["0", "1", "2"]
    assert int(last["epoch"]) == result["best_epoch"] - 1
    assert float(last["val/loss"]) == pytest.approx(float(curve[last["epoch"]]), abs=1e-6)
    assert float(last["test/accuracy"]) == pytest.approx(result["metrics"]["test/accuracy"])
    assert "max_epochs: 3" in (tmp_path / "run" / "csv" / "hparams.yaml").read_text()
    assert list((tmp_path / "run" / "val").glob("events*"))


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_without_its_package_a_logger_names_the_extra(config: Compose, tmp_path: Path, name: str) -> None:
    if find_spec(name):
        pytest.skip(f"{name} is installed")
    with pytest.raises(UsageError, match=rf'{name} is not installed: pip install -e "\.\[{name}\]"'):
        train(config(*SMALL, f"logger={name}"))
    assert not any((tmp_path / "run").iterdir()) or [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_run_goes_on_from_a_checkpoint_of_another(config: Compose, trained: Trained, tmp_path: Path) -> None:
    whole = train(config(*SMALL, "trainer.max_epochs=4", "callbacks.early_stopping=null"))
    first, second = trained("callbacks.early_stopping=null", "test=false"), tmp_path / "second"
    assert not (first / "predictions.csv").exists()
    start = f"ckpt_path={first / 'checkpoints' / 'last.ckpt'}"
    words = ("callbacks.early_stopping=null", "trainer.max_epochs=4", start)
    assert train(config(*SMALL, *words, f"run_dir={second}"))["metrics"] == whole["metrics"]
    assert (second / "metrics.csv").read_bytes() == (tmp_path / "run" / "metrics.csv").read_bytes()
    for change, expected in (
        ("model.hidden_size=9", "weights of another net"),
        ("optimizer=sgd", "its own optimizer and schedule only"),
        ("optimizer.lr=0.5", r"its own optimizer and schedule only, and its optimizer\.lr is 0\.001"),
        ("callbacks.early_stopping=null", r"has 2 epochs behind it; expected a trainer\.max_epochs above"),
        ("schedule=one_cycle", "its own optimizer and schedule only"),
        ("split_seed=7", "trained on other images, maybe test images here; choose data and split_seed"),
        ("data.train_size=0.5", "trained on other images"),
        ("data.seed=1", "trained on other images"),
        ("ckpt_path=none.ckpt", "no such file"),
        (f"ckpt_path={first / 'metrics.csv'}", "damaged, or not a checkpoint"),
    ):
        with pytest.raises(UsageError, match=expected):
            train(config(*SMALL, f"run_dir={tmp_path / 'none'}", start, change))
    assert [path.name for path in (tmp_path / "none").iterdir()] == []


def test_a_run_whose_schedule_has_ended_is_not_continued(config: Compose, trained: Trained) -> None:
    start = f"ckpt_path={trained('schedule=one_cycle') / 'checkpoints' / 'last.ckpt'}"
    with pytest.raises(UsageError, match=r"its schedule ends with its run; expected trainer\.max_epochs=2"):
        train(config(*SMALL, "schedule=one_cycle", start, "trainer.max_epochs=4"))
    with pytest.raises(UsageError, match=r"its schedule\._target_ is torch\.optim\.lr_scheduler\.OneCycleLR"):
        train(config(*SMALL, "schedule=cosine", start))


def test_a_run_that_was_stopped_early_is_continued_only_without_that(config: Compose, trained: Trained) -> None:
    words = ["optimizer.lr=1e-9", "callbacks.early_stopping.patience=1", "+callbacks.early_stopping.min_delta=0.5"]
    start = f"ckpt_path={trained(*words) / 'checkpoints' / 'last.ckpt'}"
    with pytest.raises(UsageError, match=r"was stopped early; add callbacks\.early_stopping=null"):
        train(config(*SMALL, *words, start, "trainer.max_epochs=4"))
    more = ("callbacks.early_stopping=null", "trainer.max_epochs=3", start)
    assert train(config(*SMALL, "optimizer.lr=1e-9", *more))["epochs"] == 3


def test_a_checkpoint_is_tested_without_training(config: Compose, tmp_path: Path, run: Path) -> None:
    start = f"ckpt_path={run / 'checkpoints' / 'best.ckpt'}"
    result = train(config(*SMALL, "train=false", start))
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    trained = result_of(run)
    assert result["metrics"] == trained["metrics"]
    assert result["best_epoch"] == result["epochs"] == trained["best_epoch"]
    assert result["config_hash"] != trained["config_hash"]
    with pytest.raises(UsageError, match="train=false: nothing to test; add ckpt_path="):
        train(config(*SMALL, "train=false", f"run_dir={tmp_path / 'other'}"))


def test_a_run_that_is_not_tested_says_so(tmp_path: Path, shell: Shell) -> None:
    done = shell("-m", *SMALL, "trainer.max_epochs=1", "test=false", "seed=0,1")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    scores = r"val/loss [\d.]+, val/accuracy [\d.]+"
    assert re.fullmatch(rf"job 1/2  seed=0-\w{{6}}: {scores}, \d+ s, 0:\d\d:\d\d left", lines[0])
    assert re.fullmatch(rf"job 2/2  seed=1-\w{{6}}: {scores}, \d+ s", lines[1])
    assert "by val/accuracy" in lines[3]  # the report
    (first, _) = sorted(tmp_path.glob("multirun/*/seed=*"))
    result = result_of(first)
    assert not [name for name in result["metrics"] if not name.startswith("val/")]
    assert closing_table(result, "x").startswith("Not tested: epoch 1 of 1, val/loss ")
    assert closing_table(result, str(tmp_path / "a b")).endswith("next: python -m lfw_seq.evaluate run='a b'")


def test_words_of_the_users_own_name_no_experiment(config: Compose) -> None:
    base = config()
    assert runs.config_hash(base) == runs.config_hash(config("tags=[a,b]", "task_name=mine", "logger=csv"))
    changes = ("train=false", "test=false", "ckpt_path=x", "debug=limit", "debug=profiler", "seed=null")
    assert len({runs.config_hash(base), *(runs.config_hash(config(change)) for change in changes)}) == 7
    new = {"train", "test", "ckpt_path", "tags", "task_name"}
    without = OmegaConf.masked_copy(base, [str(key) for key in base if key not in new])
    assert runs.config_hash(without) == runs.config_hash(base)  # as before these keys were there


def test_a_seed_is_drawn_recorded_and_kept_by_a_resumed_run(config: Compose, tmp_path: Path) -> None:
    drawn = train(config(*SMALL, "seed=null", "tags=[mine]"))
    seed = drawn["config"]["seed"]
    assert f"\nseed: {seed}\n" in (tmp_path / "run" / ".hydra" / "config.yaml").read_text()
    assert drawn["config"]["callbacks"]["resume"]["seed"] == seed
    assert drawn["config"]["tags"] == ["mine"]
    typed = train(config(*SMALL, f"seed={seed}", f"run_dir={tmp_path / 'typed'}"))
    assert typed["metrics"] == drawn["metrics"]
    assert draw_seed(config("seed=null"), tmp_path / "other", secondary=False).seed != seed
    (tmp_path / "run" / "result.json").unlink()  # as if it had been killed at its end
    assert train(config(*SMALL, "seed=null"))["config"]["seed"] == seed
    with pytest.raises(UsageError, match=r"seed=null: .*give a number"):
        draw_seed(config("seed=null"), tmp_path / "new", secondary=True)


def test_progress_takes_one_row_of_80_columns_with_its_numbers(
    config: Compose, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    screen, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    with os.fdopen(terminal, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        train(config(*SMALL, "trainer.max_epochs=3"))
        rows = re.split(r"[\r\n]+", os.read(screen, 2**16).decode())
    os.close(screen)
    assert 75 < max(map(len, rows)) <= 80
    number = r"\d\.\d\d+"
    last = rf"epoch   3/3, \d\d:\d\d left \|.+\|, loss={number}, val={number}, acc={number}, f1={number}"
    assert re.fullmatch(last, rows[-2].rstrip())
    assert "\x1b[A" not in "".join(rows)  # nothing moves the cursor up
    assert "epoch" not in caplog.text


def test_the_jobs_of_a_sweep_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(params: dict[str, str], *words: str) -> int:
        hydra = {"sweeper": {"params": params}, "overrides": {"task": list(words)}}
        return names.count_jobs(OmegaConf.create({"hydra": hydra}))

    assert counted({}, "model=lstm,gru", "seed=range(3)", "split_seed=1") == 6
    assert counted({"trial": "range(0, 50)"}, "seed=0,1") == 100
    assert counted({"trial": "range(0, 50)"}, "trial=range(2)") == 2
    assert counted({"trial": "range(0, 50)"}, "trial=7") == 1
    assert counted({}, "model=glob(*)") == 0
    monkeypatch.setattr("time.time", lambda: 2**31 + 30.0)
    for name, ended in (("a", 2**31 + 10), ("b", 2**31 + 20), ("before", 2**31 - 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").touch()
        os.utime(tmp_path / name / "result.json", (ended, ended))
    assert jobs.time_left(tmp_path, 4, 2.0**31) == ", 0:01:00 left"
    assert jobs.time_left(tmp_path, 0, 2.0**31) == ""
    assert jobs.time_left(tmp_path, 4, 2.0**31 + 25) == ", 0:00:20 left"  # a shared disk whose clock is behind
