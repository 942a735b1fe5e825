"""Stop hopeless trials of a search early."""

from typing import Any

import optuna
from lightning import Callback, LightningModule, Trainer


class Pruning(Callback):
    """Report each epoch to a trial, and stop a run that is worse than the median of the others at that epoch.

    The rule is Optuna's MedianPruner, after Golovin et al. (2017). A stopped run is tested and complete.

    Attributes:
        trial: open, of `lfw_seq.sweeps.search.open_trial`.
        monitor: the metric.
        pruned: whether the run was stopped.
    """

    def __init__(self, trial: optuna.Trial, monitor: str) -> None:
        self.trial, self.monitor = trial, monitor
        self.reported: dict[int, float] = {}
        self.pruned = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and stop where the trial is hopeless."""
        epoch = trainer.current_epoch + 1
        self.reported[epoch] = float(trainer.callback_metrics[self.monitor])
        self.trial.report(self.reported[epoch], epoch)
        if self.trial.should_prune():
            self.pruned = trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """What was reported."""
        return {"reported": dict(self.reported), "pruned": self.pruned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Report it again, to the trial that goes on in the interrupted one's place."""
        self.reported, self.pruned = dict(state_dict["reported"]), state_dict["pruned"]
        for epoch, value in self.reported.items():
            self.trial.report(value, epoch)
