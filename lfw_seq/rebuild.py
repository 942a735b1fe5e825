"""A net from plain values that a file holds: nothing but classes of lfw_seq.models is ever called."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfw_seq.errors import UsageError, check_real

if TYPE_CHECKING:
    from torch import Tensor

    from lfw_seq.data.layout import Layout
    from lfw_seq.reader import Reader


def rebuild(
    path: Path, config: Mapping[str, Any], shape: Mapping[str, int], layout: Layout, state: Mapping[str, Tensor]
) -> Reader:
    """The reader a card describes with the state of its checkpoint, in evaluation mode.

    It is built without memory first: a card cannot ask for more than the weights that came with it.

    Args:
        path: of the checkpoint, for messages.
        config: of the run.
        shape: what a net's constructor takes beside its config.
        layout: of the run's images.
        state: a classifier's.

    Raises:
        UsageError: the card describes no net of ours, or the weights are another net's.
    """
    import torch

    try:
        with torch.device("meta"):
            sketch = sketched(config, shape, layout)
        wanted = {name: value.shape for name, value in sketch.state_dict().items()}
        if wanted != {name: value.shape for name, value in state.items()}:
            raise UsageError(f"{path}: its weights are not those of its model={config['model'].get('_target_')}")
        reader = sketched(config, shape, layout)
        reader.load_state_dict(state)
    except UsageError:
        raise
    except (AttributeError, ImportError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UsageError(f"{path}: its model cannot be built: {error}") from error
    reader.eval()
    return reader


def sketched(config: Mapping[str, Any], shape: Mapping[str, int], layout: Layout) -> Reader:
    """The reader of a config, its weights as they begin."""
    from lfw_seq.data.standardize import Standardize
    from lfw_seq.reader import Reader

    data, scale = config["data"], config["data"]["pixel_scale"]
    check_real("data.pixel_scale", scale, 0, 256, open_low=True)
    standardize = Standardize(data["standardize"], shape["num_rows"], shape["num_features"])
    return Reader(
        instantiate_model(config["model"], shape), standardize, float(scale), layout if config["test_mirror"] else None
    )


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
    later = shape is None and node.get("_partial_") is True  # the net around it gives this part its shape
    special = ("_target_", "_partial_") if later else ("_target_",)
    arguments = {key: instantiate_model(value) for key, value in node.items() if key not in special}
    if hydras := [key for key in arguments if re.fullmatch(r"_\w+_", str(key))]:
        raise UsageError(f"model.{hydras[0]}: not allowed in a checkpoint")
    if "_target_" not in node and shape is None:
        return arguments
    built = checked_class(node.get("_target_"), "lfw_seq.models", "torch.nn", "Module")
    return partial(built, **arguments) if later else built(**arguments, **(shape or {}))


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
