"""Searches with Optuna: a total that a second start goes on to, and trials stopped early."""

import json
from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lfw_seq.search import JOURNAL, STUDY, distribution, storage

from .conftest import command


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x=interval(0.0, 0.6)", FloatDistribution(0.0, 0.6)),
        ("x=tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("x=tag(int, interval(1, 8))", IntDistribution(1, 8)),
        ("x=range(2, 9, 3)", IntDistribution(2, 8, step=3)),
        ("x=choice(last, mean)", CategoricalDistribution(["last", "mean"])),
        ("x=1,2", CategoricalDistribution([1, 2])),
    ],
)
def test_hydras_sweeps_are_optunas_distributions(line: str, expected: BaseDistribution) -> None:
    (override,) = OverridesParser.create().parse_overrides([line])
    assert distribution(override) == expected


@pytest.mark.slow
def test_a_search_goes_on_to_its_total_and_stops_hopeless_trials(tmp_path: Path) -> None:
    words = (
        *("-m", "+sweep=tpe", "data=synthetic", "data.num_images=300", "trainer=cpu", "trainer.max_epochs=8"),
        *("model.hidden_size=4,8", "hydra.sweep.dir=sweep"),
        *("callbacks.pruning.n_warmup_epochs=1", "callbacks.pruning.n_startup_trials=2"),
    )
    for total in (3, 9):
        done = command(*words, f"hydra.sweeper.n_trials={total}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        study = optuna.load_study(study_name=STUDY, storage=storage(tmp_path / "sweep" / JOURNAL))
        assert len(study.trials) == total
        assert f"Best of {total} trials: val/loss {study.best_value:.4g}" in done.stdout
    states = [trial.state.name for trial in study.trials]
    assert set(states) == {"COMPLETE", "PRUNED"}
    results = [json.loads(path.read_text()) for path in tmp_path.glob("sweep/*/result.json")]
    losses = {round(result["metrics"]["val/loss"], 6) for result in results}
    assert round(study.best_value, 6) in losses
    assert min(result["epochs"] for result in results) < 8
