"""What `python -m lfw_seq.benchmark` measures: one module a question, each with `plan(cfg)`, which returns a `Plan`."""
