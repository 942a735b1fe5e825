"""Loading faces from photos and from the cache, and the memory of a run."""

import atexit
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import Callback
from omegaconf import DictConfig

from lfw_seq.benchmarks.start import typed
from lfw_seq.benchmarks.turns import Contender, Cost, Report, in_turn, now, spent, spread, threads_env
from lfw_seq.data.module import build
from lfw_seq.runs import plain

FIRST, SECOND = "first load, from photos", "second load, from the cache"
IMPORT = """
import contextlib, importlib, sys
for name in open(sys.argv[1]).read().split():
    with contextlib.suppress(Exception):  # names that a package makes up for parts of itself
        importlib.import_module(name)
"""


class Modules(Callback):
    """Writes the names of all modules that the process has imported when it ends, in their order."""

    def __init__(self, path: str) -> None:
        atexit.register(lambda: Path(path).write_text("\n".join(sys.modules)))


def measure(cfg: DictConfig) -> Report:
    """Time a load into an empty cache and one from the full cache, and take the peak memory of runs in turn."""
    report = Report("Loading the data")
    with tempfile.TemporaryDirectory() as folder:
        cache = {"cache_dir": str(Path(folder) / "cache")} if "cache_dir" in cfg.data else {}

        def emptied() -> None:
            for file in (Path(folder) / "cache").glob("*"):
                file.unlink()

        contenders = {FIRST: load(cfg, cache, emptied), SECOND: load(cfg, cache, lambda: None)}
        report.costs = in_turn(contenders, cfg.rounds, cfg.warm_up)
        faces = build(plain(cfg.data) | cache, cfg.split_seed, cfg.seed).source.load()
        mib = faces.images.nbytes / 2**20
        imports, peaks, shares = [], [], []
        run = [sys.executable, "-m", "lfw_seq.train", *typed(), "trainer.max_epochs=3"]
        modules = [f"+callbacks.modules._target_={__name__}.Modules", "+callbacks.modules.path=modules"]
        peak([*run, *modules, "hydra.run.dir=first"], folder, cfg)
        for number in range(cfg.warm_up + cfg.rounds):
            imports.append(peak([sys.executable, "-c", IMPORT, "modules"], folder, cfg))
            peaks.append(peak([*run, f"hydra.run.dir=run-{number}"], folder, cfg))
            shares.append(peaks[-1] / (1.15 * imports[-1] + 3 * mib))
    report.figures = {
        "images": len(faces.labels),
        "the data, MiB": mib,
        "peak of the imports, MiB": spread(imports)["median"],
        "peak of a run of three epochs, MiB": spread(peaks)["median"],
        "peak / (1.15 x imports + 3 x data)": spread(shares)["median"],
    }
    return report


def load(cfg: DictConfig, changes: dict[str, Any], before: Callable[[], None]) -> Contender:
    """A contender that reads the faces of the config."""

    def turn() -> Cost:
        before()
        source = build(plain(cfg.data) | changes, cfg.split_seed, cfg.seed).source
        started = now()
        source.load()
        return now().since(started)

    return turn


def peak(line: list[str], folder: str, cfg: DictConfig) -> float:
    """MiB that a command held at most.

    Raises:
        RuntimeError: it failed.
    """
    used = spent(line, folder, threads_env(cfg.threads))
    if used.status:
        raise RuntimeError(f"{' '.join(line)} ended with {used.status}: {used.said}")
    return used.peak_mib
