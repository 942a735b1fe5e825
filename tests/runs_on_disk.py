"""Run folders with made-up results, for tests of what reads them."""

import json
from pathlib import Path
from typing import Any


def write_run(folder: Path, accuracy: float, **changes: Any) -> Path:
    """Write a result.json as train.py does; `changes` are dotted keys of its config with __ for a dot, or of it.

    `val_loss`, `majority`, `classes`, `model`, `choices`, `source`, `fingerprint` and `leaky` set its other parts.
    """
    part = {
        "val_loss": 1 - accuracy, "majority": 0.4, "classes": 7, "model": "lstm", "choices": {},
        "source": "faces", "fingerprint": "f", "leaky": False,
    }  # fmt: skip
    part.update({key: changes.pop(key) for key in list(changes) if key in part})
    config: dict[str, Any] = {
        "run_dir": str(folder), "seed": 0, "split_seed": 42, "monitor": "val/loss", "monitor_mode": "min", "threads": 1,
        "data": {"fold": None, "data_home": "/somewhere", "crop": [0, 1]},
        "model": {"hidden_size": 8, "dropout": 0.0}, "optimizer": {"lr": 0.001}, "trainer": {"accelerator": "cpu"},
    }  # fmt: skip
    for name, value in changes.items():
        *groups, key = name.split("__")
        node = config
        for group in groups:
            node = node.setdefault(group, {})
        node[key] = value
    config["callbacks"] = {"resume": {"seed": config["seed"]}, "best": {"dirpath": f"{folder}/checkpoints"}}
    config["callbacks"]["best"]["monitor"] = config["monitor"]
    result = {
        "status": "complete",
        "config_hash": "0" * 12,
        "config": config,
        "choices": part["choices"],
        "data": {
            "source": part["source"],
            "fingerprint": part["fingerprint"],
            "class_names": ["Ann", "Bo"],
            "counts": {"train": [40, 30], "val": [6, 4], "test": [12, 8]},
            "validation_is_test": part["leaky"],
        },
        "model": {"name": part["model"], "parameters": 100},
        "metrics": {
            "test/accuracy": accuracy,
            "val/loss": part["val_loss"],
            "val/accuracy": accuracy,
            "test/f1_per_person": {"Ann": 1.0, "Bo": 0.5},
            "majority_rate": part["majority"],
            "predicted_classes": part["classes"],
        },
        "seconds": 2.5,
    }
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    return folder
