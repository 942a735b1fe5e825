"""The run folder: its names, who may write it, and its files, each written whole or not at all."""

import csv
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig, OmegaConf

from lfw_seq.cli import UsageError, describe
from lfw_seq.parts import to_plain as to_plain

RESULT = "result.json"
LOCK = ".lock"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet computes
# Keys that change no number: where a run lies, how it is displayed, and where its photos are fetched and kept.
NOT_HASHED: tuple[str, ...] = ("run_dir", "traceback", "task_name", "tags", "fail_fast", "substitute_data")
NOT_HASHED += ("display", "logger", "data.cache_dir", "data.download")
NOT_HASHED_AS = {"train": True, "test": True, "ckpt_path": None}  # nor these, with these values


class InUse(UsageError):
    """Another process is writing the folder."""


@contextmanager
def claimed(folder: Path, name: str) -> Iterator[None]:
    """Own a run folder: made when missing, locked until the end, and never one that holds a finished run.

    A user's mistake leaves the folder as it was; any other error is kept in result.json.

    Args:
        folder: the run folder.
        name: the experiment's hash; an unfinished run of another experiment is not resumed.

    Raises:
        InUse: another process is writing the folder.
        UsageError: the folder holds a finished run, or an unfinished one of another experiment.
    """
    new = not folder.is_dir()
    if not new and not (folder / LOCK).exists() and any(path.suffix != ".log" for path in folder.iterdir()):
        raise UsageError(f"{folder} holds files that are no run of lfw_seq: choose another hydra.run.dir")
    folder.mkdir(parents=True, exist_ok=True)
    empty = not any(path.suffix != ".log" for path in folder.iterdir())
    with (folder / LOCK).open("ab+", buffering=0) as lock:  # a full disk is then met once, not at the end again
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the process ends, however it does
        except BlockingIOError:
            raise InUse(f"{folder} is being written by another process: wait, or choose another folder") from None
        try:
            _own(folder, lock, name)
            yield
        except UsageError:
            if empty:  # all in it is of this run
                for path in folder.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
                    elif path.suffix != ".log":
                        path.unlink()
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.strerror and not error.filename:
                error.filename = str(folder)  # Python names no file where a write fails
            with suppress(OSError):  # a full disk
                write_failure(folder, name, error)
            raise


def _own(folder: Path, lock: IO[bytes], name: str) -> None:
    """Write the experiment's hash into the lock, unless the folder belongs to another run."""
    if read_result(folder):
        raise UsageError(f"{folder} holds a finished run: choose another hydra.run.dir, or remove it")
    lock.seek(0)
    owner = lock.read().decode()
    if owner not in ("", name) and (folder / "checkpoints").is_dir():
        raise UsageError(
            f"{folder} holds an unfinished run of other settings: choose another hydra.run.dir, or remove it"
        )
    (folder / RESULT).unlink(missing_ok=True)  # the failure of the last start
    for draft in folder.rglob(".*.draft"):  # of a killed process
        draft.unlink(missing_ok=True)
    lock.truncate(0)
    lock.write(name.encode())


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run; None where none is finished.

    Raises:
        UsageError: result.json is damaged, so that nobody can tell whether the run had finished.
    """
    path = folder / RESULT
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({describe(error)}); mend or remove it") from error
    if not isinstance(result, dict):
        raise UsageError(f"{path}: not a result of lfw_seq; remove it")
    return result if result.get("status") == "complete" else None


def read_owner(folder: Path) -> str:
    """The hash of the experiment that a folder belongs to; empty where it belongs to none."""
    try:
        return (folder / LOCK).read_text(encoding="utf-8")
    except OSError:
        return ""


def touch_lock(folder: Path) -> None:
    """Mark that a sweep of now has come to this job."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOCK).touch()


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
    """Whether a process owned the folder and ended without a result: killed, or without power."""
    return (folder / LOCK).exists() and not (folder / RESULT).exists() and not is_locked(folder)


def why_unfinished(folder: Path) -> str | None:
    """Why a job is not finished; None where it is."""
    try:
        if read_result(folder):
            return None
        if is_locked(folder):
            return "another process runs it"
        return str(json.loads((folder / RESULT).read_text(encoding="utf-8")).get("error"))
    except FileNotFoundError:
        return "was interrupted or killed, perhaps for lack of memory or room on the disk"
    except (OSError, ValueError) as error:
        return describe(error)


def write_failure(folder: Path, name: str, error: BaseException) -> None:
    """Keep in result.json why a run failed."""
    write_json(folder / RESULT, {"status": "failed", "config_hash": name, "error": describe(error)})


def config_hash(cfg: DictConfig) -> str:
    """Twelve hex digits that name an experiment: equal for configs that give the same numbers on one machine."""
    config: Any = OmegaConf.to_container(OmegaConf.merge(cfg, {"run_dir": ""}), resolve=True)
    for key in NOT_HASHED:
        group, _, name = key.rpartition(".")
        (config.get(group) or {} if group else config).pop(name, None)
    config = {key: value for key, value in config.items() if (key, value) not in NOT_HASHED_AS.items()}
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a text whole, as UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode(), sync=sync)


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file whole: it holds the old content or the new, never a part.

    Args:
        path: the file.
        content: its new content.
        sync: wait until the disk has it, so that it survives a power failure.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with draft.open("wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException as error:
        with suppress(OSError):  # where there is no folder, there is no draft
            draft.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV; a ' stands before text that a spreadsheet would compute."""
    text = io.StringIO()
    guarded = ([f"'{v}" if isinstance(v, str) and v.startswith(FORMULA) else v for v in row] for row in (header, *rows))
    csv.writer(text, lineterminator="\n").writerows(guarded)
    return text.getvalue()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write JSON whole; numbers that are not finite become null."""
    finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
    write_text(path, json.dumps(finite, indent=2, ensure_ascii=False) + "\n")


def save_config(cfg: DictConfig, folder: Path, overrides: Sequence[str]) -> None:
    """Write .hydra/config.yaml, resolved, and the overrides that made it."""
    (folder / ".hydra").mkdir(exist_ok=True)
    write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(list(overrides)))
