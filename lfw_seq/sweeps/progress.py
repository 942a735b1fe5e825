"""How far a sweep is: the number of its jobs, and the time they will take."""

import math
import time
from datetime import timedelta
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from lfw_seq.runs.folder import RESULT


def count_jobs(config: DictConfig) -> int:
    """How many jobs a multirun of this config has; 0 where its words do not show it, as `model=glob(*)`."""
    params = (config.hydra.sweeper.get("params") or {}).items()
    words = [*config.hydra.overrides.task, *(f"{key}={value}" for key, value in params)]
    swept = [override for override in OverridesParser.create().parse_overrides(words) if override.is_sweep_override()]
    try:
        return math.prod(len(list(override.sweep_string_iterator())) for override in swept)
    except HydraException:
        return 0


def time_left(sweep: Path, jobs: int, started: float) -> str:
    """What the jobs after this one will take, by those that ended since the start, however many run at a time."""
    ended = [path for path in sweep.glob(f"*/{RESULT}") if path.stat().st_mtime >= started]
    return f", {timedelta(seconds=round((time.time() - started) / len(ended) * jobs))} left" if jobs > 0 else ""
