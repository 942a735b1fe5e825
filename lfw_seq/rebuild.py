"""A net from plain values that a file holds: nothing but classes of lfw_seq.models is ever called."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfw_seq.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

NET = "net."  # what the net's weights are called in a classifier's state


def rebuild(path: Path, model: Any, shape: Mapping[str, int], state: Mapping[str, Tensor]) -> nn.Module:
    """The net a card describes with the weights of its checkpoint, in evaluation mode.

    It is built without memory first: a card cannot ask for more than the weights that came with it.

    Raises:
        UsageError: the card describes no net of ours, or the weights are another net's.
    """
    import torch

    weights = {name.removeprefix(NET): value for name, value in state.items() if name.startswith(NET)}
    try:
        with torch.device("meta"):
            sketch = instantiate_model(model, shape)
        wanted = {name: value.shape for name, value in sketch.state_dict().items()}
        if wanted != {name: value.shape for name, value in weights.items()} or len(weights) != len(state):
            raise UsageError(f"{path}: its weights are not those of its model={model.get('_target_')}")
        net: nn.Module = instantiate_model(model, shape)
        net.load_state_dict(weights)
    except UsageError:
        raise
    except (AttributeError, ImportError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UsageError(f"{path}: its model cannot be built: {error}") from error
    net.eval()
    return net


def instantiate_model(node: Any, shape: Mapping[str, int] | None = None) -> Any:
    """Build a config's net, and nets it takes as arguments, without Hydra: nothing but classes of lfw_seq.models.

    Args:
        node: a dict with `_target_`, or a list or value inside one.
        shape: more arguments for the outermost.

    Raises:
        UsageError: a `_target_` outside lfw_seq.models, or another of Hydra's keys.
    """
    if isinstance(node, list):
        return [instantiate_model(item) for item in node]
    if not isinstance(node, dict):
        if shape is not None:
            raise UsageError(f"model={node}: expected keys of conf/model with a _target_")
        return node
    arguments = {key: instantiate_model(value) for key, value in node.items() if key != "_target_"}
    if hydras := [key for key in arguments if re.fullmatch(r"_\w+_", str(key))]:
        raise UsageError(f"model.{hydras[0]}: not allowed in a checkpoint")
    if "_target_" not in node and shape is None:
        return arguments
    return checked_class(node.get("_target_"), "lfw_seq.models", "torch.nn", "Module")(**arguments, **(shape or {}))


def checked_class(target: Any, package: str, base_module: str = "builtins", base: str = "object") -> Any:
    """The class a `_target_` names, which must be defined in a module of `package`.

    Neither a function nor what such a module itself imported passes: `lfw_seq.models.recurrent.torch.load` does not.

    Raises:
        UsageError: anything else.
    """
    refusal = UsageError(f"_target_={target}: refused; only classes of {package} may be named there")
    if not isinstance(target, str) or not re.fullmatch(re.escape(package) + r"(\.[A-Za-z_]\w*){2,}", target):
        raise refusal
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        raise refusal from None
    parent = getattr(importlib.import_module(base_module), base)
    if not inspect.isclass(found) or found.__module__ != module or not issubclass(found, parent):
        raise refusal
    return found


def checked_source(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `conf/data` out of a file, once they name a source of ours and hold nothing else to build.

    Raises:
        UsageError: a `_target_` outside lfw_seq.data, or nested keys.
    """
    checked_class(config.get("_target_"), "lfw_seq.data")
    for key, value in config.items():
        if isinstance(value, dict) or "${" in str(value) or (str(key).startswith("_") and key != "_target_"):
            raise UsageError(f"data.{key}={value}: refused; expected a plain value")
    return dict(config)
