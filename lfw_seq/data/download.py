"""LFW from where scikit-learn fetches it, with a progress bar and checked checksums."""

import hashlib
import shutil
import tarfile
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

# Private, but the one home of the addresses and checksums; pyproject.toml bounds scikit-learn for it.
from sklearn.datasets._lfw import ARCHIVE, FUNNELED_ARCHIVE
from tqdm import tqdm

from lfw_seq.cli import UsageError

TIMEOUT_S = 30
ABANDONED_S = 24 * 3600  # drafts of downloads that were killed are removed after a day


def download_lfw(lfw_home: Path, funneled: bool) -> None:
    """Fetch LFW's photos (about 200 MB) and unpack them into `lfw_home`, made once the archive answers.

    Two downloads at once do not meet: each has a folder of its own, and the photos are renamed into place as a whole.

    Raises:
        OSError: no network, no room, or the folder cannot be written.
        UsageError: what came is not the archive scikit-learn knows.
    """
    remote = FUNNELED_ARCHIVE if funneled else ARCHIVE
    with urllib.request.urlopen(remote.url, timeout=TIMEOUT_S) as response:
        lfw_home.mkdir(parents=True, exist_ok=True)
        for old in lfw_home.glob(".lfw-*"):
            with suppress(OSError):
                if time.time() - old.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=lfw_home, prefix=".lfw-") as draft:
            archive, photos = Path(draft, remote.filename), Path(draft, "photos")
            checksum = _save(response, archive)
            if checksum != remote.checksum:
                raise UsageError(f"{remote.url}: SHA-256 {checksum} is not {remote.checksum}; try again later")
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(photos, filter="data")
            for folder in photos.iterdir():
                try:
                    folder.rename(lfw_home / folder.name)
                except OSError:
                    if not (lfw_home / folder.name).is_dir():  # another download was first
                        raise


def _save(response: Any, target: Path) -> str:
    """Copy a response into a file with a progress bar; its SHA-256."""
    digest = hashlib.sha256()
    size = int(response.headers.get("Content-Length") or 0) or None
    with target.open("wb") as file, tqdm(total=size, unit="B", unit_scale=True, desc="Downloading LFW") as bar:
        while piece := response.read(1 << 16):
            file.write(piece)
            digest.update(piece)
            bar.update(len(piece))
    return digest.hexdigest()
