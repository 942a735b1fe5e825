"""What every source gives: images in [0, 1], who is on them, and where they came from.

Shape legend: N images, H rows, W pixels a row.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lfw_seq.errors import UsageError


@dataclass(frozen=True)
class Faces:
    """Images of faces with their people.

    Attributes:
        images: float32 in [0, 1], (N, H, W), or (N, H, W, 3) in colour.
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


class Source(Protocol):
    """Where faces come from.

    Attributes:
        crop: what is kept of a photo: top, bottom, left, right as fractions; None is the largest centred part.
    """

    @property
    def crop(self) -> Sequence[float] | None:
        """See the class."""
        ...

    def load(self) -> Faces:
        """Read or make the faces."""
        ...


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


def check_pixels(images: NDArray[np.float32]) -> None:
    """Refuse pixels that are not in [0, 1], not finite, or squeezed under 1/255.

    Raises:
        UsageError: names the range found and what usually causes it.
    """
    low, high = float(images.min()), float(images.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UsageError(f"pixels from {low:g} to {high:g}: expected finite numbers in [0, 1]")
    if low < 0 or high > 1:
        raise UsageError(f"pixels from {low:g} to {high:g}: expected [0, 1]; divide 8-bit pixels by 255, once")
    if high <= np.float32(1 / 255):
        raise UsageError(f"no pixel is above {high:.2g}: expected [0, 1]; the pixels were divided by 255 twice")
