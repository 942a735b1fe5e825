"""Launchers: workers of joblib, a Ray cluster that loses a node, and Slurm's jobs."""

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

from lfw_seq import runs
from lfw_seq.launchers import carry

from .conftest import SMALL, command

LINE = [sys.executable, "-m", "lfw_seq.train", "-m", *SMALL, "hydra.sweep.dir=sweep"]


def statuses(folder: Path) -> list[str]:
    return [json.loads(path.read_text())["status"] for path in folder.glob("sweep/*/result.json")]


def finished(folder: Path, seeds: int) -> None:
    """Make the result files of a sweep over so many seeds as if it had run, with the folders' right names."""
    code = f"""
from hydra import compose, initialize_config_dir
from lfw_seq import CONF, runs, sweeps
with initialize_config_dir(str(CONF), version_base="1.3"):
    cfg = compose("train", {[*SMALL, "run_dir=x"]!r})
from pathlib import Path
for seed in range({seeds}):
    cfg.seed = seed
    folder = Path("sweep") / runs.config_hash(cfg)
    folder.mkdir(parents=True)
    runs.write_json(folder / "result.json", {{"status": "complete", "config_hash": folder.name,
                                              "metrics": {{"val/loss": seed, "test/accuracy": 0.5}}}})
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=120)


@pytest.mark.parametrize("launcher", ["joblib", "ray"])
def test_jobs_that_finished_start_no_worker(tmp_path: Path, launcher: str) -> None:
    finished(tmp_path, 3)
    code = f"""
import runpy, sys
from lfw_seq import sweeps
sweeps.print_report = lambda folder: None
sys.argv = ['train', '-m', *{list(SMALL)}, 'seed=0,1,2', 'hydra.sweep.dir=sweep', 'hydra/launcher={launcher}']
try:
    runpy.run_module('lfw_seq.train', run_name='__main__')
finally:
    print([name for name in ('torch', 'lightning', 'ray', 'joblib') if name in sys.modules])
