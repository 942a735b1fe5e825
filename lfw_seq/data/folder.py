"""A user's own faces, root/<person>/<image>; decoded once, and kept for the next start."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import PIL

from lfw_seq.cli import UsageError, as_typed
from lfw_seq.data import images
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


def listing(root: Path, files: Iterable[str]) -> str:
    """A digest of files: their names, sizes and times of change; for links that lead nowhere, the links'."""
    digest = hashlib.sha256()
    for path in (root / name for name in files):
        stat = path.stat() if path.exists() else path.lstat()
        digest.update(f"{path.relative_to(root)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def cached(folder: str, parameters: Mapping[str, object], content: str, build: Callable[[], Faces]) -> Faces:
    """The faces kept for these parameters, built (again) when there are none, or stale or damaged ones.

    Args:
        folder: where to keep them, made when missing; one that cannot be written only costs time.
        parameters: what the faces were decoded from and how; names the file.
        content: a digest of the photos; another one makes the file stale.
        build: decodes the photos.
    """
    name = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]
    path = Path(folder).expanduser() / f"{name}.npz"
    faces = _read(path, content)
    if faces is None:
        faces = build()
        try:
            _write(path, content, faces)
        except OSError as error:
            log.warning("The decoded faces are not kept: %s", error)
    return faces


def _read(path: Path, content: str) -> Faces | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["content"]) != content:
                return None
            names, files, source = (json.loads(str(kept[key])) for key in ("names", "files", "source"))
            faces = Faces(kept["images"], kept["labels"], tuple(names), tuple(files), source)
            if faces.fingerprint == str(kept["fingerprint"]):
                return faces
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged file fails in whatever way its bytes lead to
        log.debug("%s: %s", path, error)
    log.warning("The decoded faces in %s are damaged: decoding the photos again", path)
    return None


def _write(path: Path, content: str, faces: Faces) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}-{os.getpid()}.npz")
    texts = {key: json.dumps(getattr(faces, key)) for key in ("names", "files", "source")}
    arrays = {"images": faces.images, "labels": faces.labels, "content": content, "fingerprint": faces.fingerprint}
    try:
        np.savez(draft, **arrays, **texts)  # type: ignore[arg-type]  # numpy's stubs know only arrays
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
