"""Searches with Optuna: trials that jobs draw themselves, go on with after a kill, and stop early."""

import json
import sys
from pathlib import Path

import optuna
import pytest
from lightning import LightningModule
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from lfw_seq.sweeps.names import sweep_dir
from lfw_seq.sweeps.search import JOURNAL, Pruning, distributions, load_study, open_trial

from .conftest import Shell, command, plain_trainer

SPACE = {
    "model": {"size": [4, 8], "dropout": {"low": 0.0, "high": 0.6}},
    "lr": {"low": 1e-4, "high": 1e-2, "log": True},
}
SEARCH = {"seed": 0, "n_startup_trials": 2, "prune_startup_trials": 1, "prune_warmup_epochs": 1, "space": SPACE}


def test_a_space_is_read_by_key() -> None:
    assert distributions({**SPACE, "layers": {"low": 2, "high": 8, "step": 3}}) == {
        "model.size": CategoricalDistribution([4, 8]),
        "model.dropout": FloatDistribution(0.0, 0.6),
        "lr": FloatDistribution(1e-4, 1e-2, log=True),
        "layers": IntDistribution(2, 8, step=3),
    }


def drawn(folder: Path, job: int) -> optuna.Trial:
    return open_trial(folder, SEARCH, job, "min")


def test_a_job_keeps_what_it_drew_whatever_ended_it(tmp_path: Path) -> None:
    whole = []
    for job in range(5):
        trial = drawn(tmp_path / "whole", job)
        whole.append(trial.params)
        trial.study.tell(trial.number, trial.params["lr"])
    assert len({str(params) for params in whole}) == 5
    for job in range(5):
        killed = drawn(tmp_path / "killed", job)
        assert killed.params == whole[job]  # as undisturbed
        again = drawn(tmp_path / "killed", job)
        assert again.params == whole[job]
        again.study.tell(again.number, state=TrialState.FAIL)
        third = drawn(tmp_path / "killed", job)
        assert third.params == whole[job]
        third.study.tell(third.number, third.params["lr"])
    study = load_study(tmp_path / "killed", SEARCH, "min", 0)
    assert sum(trial.state == TrialState.COMPLETE for trial in study.trials) == 5


def test_a_pruned_trial_stops_again_where_its_run_is_resumed(tmp_path: Path) -> None:
    pruning, trainer = Pruning(drawn(tmp_path, 0), "val/loss"), plain_trainer(3)
    for pruned in (False, True):
        pruning.load_state_dict({"reported": {1: 0.5}, "pruned": pruned})
        pruning.on_train_start(trainer, LightningModule())
        assert trainer.should_stop == pruned


def test_searches_of_other_lengths_have_other_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    def folder(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["train", "-m", *words])
        return sweep_dir("seed")

    assert folder("+sweep=tpe", "trainer.max_epochs=1") != folder("+sweep=tpe", "trainer.max_epochs=2")
    assert folder("seed=0,1", "trainer.max_epochs=1") == folder("seed=0,1", "trainer.max_epochs=2")
    assert folder("seed=0,1", "optimizer.lr=1") != folder("seed=0,1", "optimizer.lr=2")
    assert folder("+sweep=tpe", "trial=range(100)") == folder("+sweep=tpe")  # more trials of the same search


def test_a_value_is_typed_or_sampled(shell: Shell) -> None:
    done = shell("-m", "+sweep=tpe", "model.dropout=0.5", "data=synthetic", "hydra.sweep.dir=sweep")
    assert done.returncode == 2
    key = "search.space.model.dropout"
    assert done.stderr == f"error: model.dropout=0.5: {key} samples it; add ~{key} to fix its value\n"


@pytest.mark.slow
def test_a_search_stops_hopeless_trials_and_takes_more_by_any_launcher(tmp_path: Path) -> None:
    words = (
        *("-m", "+sweep=tpe", "data=synthetic", "data.num_images=300", "trainer=cpu", "trainer.max_epochs=8"),
        *("search.space.model.hidden_size=[4,8]", "hydra.sweep.dir=sweep"),
        *("search.prune_warmup_epochs=1", "search.prune_startup_trials=2", "callbacks=core"),
    )
    for total, launcher in ((3, "basic"), (9, "joblib")):
        done = command(*words, f"trial=range({total})", f"hydra/launcher={launcher}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        study = load_study(tmp_path / "sweep", SEARCH, "min", 0)
        assert len(study.trials) == total
        best = study.best_trial
        assert f"Best of {total} trials: trial={best.user_attrs['job']} with {best.value:.4g}" in done.stdout
    assert (tmp_path / "sweep" / JOURNAL).is_file()
    assert {trial.state.name for trial in study.trials} == {"COMPLETE", "PRUNED"}
    results = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("sweep/*/result.json")}
    assert min(result["epochs"] for result in results.values()) < 8
    (name,) = [name for name in results if name.startswith(f"trial={best.user_attrs['job']}-")]
    assert results[name]["metrics"]["val/loss"] == pytest.approx(best.value)
    assert results[name]["config"]["optimizer"]["lr"] == best.params["optimizer.lr"]
