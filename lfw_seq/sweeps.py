"""What a multirun needs beside its jobs: names by content, jobs that are skipped, resumed or failed, and an end.

It lives in the task and in Hydra's callbacks, not in a launcher or sweeper, so that it works with all of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from lfw_seq import CONF, processes, runs
from lfw_seq.errors import UsageError, describe

log = logging.getLogger(__name__)

INDEX = "sweep.json"
REPORTED = "test/accuracy"  # what the report at the end compares
LONGEST_NAME = 100
PLACES = (*runs.NOT_HASHED, "trainer")  # keys that say where and how a sweep runs, not what it is

Task = Callable[[DictConfig], dict[str, Any]]


def job_hash(*, _root_: DictConfig) -> str:
    """The folder of a sweep's job: its experiment's hash."""
    cfg = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "hydra"])
    return runs.config_hash(cfg)


def sweep_dir() -> str:
    """The folder of a sweep, named by what was typed, less what leaves the experiments the same."""
    words = [word.lstrip("+") for word in sys.argv[1:] if "=" in word and not word.startswith("-")]
    kept = [word for word in words if not word.startswith(("hydra.", "hydra/", *(f"{key}=" for key in PLACES)))]
    name = re.sub(r"[^\w.,=-]+", "-", "_".join(word.removeprefix("sweep=") for word in kept)) or "defaults"
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"multirun/{name}"


OmegaConf.register_new_resolver("job_hash", job_hash, replace=True)
# kept in the config's cache, which launchers carry to their workers: there, what was typed is not known
OmegaConf.register_new_resolver("sweep_dir", sweep_dir, use_cache=True, replace=True)


def in_sweep() -> bool:
    """Whether this process runs a job of a multirun."""
    return HydraConfig.initialized() and not OmegaConf.is_missing(HydraConfig.get().job, "num")


def stored_result(folder: Path, name: str) -> dict[str, Any] | None:
    """The result of a job that finished before; `name` is its experiment's hash."""
    result = runs.read_result(folder)
    return result if result and result["config_hash"] == name else None


def run_job(task: Task, cfg: DictConfig) -> dict[str, Any] | None:
    """Run one job of a multirun: skip it when it is finished, keep the sweep going when it fails.

    Returns:
        The result, stored or new; None when the job failed or another process is at it.
    """
    folder, name, job = Path(cfg.run_dir), runs.config_hash(cfg), HydraConfig.get()
    say = f"{job.job.num + 1:>4}  {folder.name}  {' '.join(job.overrides.task)}"
    if stored := stored_result(folder, name):
        print(f"{say}: finished before", flush=True)
        return stored
    for handler in logging.root.handlers:  # the epochs of many jobs go to their own logs only
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL)
    if runs.was_interrupted(folder):
        print(f"{say}: was interrupted, goes on", flush=True)
    logging.raiseExceptions = False  # a full disk takes no log either, and the job says so itself
    try:
        processes.refuse_as_job(cfg)
        result = task(cfg)
    except runs.InUse:
        print(f"{say}: another process is at it", flush=True)
        return None
    except Exception as error:
        print(f"{say}: failed, {describe(error)}", file=sys.stderr, flush=True)
        failures[folder.name] = describe(error)
        keep_failure(folder, name, error)
        if cfg.fail_fast:
            raise SystemExit(1) from error
        return None
    metrics = result["metrics"]
    watched = f"{cfg.monitor} {metrics[cfg.monitor]:.4g}, " if cfg.monitor in metrics else ""
    print(f"{say}: {watched}test/accuracy {metrics['test/accuracy']:.3f}, {result['seconds']:.0f} s", flush=True)
    return result


def keep_failure(folder: Path, name: str, error: Exception) -> None:
    """Leave the traceback in the job's own log and the reason in its result.json, where the disk takes them."""
    with suppress(OSError):
        log.exception("failed")
        if not runs.read_result(folder):
            runs.write_failure(folder, name, error)


@dataclass
class Sweep:
    """The multirun of this process."""

    folder: Path
    started: float

    def finished(self) -> set[str]:
        """Jobs that have a result."""
        return {path.parent.name for path in self.folder.glob(f"*/{runs.RESULT}") if runs.read_result(path.parent)}

    def unfinished(self, done: set[str]) -> dict[str, str]:
        """Jobs of this start that did not finish, with why."""
        # kept here too: a full disk takes no result.json
        why = {name: error for name, error in failures.items() if name not in done}
        for job in sorted({path.parent for name in (runs.LOCK, runs.RESULT) for path in self.folder.glob(f"*/{name}")}):
            result = job / runs.RESULT
            if job.name in done or job.name in why:
                continue
            if runs.is_locked(job):
                why[job.name] = "another process is at it"
            elif runs.was_interrupted(job):
                why[job.name] = "was killed, perhaps for lack of memory"
            elif result.stat().st_mtime >= self.started:
                why[job.name] = str(json.loads(result.read_text()).get("error"))
        return why


class SweepStart(Callback):
    """Hydra's callback that notes where a multirun writes, and refuses what cannot run in one."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before any job."""
        processes.refuse_in_sweeps(config)
        global current
        current = Sweep(Path(config.hydra.sweep.dir).absolute(), time.time())


current: Sweep | None = None
failures: dict[str, str] = {}  # jobs of this process that failed, with why


def finished_before() -> bool:
    """Whether this very command ended before with every job finished: known without composing a single config."""
    if not {"-m", "--multirun"} & set(sys.argv):
        return False
    typed = [word.partition("=")[2].strip("'\"") for word in sys.argv if word.startswith("hydra.sweep.dir=")]
    folder = Path(typed[-1] if typed else sweep_dir())
    try:
        kept = json.loads((folder / INDEX).read_text())
        done = kept["command"] == _command_digest() and all(runs.read_result(folder / job) for job in kept["jobs"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if done:
        print(f"All {len(kept['jobs'])} jobs finished before, in {folder.absolute()}")
    return done


def _command_digest() -> str:
    """A digest of what was typed, the launcher aside, and of every config file: what a sweep's jobs follow from."""
    typed = [word for word in sys.argv[1:] if not word.startswith(("hydra.launcher", "hydra/launcher"))]
    digest = hashlib.sha256(repr((Path(sys.argv[0]).stem, typed)).encode())
    for path in sorted(CONF.rglob("*.yaml")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def finish(error: BaseException | None = None) -> int:
    """Say how the multirun of this process ended; the exit status: 1 when a job is not finished."""
    if current is None:
        return 0
    done = current.finished()
    unfinished = current.unfinished(done)
    if len(done) > 1:
        print_report(current.folder)
    print(f"{len(done)} finished, {len(unfinished)} not, in {current.folder}")
    for name, why in unfinished.items():
        print(f"  {name}  {why}")
    if error is not None:
        print(f"The sweep stopped: {describe(error)}", file=sys.stderr)
    if unfinished or error is not None:
        print("Start the same command again to go on.")
        return 1
    with suppress(OSError):  # a full disk: the next start takes longer to see that all is done
        runs.write_json(current.folder / INDEX, {"command": _command_digest(), "jobs": sorted(done)})
    return 0


def print_report(folder: Path) -> None:
    """Print what the finished jobs say together, and write it into the sweep's folder."""
    from lfw_seq.report import write_report  # which imports this module

    try:
        print(f"\n{write_report([folder], REPORTED, folder / 'report')}\n")
    except (UsageError, OSError) as error:
        log.warning("No report: %s", describe(error))
