"""One run by several processes, `trainer=ddp`: which of them writes, and where there can be none."""

import logging
import os
import re
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lfw_seq.errors import UsageError, stop

SEVERAL = re.compile(r"\b(ddp|fsdp|deepspeed)")  # strategies
REFUSED = (
    "a run of several processes cannot be a job of a multirun; leave -m out and start one run at a time, "
    "or sweep runs of one process with hydra/launcher=joblib, ray or submitit_slurm"
)


def helps_another(cfg: DictConfig) -> bool:
    """Whether this process trains under `trainer=ddp` beside the first, which alone writes the run folder.

    Lightning, torchrun and Slurm say so in the environment: https://pytorch.org/docs/stable/elastic/run.html
    """
    if cfg.trainer.get("strategy", "auto") == "auto":
        return False
    if "TORCHELASTIC_RUN_ID" in os.environ and not any(
        "run.dir=" in word for word in HydraConfig.get().overrides.hydra
    ):
        raise UsageError("hydra.run.dir: processes that torchrun starts need one folder; add hydra.run.dir=...")
    helps = any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
    if helps:
        logging.root.setLevel(logging.WARNING)  # the first one tells how it goes
    return helps


def refuse_in_sweeps(config: DictConfig) -> None:
    """End a multirun of `trainer=ddp`: its processes start the whole command again, and with it the multirun.

    Args:
        config: of the multirun, where keys that are swept have no value.
    """
    hydra: Any = OmegaConf.to_container(config.hydra, resolve=False)
    swept = (f"{key}={value}" for key, value in (hydra["sweeper"].get("params") or {}).items())
    typed = [*hydra["overrides"]["task"], *swept]
    words = [word for word in typed if re.match(r"\+*trainer(\.strategy)?=", word)]
    words.append(f"trainer.strategy={OmegaConf.select(config, 'trainer.strategy')}")
    for word in words:
        if SEVERAL.search(word):
            stop(f"{word}: {REFUSED}")


def refuse_as_job(cfg: DictConfig) -> None:
    """Raise UsageError for a job of a multirun whose strategy only shows once it is composed."""
    if SEVERAL.search(strategy := str(OmegaConf.select(cfg, "trainer.strategy"))):
        raise UsageError(f"trainer.strategy={strategy}: {REFUSED}")
