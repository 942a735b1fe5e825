"""What `python -m lfw_seq.benchmark` times: one module a `what`, each with `measure(cfg)` that returns a `Report`."""
