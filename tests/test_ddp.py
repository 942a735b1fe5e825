"""`trainer=ddp`: several processes that Lightning starts give one run, and one run folder."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from .conftest import command, table
from .test_sweeps import killed_at, outcome

# batches of 16 and 140 images: 100 train (seven batches, the last of 4), 12 validate, 28 test
RUN = ("data=synthetic", "data.num_images=140", "data.batch_size=16", "model.hidden_size=8", "trainer.max_epochs=6")
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "callbacks=core", "logger=none")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a run of two processes, and what it printed."""
    folder = tmp_path_factory.mktemp("ddp")
    done = command(*RUN, *TWO, "hydra.run.dir=two", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "two", done


@pytest.mark.slow
def test_two_processes_are_one_run(two: tuple[Path, Any]) -> None:
    run, done = two
    assert done.stdout.count("Tested on 28 images") == 1
    assert done.stdout.count("epoch   6/6") == 1
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 6 * 4  # each process takes every other batch
    rows = table(run / "predictions.csv")
    assert len({row["file"] for row in rows}) == len(rows) == 28  # each test image once
    evaluated = command("run=two", cwd=run.parent, module="lfw_seq.evaluate")
    assert "equal the training run" in evaluated.stdout + evaluated.stderr, evaluated.stdout


@pytest.mark.slow
def test_a_kill_does_not_change_a_run_of_two_processes(two: tuple[Path, Any], tmp_path: Path) -> None:
    assert killed_at(2, *RUN, *TWO, "hydra.run.dir=killed", cwd=tmp_path)
    assert not (tmp_path / "killed" / "result.json").exists()
    again = command(*RUN, *TWO, "hydra.run.dir=killed", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    equal = outcome(tmp_path / "killed") == outcome(two[0])
    assert equal  # without pytest's comparison of long texts


@pytest.mark.slow
def test_torchrun_starts_the_processes(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "lfw_seq.train", *RUN, *TWO]
    done = subprocess.run(
        [*line, "hydra.run.dir=run"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.count("Tested on 28 images") == 1
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "complete"
