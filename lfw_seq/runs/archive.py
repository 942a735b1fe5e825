"""Checkpoint files opened with suspicion: tensors and plain values only, no more of them than the file is long."""

import pickletools
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lfw_seq.cli import UsageError

METADATA = "lfw_seq"  # the key of a checkpoint
FORMAT = 2
MOST_PICKLE = 2**25  # bytes of all that is no tensor
MOST_NODES = 100_000  # values in it
ALLOWED = ("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")


def open_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, nothing of it executed; the state is whole, contiguous and no larger than the file.

    Raises:
        UsageError: the file is damaged, no checkpoint, or holds anything but tensors and plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(path, archive)
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except UsageError:
        raise
    except Exception as error:  # a damaged file fails in whatever way its bytes lead to
        raise UsageError(
            f"{path}: damaged, or not a checkpoint ({type(error).__name__}); train the run again, or copy it whole"
        ) from error
    proper = isinstance(checkpoint, dict) and isinstance(checkpoint.get("state_dict"), dict)
    epoch = checkpoint.get("epoch") if proper else None
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 <= epoch < 2**31:
        raise UsageError(f"{path}: a checkpoint of another project; expected one written by lfw_seq.train")
    _check_size(path, checkpoint)
    return checkpoint


def _check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse packed or overlapping entries, wrong checksums, and names of anything but tensors."""
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UsageError(f"{path}: refused, its entries are packed; expected a checkpoint written by lfw_seq.train")
    if sum(entry.file_size for entry in entries) > path.stat().st_size or archive.testzip() is not None:
        raise UsageError(f"{path}: damaged, its checksums are wrong; train the run again, or copy it whole")
    for entry in entries:
        if not entry.filename.endswith("/data.pkl"):
            continue
        if entry.file_size > MOST_PICKLE:
            raise UsageError(f"{path}: refused, {entry.file_size:,} bytes beside its tensors")
        for opcode, argument, _ in pickletools.genops(archive.read(entry)):
            known = argument in ALLOWED or (str(argument).startswith("torch ") and str(argument).endswith("Storage"))
            if "GLOBAL" in opcode.name and not known:
                raise UsageError(f"{path}: refused, as it holds more than tensors and plain values: {argument!r:.100}")


def _check_size(path: Path, checkpoint: dict[str, Any]) -> None:
    """Refuse tensors that overlap or stretch, and plain values without end."""
    state = checkpoint["state_dict"]
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not value.is_contiguous():
            raise UsageError(f"{path}: refused, {name!r:.100} in its state is no plain tensor")
    if sum(value.nbytes for value in state.values()) > path.stat().st_size:
        raise UsageError(f"{path}: refused, its tensors claim more than the file holds")
    waiting, seen = [value for key, value in checkpoint.items() if key != "state_dict"], 0
    while waiting:
        value, seen = waiting.pop(), seen + 1
        if seen > MOST_NODES:
            raise UsageError(f"{path}: refused, more than {MOST_NODES:,} values beside its tensors")
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
