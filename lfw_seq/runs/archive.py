"""Load untrusted checkpoint files: tensors and plain values only, no larger than the file.

Objects of our classes are built from plain values in the file; nothing else that it names is imported or called.
"""

import importlib
import inspect
import io
import pickletools
import pkgutil
import types
import zipfile
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from lfw_seq.cli import UsageError
from lfw_seq.parts import fits, in_words

METADATA = "lfw_seq"  # key in a checkpoint
FORMAT = 2
MOST_PICKLE = 2**25  # bytes of everything but tensors
DEEPEST = 4  # level of a nested net: each `TwoReaders` doubles those below it
MOST_NODES = 100_000  # values in it
ALLOWED = ("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")


def open_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint without executing any of it; its tensors are contiguous and no larger than the file.

    Raises:
        UsageError: the file is damaged, no checkpoint, or holds anything but tensors and plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(path, archive)
            with zipfile.ZipFile(checked := io.BytesIO(), "w") as copy:  # torch may find other entries in the file
                for entry in archive.infolist():
                    copy.writestr(entry.filename, archive.read(entry))  # which checks its checksum
        checked.seek(0)
        checkpoint: dict[str, Any] = torch.load(checked, map_location="cpu", weights_only=True)
    except UsageError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise UsageError(
            f"{path}: damaged, or not a checkpoint ({type(error).__name__}); train the run again, or copy it whole"
        ) from error
    valid = isinstance(checkpoint, dict) and isinstance(checkpoint.get("state_dict"), dict)
    epoch = checkpoint.get("epoch") if valid else None
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 <= epoch < 2**31:
        raise UsageError(f"{path}: a checkpoint of another project; expected one written by lfw_seq.train")
    _check_size(path, checkpoint)
    return checkpoint


def _check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse compressed or overlapping entries, and pickled globals other than tensors'."""
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UsageError(f"{path}: refused, its entries are compressed; expected a checkpoint written by lfw_seq.train")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise UsageError(f"{path}: damaged, its entries overlap; train the run again, or copy it whole")
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
    """Refuse tensors that are not contiguous or larger than the file, and too many plain values."""
    for name, value in checkpoint["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not value.is_contiguous():
            raise UsageError(f"{path}: refused, {name!r:.100} in its state is no plain tensor")
    waiting: list[Any] = [checkpoint]
    seen = size = 0
    while waiting:
        value, seen = waiting.pop(), seen + 1
        if isinstance(value, Tensor):
            size += value.nbytes
            if not value.is_contiguous() or size > path.stat().st_size:
                raise UsageError(f"{path}: refused, its tensors claim more than the file holds")
        if seen > MOST_NODES:
            raise UsageError(f"{path}: refused, more than {MOST_NODES:,} values beside its tensors")
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value


def find_class(package: types.ModuleType, name: object) -> type | None:
    """Find a net or a data source defined by a module of `lfw_seq.models` or `lfw_seq.data`, by its full name.

    Only modules in the package are imported, whatever the name is.
    """
    module, _, kind = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    if module not in {f"{package.__name__}.{part.name}" for part in pkgutil.iter_modules(package.__path__)}:
        return None
    found = vars(importlib.import_module(module)).get(kind)
    if not inspect.isclass(found) or found.__module__ != module:
        return None
    source = is_dataclass(found) and hasattr(found, "load")
    return found if source or (issubclass(found, nn.Module) and module.startswith("lfw_seq.models.")) else None


def construct(key: str, node: Any, package: types.ModuleType, extra: Mapping[str, Any] | None = None) -> Any:
    """Build an object of a class in `lfw_seq.models` or `lfw_seq.data`, its arguments checked against its signature.

    Args:
        key: of the node, for messages.
        node: `_target_`, a class by its full name, and the arguments; a dict among them is a nested node, which
            becomes a partial function for the outer object to complete (`_partial_: true`).
        package: defines the class and those of nested nodes.
        extra: more arguments, not from the file; None returns a partial function that takes them.

    Raises:
        UsageError: another class, an argument it does not take, or one of another type.
    """
    if key.count(".") > DEEPEST:
        raise UsageError(f"{key[:100]}: refused, nested too deeply")
    target = node.get("_target_") if isinstance(node, dict) else None
    kind = find_class(package, target)
    if kind is None:
        raise UsageError(f"{key}._target_={target!r:.100}: refused; expected a class of lfw_seq")
    hints = get_type_hints(kind.__init__, include_extras=True)  # type: ignore[misc]  # of a class, not of an instance
    arguments: dict[str, Any] = {}
    for name, value in node.items():
        if name == "_target_" or (name == "_partial_" and value is True and extra is None):
            continue
        if name not in hints or name == "return" or name in (extra or {}):
            raise UsageError(f"{key}.{name!s:.100}: refused; {kind.__name__} takes no such value from a file")
        if isinstance(value, dict):
            value = construct(f"{key}.{name}", value, package)
        elif not fits(value, hints[name]):
            raise UsageError(f"{key}.{name}={value!r:.100}: refused; expected {in_words(hints[name])}")
        arguments[name] = value
    return partial(kind, **arguments) if extra is None else kind(**arguments, **extra)
