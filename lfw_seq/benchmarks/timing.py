"""Contenders in turn, their costs, and ratios of costs."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from lfw_seq.cli import CONF, UsageError

Cost = dict[str, float]  # of a turn: "seconds", "cpu_seconds" of all threads and children, and what else was measured
Contender = Callable[[], Cost]  # a call is one turn
Pair = tuple[str, ...]  # two contenders, and the kinds of cost of which their ratio is taken
Plan = tuple[str, Mapping[str, Contender], Sequence[Pair], list[str]]  # with a title, and notes for the reader


def run_round(contenders: Mapping[str, Contender], pairs: Sequence[Pair]) -> dict[str, Cost]:
    """The costs of all contenders, one after the other, and the ratios of pairs, by name.

    A ratio is taken within a round, as the speed of a machine drifts.
    """
    costs = {name: contender() for name, contender in contenders.items()}
    for top, bottom, *keys in pairs:
        costs[f"{top} / {bottom}"] = {key: costs[top][key] / costs[bottom][key] for key in keys}
    return costs


def summarize(rounds: list[dict[str, Cost]]) -> dict[str, dict[str, dict[str, float]]]:
    """Median, least and largest of each number of several `run_round`."""
    summary: dict[str, dict[str, dict[str, float]]] = {name: {} for name in rounds[0]}
    for name, key in ((name, key) for name, costs in rounds[0].items() for key in costs):
        values = [costs[name][key] for costs in rounds]
        summary[name][key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return summary


def read_clocks() -> Cost:
    """Seconds on the clock, and of all threads of this process."""
    return {"seconds": time.perf_counter(), "cpu_seconds": time.process_time()}


def mean_cost(readings: Sequence[Cost]) -> Cost:
    """The mean cost of what happens between one reading of the clocks and the next."""
    first, last = readings[0], readings[-1]
    return {key: (last[key] - first[key]) / (len(readings) - 1) for key in first}


def run_command(line: Sequence[str]) -> Cost:
    """The cost of a command in a new folder, and its peak memory in MiB; that of the process which calls this counts.

    Raises:
        UsageError: the command failed; its error stands on stderr.
    """
    env = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}  # set for this process
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(line, cwd=folder, env=env, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UsageError(f"{' '.join(line)} ended with status {process.returncode}: its error stands above")
    peak = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_mib": peak}


def run_process(work: Callable[..., Cost], *args: Any) -> Cost:
    """What `work(*args)` returns in a new process, so that no contender finds what another has left."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, args)


def unavailable(extra: str, *modules: str) -> str | None:
    """A line on the first module that is not installed and on how to install it; None when all are."""
    lacking = next((module for module in modules if find_spec(module) is None), None)
    return f'left out, {lacking} is not installed: pip install -e ".[{extra}]"' if lacking else None


def train_command(*words: str) -> list[str]:
    """Training with these words and what the user typed, but for the keys of this command alone."""
    own = set(OmegaConf.load(CONF / "benchmark.yaml"))
    typed = [word for word in HydraConfig.get().overrides.task if word.partition("=")[0] not in own]
    return [sys.executable, "-m", "lfw_seq.train", *words, *typed]
