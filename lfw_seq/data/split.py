"""Split of images into training, validation and test sets."""

import logging
import warnings
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, train_test_split

from lfw_seq.cli import UsageError
from lfw_seq.parts import Bounds, Natural, Part, Seed, check_value

log = logging.getLogger(__name__)

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """A split stratified by person."""

    test_size: Part  # fraction of all images
    val_size: Part  # fraction of the training images held out for validation
    # "train" holds out `val_size`; "test" validates on the test images and trains on all others, the lab's leak;
    # "none" trains on all others without validation
    val_from: Literal["train", "test", "none"]
    train_size: Annotated[float, Bounds(0, 1, "right")]  # fraction of the remaining images to use; for learning curves
    split_seed: Seed  # of the shuffle
    fold: Natural | None  # of cross-validation, whose disjoint test folds replace `test_size`
    num_folds: Annotated[int, Bounds(2)]

    def __post_init__(self) -> None:
        check_value("data.fold", self.fold, Annotated[int, Bounds(0, self.num_folds - 1)] | None)

    def cut(self, labels: NDArray[np.int64], names: tuple[str, ...]) -> tuple[Indices, Indices, Indices]:
        """Split images of class ids (N,) into indices of training, validation and test, shuffled with `split_seed`.

        Raises:
            UsageError: fewer than two people, a person with fewer than 3 images, or a set too small for all people.
        """
        if len(names) < 2:
            raise UsageError(f"only {names[0]!r} is in the data: expected two people or more")
        counts = np.bincount(labels)
        if self.fold is not None and counts.min() < self.num_folds:
            few = f"{names[counts.argmin()]!r} has {counts.min()} photos, so some folds test none of them"
            log.warning("data.num_folds=%s: %s", self.num_folds, few)
        for name, count in zip(names, counts, strict=True):
            if count < 3:
                raise UsageError(f"{name!r} has fewer than 3 photos: add some, or set data.min_faces_per_person=3")
        indices = np.arange(len(labels))
        try:
            if self.fold is None:
                train, test = self._hold_out(indices, labels, "test_size", self.test_size)
            else:
                folds = StratifiedKFold(self.num_folds, shuffle=True, random_state=self.split_seed)
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="The least populated class")  # named above
                    train, test = list(folds.split(indices, labels))[self.fold]
            val = {"test": test, "none": train[:0]}.get(self.val_from)
            if val is None:
                train, val = self._hold_out(train, labels, "val_size", self.val_size)
            if self.train_size < 1:
                train, _ = self._hold_out(train, labels, "train_size", 1 - self.train_size)
            if missing := np.setdiff1d(labels, labels[train]).tolist():
                raise ValueError(f"none of {names[missing[0]]!r} would be trained on")
        except ValueError as error:
            test_size = f"test_size={self.test_size}" if self.fold is None else f"num_folds={self.num_folds}"
            sizes = f"data.{test_size} data.val_size={self.val_size} data.train_size={self.train_size}"
            raise UsageError(f"{sizes} do not fit {len(labels)} images of {len(names)} people: {error}") from error
        return train, val, test

    def _hold_out(self, indices: Indices, labels: NDArray[np.int64], key: str, size: float) -> tuple[Indices, Indices]:
        """Split off a stratified fraction `size` of `indices`; return the rest and the fraction."""
        stratify = {"stratify": labels[indices], "random_state": self.split_seed}
        try:
            rest, part = train_test_split(indices, test_size=size, **stratify)
        except ValueError as error:
            text = str(error).replace("test_size", "number of images held out").replace("classes", "people")
            raise ValueError(f"data.{key}: {text}") from error
        return rest, part
