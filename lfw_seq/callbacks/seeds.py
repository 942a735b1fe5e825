"""Randomness as a function of seed and epoch."""

import torch
from lightning import Callback, LightningModule, Trainer

from lfw_seq.data.batches import mix


class EpochSeeds(Callback):
    """Seeds torch anew each epoch, so that a resumed run draws the dropout masks an uninterrupted one would.

    Attributes:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed every device."""
        torch.manual_seed(mix(self.seed, trainer.current_epoch))
