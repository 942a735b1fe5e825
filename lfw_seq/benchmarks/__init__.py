"""Benchmarks of `python -m lfw_seq.benchmark`: one module each, with a function `plan(cfg)` that returns a `Plan`."""
