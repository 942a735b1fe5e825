"""LFW from where scikit-learn fetches it, with a progress bar and checked checksums."""

import hashlib
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

# Private, but the one home of the addresses and checksums; pyproject.toml bounds scikit-learn for it.
from sklearn.datasets._lfw import ARCHIVE, FUNNELED_ARCHIVE
from tqdm import tqdm

from lfw_seq.errors import UsageError

TIMEOUT_S = 30


def download_lfw(lfw_home: Path, funneled: bool) -> None:
    """Fetch LFW's photos (about 200 MB) and unpack them into `lfw_home`, made once the archive answers.

    Raises:
        OSError: no network, no room, or the folder cannot be written.
        UsageError: what came is not the archive scikit-learn knows.
    """
    remote = FUNNELED_ARCHIVE if funneled else ARCHIVE
    archive = lfw_home / f"{remote.filename}.part"
    with urllib.request.urlopen(remote.url, timeout=TIMEOUT_S) as answer:
        lfw_home.mkdir(parents=True, exist_ok=True)
        try:
            checksum = _save(answer, archive)
            if checksum != remote.checksum:
                raise UsageError(f"{remote.url}: SHA-256 {checksum} is not {remote.checksum}; try again later")
            with (
                tarfile.open(archive, "r:gz") as tar,
                tempfile.TemporaryDirectory(dir=lfw_home, prefix=".lfw-") as draft,
            ):
                tar.extractall(draft, filter="data")
                for folder in Path(draft).iterdir():
                    folder.replace(lfw_home / folder.name)  # whole or not at all
        finally:
            archive.unlink(missing_ok=True)


def _save(answer: Any, target: Path) -> str:
    """Copy a web answer into a file with a progress bar; its SHA-256."""
    digest = hashlib.sha256()
    size = int(answer.headers.get("Content-Length") or 0) or None
    with target.open("wb") as file, tqdm(total=size, unit="B", unit_scale=True, desc="Downloading LFW") as bar:
        while piece := answer.read(1 << 16):
            file.write(piece)
            digest.update(piece)
            bar.update(len(piece))
    return digest.hexdigest()
