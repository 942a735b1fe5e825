"""Multiruns: skipped, resumed, failed, killed and shared jobs."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from lfw_seq import CONF
from lfw_seq.cli import UsageError
from lfw_seq.data.faces import Faces
from lfw_seq.runs import folder as runs
from lfw_seq.sweeps import jobs, names
from lfw_seq.train import train
from lfw_seq.training.callbacks.core import CheckpointFiles

from .conftest import SMALL, Compose, Shell, command, save_face, table
from .runs_on_disk import write_run

# short epochs, and every state that a resumed run must take up: plateau, early stopping, dropout, order
SWEEP = (
    *("-m", "data=synthetic", "data.num_images=300", "trainer=cpu", "trainer.max_epochs=40", "model.hidden_size=16"),
    "callbacks=core",
    *("callbacks.plateau.patience=2", "callbacks.early_stopping.patience=6", "optimizer.lr=0.01", "seed=0,1,2"),
    "hydra.sweep.dir=sweep",
)


def outcome(run: Path) -> dict[str, Any]:
    """What two runs of one experiment must share to the bit."""
    result = json.loads((run / "result.json").read_text())
    for key in ("seconds", "git", "versions"):
        result.pop(key)
    weights = [
        {name: value.tolist() for name, value in torch.load(path, weights_only=True)["state_dict"].items()}
        for path in (run / "checkpoints" / "best.ckpt", run / "checkpoints" / "last.ckpt")
    ]
    texts = [(run / name).read_bytes() for name in ("predictions.csv", "metrics.csv")]
    return {"result": result, "weights": weights, "texts": texts}


def outcomes(sweep: Path) -> dict[str, Any]:
    return {path.parent.name: outcome(path.parent) for path in sorted(sweep.glob("*/result.json"))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = command(*SWEEP, cwd=folder)
    assert done.returncode == 0, done.stderr
    return outcomes(folder / "sweep")


def killed_at(more: int, *words: str, cwd: Path, pause: float = 0) -> bool:
    """Start a training, kill its process group after some more epochs; whether it was still running then."""

    def epochs() -> int:
        return sum(len(path.read_text().splitlines()) - 1 for path in cwd.rglob("metrics.csv"))

    wanted = epochs() + more
    with (cwd / "printed").open("a") as printed:
        line = [sys.executable, "-m", "lfw_seq.train", *words]
        process = subprocess.Popen(line, cwd=cwd, start_new_session=True, stdout=printed)
    while process.poll() is None and epochs() < wanted:
        time.sleep(0.01)
    time.sleep(pause)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_ends_as_one_never_disturbed(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    chance = random.Random(20)
    finished: dict[Path, int] = {}
    kills = 0
    while killed_at(chance.randint(4, 12), *SWEEP, cwd=tmp_path, pause=chance.uniform(0, 0.15)):
        kills += 1
        now = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweep/*/result.json")}
        assert finished.items() <= now.items()  # nothing runs twice to the end
        finished = now
        assert kills < 60
    assert kills >= 4
    done = command(*SWEEP, cwd=tmp_path)
    assert done.returncode == 0
    assert outcomes(tmp_path / "sweep") == undisturbed
    resumed = re.findall(r"(\S+): interrupted before, resuming", (tmp_path / "printed").read_text())
    assert set(resumed) <= undisturbed.keys()
    assert len(resumed) >= kills / 2  # the others came between two jobs


class Killed(BaseException):
    """Stands in for a kill: no handler of ours may see it."""


def killed_after(stop: int) -> Callable[..., None]:
    """A `save_checkpoint` that ends the process, as it were, once the last checkpoint of epoch `stop` is there."""
    saved = CheckpointFiles.save_checkpoint

    def save(self: CheckpointFiles, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        saved(self, checkpoint, path, storage_options)
        if Path(path).name == "last.ckpt" and checkpoint["epoch"] + 1 == stop:
            raise Killed

    return save


@pytest.mark.parametrize("more", [(), ("experiment=recipe", "data.val_from=train", "callbacks.best.monitor=val/loss")])
def test_a_run_stopped_after_any_epoch_ends_the_same_in_a_folder_that_moved_too(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    stopping = () if more else ("callbacks.early_stopping.patience=2", "optimizer.lr=0.05")
    mode = ("callbacks.best.mode=min",) if more else ()
    options = (*SMALL, *more, *stopping, *mode, "logger=none", f"trainer.max_epochs={4 if more else 12}")
    train(config(*options))
    whole = outcome(tmp_path / "run")
    epochs = whole["result"]["epochs"]
    assert more or epochs < 12  # early stopping struck
    saved = CheckpointFiles.save_checkpoint
    for stop in range(1, epochs + 1):
        folder = tmp_path / f"stop{stop}"
        monkeypatch.setattr(CheckpointFiles, "save_checkpoint", killed_after(stop))
        with pytest.raises(Killed):
            train(config(*options, f"run_dir={folder}"))
        monkeypatch.setattr(CheckpointFiles, "save_checkpoint", saved)
        folder = folder.rename(tmp_path / f"moved{stop}") if stop % 2 else folder
        train(config(*options, f"run_dir={folder}"))
        assert outcome(folder) == whole, stop


def test_a_torn_last_checkpoint_is_passed_over(
    config: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(config(*SMALL))
    whole, last = outcome(tmp_path / "run"), tmp_path / "run" / "checkpoints" / "last.ckpt"
    (tmp_path / "run" / "result.json").unlink()  # as if it had been killed at its end
    last.write_bytes(last.read_bytes()[:2000])
    train(config(*SMALL))
    assert "damaged" in caplog.text
    assert outcome(tmp_path / "run") == whole


def test_a_run_that_cannot_keep_its_checkpoints_fails_with_that(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr(CheckpointFiles, "save_checkpoint", full)
    with pytest.raises(OSError, match="No space left"):
        train(config(*SMALL, "trainer.max_epochs=9"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "failed"
    assert "No space left on device" in result["error"]
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) < 5  # it does not train on regardless


def test_an_unfinished_run_of_other_settings_is_not_gone_on_with(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(config(*SMALL))
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(UsageError, match="unfinished run of other settings"):
        train(config(*SMALL, "seed=1"))
    with monkeypatch.context() as patch:
        patch.setattr(Faces, "fingerprint", "another")
        with pytest.raises(UsageError, match="unfinished run on other photos: put them back"):
            train(config(*SMALL))
    assert train(config(*SMALL))["status"] == "complete"


GRID = ("-m", *SMALL, "model.hidden_size=8,-1", "seed=0,1", "hydra.sweep.dir=sweep")


@pytest.mark.slow
def test_a_sweep_goes_on_past_failures_and_skips_what_is_finished(tmp_path: Path, shell: Shell) -> None:
    first = shell(*GRID)
    assert first.returncode == 1
    assert "2 finished, 2 not" in first.stdout
    assert "Best by validation" in first.stdout
    failed = [path.parent for path in tmp_path.glob("sweep/*/result.json") if not runs.read_result(path.parent)]
    assert len(failed) == 2
    for folder in failed:
        error = "model.hidden_size=-1: expected a whole number from 1 to 65536"
        assert json.loads((folder / "result.json").read_text())["error"] == error
        assert f"{folder.name}  {error}" in first.stdout
        assert "Traceback" in (folder / "train.log").read_text()
    kept_not = [*failed, tmp_path / "sweep" / "report"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweep/*/[!.]*") if path.parent not in kept_not}
    second = shell(*GRID[:-2], "seed=0,1,2", GRID[-1])  # and a new seed
    assert second.returncode == 1
    assert second.stdout.count("finished before") == 2
    assert "3 finished, 3 not" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_fail_fast_stops_at_the_first_failure(tmp_path: Path, shell: Shell) -> None:
    assert shell(*GRID, "fail_fast=true", "model.hidden_size=-1,8").returncode == 1
    assert len(list(tmp_path.glob("sweep/*/result.json"))) == 1


@pytest.mark.slow
def test_names_tell_jobs_and_sweeps_apart(tmp_path: Path, shell: Shell) -> None:
    words = ("-m", "model=mlp,lstm", "optimizer.lr=0.1,0.01", *SMALL[:-1], "callbacks=core", "trainer.max_epochs=1")
    assert shell(*words).returncode == 0
    (sweep,) = (tmp_path / "multirun").iterdir()
    assert re.fullmatch(r"train-model,optimizer\.lr-[0-9a-f]{6}", sweep.name)
    jobs = sorted(path.parent.name for path in sweep.glob("*/result.json"))
    assert [job[:-7] for job in jobs] == [f"model={model},lr={lr}" for model in ("lstm", "mlp") for lr in (0.01, 0.1)]
    assert all(re.fullmatch(r"[0-9a-f]{6}", job[-6:]) for job in jobs)
    for job in sweep.glob("*/result.json"):
        runs.touch_lock(job.parent)  # another sweep came to it a moment ago
    # a sweep over other keys in the same folder knows the jobs that it shares with this one
    again = shell(*words[:2], "optimizer.lr=0.1", *words[3:], f"hydra.sweep.dir={sweep}")
    assert again.stdout.count("finished before") == 2
    assert "2 finished, 0 not" in again.stdout  # those of this start alone


def test_photos_that_changed_make_other_jobs(tmp_path: Path, shell: Shell) -> None:
    for index in range(16):
        save_face(tmp_path / "faces" / "AB"[index % 2] / f"{index}.png", index + 1, (40, 50))
    words = ("-m", "data=folder", "data.root=faces", "baseline=majority", "hydra.sweep.dir=sweep")

    def sweep() -> int:
        """How many jobs had finished before."""
        names.fingerprint_now.cache_clear()
        done = shell(*words, module="baselines")
        assert done.returncode == 0
        return done.stdout.count("finished before")

    assert [sweep(), sweep()] == [0, 1]
    (tmp_path / "faces" / "A" / "0.png").rename(tmp_path / "taken")
    assert [sweep(), sweep()] == [0, 1]
    results = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("sweep/*/result.json")}
    (digits,) = {result["config_hash"][:6] for result in results.values()}
    (new,) = results.keys() - {f"job-{digits}"}
    assert new == f"photos={results[new]['data']['fingerprint'][:6]}-{digits}"
    (tmp_path / "taken").rename(tmp_path / "faces" / "A" / "0.png")
    assert sweep() == 1  # the first one
    (tmp_path / "faces").rename(tmp_path / "gone")
    assert sweep() == 1  # there is nothing to compare
    assert len(list(tmp_path.glob("sweep/*/result.json"))) == 2


def stored(path: str, tone: int = 0) -> SimpleNamespace:
    """A data source of a user's own; `tone` has a default, and so is not in every config."""
    return SimpleNamespace(load=lambda: SimpleNamespace(fingerprint=Path(path).read_text()))


