"""Split, order of rows, batches, and the data module of a config."""

from dataclasses import replace
from typing import Any, get_args
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch.utils.data import DistributedSampler

from lfw_seq.cli import CONF, UsageError
from lfw_seq.data.module import SPLIT, BatchDataset, FaceRows, build, derive_seed, loader, shuffled
from lfw_seq.data.sequences import Layout, Order, pictures, sequences
from lfw_seq.data.split import Split
from lfw_seq.data.synthetic import LFW_COUNTS, Synthetic
from lfw_seq.parts import to_plain

LABELS = np.repeat(np.arange(7), LFW_COUNTS)
NAMES = tuple("abcdefg")
DATA: Any = to_plain(
    OmegaConf.merge(*(OmegaConf.load(CONF / "data" / f"{name}.yaml") for name in ("base", "synthetic")))
)
del DATA["defaults"]


def split(**changes: Any) -> Split:
    return Split(**({key: DATA[key] for key in SPLIT} | {"split_seed": 42} | changes))


def faces(**changes: Any) -> FaceRows:
    data = build(DATA | {"num_images": 140} | changes, split_seed=42, seed=0)
    data.setup()
    return data


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), test_size=st.floats(0.05, 0.6), val_size=st.floats(0.05, 0.6))
def test_parts_are_disjoint_complete_and_stratified(seed: int, test_size: float, val_size: float) -> None:
    train, val, test = split(split_seed=seed, test_size=test_size, val_size=val_size).cut(LABELS, NAMES)
    assert np.array_equal(np.sort(np.concatenate([train, val, test])), np.arange(len(LABELS)))
    for person, count in enumerate(np.bincount(LABELS)):
        assert abs((LABELS[test] == person).sum() - test_size * count) <= 2
        assert abs((LABELS[val] == person).sum() - val_size * (1 - test_size) * count) <= 2


def test_default_split_is_the_labs() -> None:
    train, val, test = split().cut(LABELS, NAMES)
    assert [len(train), len(val), len(test)] == [927, 103, 258]
    assert np.bincount(LABELS[test])[0] == 106


@pytest.mark.parametrize("num_folds", [2, 5, 7])
def test_each_image_is_tested_once_over_the_folds(num_folds: int) -> None:
    tests = []
    for fold in range(num_folds):
        train, val, test = split(fold=fold, num_folds=num_folds).cut(LABELS, NAMES)
        assert len(set(train) | set(val) | set(test)) == len(LABELS)
        tests.append(test)
    assert np.array_equal(np.sort(np.concatenate(tests)), np.arange(len(LABELS)))


@pytest.mark.filterwarnings("error")
def test_a_person_with_fewer_photos_than_folds_is_named(caplog: pytest.LogCaptureFixture) -> None:
    split(fold=0, num_folds=5, val_from="none").cut(np.repeat([0, 1], [20, 3]), ("a", "b"))
    assert caplog.messages == ["data.num_folds=5: 'b' has 3 photos, so some folds test none of them"]


def test_without_validation_all_but_the_test_images_train() -> None:
    train, val, test = split(val_from="none").cut(LABELS, NAMES)
    leak = split(val_from="test").cut(LABELS, NAMES)
    assert len(val) == 0
    assert np.array_equal(train, leak[0])
    assert np.array_equal(test, leak[1])
    assert np.array_equal(test, leak[2])


@pytest.mark.parametrize("val_from", ["train", "test", "none"])
def test_a_fraction_of_the_training_images_keeps_validation_and_test(val_from: str) -> None:
    whole, part = (split(val_from=val_from, train_size=size).cut(LABELS, NAMES) for size in (1.0, 0.1))
    assert set(part[0]) < set(whole[0])
    assert abs(len(part[0]) - 0.1 * len(whole[0])) <= 1
    assert np.bincount(LABELS[part[0]], minlength=7).min() >= 5
    for index in (1, 2):
        assert np.array_equal(part[index], whole[index])


def test_images_that_cannot_be_split_are_named() -> None:
    with pytest.raises(UsageError, match=r"'b' has fewer than 3 photos: .*min_faces_per_person=3"):
        split().cut(np.array([0] * 9 + [1]), ("a", "b"))
    with pytest.raises(UsageError, match="only 'a'"):
        split().cut(np.zeros(9, dtype=np.int64), ("a",))
    with pytest.raises(UsageError, match=r"data\.num_folds=9 .* do not fit 12 images"):
        split(fold=0, num_folds=9).cut(np.repeat(np.arange(4), 3), tuple("abcd"))
    many = np.repeat(np.arange(40), 10)
    with pytest.raises(UsageError, match=r"40 people: data\.val_size: The number of images held out = 32 should be"):
        split().cut(many, tuple(map(str, many[::10])))
    few = {"test_size": 0.4, "val_from": "test", "train_size": 0.1, "split_seed": 97}
    with pytest.raises(UsageError, match=r"data\.train_size=0.1 do not fit 128 .*: none of 'e' would be trained on"):
        split(**few).cut(np.repeat(np.arange(5), [33, 31, 30, 29, 5]), tuple("abcde"))


