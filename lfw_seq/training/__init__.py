"""The LightningModule, its callbacks, and what builds a run."""
