"""The LightningDataModule: from a source to batches of row sequences.

Shape legend: T steps of the sequence, F features a step.
"""

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from lightning import LightningDataModule
from torch import Tensor

from lfw_seq.data.batches import Batches, shuffled
from lfw_seq.data.faces import Faces, Source, check_pixels
from lfw_seq.data.layout import Layout
from lfw_seq.data.sequences import ORDERS, sequences
from lfw_seq.data.split import Split
from lfw_seq.data.standardize import MODES, Standardize
from lfw_seq.errors import check_choice, check_real, check_whole

STAGES = ("train", "val", "test")
READING = ("order", "pixel_guard", "pixel_scale", "standardize", "batch_size", "eval_batch_size")


class FaceRows(LightningDataModule):
    """Split row sequences of faces.

    Attributes:
        indices: the images of "train", "val" and "test", once `setup` has run.
    """

    def __init__(
        self,
        source: Source,
        split: Split,
        order: str,
        pixel_guard: bool,
        pixel_scale: float,
        standardize: str,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        check_choice("data.order", order, ORDERS)
        check_real("data.pixel_scale", pixel_scale, 0, 256, open_low=True)
        check_choice("data.standardize", standardize, MODES)
        check_whole("data.batch_size", batch_size)
        check_whole("data.eval_batch_size", eval_batch_size)
        self.source, self.split, self.order, self.seed = source, split, order, seed
        self.pixel_guard, self.pixel_scale, self.standardize = pixel_guard, pixel_scale, standardize
        self.batch_sizes = {"train": batch_size, "val": eval_batch_size, "test": eval_batch_size}
        self._faces: Faces | None = None

    def setup(self, stage: str | None = None) -> None:
        """Load, check and split the faces, once."""
        if self._faces is not None:
            return
        faces = self.source.load()
        images = faces.images if self.pixel_scale == 1 else faces.images * np.float32(self.pixel_scale)
        if self.pixel_guard:
            check_pixels(images)
        self.indices = dict(zip(STAGES, self.split.cut(faces.labels, faces.names), strict=True))
        rows, labels = torch.from_numpy(sequences(images, self.order)), torch.from_numpy(faces.labels)
        self.tensors = {stage: (rows[part], labels[part]) for stage, part in self.indices.items()}
        if self.split.val_from == "test":  # not a third copy
            self.tensors["val"] = self.tensors["test"]
        self._faces = faces

    @property
    def faces(self) -> Faces:
        """What the source gave, once `setup` has run."""
        assert self._faces is not None
        return self._faces

    @property
    def shape(self) -> tuple[int, int]:
        """Steps T and features F of a sequence."""
        _, steps, features = self.tensors["train"][0].shape
        return steps, features

    @property
    def layout(self) -> Layout:
        """Where an image's pixels lie in its sequence."""
        return Layout(self.order == "columns", self.faces.images.shape[3] if self.faces.images.ndim == 4 else 1)

    def standardizer(self) -> Standardize:
        """What standardises the rows, fitted to the training images."""
        standardize = Standardize(self.standardize, *self.shape)
        standardize.fit(self.tensors["train"][0])
        return standardize

    def class_counts(self, stage: str) -> list[int]:
        """Images per person in a stage, in id order."""
        return torch.bincount(self.tensors[stage][1], minlength=len(self.faces.names)).tolist()

    def train_dataloader(self) -> Batches:
        """The training images, in another order each epoch."""
        return self._batches("train")

    def val_dataloader(self) -> Batches | list[Batches]:
        """The validation images; an empty list where there are none, and Lightning then validates nothing."""
        return self._batches("val") if self.split.val_from != "none" else []

    def test_dataloader(self) -> Batches:
        """The test images, in the order of `indices["test"]`."""
        return self._batches("test")

    def _batches(self, stage: str) -> Batches:
        assert self.trainer is not None
        rows, labels = (tensor.to(self.trainer.strategy.root_device) for tensor in self.tensors[stage])
        order = self._order if stage == "train" else None
        return Batches(rows, labels, self.batch_sizes[stage], order, self.trainer.global_rank, self.trainer.world_size)

    def _order(self) -> Tensor:
        assert self.trainer is not None
        return shuffled(len(self.tensors["train"][1]), self.seed, self.trainer.current_epoch)


def build(data: dict[str, Any], split_seed: int, seed: int) -> FaceRows:
    """The data module of a config.

    Args:
        data: the keys of `conf/data`: those of `Split` and `FaceRows`; the rest are the source's, its class the
            `_target_`.
        split_seed: which split.
        seed: for the order of the batches.
    """
    rest = dict(data)
    split = Split(split_seed=split_seed, **{f.name: rest.pop(f.name) for f in fields(Split) if f.name != "split_seed"})
    reading = {key: rest.pop(key) for key in READING}
    return FaceRows(instantiate(rest, _convert_="all"), split, seed=seed, **reading)
