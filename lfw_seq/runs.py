"""The run folder: its names, who may write it, and its files, each written whole or not at all."""

import csv
import fcntl
import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig, OmegaConf

from lfw_seq.errors import USAGE_ERRORS, UsageError, describe

RESULT = "result.json"
LOCK = ".lock"
# Where a run is, how it is shown and what computes it: keys that leave the experiment the same.
NOT_HASHED = (
    "run_dir",
    "debug",
    "trial",
    "callbacks.pruning.trial",
    "callbacks.pruning.journal",
    "fail_fast",
    "logger",
    "look",
    "callbacks.console",
    "callbacks.history",
    "callbacks.learning_rate",
    "callbacks.figures",
    "callbacks.photos",
    "callbacks.gradients",
    "callbacks.reading",
    "callbacks.gates",
    "callbacks.weights",
    "callbacks.speed",
    "callbacks.gradient_norm",
    "callbacks.charts",
    "callbacks.graph",
    "callbacks.projector",
    "callbacks.hparams",
    "data.cache_dir",
    "data.data_home",
    "data.download",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.default_root_dir",
)


class InUse(UsageError):
    """Another process is writing the folder."""


@contextmanager
def claimed(folder: Path, name: str) -> Iterator[None]:
    """Own a run folder: made when missing, locked until the end, and never one that holds a finished run.

    A user's mistake leaves the folder as it was; any other error is kept in result.json.

    Args:
        folder: the run folder.
        name: the experiment's hash; an unfinished run of another experiment is not gone on with.

    Raises:
        InUse: another process is writing the folder.
        UsageError: the folder holds a finished run, or an unfinished one of another experiment.
    """
    before = set(folder.iterdir()) if folder.is_dir() else set()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process, however it ends
        except BlockingIOError:
            raise InUse(f"{folder} is being written by another process: wait, or choose another folder") from None
        try:
            _own(folder, lock, name)
            yield
        except USAGE_ERRORS:
            if not before:
                (folder / LOCK).unlink()
            raise
        except Exception as error:
            write_failure(folder, name, error)
            raise


def _own(folder: Path, lock: IO[str], name: str) -> None:
    """Write the experiment's hash into the lock, unless the folder belongs to another run."""
    if read_result(folder):
        raise UsageError(f"{folder} holds a finished run: choose another hydra.run.dir, or remove it")
    lock.seek(0)
    owner = lock.read()
    if owner not in ("", name) and (folder / "checkpoints").is_dir():
        raise UsageError(
            f"{folder} holds an unfinished run of other settings: choose another hydra.run.dir, or remove it"
        )
    (folder / RESULT).unlink(missing_ok=True)  # why it failed the last time
    lock.truncate(0)
    lock.write(name)
    lock.flush()


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run; None where none is finished."""
    try:
        result = json.loads((folder / RESULT).read_text())
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("status") == "complete" else None


def is_locked(folder: Path) -> bool:
    """Whether a process is writing the folder."""
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def was_interrupted(folder: Path) -> bool:
    """Whether a process owned the folder and ended without a word in result.json: killed, or without power or room."""
    return (folder / LOCK).exists() and not (folder / RESULT).exists() and not is_locked(folder)


def write_failure(folder: Path, name: str, error: BaseException) -> None:
    """Keep in result.json why a run failed."""
    write_json(folder / RESULT, {"status": "failed", "config_hash": name, "error": describe(error)})


def config_hash(cfg: DictConfig) -> str:
    """Twelve hex digits that name an experiment: equal for configs that must give the same numbers on one machine."""
    plain: Any = OmegaConf.to_container(OmegaConf.merge(cfg, {"run_dir": ""}), resolve=True)
    for key in NOT_HASHED:
        *groups, name = key.split(".")
        node = plain
        for group in groups:
            node = node.get(group) or {}
        node.pop(name, None)
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a file whole: it holds the old text or the new, never a part; without `sync`, not after a power failure."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table whole."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write JSON whole; numbers that are not finite become null."""
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_config(cfg: DictConfig, folder: Path, overrides: Sequence[str]) -> None:
    """Write .hydra/config.yaml, resolved, and the overrides that made it."""
    (folder / ".hydra").mkdir(exist_ok=True)
    write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(list(overrides)))


def plain(node: Any) -> Any:
    """A config node as dicts, lists and primitives."""
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node
