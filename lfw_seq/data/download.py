"""Download LFW from scikit-learn's URLs with a progress bar, and verify its checksum."""

import hashlib
import shutil
import tarfile
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

# Private, but the only source of the URLs and checksums; pyproject.toml bounds scikit-learn for it.
from sklearn.datasets._lfw import ARCHIVE, FUNNELED_ARCHIVE
from tqdm import tqdm

from lfw_seq.cli import UsageError

TIMEOUT_S = 30
ABANDONED_S = 24 * 3600  # age at which temporary folders of killed downloads are removed


def download_lfw(lfw_home: Path, funneled: bool) -> None:
    """Download LFW's photos (about 200 MB) and unpack them into `lfw_home`, created once the server responds.

    Safe to run concurrently: each call unpacks into its own temporary folder and renames the photos into place.

    Raises:
        OSError: no network, a full disk, or a folder without write permission.
        UsageError: the archive has another SHA-256 than in scikit-learn.
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
            size = int(response.headers.get("Content-Length") or 0) or None
            bar = {"bytes": False, "unit": "B", "unit_scale": True, "desc": "Downloading LFW"}
            with tqdm.wrapattr(response, "read", size, **bar) as stream, archive.open("w+b") as file:
                shutil.copyfileobj(stream, file)
                file.seek(0)
                checksum = hashlib.file_digest(file, "sha256").hexdigest()
            if checksum != remote.checksum:
                raise UsageError(f"{remote.url}: SHA-256 {checksum} is not {remote.checksum}; try again later")
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(photos, filter="data")
            for folder in photos.iterdir():
                try:
                    folder.rename(lfw_home / folder.name)
                except OSError:
                    if not (lfw_home / folder.name).is_dir():  # a concurrent download finished first
                        raise
