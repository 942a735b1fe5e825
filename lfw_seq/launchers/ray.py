"""`hydra/launcher=ray`: the jobs of a sweep on a Ray cluster, or on a Ray of this machine."""

from __future__ import annotations

import io
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from lfw_seq import runs
from lfw_seq.errors import describe
from lfw_seq.launchers import carry
from lfw_seq.launchers.workers import Ended, Job, WorkerLauncher, work

ORPHAN_S = 120.0  # how long a job whose node died may keep its lock: the lease of an NFS lock is 90 s


class RayLauncher(WorkerLauncher):
    """Makes each job a Ray task; Ray starts it again elsewhere when its node or its process dies.

    A node that does not see the caller's sweep folder is given what the run folder holds and gives it back at the end.

    Attributes:
        init: the arguments of `ray.init`.
        remote: the options of `ray.remote`.
    """

    def __init__(self, init: DictConfig, remote: DictConfig) -> None:
        self.init: Any = OmegaConf.to_container(init, resolve=True)
        self.remote: Any = OmegaConf.to_container(remote, resolve=True)

    def work_on(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Future[Ended]]]:
        """Hand all jobs to Ray; without any, it is not even imported."""
        if (job := next(jobs, None)) is None:
            return
        task = self._connect()
        mark = Path(self.config.hydra.sweep.dir).absolute() / f".seen-{uuid.uuid4().hex}"
        mark.touch()
        running: dict[Future[Ended], Job] = {}
        try:
            while job is not None:
                running[task.remote(job, carry.pack(job.folder), mark).future()] = job
                job = next(jobs, None)
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future
        finally:
            mark.unlink()

    def _connect(self) -> Any:
        """Join or start a cluster; the function that runs a job there."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers unless asked for
        os.environ.setdefault("RAY_task_oom_retries", str(self.remote["max_retries"]))  # else without end
        try:
            import ray
        except ModuleNotFoundError as error:
            raise HydraException("hydra/launcher=ray: Ray is missing; pip install 'lfw_seq[ray]'") from error
        if not ray.is_initialized():
            address = str(self.init["address"])
            host, _, port = address.rpartition(":")
            try:
                if host and "/" not in host:  # Ray itself would wait for minutes
                    socket.create_connection((host, int(port)), timeout=10).close()
                ray.init(**self.init)
            except (OSError, ValueError) as error:  # Ray's are a ConnectionError
                raise HydraException(f"hydra.launcher.init.address={address}: {describe(error)}") from error
        return ray.remote(**self.remote)(work_away)

    def stop(self) -> None:
        """Leave the cluster, which ends the tasks."""
        import ray

        ray.shutdown()

    def reason(self, error: Exception) -> str:
        """Ray's words without its traceback."""
        return describe(type(error)(str(getattr(error, "cause", None) or error).splitlines()[0]))


def work_away(job: Job, files: dict[str, bytes], mark: Path) -> Ended:
    """Run a job on a node of the cluster.

    Args:
        job: the job.
        files: what its run folder holds at the caller's.
        mark: a file that a node sees if it shares the caller's disk.
    """
    shared = mark.exists()
    if not shared:
        carry.unpack(job.folder, files)
    until = time.monotonic() + ORPHAN_S
    while runs.is_locked(job.folder) and time.monotonic() < until:  # it ran on a node that died
        time.sleep(0.5)
    said = io.StringIO(), io.StringIO()
    with redirect_stdout(said[0]), redirect_stderr(said[1]):
        ended = work(job)
    ended.said = said[0].getvalue(), said[1].getvalue()
    if not shared:
        ended.files = carry.pack(job.folder)
        shutil.rmtree(job.folder)
    return ended