"""
    line = [sys.executable, "-c", code]
    first = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert first.stdout.count("finished before") == 3, first.stderr
    assert first.stdout.splitlines()[-2:] == [f"3 finished, 0 not, in {tmp_path / 'sweep'}", "[]"]
    again = command("-m", *SMALL, "seed=0,1,2", "hydra.sweep.dir=sweep", cwd=tmp_path)  # with another launcher
    assert again.stdout.splitlines() == [f"All 3 jobs finished before, in {tmp_path / 'sweep'}"]


def test_a_run_folder_is_carried_whole_and_never_over_a_finished_one(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "checkpoints").mkdir(parents=True)
    (source / "checkpoints" / "last.ckpt").write_bytes(bytes(range(256)))
    (source / runs.RESULT).write_text('{"status": "failed"}')
    carry.unpack(target, carry.pack(source))
    assert carry.pack(target) == carry.pack(source)
    (source / runs.RESULT).write_text('{"status": "complete"}')
    carry.unpack(target, carry.pack(source))
    assert runs.read_result(target)
    carry.unpack(target, {runs.RESULT: b"{}"})
    assert runs.read_result(target)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("hydra.launcher.init.address=127.0.0.1:9", "hydra.launcher.init.address=127.0.0.1:9: ConnectionRefusedError"),
        ("hydra.launcher.init.address=nowhere:x", "hydra.launcher.init.address=nowhere:x: ValueError"),
    ],
)
def test_a_cluster_that_is_not_there_ends_in_one_line(tmp_path: Path, word: str, expected: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lfw_seq[ray]'")
    done = command("-m", *SMALL, "seed=0,1", "hydra.sweep.dir=sweep", "hydra/launcher=ray", word, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {expected}")


def test_a_number_of_workers_that_is_none_ends_in_one_line(tmp_path: Path) -> None:
    words = ("seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0", "hydra.sweep.dir=sweep")
    done = command("-m", *SMALL, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "hydra.launcher.n_jobs=0: expected a whole number of at least 1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster of one node with one core."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lfw_seq[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster as RayCluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100_000_000}
    cluster: Any = RayCluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


def processes(pid: int) -> list[int]:
    """A process and all that come from it."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(one for child in children for one in processes(int(child)))]
    return []


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_midway_finishes_the_sweep(tmp_path: Path, cluster: Any) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    words = ("seed=range(20)", "hydra/launcher=ray", f"hydra.launcher.init.address={cluster.address}")
    sweep = subprocess.Popen([*LINE, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    raylet = node.all_processes["raylet"][0].process.pid
    while sweep.poll() is None:  # until the node has work, a few jobs from the start
        doomed = processes(raylet)
        held = [name for pid in doomed if (name := job_of(pid, tmp_path / "sweep"))]
        if len(statuses(tmp_path)) >= 5 and held:
            break
        time.sleep(0.01)
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    assert len(statuses(tmp_path)) < 20
    out, err = sweep.communicate(timeout=500)
    assert sweep.returncode == 0, out + err
    assert statuses(tmp_path) == ["complete"] * 20
    assert f"20 finished, 0 not, in {tmp_path / 'sweep'}" in out
    ended = [line for line in out.splitlines() if held[0] in line and "test/accuracy" in line]
    assert len(ended) == 1  # the job the node died with, told by the node that did it


def job_of(pid: int, sweep: Path) -> str | None:
    """The name of the job whose lock a process has open."""
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = entry.readlink()
                if target.name == runs.LOCK and target.is_relative_to(sweep):
                    return target.parent.name
    return None


@pytest.mark.slow
def test_results_come_back_from_a_node_with_a_disk_of_its_own(tmp_path: Path, cluster: Any) -> None:
    (tmp_path / "sweep").mkdir()
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system of his own")
    ray = f"{Path(sys.executable).parent}/ray start --address={cluster.address} --num-cpus=1 --block"
    script = f"mount -t tmpfs tmpfs {tmp_path} && exec {ray} --resources='{{\"away\": 1}}'"
    node = subprocess.Popen([*unshare, "sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        words = ("seed=0,1", "hydra/launcher=ray", f"hydra.launcher.init.address={cluster.address}")
        done = command(*LINE[3:], *words, "+hydra.launcher.remote.resources={away: 1}", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert statuses(tmp_path) == ["complete"] * 2
        home = command(*LINE[3:], "seed=0,1", "hydra.sweep.dir=home", cwd=tmp_path)
        assert home.returncode == 0
        for run in (tmp_path / "home").glob("*/predictions.csv"):
            assert (tmp_path / "sweep" / run.parent.name / run.name).read_bytes() == run.read_bytes()
            assert (tmp_path / "sweep" / run.parent.name / "checkpoints" / "best.ckpt").exists()
    finally:
        for pid in reversed(processes(node.pid)):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        node.wait()


@pytest.mark.slow
def test_a_preempted_job_of_submitit_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'lfw_seq[slurm]'")
    words = ("seed=0,1", "trainer.max_epochs=25", "hydra/launcher=submitit_local")
    sweep = subprocess.Popen([*LINE, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    held: dict[int, str] = {}
    while sweep.poll() is None and not held:
        holders = {pid: job_of(pid, tmp_path / "sweep") for pid in processes(sweep.pid)}
        held = {
            pid: name
            for pid, name in holders.items()
            if name and (tmp_path / "sweep" / name / "checkpoints" / "last.ckpt").exists()
        }
        time.sleep(0.01)
    pid, name = held.popitem()
    os.kill(pid, signal.SIGUSR2)  # what Slurm sends before it takes a node away
    out, err = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, out + err
    assert statuses(tmp_path) == ["complete"] * 2
    assert f"2 finished, 0 not, in {tmp_path / 'sweep'}" in out
    said = "".join(path.read_text() for path in (tmp_path / "sweep" / ".submitit").glob("*/*_log.*"))
    assert "this job is preempted" in said
    assert f"{name}  " in said
    assert "was interrupted, goes on" in said
    assert "Going on after epoch" in (tmp_path / "sweep" / name / "train.log").read_text()


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
done) > "$FAKE/said" 2>&1 < /dev/null &
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
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'lfw_seq[slurm]'")
    (tmp_path / "bin").mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": "#!/bin/sh\n"}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    words = (
        "seed=0,1",
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=gpu",
        "hydra.launcher.gpus_per_node=1",
    )
    env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "FAKE": str(tmp_path)}
    done = command(*LINE[3:], *words, cwd=tmp_path, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(tmp_path) == ["complete"] * 2
    asked = {line.removeprefix("#SBATCH ") for line in (tmp_path / "script.sh").read_text().splitlines()}
    assert {
        "--array=0-1%2",
        "--cpus-per-task=1",
        "--gpus-per-node=1",
        "--mem=8GB",
        "--partition=gpu",
        "--time=120",
        "--signal=USR2@60",
    } <= asked
