"""Identify people by reading a face image row by row with recurrent nets."""

from pathlib import Path

CONF = Path(__file__).resolve().parent.parent / "conf"
