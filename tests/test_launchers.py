"""Hydra's launchers as they are: workers of joblib, a Ray cluster that loses a node, and Slurm's jobs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException

from lfw_seq.cli import describe
from lfw_seq.runs import folder as runs

from .conftest import SMALL, command

LINE = [sys.executable, "-m", "lfw_seq.train", "-m", *SMALL, "hydra.sweep.dir=sweep"]
PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def statuses(folder: Path) -> list[str]:
    return [json.loads(path.read_text())["status"] for path in folder.glob("sweep/*/result.json")]


def processes(pid: int) -> list[int]:
    """A process and all that come from it."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(one for child in children for one in processes(int(child)))]
    return []


def job_of(pid: int, sweep: Path) -> str | None:
    """The name of the job whose lock a process has open."""
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = entry.readlink()
                if target.name == runs.LOCK and target.is_relative_to(sweep):
                    return target.parent.name
    return None


def busy_workers(pid: int, sweep: Path) -> dict[int, str]:
    """The processes below one that hold a job's lock, with the job."""
    return {worker: name for worker in processes(pid) if (name := job_of(worker, sweep))}


@pytest.mark.slow
def test_what_kills_leave_of_a_joblib_sweep_the_same_command_finishes(tmp_path: Path) -> None:
    words = [*LINE, "seed=range(6)", "trainer.max_epochs=30", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    for victim in ("worker", "parent"):
        sweep = subprocess.Popen(words, cwd=tmp_path, **PIPES)
        workers: dict[int, str] = {}
        while sweep.poll() is None and len(workers) < 2:
            workers = busy_workers(sweep.pid, tmp_path / "sweep")
            time.sleep(0.02)
        os.kill(next(iter(workers)) if victim == "worker" else sweep.pid, signal.SIGKILL)
        _, err = sweep.communicate(timeout=120)
        if victim == "worker":
            assert sweep.returncode == 1
            assert "The sweep stopped: TerminatedWorkerError" in err
            assert "Traceback" not in err
        until = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < until:
            time.sleep(0.1)  # workers end with their parent, whatever ended it
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    for line in ([*words, "seed=range(2)"], words):
        again = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "memory leak" not in again.stderr  # what joblib says of a worker that skips jobs before it trains
    assert statuses(tmp_path) == ["complete"] * 6
    assert f"6 finished, 0 not, in {tmp_path / 'sweep'}" in again.stdout


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster of one node with one core."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason='pip install -e ".[ray]"')
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster as RayCluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100_000_000}
    cluster: Any = RayCluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_midway_finishes_the_sweep(tmp_path: Path, cluster: Any) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    address = f"hydra.launcher.ray.init.address={cluster.address}"
    words = [*LINE, "seed=range(10)", "hydra/launcher=ray_cluster", address]
    sweep = subprocess.Popen(words, cwd=tmp_path, **PIPES)
    raylet = node.all_processes["raylet"][0].process.pid
    while sweep.poll() is None:  # until the node has work, a few jobs from the start
        doomed = processes(raylet)
        if len(statuses(tmp_path)) >= 3 and any(job_of(pid, tmp_path / "sweep") for pid in doomed):
            break
        time.sleep(0.01)
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    out, err = sweep.communicate(timeout=500)
    again = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, out + err + again.stdout + again.stderr
    assert statuses(tmp_path) == ["complete"] * 10


@pytest.mark.slow
def test_a_preempted_job_of_submitit_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason='pip install -e ".[slurm]"')
    words = ("seed=0,1", "trainer.max_epochs=25", "hydra/launcher=submitit_local")
    sweep = subprocess.Popen([*LINE, *words], cwd=tmp_path, **PIPES)
    held: dict[int, str] = {}
    while sweep.poll() is None and not held:
        busy = busy_workers(sweep.pid, tmp_path / "sweep").items()
        held = {pid: name for pid, name in busy if list(tmp_path.glob(f"sweep/{name}/checkpoints/last.ckpt"))}
        time.sleep(0.01)
    pid, name = held.popitem()
    os.kill(pid, signal.SIGUSR2)  # what Slurm sends before it takes a node away
    out, err = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, out + err
    assert statuses(tmp_path) == ["complete"] * 2
    printed = "".join(path.read_text() for path in (tmp_path / "sweep" / ".submitit").glob("*/*_log.*"))
    assert "this job is preempted" in printed
    assert f"{name}: interrupted before, resuming" in printed
    assert "Resuming after epoch" in (tmp_path / "sweep" / name / "train.log").read_text()


SBATCH = """#!/bin/bash
# Slurm's sbatch as far as submitit needs it: runs the jobs of an array one after the other on this machine.
for word; do script=$word; done
cp "$script" "$FAKE/script.sh"
array=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
echo "Submitted batch job 77"
export SLURM_ARRAY_JOB_ID=77 SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_JOB_NUM_NODES=1
export SLURM_JOB_NODELIST=localhost
(for task in $(seq 0 "$array"); do
  SLURM_JOB_ID=$((100 + task)) SLURM_ARRAY_TASK_ID=$task bash "$script"
done) > "$FAKE/printed" 2>&1 < /dev/null &
"""
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do
  case $1 in --output|--error) shift;; esac
  shift
done
exec "$@"
"""


@pytest.mark.slow
def test_slurm_is_given_jobs_it_can_run(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason='pip install -e ".[slurm]"')
    (tmp_path / "bin").mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": "#!/bin/sh\n"}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    words = ("seed=0,1", "hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=1")
    env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "FAKE": str(tmp_path)}
    done = command(*LINE[3:], *words, cwd=tmp_path, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(tmp_path) == ["complete"] * 2
    lines = {line.removeprefix("#SBATCH ") for line in (tmp_path / "script.sh").read_text().splitlines()}
    options = {"--array=0-1%2", "--cpus-per-task=1", "--gpus-per-node=1", "--mem=8GB"}
    assert options | {"--partition=gpu", "--time=120", "--signal=USR2@60"} <= lines


def test_a_launcher_that_is_not_installed_is_named_with_its_extra() -> None:
    text = (
        "In 'train': Could not find 'hydra/launcher/submitit_slurm'\n\nAvailable options in 'hydra/launcher':\n\tbasic"
    )
    expected = 'hydra/launcher=submitit_slurm: not installed; pip install -e ".[slurm]"'
    assert describe(HydraException(text)) == expected
    missing = ModuleNotFoundError("No module named 'optuna'")
    assert describe(missing) == 'optuna is not installed: pip install -e ".[optuna]"'
