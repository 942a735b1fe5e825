"""A user's own faces: root/<person>/<image>."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import PIL

from lfw_seq.data.cache import cached, listing
from lfw_seq.data.faces import Faces, by_count
from lfw_seq.data.images import person_files, read_image
from lfw_seq.errors import UsageError, check_whole

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folder:
    """JPEG, PNG or WebP photos, one folder a person.

    Attributes:
        root: the folder of person folders.
        min_faces_per_person: people with fewer photos are left out.
        height: rows of a face.
        width: pixels a row.
        crop: top, bottom, left, right to keep, as fractions of a photo; None keeps the largest
            centred part with the shape height : width.
        color: keep red, green, blue.
        skip_unreadable: leave damaged files out instead of refusing.
        cache_dir: where decoded faces are kept.
    """

    root: str
    min_faces_per_person: int
    height: int
    width: int
    crop: Sequence[float] | None
    color: bool
    skip_unreadable: bool
    cache_dir: str

    def __post_init__(self) -> None:
        check_whole("data.min_faces_per_person", self.min_faces_per_person)
        check_whole("data.height", self.height, 1, 4096)
        check_whole("data.width", self.width, 1, 4096)
        if self.crop is not None:
            inside = len(self.crop) == 4 and all(0 <= edge <= 1 for edge in self.crop)
            if not inside or self.crop[0] >= self.crop[1] or self.crop[2] >= self.crop[3]:
                raise UsageError(f"data.crop={self.crop}: expected [top, bottom, left, right] as fractions from 0 to 1")

    def load(self) -> Faces:
        """Decode the photos, or take them from the cache.

        Raises:
            UsageError: no such folder, nobody in it, or a damaged photo.
        """
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise UsageError(f"data.root={self.root}: no such folder; expected <root>/<person>/<image>")
        files = person_files(root, self.min_faces_per_person)
        decoding = {key: value for key, value in asdict(self).items() if key != "cache_dir"}
        parameters = decoding | {"root": str(root.resolve()), "pillow": PIL.__version__}
        return cached(self.cache_dir, parameters, listing(root, files), lambda: self._decode(root, files))

    def _decode(self, root: Path, files: list[str]) -> Faces:
        log.info("Decoding %s photos of %s", f"{len(files):,}", root)
        images, kept = [], []
        for name in files:
            try:
                images.append(read_image(root / name, self.crop, self.height, self.width, self.color))
                kept.append(name)
            except UsageError as error:
                if not self.skip_unreadable:
                    raise
                log.warning("Skipping %s", str(error).split(";")[0])
        if not kept:
            raise UsageError(f"data.root={self.root}: none of its {len(files)} images can be read")
        labels, names = by_count([name.split("/")[0].replace("_", " ") for name in kept])
        return Faces(np.stack(images), labels, names, tuple(kept), "folder")
