"""Run contenders in turn; their costs and ratios of costs."""

import os
import signal
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

Cost = dict[str, float]  # of a turn: "seconds", "cpu_seconds" of all threads and children, and others
Contender = Callable[[], Cost]  # each call is a turn
Pair = tuple[str, ...]  # numerator, denominator, and the costs whose ratio is computed
Plan = tuple[str, Mapping[str, Contender], Sequence[Pair], list[str]]  # title, contenders, pairs, notes
WARM_UP = 2  # epochs before the first turn


def run_round(contenders: Mapping[str, Contender], pairs: Sequence[Pair]) -> dict[str, Cost]:
    """Run all contenders one after the other; return their costs, and the ratios of pairs, by name.

    Ratios are computed within a round, as the speed of a machine drifts.
    """
    costs = {name: contender() for name, contender in contenders.items()}
    for first, second, *keys in pairs:
        costs[f"{first} / {second}"] = {key: costs[first][key] / costs[second][key] for key in keys}
    return costs


def summarize(rounds: list[dict[str, Cost]]) -> dict[str, dict[str, dict[str, float]]]:
    """Median, minimum and maximum of each number over rounds."""
    summary: dict[str, dict[str, dict[str, float]]] = {name: {} for name in rounds[0]}
    for name, key in ((name, key) for name, costs in rounds[0].items() for key in costs):
        values = [costs[name][key] for costs in rounds]
        summary[name][key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return summary


def read_clocks() -> Cost:
    """Wall-clock seconds, and CPU seconds of all threads of this process."""
    return {"seconds": time.perf_counter(), "cpu_seconds": time.process_time()}


def mean_cost(readings: Sequence[Cost]) -> Cost:
    """Mean cost between consecutive readings of the clocks."""
    first, last = readings[0], readings[-1]
    return {key: (last[key] - first[key]) / (len(readings) - 1) for key in first}


def run_command(line: Sequence[str]) -> Cost:
    """Cost of a command in a new folder, and its peak memory in MiB, at least that of the calling process.

    Raises:
        UsageError: the command failed; its error is on stderr.
    """
    env = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}  # set for this process only
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(line, cwd=folder, env=env, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UsageError(f"{' '.join(line)} ended with status {process.returncode}: see its error above")
    peak = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_mib": peak}


class Turns:
    """A training in a process of its own, isolated from other contenders; each call is its turn for an epoch."""

    def __init__(self, train: Callable[..., None], turns: int, *args: Any) -> None:
        """Start `train(turn, *args)` and wait for its first epochs, which warm up."""
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=train, args=(Turn(theirs), *args), daemon=True)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C ends the parent, which ends this one
        self.process.start()
        signal.signal(signal.SIGINT, before)
        theirs.close()
        self.left = WARM_UP + turns
        for _ in range(WARM_UP):
            self()

    def __call__(self) -> Cost:
        """Cost of an epoch; the training ends with its last turn."""
        self.left -= 1
        try:
            self.connection.send(self.left)
            cost: Cost = self.connection.recv()
        except (EOFError, OSError) as error:
            raise UsageError("a contender stopped: see its error above") from error
        if not self.left:
            self.process.join()
        return cost


class Turn:
    """A training calls this at the start of each epoch: it sends the cost of the one before and waits for a turn."""

    def __init__(self, connection: Any) -> None:
        self.connection, self.left, self.start = connection, 0, dict[str, float]()

    def __call__(self, *_: Any) -> None:
        """Return at the start of the next turn; raise SystemExit after the last."""
        if self.start:
            self.connection.send(mean_cost([self.start, read_clocks()]))
            if not self.left:
                raise SystemExit
        self.left, self.start = self.connection.recv(), read_clocks()


def unavailable(extra: str, *modules: str) -> str | None:
    """A message about the first module that is not installed, with the remedy; None if all are."""
    missing = next((module for module in modules if find_spec(module) is None), None)
    return f'skipped, {missing} is not installed: pip install -e ".[{extra}]"' if missing else None


def train_command(*words: str) -> list[str]:
    """Command line of a training with these overrides and the user's, without the keys of the benchmark itself."""
    own = set(OmegaConf.load(CONF / "benchmark.yaml"))
    typed = [word for word in HydraConfig.get().overrides.task if word.partition("=")[0] not in own]
    return [sys.executable, "-m", "lfw_seq.train", *words, *typed]
