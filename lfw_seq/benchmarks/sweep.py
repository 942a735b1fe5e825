"""Sixteen short trainings as a sweep: one after the other in one process, and side by side in two."""

from tempfile import TemporaryDirectory

from omegaconf import DictConfig

from lfw_seq.benchmarks.start import process, typed
from lfw_seq.benchmarks.turns import Report, in_turn, spread

JOBS = 16
SHORT = ("data=synthetic", "trainer=cpu", "trainer.max_epochs=5")  # what is typed comes after these, and wins
LAUNCHERS = {"one process": (), "two workers": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")}


def measure(cfg: DictConfig) -> Report:
    """Time both in turn, each from the command to its last line, Python's start included."""
    report = Report(f"{JOBS} short trainings, from the command to its last line")
    words = (*SHORT, *typed(), f"seed=range({JOBS})", f"threads={cfg.threads}", "hydra.sweep.dir={number}")
    line = ["-m", "lfw_seq.train", "-m", *words]
    with TemporaryDirectory() as folder:
        contenders = {name: process([*line, *launcher], folder, {}) for name, launcher in LAUNCHERS.items()}
        report.costs = in_turn(contenders, cfg.rounds, cfg.warm_up)
    one, two = LAUNCHERS
    report.compare(f"{two} / {one}", two, one)
    for name, costs in report.costs.items():
        report.figures[f"cores in use by {name}"] = spread([cost.cpu / cost.wall for cost in costs])["median"]
    return report
