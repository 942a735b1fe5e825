"""Contenders in turn: what every comparison shares.

The machine's speed drifts while a benchmark runs, so one contender after the other, again and again; a ratio is taken
within each round and its median reported with the least and the largest.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch


class Cost(NamedTuple):
    """Seconds on the clock, and seconds that all threads of the process computed."""

    wall: float
    cpu: float

    def since(self, start: Cost) -> Cost:
        """What passed since `start`."""
        return Cost(self.wall - start.wall, self.cpu - start.cpu)

    def of(self, parts: int) -> Cost:
        """One of so many equal parts."""
        return Cost(self.wall / parts, self.cpu / parts)


STARTER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
wall, cpu = time.perf_counter() - started, used.ru_utime + used.ru_stime
print(json.dumps([wall, cpu, used.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""

Contender = Callable[[], Cost]


class Used(NamedTuple):
    """What a process took until it ended."""

    cost: Cost
    peak_mib: float  # resident
    status: int
    said: str  # the end of its stderr


@dataclass
class Report:
    """Rows of figures, and ratios of contenders.

    Attributes:
        title: what was timed.
        costs: wall and CPU seconds of each contender, one a round.
        ratios: by name, `wall` and `cpu`, each with median, min and max over the rounds.
        notes: what a reader must know: contenders left out, what a contender is.
        figures: whatever else was measured, by name.
    """

    title: str
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    ratios: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def compare(self, name: str, top: str, bottom: str) -> None:
        """Add the ratio of two contenders, where both ran."""
        if top in self.costs and bottom in self.costs:
            pairs = list(zip(self.costs[top], self.costs[bottom], strict=True))
            self.ratios[name] = {
                "wall": spread([a.wall / b.wall for a, b in pairs]),
                "cpu": spread([a.cpu / b.cpu for a, b in pairs if b.cpu > 0] or [float("nan")]),
            }

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self) | {
            "costs": {name: [cost._asdict() for cost in costs] for name, costs in self.costs.items()}
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def in_turn(contenders: dict[str, Contender], rounds: int, warm_up: int) -> dict[str, list[Cost]]:
    """Costs of each contender, `rounds` of them, after `warm_up` rounds that are left out."""
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for number in range(warm_up + rounds):
        for name, contender in contenders.items():
            cost = contender()
            if number >= warm_up:
                costs[name].append(cost)
    return costs


def now(device: torch.device | None = None) -> Cost:
    """The clocks of this process, once a GPU has done what it was told."""
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return Cost(time.perf_counter(), time.process_time())


def spent(line: Sequence[str], cwd: str, env: dict[str, str]) -> Used:
    """Run a command in a process of its own and say what it took, its children's CPU time included.

    A small process starts it: Linux counts the memory of the process that started another as the other's too.
    """
    inherited = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}  # set for ourselves
    with tempfile.TemporaryFile() as errors:
        starter = [sys.executable, "-I", "-S", "-c", STARTER, *line]
        done = subprocess.run(starter, cwd=cwd, env=inherited | env, stdout=subprocess.PIPE, stderr=errors, check=True)
        errors.seek(0)
        said = errors.read().decode(errors="replace")[-2000:]
    wall, cpu, peak, status = json.loads(done.stdout)
    return Used(Cost(wall, cpu), peak / (2**20 if sys.platform == "darwin" else 2**10), status, said)


def threads_env(threads: int) -> dict[str, str]:
    """What pins the threads of a child process, whichever library it computes with."""
    keys = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    return {key: str(threads) for key in keys} | {
        "TF_NUM_INTEROP_THREADS": "1",
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()} intra_op_parallelism_threads={threads}",
    }
