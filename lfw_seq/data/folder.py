"""Photos of a user, root/<person>/<image>, decoded once and cached on disk."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import PIL

from lfw_seq.cli import UsageError
from lfw_seq.data import images
from lfw_seq.data.faces import Faces, by_count, check_memory
from lfw_seq.parts import Bounds, Count

log = logging.getLogger(__name__)

Side = Annotated[int, Bounds(1, 4096)]  # of an image, in pixels


@dataclass(frozen=True)
class Folder:
    """JPEG, PNG or WebP photos, one folder per person."""

    root: str  # the folder of person folders
    min_faces_per_person: Count  # people with fewer photos are excluded
    height: Side
    width: Side
    # [top, bottom, left, right] to keep, as fractions of a photo; None for the largest centered region of this aspect
    crop: list[float] | None
    color: bool  # keep RGB; else gray
    skip_unreadable: bool  # skip damaged files instead of raising an error
    cache_dir: str  # of decoded faces

    def __post_init__(self) -> None:
        images.check_crop(self.crop)

    def load(self) -> Faces:
        """Decode the photos, or load them from the cache.

        Raises:
            UsageError: no such folder, nobody with enough photos, a damaged photo, or too many for the memory.
        """
        return self._load(images.person_files(self._root(), self.min_faces_per_person))

    def strangers(self) -> Faces | None:
        """The people with fewer than `min_faces_per_person` photos, decoded alike; None if there are none."""
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
        decoder = hashlib.sha256(Path(images.__file__).read_bytes()).hexdigest()  # a changed decoder misses the cache
        more = {"root": str(root.resolve()), "cache_dir": "", "strangers": strangers}
        more |= {"decoder": decoder, "pillow": PIL.__version__}
        name = hashlib.sha256(json.dumps(asdict(self) | more, sort_keys=True).encode()).hexdigest()[:16]
        path, content = Path(self.cache_dir).expanduser() / f"{name}.npz", listing(root, files)
        faces = _read(path, content)
        if faces is None:
            faces = self._decode(root, files)
            try:
                _write(path, content, faces)
            except OSError as error:
                log.warning("The decoded faces are not cached: %s", error)
        return faces

    def _decode(self, root: Path, files: list[str]) -> Faces:
        log.info("Decoding %s photos of %s", f"{len(files):,}", root)
        pixels, decoded = [], []
        for name in files:
            try:
                pixels.append(images.read_image(root / name, self.crop, self.height, self.width, self.color))
                decoded.append(name)
            except UsageError as error:
                if not self.skip_unreadable:
                    raise UsageError(f"{error}, or skip it with data.skip_unreadable=true") from error
                log.warning("Skipping %s", str(error).rpartition(";")[0])
        if not decoded:
            raise UsageError(f"data.root={self.root}: none of its {len(files)} images can be read")
        labels, names = by_count([name.split("/")[0].replace("_", " ") for name in decoded])
        return Faces(np.stack(pixels), labels, names, tuple(decoded), "folder")


def listing(root: Path, files: Iterable[str]) -> str:
    """Digest of files' names, sizes and modification times; of a broken link, those of the link itself."""
    digest = hashlib.sha256()
    for path in (root / name for name in files):
        stat = path.stat() if path.exists() else path.lstat()
        digest.update(f"{path.relative_to(root)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read(path: Path, content: str) -> Faces | None:
    """Read faces from the cache; None if they are missing, damaged, or of photos with another digest."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["content"]) != content:
                return None
            names, files, source = (json.loads(str(stored[key])) for key in ("names", "files", "source"))
            faces = Faces(stored["images"], stored["labels"], tuple(names), tuple(files), source)
            if faces.fingerprint == str(stored["fingerprint"]):
                return faces
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged file can raise anything
        log.debug("%s: %s", path, error)
    log.warning("The decoded faces in %s are damaged: decoding the photos again", path)
    return None


def _write(path: Path, content: str, faces: Faces) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}-{os.getpid()}.npz")
    texts = {key: json.dumps(getattr(faces, key)) for key in ("names", "files", "source")}
    arrays = {"images": faces.images, "labels": faces.labels, "content": content, "fingerprint": faces.fingerprint}
    try:
        np.savez(draft, **arrays, **texts)  # type: ignore[arg-type]  # NumPy's stubs accept only arrays
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
