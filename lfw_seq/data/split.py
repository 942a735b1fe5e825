"""Which images train, validate and test."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, train_test_split

from lfw_seq.cli import UsageError
from lfw_seq.parts import Bounds, Natural, Part, Seed, check_value

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """A stratified split.

    Attributes:
        test_size: share of all images, in (0, 1).
        val_size: share of the training images cut off for validation, in (0, 1).
        val_from: "train", or "test": validate on the test images and train on all others, the lab's leak; or "none":
            train on all others and validate on nothing.
        train_size: share of what is left for training that trains, in (0, 1]: for learning curves.
        split_seed: which split.
        fold: test on this one of `num_folds` folds instead of a share; None for a share.
        num_folds: how many folds, each image in exactly one.
    """

    test_size: Part
    val_size: Part
    val_from: Literal["train", "test", "none"]
    train_size: Annotated[float, Bounds(0, 1, "right")]
    split_seed: Seed
    fold: Natural | None
    num_folds: Annotated[int, Bounds(2)]

    def __post_init__(self) -> None:
        check_value("data.fold", self.fold, Annotated[int, Bounds(0, self.num_folds - 1)] | None)

    def cut(self, labels: NDArray[np.int64], names: tuple[str, ...]) -> tuple[Indices, Indices, Indices]:
        """Cut images into train, validation and test.

        Args:
            labels: the person on each image, (N,).
            names: the people, for messages.

        Returns:
            Indices of the three parts, each shuffled by `split_seed`; none to validate on with `val_from="none"`.

        Raises:
            UsageError: one person only, somebody with under three images, or a part too small to hold everybody.
        """
        if len(names) < 2:
            raise UsageError(f"only {names[0]!r} is in the data: expected two people or more")
        for name, count in zip(names, np.bincount(labels), strict=True):
            if count < 3:
                raise UsageError(f"{name!r} has fewer than 3 photos: add some, or set data.min_faces_per_person=3")
        everything = np.arange(len(labels))
        try:
            if self.fold is None:
                train, test = self._share(everything, labels, self.test_size)
            else:
                folds = StratifiedKFold(self.num_folds, shuffle=True, random_state=self.split_seed)
                train, test = list(folds.split(everything, labels))[self.fold]
            val = {"test": test, "none": train[:0]}.get(self.val_from)
            if val is None:
                train, val = self._share(train, labels, self.val_size)
            if self.train_size < 1:
                train, _ = self._share(train, labels, 1 - self.train_size)
        except ValueError as error:
            test_size = f"test_size={self.test_size}" if self.fold is None else f"num_folds={self.num_folds}"
            sizes = f"data.{test_size} data.val_size={self.val_size} data.train_size={self.train_size}"
            raise UsageError(f"{sizes} do not fit {len(labels)} images of {len(names)} people: {error}") from error
        return train, val, test

    def _share(self, indices: Indices, labels: NDArray[np.int64], size: float) -> tuple[Indices, Indices]:
        """Some of all images without a share of them, and the share."""
        rest, share = train_test_split(indices, test_size=size, stratify=labels[indices], random_state=self.split_seed)
        return rest, share
