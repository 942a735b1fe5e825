"""What the machine does to a run or a sweep: a kill, a full disk, Ctrl-C."""

import os
import re
import shutil
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

from .conftest import SMALL, composed, interrupted, save_face
from .test_sweeps import outcome

SWEEP = ("-m", *SMALL, "seed=0,1,2", "hydra.sweep.dir=sweep")
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
    code = f"from tests.test_disasters import *; print(kill_everywhere(Path({str(tmp_path)!r})))"
    line = [sys.executable, "-c", code]  # a process of its own: without threads that a fork would lose
    done = subprocess.run(line, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.splitlines()[-1]) >= 25


def in_own_mounts(script: str, folder: Path) -> str:
    """Run a shell script that may mount; what it printed, stderr included. `$train` is the sweep's command."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system of his own")
    train = " ".join(f"'{word}'" for word in (sys.executable, "-m", "lfw_seq.train", *SWEEP))
    lines = [*unshare, "bash", "-c", script.replace("$train", train)]
    done = subprocess.run(lines, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    return done.stdout


@pytest.mark.slow
def test_a_full_disk_fails_jobs_by_name_and_with_room_the_sweep_goes_on(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    script = """
        mount -t tmpfs -o size=400k tmpfs sweep
        $train; echo "status $?"
        mount -o remount,size=50m sweep
        echo "with room"
        $train; echo "status $?"; ls sweep/*/result.json | wc -l
    """
    full, _, room = in_own_mounts(script, tmp_path).partition("with room\n")
    assert "Traceback" not in full
    assert "status 1" in full
    named = dict(re.findall(r"^  (\S+-[0-9a-f]{6})  (.*)$", full, flags=re.MULTILINE))
    assert named, full
    assert all("No space left on device" in why for why in named.values()), named
    assert f"{3 - len(named)} finished, {len(named)} not" in full
    assert room.count("finished before") == 3 - len(named)
    assert room.splitlines()[-3:] == [f"3 finished, 0 not, in {tmp_path / 'sweep'}", "status 0", "3"]


COMMANDS = """
import os, sys
import pytest
from tests.conftest import SMALL, invoke
train = ("train", *SMALL, "hydra.run.dir=disk/run")
others = ("predict run=run images=face.png format=csv out=disk/old", "export run=run format=torch out=disk/old",
          "report sweep=run out=disk/report")
for module, *words in (train, train, *map(str.split, others)):
    print(invoke(*words, module=module, monkeypatch=pytest.MonkeyPatch()), file=sys.stderr, flush=True)
    os.system("[ -e disk/zeros ] || { rm -r disk/run; cat /dev/zero > disk/zeros; } 2> /dev/null")
"""


@pytest.mark.slow
def test_on_a_full_disk_each_command_ends_in_one_line_and_old_files_are_whole(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    save_face(tmp_path / "face.png", 1)
    (tmp_path / "commands.py").write_text(COMMANDS)
    (tmp_path / "disk").mkdir()
    script = f"""
        export PYTHONPATH={Path(__file__).parents[1]}
        mount -t tmpfs -o size=128k tmpfs disk
        mkdir disk/report; echo old > disk/old; echo old > disk/report/report.html
        {sys.executable} commands.py 2>&1 > /dev/null
        cat disk/old disk/report/report.html; ls -A disk disk/report | grep -v run
    """
    said, full = in_own_mounts(script, tmp_path).splitlines(), "No space left on device"
    why = f"cannot be written ({full}); expected another place"
    assert said == [
        *(f"error: hydra.run.dir={tmp_path}/disk/run: {why}", "2") * 2,
        *(f"error: out=disk/old: {why}", "2") * 2,
        *(f"error: out=disk/report: {why}", "2"),
        *("old", "old", "disk:", "old", "report", "zeros", "", "disk/report:", "report.html"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_ctrl_c_ends_in_one_line(tmp_path: Path, launcher: str) -> None:
    done = interrupted(*SWEEP, "trainer.max_epochs=30", f"hydra/launcher={launcher}", cwd=tmp_path)
    assert re.fullmatch(r"Interrupted\. Resume with: python -m lfw_seq\.train -m [^\n]+\n", done.stderr), done.stderr
    assert done.returncode == 130
