"""Start-up time of a command: help, config, first training step; and the memory of a run."""

from functools import partial

from omegaconf import DictConfig

from lfw_seq.benchmarks.timing import Plan, run_command, train_command

EMPTY = "import hydra; hydra.main(config_path=None, version_base='1.3')(lambda cfg: None)()"
IMPORTS = """import importlib, pkgutil, lfw_seq.training
for module in pkgutil.walk_packages(lfw_seq.training.__path__, "lfw_seq.training."):
    importlib.import_module(module.name)
"""
FIRST_STEP = """import os, runpy
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *args: os._exit(0))
runpy.run_module("lfw_seq.train", run_name="__main__", alter_sys=True)
"""
TIMES = ("seconds", "cpu_seconds")


def plan(cfg: DictConfig) -> Plan:
    """Time commands; a run has three epochs, and the imports are all modules of `lfw_seq.training`."""
    python, *train = train_command("trainer.max_epochs=3")
    lines = {"imports": ["-c", IMPORTS], "first step": ["-c", FIRST_STEP, *train[2:]], "a run": train}
    pairs = [("first step", "imports", *TIMES), ("a run", "imports", "peak_mib")]
    for words in (["--help"], ["--cfg", "job"]):
        ours, empty = " ".join(words), f"empty Hydra app {' '.join(words)}"
        lines |= {ours: [*train[:2], *words], empty: ["-c", EMPTY, *words]}
        pairs.append((ours, empty, *TIMES))
    return "Starting", {name: partial(run_command, [python, *line]) for name, line in lines.items()}, pairs, []
