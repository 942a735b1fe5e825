"""Sixteen short trainings as a sweep: one after the other in one process, and side by side in two."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

JOBS = 16
SHORT = ("data=synthetic", "trainer=cpu", "trainer.max_epochs=5")  # what is typed comes after these, and wins
LAUNCHERS = {1: (), 2: ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")}
OWN_KEYS = {"what", "pairs", "out"}  # those of conf/benchmark.yaml that training has not


def measure(cfg: DictConfig) -> dict[str, Any]:
    """Time both in turn, `cfg.pairs` times, each from the command to its last line, Python's start included.

    Returns:
        Wall and CPU seconds by workers, cores in use (CPU / wall), and the ratio of the wall times of two workers to
        one: median, least and largest of the pairs.
    """
    costs: dict[int, list[tuple[float, float]]] = {workers: [] for workers in LAUNCHERS}
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(cfg.pairs):
            for workers, launcher in LAUNCHERS.items():
                words = (*SHORT, *typed(), f"seed=range({JOBS})", f"threads={cfg.threads}", *launcher)
                costs[workers].append(timed(words, folder, f"{pair}-{workers}"))
    ratios = sorted(two / one for (one, _), (two, _) in zip(costs[1], costs[2], strict=True))
    return {
        "jobs": JOBS,
        "seconds": {str(workers): [wall for wall, _ in pairs] for workers, pairs in costs.items()},
        "cpu_seconds": {str(workers): [cpu for _, cpu in pairs] for workers, pairs in costs.items()},
        "cores": {
            str(workers): statistics.median(cpu / wall for wall, cpu in pairs) for workers, pairs in costs.items()
        },
        "ratio": {"median": statistics.median(ratios), "min": ratios[0], "max": ratios[-1]},
    }


def typed() -> list[str]:
    """The overrides of this command that training takes too."""
    return [word for word in HydraConfig.get().overrides.task if word.lstrip("+").split("=")[0] not in OWN_KEYS]


def timed(words: tuple[str, ...], folder: str, name: str) -> tuple[float, float]:
    """Wall and CPU seconds of a sweep, its workers' included.

    Raises:
        RuntimeError: a job did not finish.
    """
    line = [sys.executable, "-m", "lfw_seq.train", "-m", *words, f"hydra.sweep.dir={name}"]
    started = time.perf_counter()
    process = subprocess.Popen(line, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(line)} ended with {process.returncode}")
    return wall, used.ru_utime + used.ru_stime


def table(result: dict[str, Any]) -> list[str]:
    """The medians and their ratio."""
    ratio, pairs = result["ratio"], len(result["seconds"]["1"])
    rows = [
        f"  {workers} worker(s) {statistics.median(values):8.1f} s   {result['cores'][workers]:.2f} cores in use"
        for workers, values in result["seconds"].items()
    ]
    return [
        f"{result['jobs']} short trainings, {pairs} pairs in turn, {result['threads']} thread(s) each",
        *rows,
        f"  ratio {ratio['median']:8.3f}   of pairs: {ratio['min']:.3f} to {ratio['max']:.3f}",
    ]
