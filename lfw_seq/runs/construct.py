"""Objects of our classes from plain values that a file holds: nothing the file names is imported or called."""

import importlib
import inspect
import pkgutil
import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import partial
from typing import Any, get_type_hints

from torch import nn

from lfw_seq.cli import UsageError
from lfw_seq.parts import fits, in_words

MOST = 2**17  # of a whole number, but of a seed


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
    hints = get_type_hints(kind.__init__, include_extras=True)  # type: ignore[misc]  # of a class, not of an instance
    arguments: dict[str, Any] = {}
    for name, value in node.items():
        if name == "_target_" or (name == "_partial_" and value is True and given is None):
            continue
        if name not in hints or name == "return" or name in (given or {}):
            raise UsageError(f"{key}.{name!s:.100}: refused; {kind.__name__} takes no such value from a file")
        if isinstance(value, dict):
            arguments[name] = construct(f"{key}.{name}", value, package)
        elif not fits(value, hints[name]) or (isinstance(value, int) and value > MOST and name != "seed"):
            raise UsageError(f"{key}.{name}={value!r:.100}: refused; expected {in_words(hints[name])}")
        else:
            arguments[name] = value
    return partial(kind, **arguments) if given is None else kind(**arguments, **given)
