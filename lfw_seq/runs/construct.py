"""Objects of our classes from plain values that a file holds: nothing the file names is imported or called."""

import importlib
import inspect
import math
import pkgutil
import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import partial
from typing import Any, Union, get_args, get_origin, get_type_hints

from torch import nn

from lfw_seq.cli import UsageError

MOST = 2**17  # of a whole number, but of a seed
LONGEST = 10_000  # of a list or a text


def find_class(package: types.ModuleType, name: object) -> type | None:
    """A net or a source that a module of `lfw_seq.models` or `lfw_seq.data` defines, by its full name.

    Only modules that lie in the package are imported, whatever the name is.
    """
    module, _, kind = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    if module not in {f"{package.__name__}.{part.name}" for part in pkgutil.iter_modules(package.__path__)}:
        return None
    found = vars(importlib.import_module(module)).get(kind)
    if not inspect.isclass(found) or found.__module__ != module:
        return None
    return found if issubclass(found, nn.Module) or (is_dataclass(found) and hasattr(found, "load")) else None


def fits(value: object, kind: Any) -> bool:
    """Whether a value out of a file has a type, all of its parts included, and no size out of bounds."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in get_args(kind))
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e30
    if kind is int:
        return isinstance(value, int) and abs(value) < 2**63
    if kind in (type(None), None):
        return value is None
    if kind is str:
        return isinstance(value, str) and len(value) <= LONGEST
    if kind is dict:
        return isinstance(value, dict)
    if origin is not None and inspect.isclass(origin) and issubclass(list, origin):  # list[...] or Sequence[...]
        return isinstance(value, list) and len(value) <= LONGEST and all(fits(v, get_args(kind)[0]) for v in value)
    return False


def construct(key: str, node: Any, package: types.ModuleType, given: Mapping[str, Any] | None = None) -> Any:
    """Build an object of a class in `lfw_seq.models` or `lfw_seq.data`, its arguments checked against its signature.

    Args:
        key: of the node, for messages.
        node: `_target_`, a class by its full name, and the arguments; a dict among them with `_partial_: true` is
            a part that the object around it completes.
        package: where the class and those of its parts are.
        given: more arguments, not from the file; None gives a function that takes them.

    Raises:
        UsageError: another class, an argument it does not take, or one of another type.
    """
    target = node.get("_target_") if isinstance(node, dict) else None
    kind = find_class(package, target)
    if kind is None:
        raise UsageError(f"{key}._target_={target!r:.100}: refused; expected a class of lfw_seq")
    hints = get_type_hints(kind.__init__)  # type: ignore[misc]  # of a class, not of an instance
    arguments: dict[str, Any] = {}
    for name, value in node.items():
        if name == "_target_" or (name == "_partial_" and value is True and given is None):
            continue
        if name not in hints or name == "return" or name in (given or {}):
            raise UsageError(f"{key}.{name!s:.100}: refused; {kind.__name__} takes no such value from a file")
        if isinstance(value, dict) and not fits(value, hints[name]):
            arguments[name] = construct(f"{key}.{name}", value, package)
        elif not fits(value, hints[name]) or (isinstance(value, int) and value > MOST and name != "seed"):
            raise UsageError(f"{key}.{name}={value!r:.100}: refused; expected {hints[name]}")
        else:
            arguments[name] = value
    return partial(kind, **arguments) if given is None else kind(**arguments, **given)
