"""Checkpoint files: written whole and beside the run, the one before kept, and found again after a kill."""

import copy
import logging
import os
import shutil
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

log = logging.getLogger(__name__)

LAST = "last.ckpt"
BEFORE = "before.ckpt"  # the last one but one


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes each checkpoint whole, while the run goes on.

    `save_checkpoint` copies what a checkpoint holds and returns; one thread writes the copies in their order. A kill
    loses what was not yet written: the run goes on from the epoch before. `wait` and Lightning's `teardown`, which
    comes at the end of a fit however it ends, return when all is on disk.

    Attributes:
        pending: writes under way; no more than those of an epoch, so that memory and what a kill costs stay bounded.
    """

    MOST_PENDING = 2

    def __init__(self) -> None:
        super().__init__()
        self.pending: deque[Future[None]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Copy, and have it written.

        Raises:
            OSError: a write before this one failed.
        """
        self._wait_until(self.MOST_PENDING - 1)
        self._thread = self._thread or ThreadPoolExecutor(1, "checkpoints")
        self.pending.append(self._thread.submit(write_whole, copied(checkpoint), Path(path)))

    def wait(self) -> None:
        """Return when all is written.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self._wait_until(0)

    def _wait_until(self, most: int) -> None:
        while len(self.pending) > most:
            self.pending.popleft().result()

    def teardown(self) -> None:
        """Wait, and end the thread."""
        try:
            self.wait()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None


def copied(value: Any) -> Any:
    """Tensors on the CPU and containers as they are now; whatever the run does to its own meanwhile."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        copy_of = copy.copy(value)  # a state_dict's has its versions as an attribute
        copy_of.update((key, copied(item)) for key, item in value.items())
        return copy_of
    return [copied(item) for item in value] if isinstance(value, list) else value


def write_whole(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a file beside its place, then move it there; `last.ckpt` leaves its predecessor behind.

    After a kill or a full disk the file under `path` is the old one or the new one, never a part.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        if path.name == LAST and path.exists():
            path.replace(path.with_name(BEFORE))
        draft.replace(path)
    except RuntimeError as error:  # torch's writer hides the system's word for a full disk
        free = shutil.disk_usage(path.parent).free
        raise OSError(f"cannot write {path}, {free:,} bytes are left on that disk: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def find_last(folder: Path) -> tuple[Path, int] | None:
    """The newest checkpoint a run can go on from and how many epochs it has seen, passing over torn ones.

    Args:
        folder: the run's `checkpoints` folder.
    """
    for path in (folder / LAST, folder / BEFORE):
        try:
            epochs = torch.load(path, weights_only=True, map_location="cpu")["epoch"] + 1
        except FileNotFoundError:
            continue
        except Exception as error:  # torch raises whatever its reader meets in a torn file
            log.warning("%s is damaged (%s): going back to the one before", path, type(error).__name__)
        else:
            return path, epochs
    return None
