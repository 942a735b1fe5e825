"""The user's mistakes: raised where the value is seen, printed as one line by `lfw_seq.command`."""

import math
import re

from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException


class UsageError(ValueError):
    """A mistake of the user: the message names the value, what was expected, and the remedy."""


# A config that cannot be built is a mistake of the user too.
USAGE_ERRORS = (UsageError, InstantiationException, OmegaConfBaseException)


def describe(error: BaseException) -> str:
    """An error in one line, without the wrapping Hydra puts around what a constructor raises."""
    cause = error.__cause__
    if isinstance(error, InstantiationException) and cause is not None:
        key = re.search(r"full_key: (\S+)", str(error))
        text = str(cause) if isinstance(cause, UsageError) or key is None else f"{key[1]}: {cause}"
    else:
        text = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def check_whole(name: str, value: object, least: int = 1, most: int | None = None) -> None:
    """Raise UsageError unless `value` is a whole number in [least, most]."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    inside = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not inside or (most is not None and isinstance(value, int) and value > most):
        raise UsageError(f"{name}={value}: expected a whole number {bounds}")


def check_real(name: str, value: object, low: float, high: float, *, open_low: bool = False) -> None:
    """Raise UsageError unless `value` is a finite number in [low, high), or in (low, high) with `open_low`."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (low <= float(value) < high) or (open_low and float(value) == low):  # type: ignore[arg-type]
        raise UsageError(
            f"{name}={value}: expected a number {'above' if open_low else 'from'} {low:g} and below {high:g}"
        )


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise UsageError unless `value` is one of `choices`."""
    if value not in choices:
        raise UsageError(f"{name}={value}: expected one of {', '.join(choices)}")
