"""`hydra/launcher=joblib`: jobs side by side on this machine, in the worker processes of joblib."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import TYPE_CHECKING

from lfw_seq.errors import check_whole, describe
from lfw_seq.launchers.workers import Ended, Job, WorkerLauncher, work

if TYPE_CHECKING:
    from joblib.externals.loky import ProcessPoolExecutor

LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # read once, at a library's import


class JoblibLauncher(WorkerLauncher):
    """Keeps `n_jobs` pools of one worker each: when a worker is killed, its job is known and the others go on.

    A worker lives as long as the sweep, so that it imports torch once.

    Attributes:
        n_jobs: workers; None for as many as have `threads` cores each, of those this process may use.
        threads: of each worker.
    """

    def __init__(self, n_jobs: int | None, threads: int) -> None:
        check_whole("threads", threads)
        if n_jobs is not None:
            check_whole("hydra.launcher.n_jobs", n_jobs)
        self.n_jobs, self.threads = n_jobs, threads
        self.pools: list[ProcessPoolExecutor] = []
        self.idle: list[ProcessPoolExecutor] = []

    def work_on(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Future[Ended]]]:
        """Run jobs, each in a worker that is free."""
        running: dict[Future[Ended], tuple[Job, ProcessPoolExecutor]] = {}
        while True:
            while (self.idle or not self.pools or len(self.pools) < self._workers()) and (
                job := next(jobs, None)
            ) is not None:
                pool = self.idle.pop() if self.idle else self._start()
                running[pool.submit(work, job)] = job, pool
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, pool = running.pop(future)
                if isinstance(future.exception(), BrokenExecutor):
                    self.pools.remove(pool)
                else:
                    self.idle.append(pool)
                yield job, future

    def stop(self) -> None:
        """Kill the workers."""
        for pool in self.pools:
            pool.shutdown(kill_workers=True)

    def reason(self, error: Exception) -> str:
        """The signal that ended a worker, which joblib keeps in its message only."""
        signal = re.search(r"SIG[A-Z]+", str(error))
        if not isinstance(error, BrokenExecutor) or signal is None:
            return describe(error)
        return f"killed by {signal[0]}" + (", perhaps for lack of memory" if signal[0] == "SIGKILL" else "")

    def _workers(self) -> int:
        from joblib import cpu_count

        return self.n_jobs or max(1, cpu_count() // self.threads)

    def _start(self) -> ProcessPoolExecutor:
        from joblib.externals.loky import ProcessPoolExecutor

        pool = ProcessPoolExecutor(max_workers=1, env=dict.fromkeys(LIBRARIES, str(self.threads)))
        self.pools.append(pool)
        return pool
