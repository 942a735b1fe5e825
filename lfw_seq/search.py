"""A Hydra sweeper that searches with Optuna: `hydra/sweeper=optuna`.

Hydra's own Optuna plugin needs optuna 2, whose storage on disk does not work with today's SQLAlchemy, and cannot prune,
since its jobs never see their trial. This one keeps its trials in a journal file in the sweep's folder: a second start
goes on to the same total. Trials stay open while their jobs run, so that `callbacks.pruning` can report to them. The
search space is written as for Hydra's plugin: `optimizer.lr=tag(log, interval(1e-4, 1e-2))`, `choice(..)`, `range(..)`.
"""

from __future__ import annotations

import fcntl
import importlib
import math
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lfw_seq.errors import UsageError, check_whole

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.storages import JournalStorage

JOURNAL = "optuna.journal"
STUDY = "search"


class OptunaSweeper(Sweeper):
    """Asks a TPE sampler (Bergstra et al., 2011) for trials, has the launcher run them, and tells how they went.

    Attributes:
        n_trials: finished trials in all, those of earlier starts included.
        n_jobs: trials at a time; a launcher with as many workers runs them side by side.
        n_startup_trials: trials drawn at random before the sampler learns.
        seed: of the sampler.
        params: the search space by key, in Hydra's grammar of sweeps.
    """

    def __init__(self, n_trials: int, n_jobs: int, n_startup_trials: int, seed: int, params: DictConfig) -> None:
        check_whole("hydra.sweeper.n_trials", n_trials)
        check_whole("hydra.sweeper.n_jobs", n_jobs)
        self.n_trials, self.n_jobs, self.n_startup_trials, self.seed = n_trials, n_jobs, n_startup_trials, seed
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives a sweeper."""
        self.config: DictConfig = config
        self.hydra_context: HydraContext = hydra_context
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            config=config, task_function=task_function, hydra_context=hydra_context
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search until `n_trials` are finished.

        Raises:
            UsageError: no key has a range to search, or another process searches in this folder.
        """
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "search.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"another process searches in {folder}: wait, or choose another folder") from None
            self._search(folder, arguments)

    def _search(self, folder: Path, arguments: list[str]) -> None:
        fixed, space = self._space(arguments)
        study = self._study(folder)
        open_trials = _open(study)
        while (done := len(study.trials) - len(_open(study))) < self.n_trials:
            batch = open_trials[: self.n_jobs]  # those a kill left open come first
            open_trials = open_trials[self.n_jobs :]
            while len(batch) < min(self.n_jobs, self.n_trials - done):
                batch.append(study.ask(space))
            jobs = [
                [*fixed, *(f"{key}={value}" for key, value in t.params.items()), f"trial={t.number}"] for t in batch
            ]
            self.validate_batch_is_legal(jobs)
            for trial, job in zip(batch, self.launcher.launch(jobs, initial_job_idx=batch[0].number), strict=True):
                _tell(study, trial, float(job.return_value))
        best = study.best_trial
        values = " ".join(f"{key}={value}" for key, value in best.params.items())
        print(f"Best of {len(study.trials)} trials: {self.config.monitor} {best.value:.4g} with {values}")

    def _space(self, arguments: list[str]) -> tuple[list[str], dict[str, BaseDistribution]]:
        """The overrides that every trial shares, and what is searched, by key."""
        lines = [*(f"{key!s}={value}" for key, value in self.params.items()), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        fixed: dict[str, str] = {}
        space: dict[str, BaseDistribution] = {}
        for override in parser.parse_overrides(lines):  # what was typed comes last, and wins
            key = override.get_key_element()
            fixed.pop(key, None)
            space.pop(key, None)
            if override.is_sweep_override():
                space[key] = distribution(override)
            else:
                fixed[key] = override.input_line or ""
        if not space:
            raise UsageError("nothing to search: expected a key like optimizer.lr='interval(1e-4,1e-2)', or +sweep=tpe")
        return list(fixed.values()), space

    def _study(self, folder: Path) -> Study:
        import optuna
        from optuna.study import StudyDirection

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        direction = StudyDirection.MINIMIZE if self.config.monitor_mode == "min" else StudyDirection.MAXIMIZE
        store = storage(folder / JOURNAL)
        study = optuna.create_study(study_name=STUDY, storage=store, direction=direction, load_if_exists=True)
        seed = self.seed + len(study.trials)  # a second start must not draw the first one's trials again
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=self.n_startup_trials, seed=seed)
        return study


def distribution(override: Override) -> BaseDistribution:
    """Optuna's distribution of a sweep in Hydra's grammar: interval (tags log, int), range, choice."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep: Any = override.value()
    if isinstance(sweep, IntervalSweep):
        log = "log" in sweep.tags
        if "int" in sweep.tags:
            return IntDistribution(int(sweep.start or 0), int(sweep.end or 0), log=log)
        return FloatDistribution(float(sweep.start or 0), float(sweep.end or 0), log=log)
    if isinstance(sweep, RangeSweep) and isinstance(steps := sweep.range(), range):
        return IntDistribution(steps[0], steps[-1], step=steps.step)
    choices: Any = list(override.sweep_iterator(Transformer.encode))
    return CategoricalDistribution(choices)


def storage(journal: Path) -> JournalStorage:
    """The trials of a journal file, made when missing."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(journal)))


def _open(study: Study) -> list[Trial]:
    """Trials without an end."""
    from optuna.trial import Trial, TrialState

    return [Trial(study, t._trial_id) for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]


def _tell(study: Study, trial: Trial, value: float) -> None:
    from optuna.trial import TrialState

    if math.isnan(value):
        study.tell(trial.number, state=TrialState.FAIL)
    elif study.get_trials()[trial.number].user_attrs.get("pruned"):  # the trial at hand has not seen what its job wrote
        study.tell(trial.number, state=TrialState.PRUNED)
    else:
        study.tell(trial.number, value)


def register() -> None:
    """Make the sweeper known to Hydra, which takes plugins only from modules of the package `hydra_plugins`."""
    with suppress(ModuleNotFoundError):
        importlib.import_module("hydra_plugins")
    package = sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    package.lfw_seq = sys.modules["hydra_plugins.lfw_seq"] = sys.modules[__name__]  # type: ignore[attr-defined]
    OptunaSweeper.__module__ = "hydra_plugins.lfw_seq"
    Plugins.instance().register(OptunaSweeper)
