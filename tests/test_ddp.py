"""`trainer=ddp`: processes that share every batch give one run, and one run folder."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lfw_seq.data.batches import Batches, share

from .conftest import command, invoke
from .test_sweeps import outcome

# batches of 16 and 140 images: 100 train (six of 16, one of 4), 12 validate, 28 test
RUN = ("data=synthetic", "data.num_images=140", "data.batch_size=16", "model.hidden_size=8", "trainer.max_epochs=6")
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


@pytest.mark.parametrize(("size", "world"), [(32, 2), (31, 2), (1, 4), (5, 3), (7, 1)])
def test_processes_share_a_batch(size: int, world: int) -> None:
    part = torch.randperm(size)
    shares = [share(part, rank, world) for rank in range(world)]
    assert {len(piece) for piece in shares} == {-(-size // world)}  # a step waits for nobody
    seen = torch.cat(shares)
    assert set(seen.tolist()) == set(range(size))
    assert len(seen) - size < world  # images that two processes see


def test_without_an_order_each_process_reads_its_piece_of_all_images() -> None:
    rows, labels = torch.arange(7.0).reshape(7, 1, 1), torch.arange(7)
    batches = [Batches(rows, labels, 2, None, rank, 3) for rank in range(3)]
    assert torch.cat([y for part in batches for _, y in part]).tolist() == list(range(7))
    assert [len(part) for part in batches] == [2, 1, 1]


@pytest.mark.parametrize("words", [("trainer=ddp",), ("trainer=cpu,ddp",), ("+trainer.strategy=ddp_spawn",)])
def test_a_multirun_refuses_it_before_any_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("-m", "data=synthetic", "seed=0,1", *words, monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {words[0]}: a run of several processes cannot be a job of a multirun; leave -m out")
    assert list(tmp_path.iterdir()) == []


def epochs(run: Path) -> int:
    try:
        return len((run / "metrics.csv").read_text().splitlines()) - 1
    except FileNotFoundError:
        return 0


@pytest.mark.slow
def test_two_processes_are_one_run_that_a_kill_does_not_change(tmp_path: Path) -> None:
    # without dropout nothing is drawn in training: two processes take the very steps of one, but for rounding
    still = (*RUN, "model.dropout=0", "logger=none")
    assert command(*still, "trainer=cpu", "hydra.run.dir=one", cwd=tmp_path).returncode == 0
    two = command(*still, *TWO, "hydra.run.dir=two", cwd=tmp_path)
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("Tested on 28 images") == 1
    assert two.stdout.count("epoch   6/6") == 1
    one, both = (json.loads((tmp_path / run / "result.json").read_text()) for run in ("one", "two"))
    for name in ("val/loss", "test/loss", "test/accuracy", "test/auroc", "test/macro_f1"):
        assert both["metrics"][name] == pytest.approx(one["metrics"][name], abs=1e-4)
    tables = []
    for run in ("one", "two"):
        with (tmp_path / run / "predictions.csv").open() as file:
            tables.append(list(csv.reader(file)))
        steps = torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
        assert steps == 6 * 7
    assert [row[:2] for row in tables[0]] == [row[:2] for row in tables[1]]  # each image once, in the same order
    for first, second in zip(tables[0][1:], tables[1][1:], strict=True):
        assert [float(p) for p in second[3:]] == pytest.approx([float(p) for p in first[3:]], abs=1e-4)

    line = [sys.executable, "-m", "lfw_seq.train", *still, *TWO, "hydra.run.dir=killed"]
    process = subprocess.Popen(line, cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL)
    while process.poll() is None and epochs(tmp_path / "killed") < 2:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "result.json").exists()
    again = command(*still, *TWO, "hydra.run.dir=killed", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "two")


@pytest.mark.slow
def test_torchrun_starts_the_processes(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "lfw_seq.train", *RUN, *TWO]
    done = subprocess.run(
        [*line, "hydra.run.dir=run"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.count("Tested on 28 images") == 1
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "complete"
    apart = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert apart.returncode != 0
    assert "error: hydra.run.dir: processes that torchrun starts need one folder" in apart.stderr
