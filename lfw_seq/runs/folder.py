"""The run folder: its file names, its lock, and atomic writes."""

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lfw_seq.cli import UsageError, describe

RESULT = "result.json"
LOCK = ".lock"
MOST_JSON = 2**26  # bytes
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # first characters of a cell that a spreadsheet evaluates
# Keys left out of the experiment hash, as they change no result.
NOT_HASHED: tuple[str, ...] = ("run_dir", "traceback", "task_name", "tags", "fail_fast", "substitute_data")
NOT_HASHED += ("display", "logger", "data.cache_dir", "data.download")
NOT_HASHED_AS = {"train": True, "test": True, "ckpt_path": None}  # left out at these values


class InUse(UsageError):
    """Another process is writing the folder."""


@contextmanager
def lock_run_dir(folder: Path, name: str) -> Iterator[None]:
    """Lock a run folder, created when missing, for the experiment of hash `name`, as long as the context lasts.

    A UsageError leaves the folder as it was; any other error is written to result.json.

    Raises:
        InUse: another process is writing the folder.
        UsageError: the folder holds a finished run, or an unfinished one of another experiment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    empty = all(path.suffix == ".log" and path.is_file() for path in folder.iterdir())
    if not empty and not (folder / LOCK).exists():
        raise UsageError(f"{folder} holds files that are no run of lfw_seq: choose another hydra.run.dir")
    with (folder / LOCK).open("ab+", buffering=0) as lock:  # so that a full disk raises once, not again at the end
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the process ends, however it ends
        except BlockingIOError:
            raise InUse(f"{folder} is being written by another process: wait, or choose another folder") from None
        try:
            _own(folder, lock, name)
            yield
        except UsageError:
            if empty:  # all files in it are this run's
                for path in folder.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
                    elif path.suffix != ".log":
                        path.unlink()
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.strerror and not error.filename:
                error.filename = str(folder)  # Python's error of a failed write has none
            with suppress(OSError):  # a full disk
                write_failure(folder, name, error)
            raise


def _own(folder: Path, lock: IO[bytes], name: str) -> None:
    """Write the experiment's hash into the lock, unless the folder belongs to another run."""
    if read_result(folder):
        raise UsageError(f"{folder} holds a finished run: choose another hydra.run.dir, or remove it")
    lock.seek(0)
    owner = lock.read().decode(errors="replace")
    if owner not in ("", name) and (folder / "checkpoints").is_dir():
        raise UsageError(
            f"{folder} holds an unfinished run of other settings, see its .hydra/overrides.yaml: "
            "choose another hydra.run.dir, or remove it"
        )
    (folder / RESULT).unlink(missing_ok=True)  # the failure of the last start
    for draft in folder.rglob(".*.draft"):  # of a killed process
        draft.unlink(missing_ok=True)
    lock.truncate(0)
    lock.write(name.encode())


def read_json(path: Path) -> Any:
    """Read a JSON file that may be anybody's.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: no JSON, or too large or too deep for a file of ours.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))  # a pipe would be waited for, a device has no end
    if status.st_size > MOST_JSON:
        raise ValueError(f"{status.st_size:,} bytes")
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("too many brackets") from error


def read_result(folder: Path) -> dict[str, Any] | None:
    """Read the result of a finished run; None for an unfinished one.

    Raises:
        UsageError: result.json is damaged, so that it is unknown whether the run finished.
    """
    path = folder / RESULT
    try:
        result = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({describe(error)}); repair or remove it") from error
    if not isinstance(result, dict):
        raise UsageError(f"{path}: not a result of lfw_seq; remove it")
    return result if result.get("status") == "complete" else None


def read_owner(folder: Path) -> str:
    """Read the experiment hash from a folder's lock; empty without one."""
    try:
        return (folder / LOCK).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def touch_lock(folder: Path) -> None:
    """Mark a job as reached by a running sweep."""
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


def why_unfinished(folder: Path) -> str | None:
    """Why a job is not finished; None if it is."""
    try:
        if read_result(folder):
            return None
        if is_locked(folder):
            return "another process runs it"
        return str(read_json(folder / RESULT).get("error"))
    except FileNotFoundError:
        return "was interrupted or killed, perhaps for lack of memory or room on the disk"
    except (OSError, ValueError) as error:
        return describe(error)


def write_failure(folder: Path, name: str, error: BaseException) -> None:
    """Write the error of a failed run to result.json."""
    write_json(folder / RESULT, {"status": "failed", "config_hash": name, "error": describe(error)})


def config_hash(cfg: DictConfig) -> str:
    """Hash of an experiment, twelve hex digits: equal for configs with the same results on one machine."""
    config: Any = OmegaConf.to_container(OmegaConf.merge(cfg, {"run_dir": ""}), resolve=True)
    for key in NOT_HASHED:
        group, _, name = key.rpartition(".")
        (config.get(group) or {} if group else config).pop(name, None)
    config = {key: value for key, value in config.items() if (key, value) not in NOT_HASHED_AS.items()}
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a text atomically as UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode(), sync=sync)


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file atomically: it holds the old content or the new, never a part.

    With `sync` it is flushed to the disk, and survives a power failure.

    Raises:
        OSError: with the file's path.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        draft.unlink(missing_ok=True)
        with draft.open("xb") as file:  # follows no link
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException as error:
        with suppress(OSError):  # without a folder there is no draft
            draft.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table as CSV, with a ' before text that a spreadsheet would evaluate."""
    text = io.StringIO()
    guarded = ([f"'{v}" if isinstance(v, str) and v.startswith(FORMULA) else v for v in row] for row in (header, *rows))
    csv.writer(text, lineterminator="\n").writerows(guarded)
    return text.getvalue()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write JSON atomically; numbers that are not finite become null."""
    finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
    write_text(path, json.dumps(finite, indent=2, ensure_ascii=False) + "\n")


def save_config(cfg: DictConfig, folder: Path) -> None:
    """Write .hydra/config.yaml, resolved, and .hydra/overrides.yaml, as typed by the user."""
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    (folder / ".hydra").mkdir(exist_ok=True)
    write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(overrides))
