"""A user's own faces: root/<person>/<image>."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import PIL

from lfw_seq.cli import UsageError, as_typed
from lfw_seq.data import images
from lfw_seq.data.cache import cached, listing
from lfw_seq.data.faces import Faces, by_count, check_memory
from lfw_seq.parts import Bounds, Count

log = logging.getLogger(__name__)

Side = Annotated[int, Bounds(1, 4096)]  # of an image, in pixels


@dataclass(frozen=True)
class Folder:
    """JPEG, PNG or WebP photos, one folder a person.

    Attributes:
        root: the folder of person folders.
        min_faces_per_person: people with fewer photos are left out.
        height: rows of a face.
        width: pixels a row.
        crop: top, bottom, left, right to keep, as fractions of a photo; None keeps the largest
            centered part with the shape height : width.
        color: keep red, green, blue.
        skip_unreadable: leave damaged files out instead of refusing.
        cache_dir: where decoded faces are kept.
    """

    root: str
    min_faces_per_person: Count
    height: Side
    width: Side
    crop: list[float] | None
    color: bool
    skip_unreadable: bool
    cache_dir: str

    def __post_init__(self) -> None:
        edges = [0, 1, 0, 1] if self.crop is None else self.crop
        if not is_range(edges[:2], 1) or not is_range(edges[2:], 1):
            raise UsageError(
                f"data.crop={as_typed(self.crop)}: expected [top, bottom, left, right] as fractions from 0 to 1"
            )

    def load(self) -> Faces:
        """Decode the photos, or take them from the cache.

        Raises:
            UsageError: no such folder, nobody in it, a damaged photo, or more photos than fit into memory.
        """
        return self._load(images.person_files(self._root(), self.min_faces_per_person))

    def strangers(self) -> Faces | None:
        """The people with fewer photos than asked for, read the same way; None where there are none."""
        known = set(images.person_files(self._root(), self.min_faces_per_person))
        files = [name for name in images.person_files(self._root(), 1) if name not in known]
        return self._load(files, strangers=True) if files else None

    def _root(self) -> Path:
        root = Path(self.root).expanduser()
        if not images.is_folder(root):
            raise UsageError(f"data.root={self.root}: no such folder; expected <root>/<person>/<image>")
        return root

    def _load(self, files: list[str], strangers: bool = False) -> Faces:
        root = self._root()
        check_memory(str(root), len(files), self.height, self.width, 3 if self.color else 1)
        decoder = hashlib.sha256(Path(images.__file__).read_bytes()).hexdigest()  # a changed one decodes again
        more = {"root": str(root.resolve()), "cache_dir": "", "strangers": strangers}
        more |= {"decoder": decoder, "pillow": PIL.__version__}
        return cached(self.cache_dir, asdict(self) | more, listing(root, files), lambda: self._decode(root, files))

    def _decode(self, root: Path, files: list[str]) -> Faces:
        log.info("Decoding %s photos of %s", f"{len(files):,}", root)
        pixels, kept = [], []
        for name in files:
            try:
                pixels.append(images.read_image(root / name, self.crop, self.height, self.width, self.color))
                kept.append(name)
            except UsageError as error:
                if not self.skip_unreadable:
                    raise
                log.warning("Skipping %s", str(error).split(";")[0])
        if not kept:
            raise UsageError(f"data.root={self.root}: none of its {len(files)} images can be read")
        labels, names = by_count([name.split("/")[0].replace("_", " ") for name in kept])
        return Faces(np.stack(pixels), labels, names, tuple(kept), "folder")


def is_range(edges: Sequence[float], most: int) -> bool:
    """Whether these are two numbers that rise inside [0, most]."""
    return len(edges) == 2 and 0 <= edges[0] < edges[1] <= most
