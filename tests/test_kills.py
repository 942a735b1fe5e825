"""A run killed before any of its file operations ends as one never disturbed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lfw_seq import PACKAGE
from lfw_seq.runs.folder import read_result
from lfw_seq.train import train

from .conftest import SMALL, composed
from .test_sweeps import outcome

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}


WORDS = (*SMALL, "data.num_people=3", "data.num_images=60", "data.height=16", "data.width=12", "logger=none")
WORDS += ("monitor=val/macro_f1", "monitor_mode=max")


def train_into(folder: Path) -> None:
    train(composed("train", *WORDS, f"run_dir={folder}"))


def states(folder: Path) -> str:
    """What the callbacks keep in the last checkpoint, as if every run lay in one place."""
    kept = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    return str(kept).replace(str(folder), "")


def forked(work: Callable[[], None], root: Path, stop: int = 0) -> int:
    """Do some work in a fork of this process, which has its imports.

    Args:
        work: changes files.
        root: of the files.
        stop: which of the changes the fork is killed before, from 1; 0 is none of them.

    Returns:
        How many changes it made; -1 when it was killed.
    """
    count = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writes or event in CHANGES) and str(args[0]).startswith(str(root)):
            count += 1
            if count == stop:
                os.kill(os.getpid(), signal.SIGKILL)

    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        sys.addaudithook(hook)
        work()
        os.write(writing, str(count).encode())
        os._exit(0)
    os.close(writing)
    status = os.waitpid(pid, 0)[1]
    with os.fdopen(reading) as file:
        text = file.read()
    assert status in (0, signal.SIGKILL), status
    return -1 if status else int(text)


def kill_everywhere(root: Path) -> int:
    """Kill a run before each of its changes of a file, and let the same command end it; how many there are."""
    total = forked(lambda: train_into(root / "whole"), root)
    whole = outcome(root / "whole")
    for stop in range(1, total + 1):
        folder = root / str(stop)
        assert forked(lambda folder=folder: train_into(folder), root, stop) == -1  # type: ignore[misc]
        if not read_result(folder):
            assert forked(lambda folder=folder: train_into(folder), root) > 0  # type: ignore[misc]
        assert outcome(folder) == whole, stop
        assert states(folder) == states(root / "whole"), stop
        names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
        assert names == {str(path.relative_to(root / "whole")) for path in (root / "whole").rglob("*")}, stop
    return total


@pytest.mark.slow
def test_a_run_killed_before_any_change_of_a_file_ends_the_same(tmp_path: Path) -> None:
    code = f"from tests.test_kills import *; print(kill_everywhere(Path({str(tmp_path)!r})))"
    line = [sys.executable, "-c", code]  # a process of its own: without threads that a fork would lose
    done = subprocess.run(line, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.splitlines()[-1]) >= 25
