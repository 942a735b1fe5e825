"""Jobs of a multirun, and hyperparameter search."""
