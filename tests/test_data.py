"""Split, reading order, batches."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfw_seq.data.batches import Batches, mix, shuffled
from lfw_seq.data.module import sequences
from lfw_seq.data.split import Split
from lfw_seq.data.synthetic import image_counts
from lfw_seq.errors import UsageError


def split(**changes: Any) -> Split:
    keys: dict[str, Any] = {
        "test_size": 0.2,
        "val_size": 0.1,
        "val_from": "train",
        "train_size": 1.0,
        "split_seed": 42,
        "fold": None,
        "num_folds": 5,
    }
    return Split(**(keys | changes))


LABELS = np.repeat(np.arange(7), image_counts(7, None))
NAMES = tuple("abcdefg")


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


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"test_size": 1.5}, "data.test_size=1.5"),
        ({"test_size": 0}, "data.test_size=0"),
        ({"val_size": 0}, "data.val_size=0"),
        ({"val_size": float("nan")}, "data.val_size=nan"),
        ({"train_size": 0}, "data.train_size=0"),
        ({"train_size": 1.01}, "data.train_size=1.01"),
        ({"val_from": "tset"}, "data.val_from=tset"),
        ({"split_seed": -1}, "split_seed=-1"),
        ({"fold": 5}, "data.fold=5"),
        ({"num_folds": 1}, "data.num_folds=1"),
        ({"fold": True}, "data.fold=True"),
    ],
)
def test_values_that_make_no_split_are_named(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(UsageError, match=f"^{key}: expected"):
        split(**changes)


def test_without_validation_all_but_the_test_images_train() -> None:
    train, val, test = split(val_from="none").cut(LABELS, NAMES)
    leak = split(val_from="test").cut(LABELS, NAMES)
    assert len(val) == 0
    assert np.array_equal(train, leak[0])
    assert np.array_equal(test, leak[2])


@pytest.mark.parametrize("val_from", ["train", "test", "none"])
def test_a_share_of_the_training_images_leaves_the_others_alone(val_from: str) -> None:
    whole, part = (split(val_from=val_from, train_size=size).cut(LABELS, NAMES) for size in (1.0, 0.1))
    assert set(part[0]) < set(whole[0])
    assert abs(len(part[0]) - 0.1 * len(whole[0])) <= 1
    assert np.bincount(LABELS[part[0]], minlength=7).min() >= 5
    for index in (1, 2):
        assert np.array_equal(part[index], whole[index])


def test_people_with_too_few_photos_are_named() -> None:
    with pytest.raises(UsageError, match=r"'b' has one photo.*min_faces_per_person=3"):
        split().cut(np.array([0] * 9 + [1]), ("a", "b"))
    with pytest.raises(UsageError, match="only 'a'"):
        split().cut(np.zeros(9, dtype=np.int64), ("a",))
    with pytest.raises(UsageError, match=r"data.test_size=0.01 .* do not fit 12 images"):
        split(test_size=0.01).cut(np.repeat(np.arange(4), 3), tuple("abcd"))


def test_orders_of_reading() -> None:
    images = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(sequences(images, "top_down"), images)
    assert sequences(images, "bottom_up")[0, 0].tolist() == [8, 9, 10, 11]
    assert sequences(images, "columns").shape == (2, 4, 3)
    assert sequences(images, "columns")[0, 1].tolist() == [1, 5, 9]
    colour = np.stack([images, images + 100, images + 200], axis=3)
    assert sequences(colour, "top_down").shape == (2, 3, 12)
    assert sequences(colour, "columns")[0, 1, :6].tolist() == [1, 101, 201, 5, 105, 205]


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 200), batch=st.integers(1, 70), epoch=st.integers(0, 1000))
def test_batches_hold_every_image_once_in_the_epochs_order(size: int, batch: int, epoch: int) -> None:
    rows, labels = torch.arange(size * 6.0).view(size, 3, 2), torch.arange(size)
    batches = Batches(rows, labels, batch, lambda: shuffled(size, 0, epoch))
    seen = list(batches)
    assert len(seen) == len(batches) == -(-size // batch)
    assert torch.equal(torch.cat([y for _, y in seen]), shuffled(size, 0, epoch))
    assert torch.equal(torch.cat([x for x, _ in seen]), rows[torch.cat([y for _, y in seen])])
    assert torch.equal(torch.cat([y for _, y in Batches(rows, labels, batch)]), labels)


def test_orders_differ_by_epoch_and_seed_and_repeat() -> None:
    assert torch.equal(shuffled(1030, 0, 3), shuffled(1030, 0, 3))
    assert not torch.equal(shuffled(1030, 0, 3), shuffled(1030, 0, 4))
    assert not torch.equal(shuffled(1030, 0, 3), shuffled(1030, 3, 0))
    assert len({mix(seed, epoch) for seed in range(40) for epoch in range(40)}) == 1600
