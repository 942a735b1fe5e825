"""Run folders with made-up results, for tests of their readers."""

import json
from pathlib import Path
from typing import Any


def write_run(folder: Path, accuracy: float, **changes: Any) -> Path:
    """Write a result.json as train.py does.

    Args:
        folder: the run folder; created.
        accuracy: test and validation accuracy; val/loss is 1 - accuracy.
        changes: entries of the result (`git`, `model/name`), or of its config with __ for a dot.
    """
    config: dict[str, Any] = {
        "run_dir": ".", "seed": 0, "split_seed": 42, "monitor": "val/loss", "monitor_mode": "min", "threads": 1,
        "data": {"fold": None, "data_home": "/somewhere", "crop": [0, 1]}, "trainer": {"accelerator": "cpu"},
        "model": {"hidden_size": 8, "dropout": 0.0}, "optimizer": {"lr": 0.001},
    }  # fmt: skip
    result: dict[str, Any] = {
        "status": "complete",
        "config": config,
        "choices": {},
        "data": {
            "source": "faces", "fingerprint": "f", "class_names": ["Ann", "Bo"], "validation_is_test": False,
            "counts": {"train": [40, 30], "val": [6, 4], "test": [12, 8]},
        },
        "model": {"name": "lstm", "parameters": 100},
        "metrics": {
            "test/accuracy": accuracy, "val/accuracy": accuracy, "val/loss": 1 - accuracy, "majority_rate": 0.4,
            "predicted_classes": 7, "test/f1_per_person": {"Ann": 1.0, "Bo": 0.5},
        },
        "seconds": 2.5,
        "versions": {"python": "3", "torch": "2"},
        "git": {"commit": "c0ffee", "dirty": True},
    }  # fmt: skip
    for name, value in changes.items():
        in_result = "/" in name or name in ("config", "metrics", "git", "seconds")
        *groups, key = name.split("/", 1) if in_result else name.split("__")
        node = result if in_result else config
        for group in groups:
            node = node.setdefault(group, {})
        node[key] = value
    config["callbacks"] = {"best": {"monitor": config["monitor"]}, "seeds": {"seed": config["seed"]}}
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return folder
