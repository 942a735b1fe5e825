"""Decoded faces on disk, so that the second start need not decode photos again."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from lfw_seq.data.faces import Faces

log = logging.getLogger(__name__)


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
