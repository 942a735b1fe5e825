"""Identify people by reading a face image row by row with recurrent nets."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CONF = next(
    root / "conf" for root in (PACKAGE, PACKAGE.parent) if (root / "conf").is_dir()
)  # of a wheel, or a checkout
