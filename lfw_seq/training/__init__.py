"""The LightningModule, its callbacks, and functions that build a run."""
