"""Labeled Faces in the Wild with the pixels and order of scikit-learn's `fetch_lfw_people`; photos are only read."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from lfw_seq.cli import UsageError, as_typed
from lfw_seq.data.faces import Faces
from lfw_seq.data.folder import Folder
from lfw_seq.data.images import is_folder, is_range
from lfw_seq.parts import Bounds, Count

SIDE = 250  # pixels of a photo, both ways
SHUFFLE_SEED = 42  # scikit-learn's


@dataclass(frozen=True)
class LFW:
    """LFW's photos of people with at least `min_faces_per_person` of them; other fields as in `Folder`."""

    data_home: str | None  # scikit-learn's data folder; None tries SCIKIT_LEARN_DATA, then ~/scikit_learn_data
    download: bool  # the photos, if they are not on disk
    funneled: bool  # use the aligned photos; else the original ones
    min_faces_per_person: Count
    # scale of the crop of 125 x 94 pixels: 0.4 gives 50 x 37, 0.5 gives 62 x 47; None keeps 125 x 94
    resize: Annotated[float, Bounds(0, 10, "right")] | None
    color: bool
    slice_: list[list[int]] | None  # rows and columns of the 250 x 250 photo, [[from, to], [from, to]]; None for all
    skip_unreadable: bool
    cache_dir: str

    def __post_init__(self) -> None:
        parts = [[0, SIDE]] * 2 if self.slice_ is None else self.slice_
        if [is_range(part, SIDE) for part in parts] != [True, True]:
            raise UsageError(f"data.slice_={as_typed(self.slice_)}: expected [[from, to], [from, to]] within [0, 250]")
        if not all(self._shape):
            raise UsageError(f"data.resize={self.resize}: gives {self._shape} pixels; expected a larger ratio")

    @property
    def crop(self) -> list[float]:
        """`slice_` as fractions of a photo: top, bottom, left, right."""
        return [edge / SIDE for part in self.slice_ or [[0, SIDE]] * 2 for edge in part]

    def load(self) -> Faces:
        """Find or download the photos, then decode them or load them from the cache.

        Raises:
            UsageError: LFW is neither on disk nor downloaded, or as in `Folder.load`.
        """
        return self._shuffle(self._photos().load())

    def strangers(self) -> Faces | None:
        """The people with fewer than `min_faces_per_person` photos, decoded alike; None if there are none."""
        faces = self._photos().strangers()
        return None if faces is None else self._shuffle(faces)

    @property
    def _shape(self) -> tuple[int, int]:
        """Height and width of a face, rounded down as in scikit-learn."""
        height, width = (stop - start for start, stop in self.slice_ or [[0, SIDE]] * 2)
        return (height, width) if self.resize is None else (int(self.resize * height), int(self.resize * width))

    def _photos(self) -> Folder:
        root, least = self.root(), self.min_faces_per_person
        return Folder(root, least, *self._shape, self.crop, self.color, self.skip_unreadable, self.cache_dir)

    def _shuffle(self, faces: Faces) -> Faces:
        """Faces in the order of scikit-learn's loader, on which splits and fingerprints depend."""
        order = np.random.RandomState(SHUFFLE_SEED).permutation(len(faces.files))
        files = tuple(faces.files[index] for index in order)
        source = f"LFW ({'funneled' if self.funneled else 'original'})"
        return replace(faces, images=faces.images[order], labels=faces.labels[order], files=files, source=source)

    def root(self) -> str:
        """The folder of person folders, downloaded if missing and `download` is set.

        Raises:
            UsageError: LFW is neither on disk nor downloaded.
        """
        homes = [self.data_home] if self.data_home else [os.environ.get("SCIKIT_LEARN_DATA"), "~/scikit_learn_data"]
        folders = [Path(home).expanduser() / "lfw_home" for home in homes if home]
        roots = [folder / ("lfw_funneled" if self.funneled else "lfw") for folder in folders]
        for root in filter(is_folder, roots):
            return str(root)
        if self.data_home and not is_folder(folders[0].parent):
            raise UsageError(f"data.data_home={self.data_home}: no such folder; create it, or use data=synthetic")
        missing = f"no LFW in {' and '.join(map(str, roots))}"
        if not self.download:
            raise UsageError(f"{missing} and data.download=false; put it there, or use data=synthetic")
        from lfw_seq.data.download import download_lfw  # imports scikit-learn, a second that predict need not wait

        try:
            download_lfw(folders[0], self.funneled)
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise UsageError(f"{missing} and no download ({reason}); put it there, or use data=synthetic") from error
        return str(roots[0])
