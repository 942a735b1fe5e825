"""Stop hopeless trials of a search early."""

from pathlib import Path

import optuna
from lightning import Callback, LightningModule, Trainer
from optuna.trial import Trial

from lfw_seq.errors import UsageError, check_whole
from lfw_seq.search import STUDY, storage


class Pruning(Callback):
    """Reports each epoch to its trial, and stops a run that is worse than the median of the others at that epoch.

    The median rule is Optuna's MedianPruner, after Golovin et al. (2017). A stopped run is tested and complete, but not
    the run its config would give alone: its folder has another name.

    Attributes:
        monitor: the metric.
        journal: the search's journal file.
        trial: the trial's number, given by `hydra/sweeper=optuna`.
        n_startup_trials: finished trials before any is stopped.
        n_warmup_epochs: epochs before a run is stopped.
    """

    def __init__(
        self, monitor: str, journal: str, trial: int | None, n_startup_trials: int, n_warmup_epochs: int
    ) -> None:
        if trial is None:
            raise UsageError("callbacks.pruning works inside a search only: add hydra/sweeper=optuna, or +sweep=tpe")
        check_whole("callbacks.pruning.n_startup_trials", n_startup_trials, 0)
        check_whole("callbacks.pruning.n_warmup_epochs", n_warmup_epochs, 0)
        pruner = optuna.pruners.MedianPruner(n_startup_trials, n_warmup_epochs)
        study = optuna.load_study(study_name=STUDY, storage=storage(Path(journal)), pruner=pruner)
        self.monitor = monitor
        self.trial = Trial(study, study.trials[trial]._trial_id)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and stop where the trial is hopeless."""
        epoch = trainer.current_epoch + 1
        if epoch not in self.trial.storage.get_trial(self.trial._trial_id).intermediate_values:
            self.trial.report(float(trainer.callback_metrics[self.monitor]), epoch)
        if self.trial.should_prune():
            self.trial.set_user_attr("pruned", True)
            trainer.should_stop = True
