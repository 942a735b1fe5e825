"""Jobs of a multirun: skip finished ones, resume interrupted ones, list failed ones.

Implemented in the task and a Hydra callback, and so independent of launcher and sweeper.
"""

import logging
import math
import os
import re
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from lfw_seq import cli
from lfw_seq.cli import NewFolders, UsageError, describe, stop
from lfw_seq.runs import folder as runs
from lfw_seq.sweeps.names import count_jobs, swept

log = logging.getLogger(__name__)

REPORTED, UNTESTED = "test/accuracy", "val/accuracy"  # compared by the report at the end; of runs with test=false
SEVERAL = "(ddp|fsdp|deepspeed)"  # strategies that start further processes
COUNT = "LFW_SEQ_JOBS"  # environment variable for workers: the number of jobs, and the start time
REFUSED = "a run of several processes cannot be a job of a multirun; leave -m out"

Task = Callable[[DictConfig], dict[str, Any]]
failures: dict[str, str] = {}  # errors of this process's jobs by name, as a full disk has no room for result.json


def run(task: Task, cfg: DictConfig) -> float:
    """Run a task as a job of a multirun, or as a single run that prints its result; return its `cfg.monitor`."""
    if HydraConfig.initialized() and not OmegaConf.is_missing(HydraConfig.get().job, "num"):
        result = run_job(task, cfg)
    elif result := cli.run(task, cfg):
        from lfw_seq.evaluation.metrics import closing_table

        print(closing_table(result, cfg.run_dir))
    return float(result["metrics"].get(cfg.monitor, math.nan)) if result else math.nan


def run_job(task: Task, cfg: DictConfig) -> dict[str, Any] | None:
    """Run a job of a multirun: skip it if it is finished; catch its errors unless `fail_fast`.

    Returns:
        The result, stored or new; None if the job failed or another process runs it.
    """
    if HydraConfig.get().runtime.choices.get("hydra/launcher") == "joblib":
        end_with_parent()
    folder, experiment = Path(cfg.run_dir), runs.config_hash(cfg)
    number, (total, started) = HydraConfig.get().job.num + 1, os.environ.get(COUNT, "0 0").split()
    label = f"job {number}{f'/{total}' * (total != '0')}  {folder.name}"
    runs.touch_lock(folder)
    if (stored := runs.read_result(folder)) and stored.get("config_hash") == experiment:
        print(f"{label}: finished before", flush=True)
        return stored
    for handler in logging.root.handlers:  # epochs are logged in each job's own file only
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL)
    if (folder / "checkpoints").is_dir() and not (folder / runs.RESULT).exists() and not runs.is_locked(folder):
        print(f"{label}: interrupted before, resuming", flush=True)
    logging.raiseExceptions = False  # ignore a full disk
    try:
        if re.search(SEVERAL, strategy := str(OmegaConf.select(cfg, "trainer.strategy"))):
            raise UsageError(f"trainer.strategy={strategy}: {REFUSED}")
        result = task(cfg)
    except runs.InUse:
        print(f"{label}: another process runs it", flush=True)
        return None
    except Exception as error:
        print(f"{label}: failed, {describe(error)}", file=sys.stderr, flush=True)
        if cfg.traceback is True:
            traceback.print_exception(error)
        failures[folder.name] = describe(error)
        _keep_failure(folder, experiment, error)
        if cfg.fail_fast:
            raise SystemExit(1) from error
        return None
    metrics = result["metrics"]
    names = dict.fromkeys([cfg.monitor, REPORTED if REPORTED in metrics else UNTESTED])
    scores = "".join(f"{name} {metrics[name]:.4g}, " for name in names if name in metrics)
    left = time_left(folder.parent, int(total) - number, float(started))
    print(f"{label}: {scores}{result['seconds']:.0f} s{left}", flush=True)
    return result


def time_left(sweep: Path, jobs: int, started: float) -> str:
    """Estimated time of the remaining jobs, as text, from the rate at which jobs have ended since `started`."""
    if jobs <= 0:
        return ""
    ended = sum(path.stat().st_mtime >= started for path in sweep.glob(f"*/{runs.RESULT}"))
    each = (time.time() - started) / max(ended, 1)  # 0 if the clock of a shared disk is behind
    return f", {timedelta(seconds=round(each * jobs))} left"


