"""What every source gives: images in [0, 1], who is on them, and where they came from.

Shape legend: N images, H rows, W pixels a row.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lfw_seq.cli import UsageError

MEMORY_COPIES = 3  # of the images while they are loaded: as decoded, in order, and by stage


@dataclass(frozen=True)
class Faces:
    """Images of faces with their people.

    Attributes:
        images: float32 in [0, 1], (N, H, W), or (N, H, W, 3) in color.
        labels: int64 ids into `names`, (N,).
        names: the people, the most photographed first, ties by name.
        files: where each image came from, relative to its source, N of them.
        source: the source in words.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    files: tuple[str, ...]
    source: str

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any pixel, label, name or file name."""
        digest = hashlib.sha256(repr((self.images.shape, self.names, self.files)).encode())
        digest.update(np.ascontiguousarray(self.labels).data)
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()[:16]


@runtime_checkable
class Source(Protocol):
    """Where faces come from."""

    @property
    def crop(self) -> Sequence[float] | None:
        """What is kept of a photo: top, bottom, left, right as fractions; None is the largest centered part."""

    def load(self) -> Faces:
        """Read or make the faces."""


def by_count(people: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class ids by how often a person occurs, ties by name: the order of the lab's table.

    Args:
        people: the person on each of N images.

    Returns:
        The ids (N,) and the names in id order.
    """
    names = tuple(name for name, _ in sorted(Counter(people).items(), key=lambda item: (-item[1], item[0])))
    ids = {name: index for index, name in enumerate(names)}
    return np.array([ids[name] for name in people], dtype=np.int64), names


def check_memory(keys: str, count: int, height: int, width: int, colors: int = 1) -> None:
    """Refuse images that do not fit into memory, before any is made.

    Raises:
        UsageError: names `keys`, what is needed and what this machine has.
    """
    need = MEMORY_COPIES * 4 * count * height * width * colors
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > memory:
        raise UsageError(
            f"{keys}: {count:,} images of {height} x {width} pixels need {need / 2**30:,.1f} GiB and this machine has "
            f"{memory / 2**30:,.1f}; expected fewer or smaller ones"
        )


def check_pixels(images: NDArray[np.float32]) -> None:
    """Refuse pixels that are not in [0, 1], not finite, or nowhere above 1/255.

    Raises:
        UsageError: names the range found and what usually causes it.
    """
    low, high = float(images.min()), float(images.max())
    seen = f"pixels from {low:.2g} to {high:.2g}: expected"
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UsageError(f"{seen} finite numbers in [0, 1]")
    if low < 0 or high > 1:
        raise UsageError(f"{seen} [0, 1]; divide 8-bit pixels by 255, once")
    if high == 0:
        raise UsageError("every pixel of every image is 0: expected faces; the photos are black, replace them")
    if high <= np.float32(1 / 255):
        raise UsageError(
            f"{seen} [0, 1]; divided by 255 twice (set data.pixel_scale=1.0), or every photo is almost black"
        )
