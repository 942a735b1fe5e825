"""The study in small: on synthetic faces each step of the ladder does what it is said to do."""

from pathlib import Path
from typing import Any

import pytest

from lfw_seq.train import train

from .conftest import Compose

FACES = ("data=synthetic", "data.num_images=420", "data.height=32", "data.width=24", "trainer=cpu", "logger=none")


@pytest.mark.slow
def test_each_fix_does_what_it_says(config: Compose, tmp_path: Path) -> None:
    def metrics(experiment: str) -> dict[str, Any]:
        words = (f"experiment={experiment}", f"run_dir={tmp_path / experiment}", "trainer.max_epochs=20")
        measured: dict[str, Any] = train(config(*FACES, *words))["metrics"]
        return measured

    collapsed, fixed = metrics("lab_double_scaled"), metrics("lab_fixed")
    assert collapsed["predicted_classes"] == 1, "pixels divided twice: one answer for everybody"
    assert collapsed["test/accuracy"] == pytest.approx(collapsed["majority_rate"])
    assert collapsed["val/loss"] == collapsed["test/loss"], "the leak: validation is the test set"
    assert fixed["val/loss"] != fixed["test/loss"]
    assert fixed["test/accuracy"] > collapsed["test/accuracy"] + 0.3, "the same network, pixels divided once"
    standardized, cnn = (metrics(name)["test/accuracy"] for name in ("standardized", "cnn"))
    assert standardized > fixed["test/accuracy"] + 0.02, "standardised images are learned sooner"
    assert metrics("best_lab_net")["test/auroc"] > 0.98
    assert cnn >= standardized, "what reads the whole image at once is the easier learner"
