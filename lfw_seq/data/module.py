"""The LightningDataModule: from a source to batches of row sequences.

Shape legend: N images, B batch, T steps of the sequence, F features a step.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from lfw_seq.cli import UsageError
from lfw_seq.data.batches import Batch, loader, shuffled
from lfw_seq.data.faces import Faces, Source, check_pixels
from lfw_seq.data.sequences import Layout, Mode, Order, PixelScale, Standardize, sequences
from lfw_seq.data.split import Split
from lfw_seq.parts import Bounds, Seed, build_part, check_arguments, check_value

BatchSize = Annotated[int, Bounds(1, 2**31 - 1)]
STAGES = ("train", "val", "test")
SPLIT = [field.name for field in fields(Split) if field.name != "split_seed"]  # keys of conf/data/base.yaml
READING = ("order", "pixel_guard", "pixel_scale", "standardize", "batch_size", "eval_batch_size")


class FaceRows(LightningDataModule):
    """Split row sequences of faces.

    Attributes:
        source: of the faces.
        split: into training, validation and test images.
        order: of the rows in a sequence, see `lfw_seq.data.sequences`.
        seed: of the order of the training batches.
        faces: all images of the source; available after `setup`, as are the next two.
        indices: image indices of "train", "val" and "test".
        tensors: by stage, rows (N, T, F) in [0, 1], not multiplied by `pixel_scale`, and class ids (N,).
    """

    faces: Faces
    indices: dict[str, np.typing.NDArray[np.int64]]
    tensors: dict[str, Batch]

    def __init__(
        self,
        source: Source,
        split: Split,
        order: Order,
        pixel_guard: bool,
        pixel_scale: PixelScale,
        standardize: Mode,
        batch_size: BatchSize,
        eval_batch_size: BatchSize,
        seed: int,
    ) -> None:
        super().__init__()
        self.source, self.split, self.order, self.seed = source, split, order, seed
        self.pixel_guard, self.pixel_scale, self.standardize = pixel_guard, pixel_scale, standardize
        self.batch_sizes = {"train": batch_size, "val": eval_batch_size, "test": eval_batch_size}

    def setup(self, stage: str | None = None) -> None:
        """Load, check and split the faces; later calls do nothing.

        Raises:
            UsageError: unusable source, pixels or split.
        """
        if hasattr(self, "faces"):
            return
        faces = self.source.load()
        if self.pixel_guard:
            check_pixels(faces.images if self.pixel_scale == 1 else faces.images * np.float32(self.pixel_scale))
        self.indices = dict(zip(STAGES, self.split.cut(faces.labels, faces.names), strict=True))
        rows, labels = torch.from_numpy(sequences(faces.images, self.order)), torch.from_numpy(faces.labels)
        self.tensors = {stage: (rows[part], labels[part]) for stage, part in self.indices.items()}
        if self.split.val_from == "test":  # not a third copy
            self.tensors["val"] = self.tensors["test"]
        self.faces = faces

    @property
    def shape(self) -> tuple[int, int]:
        """Steps T and features F of a sequence."""
        _, steps, features = self.tensors["train"][0].shape
        return steps, features

    @property
    def layout(self) -> Layout:
        """Position of an image's pixels in its sequence."""
        return Layout(self.order == "columns", self.faces.images.shape[3] if self.faces.images.ndim == 4 else 1)

    def standardizer(self) -> Standardize:
        """Standardization of the rows, fitted to the training images multiplied by `pixel_scale`."""
        standardize, rows = Standardize(self.standardize, *self.shape), self.tensors["train"][0]
        standardize.fit(rows if self.pixel_scale == 1 else rows * self.pixel_scale)
        return standardize

    def class_counts(self, stage: str) -> list[int]:
        """Images per person in a stage, in order of class ids."""
        return torch.bincount(self.tensors[stage][1], minlength=len(self.faces.names)).tolist()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training images, reshuffled each epoch."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Batches of the validation images; without any an empty list, so that Lightning skips validation."""
        return self._loader("val") if self.split.val_from != "none" else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test images, in the order of `indices["test"]`."""
        return self._loader("test")

    def _loader(self, stage: str) -> DataLoader[Batch]:
        trainer = self.trainer
        assert trainer is not None
        rows, labels = (tensor.to(trainer.strategy.root_device) for tensor in self.tensors[stage])
        if stage != "train":  # each process evaluates all images, but trains on its share
            return loader(rows, labels, self.batch_sizes[stage])
        overfits = trainer.overfit_batches  # type: ignore[attr-defined]  # not declared for mypy
        order = None if overfits else lambda: shuffled(len(labels), self.seed, trainer.current_epoch)
        return loader(rows, labels, self.batch_sizes[stage], order, trainer.world_size, trainer.global_rank)


def instantiate_source(keys: dict[str, Any]) -> Source:
    """Build a source from the keys of a config; UsageError for invalid ones."""
    source: Source = build_part("data", keys, Source)
    return source


def build(
    data: dict[str, Any],
    split_seed: int,
    seed: int,
    make_source: Callable[[dict[str, Any]], Source] = instantiate_source,
) -> FaceRows:
    """Build the data module of a config.

    Args:
        data: the keys of `conf/data`: arguments of `Split`, of `FaceRows`, and of the source in `_target_`.
        split_seed: of the split.
        seed: of the order of the training batches.
        make_source: builds the source from its keys; for keys from an untrusted file, a restricted one.

    Raises:
        UsageError: a key is missing, or its value is invalid.
    """
    rest = dict(data)
    try:
        split_keys = {key: rest.pop(key) for key in SPLIT}
        module_keys = {key: rest.pop(key) for key in READING}
    except KeyError as error:
        raise UsageError(f"data.{error.args[0]}: missing; expected all keys of conf/data/base.yaml") from error
    check_value("split_seed", split_seed, Seed)
    check_arguments("data", Split, split_keys)
    check_arguments("data", FaceRows, module_keys)
    return FaceRows(make_source(rest), Split(split_seed=split_seed, **split_keys), seed=seed, **module_keys)
