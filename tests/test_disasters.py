"""What the machine does to a sweep: a full disk, a folder that cannot be written, Ctrl-C."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import SMALL, interrupted, save_face

SWEEP = ("-m", *SMALL, "seed=0,1,2", "hydra.sweep.dir=sweep")


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


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "fixed").mkdir()
    script = """
        mount -t tmpfs -o ro tmpfs fixed
        $train hydra.sweep.dir=fixed/sweep; echo "status $?"
    """
    where = f"hydra.sweep.dir={tmp_path / 'fixed' / 'sweep'}: cannot be written"
    said = in_own_mounts(script, tmp_path).splitlines()
    assert said == [f"error: {where} (Read-only file system); expected another place", "status 2"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_ctrl_c_ends_in_one_line(tmp_path: Path, launcher: str) -> None:
    done = interrupted(*SWEEP, "trainer.max_epochs=30", f"hydra/launcher={launcher}", cwd=tmp_path)
    assert re.fullmatch(r"Interrupted\. Resume with: python -m lfw_seq\.train -m [^\n]+\n", done.stderr), done.stderr
    assert done.returncode == 130