def test_faces_that_changed_are_seen_whatever_source_reads_them(tmp_path: Path) -> None:
    write_run(tmp_path / "job", 0.5)  # trained on the fingerprint "f"
    cfg = OmegaConf.create({"data": {"_target_": f"{__name__}.stored", "path": str(tmp_path / "faces")}})
    for content, other in (("f", ""), ("g", "g")):
        (tmp_path / "faces").write_text(content)
        names.fingerprint_now.cache_clear()
        assert names.other_photos(tmp_path / "job", cfg) == other


def test_a_report_that_fails_costs_no_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    summary = jobs.SweepSummary(Mock(side_effect=RuntimeError("no such column")))
    summary.folder = tmp_path
    for name in ("a", "b"):
        runs.touch_lock(write_run(tmp_path / name, 0.5))
    assert summary.finish() == 1
    assert "No report: RuntimeError: no such column" in caplog.text
    assert "2 finished, 0 not" in capsys.readouterr().out


def test_runs_that_were_not_tested_are_compared_by_validation(tmp_path: Path) -> None:
    summary = jobs.SweepSummary(report := Mock(return_value=""))
    summary.folder = tmp_path
    for name in ("a", "b"):
        runs.touch_lock(write_run(tmp_path / name, 0.5, metrics={"val/accuracy": 0.5}))
    assert summary.finish() == 0
    report.assert_called_once_with([tmp_path], "val/accuracy", tmp_path / "report")
    runs.touch_lock(write_run(tmp_path / "c", 0.5))
    assert summary.finish() == 0
    assert report.call_args.args[1] == "test/accuracy"


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "sweep").glob("*.yaml")))
def test_every_value_of_a_ready_sweep_composes(config: Compose, name: str) -> None:
    params = OmegaConf.load(CONF / "sweep" / f"{name}.yaml").hydra.sweeper.params
    overrides = OverridesParser.create().parse_overrides([f"{key}={text}" for key, text in params.items()])
    values = [list(override.sweep_string_iterator()) for override in overrides]
    values = [
        one[:: len(one) - 1] if override.is_range_sweep() else one
        for override, one in zip(overrides, values, strict=True)
    ]
    for place in range(max(map(len, values))):  # each choice once, not each with each; of a range its ends
        words = [f"{key}={one[place % len(one)]}" for key, one in zip(params, values, strict=True)]
        assert config(*words, f"+sweep={name}").monitor == "val/loss"