def test_orders_of_rows() -> None:
    images = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(sequences(images, "top_down"), images)
    assert sequences(images, "bottom_up")[0, 0].tolist() == [8, 9, 10, 11]
    assert sequences(images, "columns").shape == (2, 4, 3)
    assert sequences(images, "columns")[0, 1].tolist() == [1, 5, 9]
    color = np.stack([images, images + 100, images + 200], axis=3)
    assert sequences(color, "top_down").shape == (2, 3, 12)
    assert sequences(color, "columns")[0, 1, :6].tolist() == [1, 101, 201, 5, 105, 205]
    for order in get_args(Order):
        assert np.array_equal(pictures(sequences(images, order), order, color=False), images)
        assert np.array_equal(pictures(sequences(color, order), order, color=True), color)


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 200), batch=st.integers(1, 70), epoch=st.integers(0, 1000))
def test_batches_hold_every_image_once_in_the_epochs_order(size: int, batch: int, epoch: int) -> None:
    rows, labels = torch.arange(size * 6.0).view(size, 3, 2), torch.arange(size)
    before = torch.get_rng_state()
    batches = loader(BatchDataset(rows, labels, batch, lambda: shuffled(size, 0, epoch)))
    seen = list(batches)
    assert len(seen) == len(batches) == -(-size // batch)
    assert torch.equal(torch.cat([y for _, y in seen]), shuffled(size, 0, epoch))
    assert torch.equal(torch.cat([x for x, _ in seen]), rows[torch.cat([y for _, y in seen])])
    assert torch.equal(torch.cat([y for _, y in loader(BatchDataset(rows, labels, batch))]), labels)
    assert torch.equal(torch.get_rng_state(), before), "loading must not shift what dropout draws"


def test_orders_differ_by_epoch_and_seed_and_repeat() -> None:
    assert derive_seed(0, 0) == 2968811710, "recorded runs depend on it"
    assert not torch.equal(shuffled(1030, 0, 3), shuffled(1030, 0, 4))
    assert not torch.equal(shuffled(1030, 0, 3), shuffled(1030, 3, 0))
    assert len({derive_seed(seed, epoch) for seed in range(40) for epoch in range(40)}) == 1600


def test_the_order_is_that_of_the_epoch_when_a_batch_is_fetched() -> None:
    data, trainer = faces(batch_size=16), Mock(current_epoch=0, world_size=1, global_rank=0, overfit_batches=0)
    trainer.strategy.root_device = torch.device("cpu")
    data.trainer = trainer
    batches, labels = data.train_dataloader(), data.tensors["train"][1]
    ahead = iter(batches)  # as in Lightning, before a resumed run restores its epoch
    trainer.current_epoch = 3
    for loaded in (ahead, batches):
        assert torch.equal(torch.cat([ids for _, ids in loaded]), labels[shuffled(len(labels), 0, 3)])
    assert torch.equal(torch.cat([ids for _, ids in data.test_dataloader()]), data.tensors["test"][1])


def test_several_processes_share_training_batches_and_each_evaluates_everything() -> None:
    rows, labels = torch.zeros(70, 2, 2), torch.arange(70)
    shared = BatchDataset(rows, labels, 16, lambda: shuffled(70, 0, 1))
    parts = [loader(shared, 2, rank) for rank in range(2)]
    seen = torch.cat([ids for part in parts for _, ids in part])
    assert [len(part) for part in parts] == [3, 3]
    assert set(seen.tolist()) == set(range(70))
    for part in (*parts, loader(BatchDataset(rows, labels, 16))):
        assert isinstance(part.sampler, DistributedSampler), "Lightning replaces no such sampler"


def test_rows_are_checked_and_standardized_as_scaled() -> None:
    data = faces(standardize="pixel", pixel_scale=0.5)
    rows, ids = data.tensors["train"]
    assert torch.equal(rows, torch.from_numpy(data.faces.images[data.indices["train"]]))
    assert data.class_counts("train") == torch.bincount(ids).tolist()
    assert torch.allclose(data.standardizer().mean, rows.mean(dim=0) / 2, atol=1e-6)
    assert (data.shape, data.preprocessing.layout) == ((50, 37), Layout(columns=False, colours=1))
    assert faces(pixel_scale=1 / 255, pixel_guard=False).tensors["train"][0].max() > 0.5
    leak = faces(val_from="test")
    assert leak.tensors["val"] is leak.tensors["test"]
    assert faces(val_from="none").val_dataloader() == []


def test_missing_keys_are_named() -> None:
    with pytest.raises(UsageError, match=r"^data\.order: missing; expected all keys of conf/data/base\.yaml"):
        build({key: value for key, value in DATA.items() if key != "order"}, split_seed=42, seed=0)
    source = Synthetic(num_people=2, num_images=None, height=8, width=8, seed=0)
    data = build(DATA, 42, 0, make_source=lambda rest: replace(source, seed=len(rest)))
    assert data.source == replace(source, seed=6)
