"""The study in small: on synthetic faces each step of the ladder does what it is said to do."""

from pathlib import Path
from typing import Any

import pytest

from lfw_seq.train import train

from .conftest import Compose

FACES = ("data=synthetic", "data.num_images=420", "data.height=32", "data.width=24", "trainer=cpu", "logger=none")


@pytest.mark.slow
def test_each_fix_does_what_it_says(config: Compose, tmp_path: Path) -> None:
    def mean(experiment: str, metric: str) -> float:
        values = []
        for seed in (0, 1):
            words = (f"experiment={experiment}", f"seed={seed}", f"run_dir={tmp_path / experiment / str(seed)}")
            result: dict[str, Any] = train(config(*FACES, *words, "trainer.max_epochs=20"))
            results[experiment, seed] = result["metrics"]
            values.append(result["metrics"][metric])
        return float(sum(values) / len(values))

    results: dict[tuple[str, int], dict[str, Any]] = {}
    squeezed, fixed = mean("lab_double_scaled", "test/accuracy"), mean("lab_fixed", "test/accuracy")
    for seed in (0, 1):
        collapsed = results["lab_double_scaled", seed]
        assert collapsed["predicted_classes"] == 1, "pixels divided twice: one answer for everybody"
        assert collapsed["test/accuracy"] == pytest.approx(collapsed["majority_rate"])
        assert collapsed["val/loss"] == collapsed["test/loss"], "the leak: validation is the test set"
        assert results["lab_fixed", seed]["val/loss"] != results["lab_fixed", seed]["test/loss"]
    assert fixed > squeezed + 0.3, "the same network, pixels divided once"
    standardized, cnn = mean("standardized", "test/accuracy"), mean("cnn", "test/accuracy")
    assert standardized > fixed + 0.02, "standardised images are learned sooner"
    assert mean("best_lab_net", "test/auroc") > 0.98
    assert cnn >= standardized, "what reads the whole image at once is the easier learner"
