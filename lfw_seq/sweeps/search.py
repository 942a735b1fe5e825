"""Hyperparameter search with Optuna: each job of a multirun is a trial that samples its own values, with any launcher.

`-m +sweep=tpe` runs `trial=0`, `trial=1`, ... The trials share a journal file in the sweep's folder. A trial keeps its
sampled values: an interrupted or failed job resumes, or runs again, with the same ones.
"""

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from hydra.experimental.callback import Callback as HydraCallback
from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from lfw_seq.cli import UsageError, configuring, describe, stop
from lfw_seq.compose import typed
from lfw_seq.parts import Natural, Seed, check_arguments, check_keys, check_value, fits, to_plain

JOURNAL = "optuna.journal"
STUDY = "search"
KEYS = {"search.space": Mapping, "search.seed": Seed, "search.n_startup_trials": Natural}
KEYS |= {"search.prune_startup_trials": Natural, "search.prune_warmup_epochs": Natural}


def distributions(space: Mapping[str, Any], prefix: str = "") -> dict[str, BaseDistribution]:
    """Optuna distributions by dotted key of a space nested like the config.

    A list is categorical, `{low, high, log, step}` an integer or float range.

    Raises:
        UsageError: a value is neither a list nor a range.
    """
    by_key: dict[str, BaseDistribution] = {}
    for name, value in space.items():
        key = f"{prefix}{name}"
        if isinstance(value, list):
            with configuring(f"search.space.{key}"):
                by_key[key] = CategoricalDistribution(value)
        elif isinstance(value, Mapping) and "low" in value:
            kind = IntDistribution if fits([value["low"], value.get("high")], list[int]) else FloatDistribution
            check_arguments(f"search.space.{key}", kind, value)
            with configuring(f"search.space.{key}"):
                by_key[key] = kind(**value)
        elif isinstance(value, Mapping):
            by_key |= distributions(value, f"{key}.")
        else:
            raise UsageError(f"search.space.{key}={value}: expected a list, or {{low: ..., high: ..., log: true}}")
    return by_key


def check_search(cfg: DictConfig) -> None:
    """Raise UsageError for a value out of range, a key of the space that is not in the config, or no validation."""
    check_keys(cfg, KEYS)
    if cfg.data.val_from == "none":
        raise UsageError("data.val_from=none: a search compares validation metrics; expected data.val_from=train")
    for key in distributions(to_plain(cfg.search.space)):
        group, _, name = key.rpartition(".")
        node = OmegaConf.select(cfg, group) if group else cfg
        if not isinstance(node, DictConfig) or name not in node:
            raise UsageError(f"search.space.{key}: no such key; expected one of the config")
        if words := typed(key):
            raise UsageError(f"{words[0]}: search.space.{key} samples it; add ~search.space.{key} to fix its value")


def load_study(folder: Path, search: Mapping[str, Any], mode: str, seed: int) -> optuna.Study:
    """Load or create the study of a sweep's folder, with TPE (Bergstra et al., 2011) and median pruning."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=STUDY,
        storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
        direction="minimize" if mode == "min" else "maximize",
        sampler=optuna.samplers.TPESampler(n_startup_trials=search["n_startup_trials"], seed=seed, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(search["prune_startup_trials"], search["prune_warmup_epochs"]),
        load_if_exists=True,
    )


def open_trial(folder: Path, search: Mapping[str, Any], job: int, mode: str) -> optuna.Trial:
    """Open the trial of a job, from 0; its `params` are the sampled values by dotted key.

    The samples depend on the search's seed and on the trials finished before.
    """
    check_value("trial", job, Natural)
    space = distributions(search["space"])
    from lfw_seq.data.module import derive_seed  # imports scikit-learn, which the process that starts jobs need not

    study = load_study(folder, search, mode, derive_seed(search["seed"], job))
    with (folder / f"{JOURNAL}.asking").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if earlier := [trial for trial in study.trials if trial.user_attrs.get("job") == job]:
            if earlier[-1].state == TrialState.RUNNING:
                study.tell(earlier[-1].number, state=TrialState.FAIL)
            study.enqueue_trial(earlier[-1].params)
        trial = study.ask(space)
        trial.set_user_attr("job", job)
    return trial


class Pruning(Callback):
    """Report each epoch to the trial, and stop a run that is worse than the median of the others at that epoch.

    The rule is Optuna's MedianPruner (median stopping, Golovin et al., 2017). A pruned run is tested and complete.
    """

    def __init__(self, trial: optuna.Trial, monitor: str) -> None:
        self.trial, self.monitor = trial, monitor
        self.reported: dict[int, float] = {}  # values of the monitor by epoch, from 1
        self.pruned = False  # whether the run was stopped

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop again if the trial had been pruned before the run was killed."""
        trainer.should_stop = trainer.should_stop or self.pruned

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the epoch's value; stop the run if the trial should be pruned."""
        epoch = trainer.current_epoch + 1
        self.reported[epoch] = float(trainer.callback_metrics[self.monitor])
        self.trial.report(self.reported[epoch], epoch)
        if self.trial.should_prune():
            self.pruned = trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """The reported values."""
        return {"reported": dict(self.reported), "pruned": self.pruned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Report the values again, to the trial that replaces the interrupted one."""
        self.reported, self.pruned = dict(state_dict["reported"]), state_dict["pruned"]
        for epoch, value in self.reported.items():
            self.trial.report(value, epoch)

    def close(self, value: float) -> None:
        """Close the trial with the best validation value, or as pruned."""
        state = TrialState.PRUNED if self.pruned else TrialState.COMPLETE
        self.trial.study.tell(self.trial.number, None if self.pruned else value, state=state)


def draw(cfg: DictConfig) -> tuple[DictConfig, Pruning]:
    """Return the config of a job with its trial's sampled values, and the callback that prunes and closes the trial."""
    check_search(cfg)
    trial = open_trial(Path(cfg.run_dir).parent, to_plain(cfg.search), cfg.trial, cfg.monitor_mode)
    sampled, space = cfg.copy(), distributions(to_plain(cfg.search.space))
    for key, value in trial.params.items():
        if trial.distributions[key] != space.get(key):  # a trial that waited in the journal may have any keys
            raise UsageError(f"{key}={value!r:.100}: in {JOURNAL}, but not of search.space; remove that file")
        OmegaConf.update(sampled, key, value)
    return sampled, Pruning(trial, cfg.monitor)


class SearchSummary(HydraCallback):
    """Hydra callback: check a search's keys before the first job, print the best trial after the last."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the keys; stop on any error, as Hydra would only log it."""
        try:
            check_search(config)
        except Exception as error:
            stop(describe(error))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the best trial."""
        journal = JournalFileBackend(str(Path(config.hydra.sweep.dir, JOURNAL)))
        study = optuna.load_study(study_name=STUDY, storage=JournalStorage(journal))
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if any(trial.state == TrialState.COMPLETE for trial in finished):
            best = study.best_trial
            values = " ".join(f"{key}={value}" for key, value in best.params.items())
            print(f"Best of {len(finished)} trials: trial={best.user_attrs['job']} with {best.value:.4g}, {values}")
        else:
            print("No trial is complete")