@pytest.mark.slow
def test_a_long_sweep_keeps_its_memory(tmp_path: Path) -> None:
    words = "-m data=synthetic data.num_people=3 data.num_images=60 data.height=16 data.width=12 trainer.max_epochs=1"
    more = ["trainer=cpu", "model.hidden_size=4", "seed=range(45)", "display.figures=null", "hydra.sweep.dir=sweep"]
    line, levels = [sys.executable, "-m", "lfw_seq.train", *words.split(), *more], dict[int, int]()
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            if found := re.search(r"VmRSS:\s+(\d+)", status):
                levels[len(list(tmp_path.glob("sweep/*/result.json")))] = int(found[1])
            time.sleep(0.02)
    assert process.returncode == 0
    assert levels[44] < 1.04 * levels[15]


@pytest.mark.slow
def test_two_processes_divide_a_sweep(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "lfw_seq.train", *SWEEP, "trainer.max_epochs=25"]
    pair = [subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in pair]
    for folder in (path.parent for path in tmp_path.glob("sweep/*/result.json")):
        ended = [line for text in said for line in text.splitlines() if folder.name in line and "val/loss" in line]
        assert len(ended) == 1
        numbers = [int(row["epoch"]) for row in table(folder / "metrics.csv")]
        assert numbers == list(range(1, len(numbers) + 1))
    assert len(list(tmp_path.glob("sweep/*/result.json"))) == 3


@pytest.mark.slow
def test_workers_of_joblib_give_the_same_numbers(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = command(*SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert outcomes(tmp_path / "sweep") == undisturbed
