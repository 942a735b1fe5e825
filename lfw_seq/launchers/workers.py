"""What launchers with worker processes share."""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from lfw_seq import runs, sweeps
from lfw_seq.errors import UsageError
from lfw_seq.launchers import carry


@dataclass
class Job:
    """A job of a sweep that is to run in a worker.

    Attributes:
        number: its place in the sweep.
        folder: where its results belong.
        name: its experiment's hash.
        config: all of it, `hydra` included.
        context: Hydra's loader and callbacks.
        task: the command's main function.
        base: the version Hydra behaves as.
    """

    number: int
    folder: Path
    name: str
    config: DictConfig
    context: HydraContext
    task: TaskFunction
    base: str

    def run(self) -> JobReturn:
        """Run it in this process."""
        return run_job(
            task_function=self.task,
            config=self.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=self.context,
        )


@dataclass
class Ended:
    """What a worker says of a job.

    Attributes:
        returned: for Hydra's sweepers; None when `fail_fast` ended it.
        failures: why jobs of this worker failed, by the names of their folders.
        said: what it printed, and what of that went to stderr.
        files: the run folder, where the worker wrote to another disk.
    """

    returned: JobReturn | None
    failures: dict[str, str]
    said: tuple[str, str] = ("", "")
    files: dict[str, bytes] | None = None


def work(job: Job) -> Ended:
    """Run a job in a worker process."""
    setup_globals()
    version.setbase(job.base)
    try:
        returned = job.run()
    except SystemExit:
        returned = None
    return Ended(returned, dict(sweeps.failures))


class WorkerLauncher(Launcher):
    """Composes jobs, passes over those that finished before, and takes in what workers say of the others."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives a launcher."""
        self.context, self.task, self.config = hydra_context, task_function, config

    @abstractmethod
    def work_on(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Future[Ended]]]:
        """Run jobs, taken one at a time as workers are free; give each as it ends, however it does."""

    @abstractmethod
    def stop(self) -> None:
        """Stop all jobs at once."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run one job for each list of overrides; a job that failed, or whose worker died, returns nan.

        Raises:
            SystemExit: a job failed under `fail_fast`.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        returned: dict[int, JobReturn] = {}
        for job, future in self.work_on(self._unfinished(job_overrides, initial_job_idx, returned)):
            ended = self._end(job, future)
            if ended is None:
                self.stop()
                raise SystemExit(1)
            returned[job.number] = ended
        return [returned[number] for number in sorted(returned)]

    def _unfinished(
        self, job_overrides: Iterable[Sequence[str]], first: int, returned: dict[int, JobReturn]
    ) -> Iterator[Job]:
        """The jobs that are left to do; the others are put into `returned`."""
        for number, overrides in enumerate(job_overrides, first):
            job = self._compose(number, overrides)
            if sweeps.stored_result(job.folder, job.name):
                returned[number] = job.run()
                configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
            else:
                yield job

    def _compose(self, number: int, overrides: Sequence[str]) -> Job:
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
            config.hydra.sweep.dir = str(Path(config.hydra.sweep.dir).absolute())  # a worker may stand elsewhere
        HydraConfig.instance().set_config(config)
        folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
        name = sweeps.job_hash(_root_=config)
        return Job(number, folder, name, config, self.context, self.task, str(version.getbase()))

    def _end(self, job: Job, future: Future[Ended]) -> JobReturn | None:
        """Take in how a job ended; None when `fail_fast` ended the sweep."""
        try:
            ended = future.result()
        except Exception as error:  # the worker did not live to say anything
            return self._lost(job, error)
        for text, stream in zip(ended.said, (sys.stdout, sys.stderr), strict=True):
            print(text, end="", file=stream, flush=True)
        sweeps.failures.update(ended.failures)
        if ended.files:
            carry.unpack(job.folder, ended.files)
        return ended.returned

    def _lost(self, job: Job, error: Exception) -> JobReturn:
        sweeps.failures[job.folder.name] = why = f"its process ended: {self.reason(error)}"
        words = list(job.config.hydra.overrides.task)
        print(f"{job.number + 1:>4}  {job.folder.name}  {' '.join(words)}: {why}", file=sys.stderr, flush=True)
        with suppress(OSError):
            runs.write_failure(job.folder, job.name, UsageError(why))
        return JobReturn(overrides=words, status=JobStatus.COMPLETED, _return_value=math.nan)

    @abstractmethod
    def reason(self, error: Exception) -> str:
        """Why a worker died."""
