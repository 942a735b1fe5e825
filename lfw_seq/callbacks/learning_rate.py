"""The learning rate as a metric."""

from lightning import Callback, LightningModule, Trainer


class LearningRate(Callback):
    """Logs `train/lr`, the rate an epoch ran at.

    Lightning's own monitor names it after the optimizer's class and plots it by step, not by epoch.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log before a scheduler changes the rate."""
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        pl_module.log("train/lr", rate, on_step=False, on_epoch=True, sync_dist=True)
