"""The LightningDataModule: from a source to batches of row sequences.

The data fit in memory: each step indexes tensors on the model's device.

Shape legend: N images, B batch, T steps of the sequence, F features a step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import Annotated, Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lfw_seq.cli import UsageError
from lfw_seq.data.faces import Faces, Source, check_pixels
from lfw_seq.data.sequences import Mode, Order, PixelScale, Preprocessing, Standardize
from lfw_seq.data.split import Split
from lfw_seq.parts import Bounds, Seed, build_part, check_arguments, check_value

BatchSize = Annotated[int, Bounds(1, 2**31 - 1)]
STAGES = ("train", "val", "test")
SPLIT = [field.name for field in fields(Split) if field.name != "split_seed"]  # keys of conf/data/base.yaml
READING = ("order", "pixel_guard", "pixel_scale", "standardize", "batch_size", "eval_batch_size")
Batch = tuple[Tensor, Tensor]
MakeSource = Callable[[dict[str, Any]], Source]  # from its keys
instantiate_source: MakeSource = partial(build_part, "data", kind=Source)


def derive_seed(seed: int, epoch: int) -> int:
    """Derive a seed from two non-negative ints with NumPy's SeedSequence; similar pairs give independent streams."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


@lru_cache(maxsize=1)
def shuffled(size: int, seed: int, epoch: int) -> Tensor:
    """Permutation of an epoch, (size,), from seed and epoch alone, so that a resumed run continues the same order."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(derive_seed(seed, epoch)))


@dataclass(frozen=True)
class BatchDataset(Dataset[Batch]):
    """A dataset whose items are whole batches, (B, T, F) and (B,)."""

    rows: Tensor  # (N, T, F)
    labels: Tensor  # (N,)
    batch_size: int  # B; the last batch may be smaller
    order: Callable[[], Tensor] | None = None  # returns the current epoch's permutation, (N,)

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        if self.order is None:
            return self.rows[part], self.labels[part]
        images = self.order()[part].to(self.labels.device)
        return self.rows[images], self.labels[images]


def loader(dataset: BatchDataset, processes: int = 1, rank: int = 0) -> DataLoader[Batch]:
    """DataLoader of all batches, or of those of process `rank` of `processes`."""
    # Lightning would insert its own sampler, which shuffles anew in the first epoch after a resume.
    sampler: DistributedSampler[Batch] = DistributedSampler(dataset, processes, rank, shuffle=False)
    # A DataLoader draws a worker seed each epoch; from the global generator, this would change what dropout draws.
    return DataLoader(dataset, batch_size=None, sampler=sampler, generator=torch.Generator())


class FaceRows(LightningDataModule):
    """Split row sequences of faces; `seed` is of the order of the training batches."""

    faces: Faces  # all images of the source; available after `setup`, as are the next three
    preprocessing: Preprocessing  # from a photo to the rows of these faces
    indices: dict[str, np.typing.NDArray[np.int64]]  # of the images of "train", "val" and "test"
    tensors: dict[str, Batch]  # by stage, rows (N, T, F) in [0, 1], not multiplied by `pixel_scale`, and class ids (N,)

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
        height, width = faces.images.shape[1:3]
        self.preprocessing = Preprocessing(self.source.crop, height, width, faces.images.ndim == 4, self.order)
        rows, labels = torch.from_numpy(self.preprocessing.rows(faces.images)), torch.from_numpy(faces.labels)
        self.tensors = {stage: (rows[part], labels[part]) for stage, part in self.indices.items()}
        if self.split.val_from == "test":  # not a third copy
            self.tensors["val"] = self.tensors["test"]
        self.faces = faces

    @property
    def shape(self) -> tuple[int, int]:
        """Steps T and features F of a sequence."""
        return self.preprocessing.shape

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
            return loader(BatchDataset(rows, labels, self.batch_sizes[stage]))
        overfits = trainer.overfit_batches  # type: ignore[attr-defined]  # not declared for mypy
        order = None if overfits else lambda: shuffled(len(labels), self.seed, trainer.current_epoch)
        dataset = BatchDataset(rows, labels, self.batch_sizes[stage], order)
        return loader(dataset, trainer.world_size, trainer.global_rank)


def build(data: dict[str, Any], split_seed: int, seed: int, make_source: MakeSource = instantiate_source) -> FaceRows:
    """Build the data module from the keys of `conf/data`: arguments of `Split`, of `FaceRows`, and of the source.

    For keys from an untrusted file, `make_source` is a restricted function.

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
