"""Folder names of a sweep and its jobs, and the number of jobs, from the command line."""

import hashlib
import inspect
import json
import math
import re
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from lfw_seq.cli import UsageError, configuring
from lfw_seq.parts import build_part, to_plain
from lfw_seq.runs import folder as runs

LONGEST_NAME = 80
DRAWN = "lfw_seq.data.synthetic."  # a source that draws the same faces for the same keys
NOT_NAMED = ("hydra.", "hydra/", *(f"{key}=" for key in runs.NOT_HASHED), "trainer.", "trainer=", "trial=")


def swept_keys(params: DictConfig | None) -> str:
    """Keys that differ between jobs, comma-separated, in the order typed, then those of `hydra.sweeper.params`."""
    keys = [override.get_key_element() for override in swept()]
    return ",".join(dict.fromkeys([*keys, *map(str, params or ())]))


def arguments() -> list[str]:
    """The overrides key=value on the command line."""
    return [word for word in sys.argv[1:] if "=" in word and not word.startswith("-")]


def swept() -> list[Override]:
    """The overrides on the command line that have several values."""
    return [word for word in OverridesParser.create().parse_overrides(arguments()) if word.is_sweep_override()]


def sweep_dir(keys: str) -> str:
    """Folder of a sweep: the command, the swept keys, and a digest of the overrides."""
    words = sorted(word.lstrip("+") for word in arguments())
    ready = [word.removeprefix("sweep=") for word in words if word.startswith("sweep=")]
    # Keys of the trainer count for +sweep: a search keeps its journal in the folder.
    ignored = tuple(key for key in NOT_NAMED if not (ready and key.startswith("trainer")))
    overrides = [word for word in words if not word.startswith(ignored)]
    command = Path(sys.argv[0]).stem
    name = "-".join([command, *(ready or [keys])])
    digest = hashlib.sha256(repr([command, *overrides]).encode()).hexdigest()
    return str(Path("multirun", f"{_file_name(name)}-{digest[:6]}").absolute())


def job_name(keys: str, *, _root_: DictConfig) -> str:
    """Folder of a job: the values of the swept keys, and six digits of the experiment's hash.

    An existing folder of the same experiment is reused, even under another name from a sweep over other keys, unless
    the photos have changed since it finished.
    """
    cfg = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "hydra"])
    experiment, photos = runs.config_hash(cfg), ""
    digits = experiment[:6]
    with suppress(OSError):
        for folder in sorted(Path(_root_.hydra.sweep.dir).glob(f"*-{digits}")):
            if runs.read_owner(folder) == experiment:
                photos = other_photos(folder, cfg)
                if not photos:
                    return folder.name
    values = dict(word.lstrip("+").split("=", 1) for word in _root_.hydra.overrides.task if "=" in word)
    differing = [f"{key.rpartition('.')[2]}={values[key]}" for key in keys.split(",") if key in values]
    if photos:
        differing.insert(0, f"photos={photos[:6]}")
    return f"{_file_name(','.join(differing) or 'job')}-{digits}"


def other_photos(folder: Path, cfg: DictConfig) -> str:
    """Current fingerprint of the photos; empty if the folder's finished run has the same, or none is finished."""
    if str(OmegaConf.select(cfg, "data._target_")).startswith(DRAWN):
        return ""
    with suppress(UsageError):  # the photos are not available
        if result := runs.read_result(folder):
            now = fingerprint_now(json.dumps(to_plain(cfg.data) | {"download": False}))
            return now if now != result["data"]["fingerprint"] else ""
    return ""


@cache
def fingerprint_now(data: str) -> str:
    """Current fingerprint of the faces described by the config group `data`, as JSON.

    Raises:
        UsageError: the faces cannot be loaded.
    """
    keys = json.loads(data)
    own = ("_target_", *inspect.signature(get_object(keys["_target_"])).parameters)
    with configuring():
        return str(build_part("data", {key: keys[key] for key in own if key in keys}).load().fingerprint)


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.,=-]+", "-", text)[:LONGEST_NAME].strip("-.")


def count_jobs(config: DictConfig) -> int:
    """Number of jobs in a multirun of this config; 0 if its overrides do not determine it, as `model=glob(*)`."""
    params = (config.hydra.sweeper.get("params") or {}).items()
    words = [*(f"{key}={value}" for key, value in params), *config.hydra.overrides.task]
    try:
        parsed = OverridesParser.create().parse_overrides(words)
        last = {word.get_key_element(): word for word in parsed}  # typed ones replace the params
        return math.prod(len(list(word.sweep_string_iterator())) for word in last.values() if word.is_sweep_override())
    except HydraException:
        return 0


# Cached in the config, which launchers send to their workers: these have no command line to parse.
OmegaConf.register_new_resolver("swept_keys", swept_keys, use_cache=True, replace=True)
OmegaConf.register_new_resolver("sweep_dir", sweep_dir, use_cache=True, replace=True)
OmegaConf.register_new_resolver("job_name", job_name, replace=True)
