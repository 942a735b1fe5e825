"""The settings of a run by dotted key, and which of them differ from the defaults."""

import json
import re
from collections.abc import Mapping
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from lfw_seq.cli import CONF
from lfw_seq.runs.folder import NOT_HASHED

SEEDS = ["seed", "split_seed", "data.fold"]
DEVICE = ("trainer.accelerator", "trainer.devices", "trainer.default_root_dir", "data.data_home")
NO_SETTINGS = (*NOT_HASHED, *DEVICE, "search", "trial")  # keys and groups of keys without effect on the results
NO_CHOICES = ("trainer", "logger", "sweep", "callbacks")  # groups shown by their keys, not by the choice


def flat(node: Mapping[str, Any], mark: str = ".", prefix: str = "") -> dict[str, Any]:
    """Flatten nested dicts: `{"data": {"fold": 1}}` becomes `{"data.fold": 1}`."""
    flattened: dict[str, Any] = {}
    for key, value in node.items():
        flattened |= flat(value, mark, f"{prefix}{key}{mark}") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flattened


def show(value: object) -> str:
    """A value as typed on the command line, at full precision; 1.0 becomes 1."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def is_under(key: str, groups: tuple[str, ...]) -> bool:
    """Whether a dotted key is one of `groups`, or lies below one."""
    return f"{key}.".startswith(tuple(f"{group}." for group in groups))


def changed(result: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a result.json that differ from the defaults: choices of config groups, then keys beside them.

    Seeds and keys without effect on the results are left out; empty where the present configs cannot be composed so.
    """
    config = flat(result["config"])
    command = "baselines" if "baseline" in config else "train"
    choices = {}
    for group, name in result["choices"].items():
        path = f"{group}/{name}"
        if group not in NO_CHOICES and re.fullmatch(r"\w+/\w+", path) and (CONF / f"{path}.yaml").is_file():
            choices[group] = name
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            words = [f"{group}={name}" for group, name in choices.items() if group == "experiment"]
            usual = compose(command, words, return_hydra_config=True).hydra.runtime.choices
            words += [f"{group}={name}" for group, name in choices.items() if usual.get(group) != name]
            seeds = [f"{seed}={show(value)}" for seed, value in config.items() if seed in SEEDS]
            composed = OmegaConf.merge(compose(command, [*words, *seeds]), {"run_dir": "."})
    except HydraException:
        return {}
    defaults: Any = OmegaConf.to_container(composed, resolve=True)
    before = {key: show(value) for key, value in flat(defaults).items()}
    now = {key: show(value) for key, value in config.items() if not is_under(key, (*SEEDS, *NO_SETTINGS))}
    chosen = dict(word.split("=", 1) for word in words)
    return chosen | {key: value for key, value in now.items() if before.get(key) != value}
