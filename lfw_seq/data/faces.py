"""Face images with labels, the interface of their sources, and checks of pixels and memory.

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

MEMORY_COPIES = 3  # peak while images are loaded: decoded, ordered, and split


@dataclass(frozen=True)
class Faces:
    """Face images with labels."""

    images: NDArray[np.float32]  # in [0, 1], (N, H, W), or (N, H, W, 3) in color
    labels: NDArray[np.int64]  # ids into `names`, (N,)
    names: tuple[str, ...]  # the people by falling number of images, ties by name
    files: tuple[str, ...]  # path of each of the N images relative to its source
    source: str  # a description of it

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of a SHA-256 over shape, names, file names, labels and pixels."""
        digest = hashlib.sha256(repr((self.images.shape, self.names, self.files)).encode())
        digest.update(np.ascontiguousarray(self.labels).data)
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()[:16]


@runtime_checkable
class Source(Protocol):
    """A source of face images."""

    @property
    def crop(self) -> list[float] | None:
        """Region kept of a photo: top, bottom, left, right as fractions; None for the largest centered one."""

    def load(self) -> Faces:
        """Read or generate the faces."""


def by_count(people: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class ids (N,) of the people on N images, and the names by id: by number of images, as in the lab's table."""
    names = tuple(name for name, _ in sorted(Counter(people).items(), key=lambda item: (-item[1], item[0])))
    ids = {name: index for index, name in enumerate(names)}
    return np.array([ids[name] for name in people], dtype=np.int64), names


def check_memory(keys: str, count: int, height: int, width: int, colors: int = 1) -> None:
    """Refuse images that exceed physical memory, before any is allocated.

    Raises:
        UsageError: names `keys`, the memory needed and the memory of this machine.
    """
    need = MEMORY_COPIES * 4 * count * height * width * colors
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > memory:
        raise UsageError(
            f"{keys}: {count:,} images of {height} x {width} pixels need {need / 2**30:,.1f} GiB and this machine has "
            f"{memory / 2**30:,.1f}; expected fewer or smaller ones"
        )


def check_pixels(images: NDArray[np.float32]) -> None:
    """Refuse pixels that are not finite, not in [0, 1], or all at most 1/255.

    Raises:
        UsageError: names the range of the pixels and its usual cause.
    """
    low, high = float(images.min()), float(images.max())
    prefix = f"pixels from {low:.2g} to {high:.2g}: expected"
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UsageError(f"{prefix} finite numbers in [0, 1]")
    if low < 0 or high > 1:
        raise UsageError(f"{prefix} [0, 1]; divide 8-bit pixels by 255, once")
    if high == 0:
        raise UsageError("every pixel of every image is 0: expected faces; the photos are black, replace them")
    if high <= np.float32(1 / 255):
        raise UsageError(
            f"{prefix} [0, 1]; divided by 255 twice (set data.pixel_scale=1.0), or every photo is almost black"
        )
