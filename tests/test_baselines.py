"""Baselines: what is fitted on what, in the same run folders as a net's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import StandardScaler

from lfw_seq.baselines import fit
from lfw_seq.cli import UsageError
from lfw_seq.data.module import build
from lfw_seq.data.synthetic import Synthetic
from lfw_seq.evaluate import evaluate
from lfw_seq.evaluation.metrics import closing_table
from lfw_seq.parts import to_plain
from lfw_seq.train import train

from .conftest import SMALL, Compose, composed, table

DATA = ("data=synthetic", "data.num_images=210", "data.height=25", "data.width=18")
SMALLER = {
    "svm": ("svm.components=40", "svm.C=[10.0]", "svm.gamma=[0.003,0.01]", "tuning_folds=3"),
    "nystroem": ("nystroem.components=40", "nystroem.landmarks=90", "nystroem.C=[10.0]", "tuning_folds=3"),
}


def make(folder: Path, *words: str) -> DictConfig:
    return composed("baselines", f"run_dir={folder}", *DATA, *words)


def predicted(folder: Path) -> dict[str, str]:
    return {row["file"]: row["predicted"] for row in table(folder / "predictions.csv")}


def test_the_majority_is_the_majority(tmp_path: Path) -> None:
    result = fit(make(tmp_path / "run", "baseline=majority"))
    metrics = result["metrics"]
    assert metrics["test/accuracy"] == pytest.approx(metrics["majority_rate"])
    assert metrics["predicted_classes"] == 1
    assert metrics["test/auroc"] == 0.5
    assert result["model"]["parameters"] == 7
    result["data"]["counts"]["test"] = [28]
    metrics |= {"test/accuracy": 12 / 28, "majority_rate": 12 / 28}
    text = closing_table(result, "run")
    assert "One person predicted for every image: 0.429 is a share, not skill" in text
    assert "0.429  95 % Wilson interval 0.265 to 0.609" in text
    assert "epoch" not in text


def test_nearest_is_the_nearest_of_train_and_validation(tmp_path: Path) -> None:
    cfg = make(tmp_path / "run", "baseline=nearest")
    result = fit(cfg)
    assert set(result) == set(json.loads((tmp_path / "run" / "result.json").read_text()))
    faces = Synthetic(7, 210, 25, 18, 0).load()
    answers = predicted(tmp_path / "run")
    tested = [faces.files.index(file) for file in answers]
    known = np.setdiff1d(np.arange(210), tested)
    vectors = faces.images.reshape(210, -1)
    distances = ((vectors[tested][:, None] - vectors[known][None]) ** 2).sum(axis=2)
    expected = faces.labels[known][distances.argmin(axis=1)]
    assert list(answers.values()) == [faces.names[person] for person in expected]
    assert result["metrics"]["test/accuracy"] == pytest.approx(accuracy_score(faces.labels[tested], expected))
    assert result["model"]["parameters"] == len(known) * 25 * 18
    assert 0 < result["metrics"]["test/loss"] < 88  # some probabilities are 0


def test_logistic_regression_without_refit_has_seen_the_training_images_only(tmp_path: Path) -> None:
    cfg = make(tmp_path / "run", "baseline=logistic", "logistic.C=[0.01]", "refit=false", "tuning_folds=2")
    result = fit(cfg)
    data = build(to_plain(cfg.data), cfg.split_seed, cfg.seed)
    data.setup()
    part = {stage: (rows.flatten(1).numpy(), ids.numpy()) for stage, (rows, ids) in data.tensors.items()}
    scaler = StandardScaler().fit(part["train"][0])
    model = LogisticRegression(C=0.01, max_iter=2000).fit(scaler.transform(part["train"][0]), part["train"][1])
    for stage in ("val", "test"):
        expected = model.score(scaler.transform(part[stage][0]), part[stage][1])
        assert result["metrics"][f"{stage}/accuracy"] == pytest.approx(expected)
    assert result["model"]["parameters"] == 2 * 450 + 7 * 451


@pytest.mark.parametrize("baseline", SMALLER)
def test_eigenfaces_repeat_to_the_byte_and_share_their_split_with_nets(
    tmp_path: Path, config: Compose, baseline: str
) -> None:
    folders = [tmp_path / name for name in ("one", "two", "net")]
    results = [fit(make(folder, f"baseline={baseline}", *SMALLER[baseline])) for folder in folders[:2]]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert (folders[0] / "predictions.csv").read_bytes() == (folders[1] / "predictions.csv").read_bytes()
    net = train(config(*SMALL, *DATA, f"run_dir={folders[2]}", "trainer.max_epochs=1"))
    assert list(predicted(folders[0])) == list(predicted(folders[2]))
    assert net["data"] == results[0]["data"]
    assert set(net["metrics"]) == set(results[0]["metrics"])
    assert set(net) == set(results[0])
    assert results[0]["metrics"]["test/accuracy"] > results[0]["metrics"]["majority_rate"] + 0.2


@pytest.mark.slow
def test_evaluate_takes_baselines_too(tmp_path: Path) -> None:
    trained = {name: fit(make(tmp_path / name, f"baseline={name}")) for name in ("majority", "nearest")}

    def asked(name: str, *words: str) -> dict[str, Any]:
        return evaluate(composed("evaluate", f"run={tmp_path / name}", *words))

    for name, result in trained.items():
        found = asked(name)
        assert found["accuracy"]["value"] == pytest.approx(result["metrics"]["test/accuracy"], abs=1e-7)
        assert found["macro"]["f1"] == pytest.approx(result["metrics"]["test/macro_f1"], abs=1e-7)
        assert found["calibration"]["temperature"] is None
        assert "second value" not in (tmp_path / name / "evaluation" / "report.html").read_text()
        assert found["open_set"] is None
        assert "no checkpoint" in found["notes"][0]
        text = (tmp_path / name / "evaluation" / "report.html").read_text()
        assert ("Person 1 is predicted for every image" in text) == (name == "majority")
    pair = asked("nearest", f"against={tmp_path / 'majority'}")["comparison"]
    hits = [round(42 * share["value"]) for share in pair["accuracy"]]
    assert pair["only_run"] - pair["only_against"] == hits[0] - hits[1] > 0
    with pytest.raises(UsageError, match="no checkpoint in it"):
        asked("nearest", "split_seed=1")
