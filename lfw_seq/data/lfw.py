"""Labeled Faces in the Wild through scikit-learn's `fetch_lfw_people`, without its writing into the data folder."""

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import PIL
import sklearn
from sklearn.datasets import fetch_lfw_people
from sklearn.datasets._lfw import TARGETS

from lfw_seq.data.cache import cached, listing
from lfw_seq.data.download import download_lfw
from lfw_seq.data.faces import Faces, by_count
from lfw_seq.data.images import person_files, read_image
from lfw_seq.errors import UsageError, check_real, check_whole

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LFW:
    """LFW's photos of the people with enough of them.

    Attributes:
        data_home: scikit-learn's data folder; without it SCIKIT_LEARN_DATA, then scikit-learn's home.
        download: fetch what is not on disk.
        funneled: the aligned photos.
        min_faces_per_person: people with fewer photos are left out.
        resize: ratio on the crop of 125 x 94 pixels: 0.4 gives 50 x 37, 0.5 gives 62 x 47; None keeps 125 x 94.
        color: keep red, green, blue.
        slice_: rows and columns to keep of the 250 x 250 photo, [[from, to], [from, to]], or None for all.
        skip_unreadable: leave damaged files out instead of refusing.
        cache_dir: where decoded faces are kept.
    """

    data_home: str | None
    download: bool
    funneled: bool
    min_faces_per_person: int
    resize: float | None
    color: bool
    slice_: Sequence[Sequence[int]] | None
    skip_unreadable: bool
    cache_dir: str

    def __post_init__(self) -> None:
        check_whole("data.min_faces_per_person", self.min_faces_per_person)
        if self.resize is not None:
            check_real("data.resize", self.resize, 0, 10, open_low=True)
        if self.slice_ is not None and not all(0 <= start < stop <= 250 for start, stop in self.slice_):
            raise UsageError(f"data.slice_={self.slice_}: expected [[from, to], [from, to]] inside the 250 x 250 photo")

    @property
    def crop(self) -> list[float]:
        """`slice_` as fractions of a photo: top, bottom, left, right."""
        return [edge / 250 for part in self.slice_ or ((0, 250), (0, 250)) for edge in part]

    def load(self) -> Faces:
        """Find, download or decode the photos.

        Raises:
            UsageError: no LFW here and none to be had, nobody with enough photos, or a damaged photo.
        """
        root = self._root()
        return self._load(root, person_files(root, self.min_faces_per_person), {})

    def strangers(self) -> Faces | None:
        """The people with fewer photos than asked for, read the same way; None where there are none.

        Raises:
            UsageError: as `load`.
        """
        root = self._root()
        known = set(person_files(root, self.min_faces_per_person))
        files = [name for name in person_files(root, 1) if name not in known]
        return self._load(root, files, {"strangers": True}) if files else None

    def _load(self, root: Path, files: list[str], more: dict[str, object]) -> Faces:
        decoding = {
            key: value for key, value in asdict(self).items() if key not in ("data_home", "download", "cache_dir")
        }
        place = {"root": str(root.resolve()), "pillow": PIL.__version__, "sklearn": sklearn.__version__}
        parameters = decoding | place | more
        return cached(self.cache_dir, parameters, listing(root, files), lambda: self._decode(root, files))

    def _root(self) -> Path:
        """The folder of person folders, downloaded when it is nowhere and may be."""
        name = "lfw_funneled" if self.funneled else "lfw"
        homes = [Path(home).expanduser() for home in self._homes()]
        for home in homes:
            if (home / "lfw_home" / name).is_dir():
                return home / "lfw_home" / name
        looked = " and ".join(str(home / "lfw_home" / name) for home in homes)
        if self.data_home is not None and not homes[0].is_dir():
            raise UsageError(f"data.data_home={self.data_home}: no such folder; create it, or use data=synthetic")
        if not self.download:
            raise UsageError(f"no LFW in {looked} and data.download=false; put it there, or use data=synthetic")
        try:
            download_lfw(homes[0] / "lfw_home", self.funneled)
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise UsageError(
                f"no LFW in {looked} and no download ({reason}); put it there, or use data=synthetic"
            ) from error
        return homes[0] / "lfw_home" / name

    def _homes(self) -> list[str]:
        if self.data_home is not None:
            return [self.data_home]
        return [*filter(None, [os.environ.get("SCIKIT_LEARN_DATA")]), "~/scikit_learn_data"]

    def _decode(self, root: Path, files: list[str]) -> Faces:
        log.info("Decoding %s photos of %s", f"{len(files):,}", root)
        try:
            return self._fetch(root, files)
        except (OSError, RuntimeError, SyntaxError, ValueError):
            bad = _unreadable(root, files)
            if not bad:
                raise
            if not self.skip_unreadable:
                raise UsageError(bad[next(iter(bad))]) from None
        for name in bad:
            log.warning("Skipping %s: not a readable image", root / name)
        return self._fetch(root, [name for name in files if name not in bad])

    def _fetch(self, root: Path, files: list[str]) -> Faces:
        """Call `fetch_lfw_people` on a folder of links: it keeps a joblib cache beside the photos it reads."""
        with tempfile.TemporaryDirectory(prefix="lfw_seq-") as home:
            for name in files:
                link = Path(home, "lfw_home", root.name, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((root / name).resolve())
            for target in TARGETS:  # looked for, never read, when people are loaded
                Path(home, "lfw_home", target.filename).touch()
            bunch = fetch_lfw_people(
                data_home=home,
                funneled=self.funneled,
                resize=self.resize,
                color=self.color,
                slice_=None if self.slice_ is None else tuple(slice(*part) for part in self.slice_),
                download_if_missing=False,
            )
        # The loader shuffles with a fixed seed and keeps no paths: shuffle them the same way, and check.
        order = np.arange(len(files))
        np.random.RandomState(42).shuffle(order)
        files = [files[index] for index in order]
        people = [str(bunch.target_names[target]) for target in bunch.target]
        if people != [name.split("/")[0].replace("_", " ") for name in files]:
            raise RuntimeError("scikit-learn's loader orders LFW in an unknown way: the file names would be wrong")
        labels, names = by_count(people)
        kind = "funneled" if self.funneled else "original"
        return Faces(bunch.images, labels, names, tuple(files), f"LFW ({kind})")


def _unreadable(root: Path, files: list[str]) -> dict[str, str]:
    bad = {}
    for name in files:
        try:
            read_image(root / name, None, 8, 8, color=False)
        except UsageError as error:
            bad[name] = str(error)
    return bad
