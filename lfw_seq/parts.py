"""Build objects from config nodes, each argument checked against the signature it is passed to."""

import inspect
import math
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from lfw_seq.cli import UsageError, as_typed, configuring

LONGEST = 10_000  # length of a list or a text
WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
WORDS |= {type(None): "null", Callable: "a _target_ and its arguments"}
WORDS |= {Mapping: "keys below it; --cfg job prints them"}


@dataclass(frozen=True)
class Bounds:
    """Bounds of a number, as part of its type."""

    low: float
    high: float = math.inf
    closed: str = "both"  # bounds included, or "left", "right" or "neither"
    odd: bool = False  # whether only odd numbers are allowed

    def contain(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        above = value >= self.low if self.closed in ("both", "left") else value > self.low
        below = value <= self.high if self.closed in ("both", "right") else value < self.high
        return above and below and not (self.odd and value % 2 == 0)

    def __str__(self) -> str:
        low = f"{'from' if self.closed in ('both', 'left') else 'above'} {self.low}"
        high = f" {'to' if self.closed in ('both', 'right') else 'and below'} {self.high}"
        return low + high * math.isfinite(self.high) + ", odd" * self.odd


Count = Annotated[int, Bounds(1)]
Natural = Annotated[int, Bounds(0)]
Odd = Annotated[int, Bounds(1, odd=True)]
Seed = Annotated[int, Bounds(0, 2**32 - 1)]
Threads = Annotated[int, Bounds(1, 1024)]
Units = Annotated[int, Bounds(1, 2**16)]  # of a layer
Layers = Annotated[int, Bounds(1, 1000)]
Share = Annotated[float, Bounds(0, 1, "left")]  # [0, 1), as for dropout
Part = Annotated[float, Bounds(0, 1, "neither")]  # (0, 1), as for a split into two nonempty sets
Positive = Annotated[float, Bounds(0, closed="right")]
NotNegative = Annotated[float, Bounds(0)]


def build_part(key: str, node: Any, kind: type = object, **extra: Any) -> Any:
    """Instantiate a node of the config, `_target_` and its arguments, with `extra` ones that are not from the config.

    Raises:
        UsageError: for any failure, with the key and the value.
    """
    with configuring(key):
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise UsageError(f"{key}={as_typed(node)}: expected a _target_ and its arguments")
        plain = to_plain(node)
        if not isinstance(target := plain["_target_"], str):
            raise UsageError(f"{key}._target_={as_typed(target)}: expected a class")
        check_arguments(key, get_object(target), plain, extra, nodes=True)
        part = instantiate(plain, **extra, _convert_="all")
        if not isinstance(part, kind):
            raise UsageError(f"{key}._target_={target}: expected a {kind.__name__}, not a {type(part).__name__}")
        return part


def to_plain(node: Any) -> Any:
    """Convert a config node to dicts, lists and primitives, with interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node


def check_arguments(
    key: str, function: Any, node: Mapping[str, Any], extra: Collection[str] = (), *, nodes: bool = False
) -> None:
    """Check the arguments of a node against a signature, where it is known.

    Args:
        key: of the node, for messages.
        function: the class or function that is called with them.
        node: the arguments by name; names that begin with `_` are Hydra's.
        extra: names of arguments that the caller adds, which the node may not have.
        nodes: whether an argument may be a node as well; what it names is imported, so never for values from a file.

    Raises:
        UsageError: a key that is no argument, or a value of another type.
    """
    try:
        known = inspect.signature(function).parameters
        hints = get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
    except (TypeError, ValueError, NameError):  # written in C, or annotated with unresolvable names
        return
    takes_any = any(argument.kind is argument.VAR_KEYWORD for argument in known.values())
    for name, value in node.items():
        if name.startswith("_"):
            continue
        if name in extra or not (name in known or takes_any):
            names = ", ".join(name for name in known if name not in extra and name != "self") or "none"
            taker = getattr(function, "__name__", function)
            raise UsageError(f"{key}.{name}={as_typed(value)}: {taker} takes no such key; expected one of {names}")
        if nodes and isinstance(value, Mapping) and "_target_" in value:
            check_arguments(f"{key}.{name}", get_object(value["_target_"]), value, nodes=True)
        elif name in hints and not (nodes and "_target_" in str(value)):
            check_value(f"{key}.{name}", value, hints[name])


def check_value(key: str, value: object, kind: Any) -> None:
    """Raise UsageError with the key unless a plain value is of a type, bounds included."""
    if not fits(value, kind):
        raise UsageError(f"{key}={as_typed(value)}: expected {in_words(kind)}")


def check_keys(cfg: DictConfig, kinds: Mapping[str, Any]) -> None:
    """Raise UsageError for the first dotted key whose value is not of its type; a missing value is null."""
    for key, kind in kinds.items():
        check_value(key, to_plain(OmegaConf.select(cfg, key)), kind)


def fits(value: object, kind: Any) -> bool:
    """Whether a plain value is of a type, its elements and bounds included."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if origin is Annotated:
        return fits(value, parts[0]) and parts[1].contain(value)
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and abs(value) < 2**63
    if kind is str:
        return isinstance(value, str) and len(value) <= LONGEST
    if origin is tuple and Ellipsis not in parts:
        return isinstance(value, list) and len(value) == len(parts) and all(map(fits, value, parts))
    if inspect.isclass(origin) and issubclass(list, origin):  # list[...] or Sequence[...]
        return isinstance(value, list) and len(value) <= LONGEST and all(fits(item, parts[0]) for item in value)
    try:
        return isinstance(value, origin or kind)
    except TypeError:  # a protocol
        return False


def in_words(kind: Any) -> str:
    """Describe a type for an error message."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(in_words, parts)))
    if origin is Annotated:
        return f"{in_words(parts[0])} {parts[1]}"
    if origin is Literal:
        return f"one of {', '.join(map(as_typed, parts))}"
    if origin is tuple or (inspect.isclass(origin) and issubclass(list, origin)):
        return f"a list of {', '.join(map(in_words, parts))}"
    return WORDS.get(origin or kind) or str(getattr(kind, "__name__", kind))