@cache
def end_with_parent() -> None:
    """End this worker process when its parent has ended, even by a kill."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)  # sys.exit would end this thread only

    threading.Thread(target=watch, daemon=True).start()


def _keep_failure(folder: Path, experiment: str, error: Exception) -> None:
    """Write the traceback into the job's log and the error into its result.json, unless the disk is full."""
    with suppress(OSError):
        log.exception("failed")
        runs.touch_lock(folder)
        if not runs.read_result(folder):
            runs.write_failure(folder, experiment, error)


class SweepSummary(Callback):
    """Hydra callback of a multirun: reject distributed strategies at the start, list unfinished jobs at the end."""

    current: "SweepSummary | None" = None  # of this process

    def __init__(self, report: Callable[[list[Path], str, Path], str] | None = None) -> None:
        self.report = report  # `lfw_seq.report.write_report`, called if two jobs or more finished
        self.folder, self.before = Path(), dict[Path, int]()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the strategy; record start time and existing jobs."""
        strategy = f"trainer.strategy={OmegaConf.select(config, 'trainer.strategy')}"
        for word in (*config.hydra.overrides.task, strategy):
            if re.match(rf"\+*trainer(\.strategy)?=.*{SEVERAL}", word):
                stop(f"{word}: {REFUSED}")
        OmegaConf.select(config, "hydra.sweep.subdir")  # fills the cache of `swept_keys`, for workers
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.before = self.locks()
        os.environ[COUNT] = f"{count_jobs(config)} {time.time() - 1}"
        SweepSummary.current = self
        # joblib replaces a worker that skipped jobs before it trained: it takes what training needs for a leak
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the summary; exit with status 1 if a job did not finish."""
        if status := self.finish():
            raise SystemExit(status)

    def locks(self) -> dict[Path, int]:
        """Folders of all jobs, with the modification time of the lock in ns, by the clock of the disk."""
        return {path.parent: path.stat().st_mtime_ns for path in self.folder.glob(f"*/{runs.LOCK}")}

    def jobs(self) -> list[Path]:
        """Folders of the jobs run or skipped since the start."""
        return [job for job, touched in self.locks().items() if touched != self.before.get(job)]

    def finish(self, error: BaseException | None = None) -> int:
        """Print the summary of the multirun; return its exit status, 1 if a job did not finish or the report failed."""
        jobs = self.jobs()
        if not jobs and error is None:
            NewFolders.remove_unused()
            words = " ".join(str(word.input_line) for word in swept())
            stop(f"{words}: no jobs; expected one value or more for each key")
        reasons = {job.name: runs.why_unfinished(job) for job in sorted(jobs)}
        unfinished = {name: failures.get(name, why) for name, why in reasons.items() if why}
        finished = len(jobs) - len(unfinished)
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        reported = True
        if finished > 1 and self.report is not None:
            try:
                results = (runs.read_result(job) or {} for job in jobs if job.name not in unfinished)
                tested = any(REPORTED in result.get("metrics", {}) for result in results)
                metric = REPORTED if tested else UNTESTED
                print(f"\n{self.report([self.folder], metric, self.folder / 'report')}\n")
            except Exception as problem:  # Hydra would only log it, and the summary would be missing
                reported = isinstance(problem, UsageError)  # no run was tested or validated
                named = reported or isinstance(problem, OSError)
                log.warning("No report: %s", describe(problem), exc_info=not named)
        print(f"{finished} finished, {len(unfinished)} not, in {self.folder}")
        for name, why in unfinished.items():
            print(f"  {name}  {why}")
        if error is not None and not interrupted:
            print(f"The sweep stopped: {describe(error)}", file=sys.stderr)
        if (unfinished or error is not None) and not interrupted:
            print("Run the same command again to resume.")
        return int(bool(unfinished) or error is not None or not reported)


def stopped(error: BaseException) -> int | None:
    """Exit status of a multirun ended by an error; None without a multirun, or before its first job."""
    sweep, ended = SweepSummary.current, isinstance(error, KeyboardInterrupt | SystemExit)
    return sweep.finish(error) if sweep and (ended or sweep.jobs()) else None
