"""Short trainings: by two workers, in one process, and as single commands."""

import shlex
from functools import partial

from omegaconf import DictConfig

from lfw_seq.benchmarks.timing import Plan, run_command, train_command, unavailable

TWO, ONE, SINGLE = "two workers by hydra/launcher=joblib", "one process", "single commands"


def plan(cfg: DictConfig) -> Plan:
    """Time whole commands, with Python's start-up."""
    words = ("data=synthetic", "trainer=cpu", "trainer.max_epochs=5")
    single, sweep = train_command(*words), train_command("-m", *words, f"seed=range({cfg.runs})")
    loop = f"for seed in $(seq {cfg.runs}); do {shlex.join(single)} seed=$seed; done"
    lines = {ONE: sweep, SINGLE: ["sh", "-ec", loop]}
    pairs = [(ONE, SINGLE, "seconds")]
    if not (missing := unavailable("joblib", "hydra_plugins", "hydra_plugins.hydra_joblib_launcher")):
        lines[TWO] = [*sweep, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
        pairs += [(TWO, ONE, "seconds"), (TWO, SINGLE, "seconds")]
    contenders = {name: partial(run_command, line) for name, line in lines.items()}
    return f"{cfg.runs} short trainings", contenders, pairs, [f"{TWO}: {missing}"] if missing else []
