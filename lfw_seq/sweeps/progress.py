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
    if jobs <= 0:
        return ""
    ended = sum(path.stat().st_mtime >= started for path in sweep.glob(f"*/{RESULT}"))
    each = (time.time() - started) / max(ended, 1)  # none where the clock of a shared disk is behind
    return f", {timedelta(seconds=round(each * jobs))} left"
