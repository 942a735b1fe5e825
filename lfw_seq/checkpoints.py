"""Checkpoint files: written whole, the one before kept, and found again after a kill."""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

log = logging.getLogger(__name__)

LAST = "last.ckpt"
BEFORE = "before.ckpt"  # the last one but one


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, then moves it there; `last.ckpt` leaves its predecessor behind."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save; after a kill or a full disk the file under `path` is the old one or the new one, never a part.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        path = Path(path)
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
            raise OSError(f"cannot write {path}: {error}") from error
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
