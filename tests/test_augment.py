"""Preprocessing of rows: layout, standardization, augmentation."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from lfw_seq.data.augment import Augment
from lfw_seq.data.sequences import Layout, Standardize, sequences

GRAY = Layout(columns=False, colours=1)
OFF = dict.fromkeys([field.name for field in fields(Augment)][2:], 0.0)
IDS = torch.arange(64) % 7


def augment(layout: Layout = GRAY, **values: float) -> Augment:
    return Augment(layout, 7, **(OFF | values))


def faces(count: int = 64, height: int = 10, width: int = 8) -> Tensor:
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("order", ["top_down", "bottom_up", "columns"])
def test_layout_inverts_sequences(order: str, colours: int) -> None:
    photos = np.random.default_rng(0).random((2, 5, 4, 3) if colours == 3 else (2, 5, 4), dtype=np.float32)
    rows = torch.from_numpy(sequences(photos, order))
    layout = Layout(order == "columns", colours)
    images = layout.images(rows)
    expected = torch.from_numpy(photos).reshape(2, 5, 4, colours).permute(0, 3, 1, 2)
    assert torch.equal(images, expected.flip(2) if order == "bottom_up" else expected)
    assert torch.equal(layout.rows(images), rows)
    assert torch.equal(layout.mirror(rows), torch.from_numpy(sequences(photos[:, :, ::-1], order)))


def test_standardization() -> None:
    rows = torch.rand(20, 5, 4) * 0.5 + torch.rand(20, 1, 1)
    image = Standardize("image", 5, 4)
    assert torch.allclose(image(rows).mean(dim=(1, 2)), torch.zeros(20), atol=1e-5)
    assert torch.allclose(image(rows).std(dim=(1, 2), correction=0), torch.ones(20), atol=1e-5)
    assert torch.allclose(image(rows / 255), image(rows), atol=1e-3), "pixels divided by 255 twice give the same"
    assert image(torch.full((1, 5, 4), 0.3)).abs().max() == 0
    assert image.state_dict() == {}
    assert Standardize("none", 5, 4)(rows) is rows
    pixel = Standardize("pixel", 5, 4)
    pixel.fit(rows)
    assert torch.allclose(pixel(rows).mean(dim=0), torch.zeros(5, 4), atol=1e-5)
    assert torch.allclose(pixel(rows).std(dim=0, correction=0), torch.ones(5, 4), atol=1e-5)


def test_everything_off_changes_nothing() -> None:
    rows = faces()
    changed, targets = augment()(rows, IDS)
    assert torch.equal(changed, rows)
    assert targets is IDS


def test_mirror() -> None:
    rows = faces()
    always, _ = augment(mirror=1)(rows, IDS)
    assert torch.allclose(always, rows.flip(2), atol=1e-6)
    columns, _ = augment(Layout(columns=True, colours=1), mirror=1)(rows.transpose(1, 2), IDS)
    assert torch.allclose(columns.transpose(1, 2), rows.flip(2), atol=1e-6)
    torch.manual_seed(0)
    half, _ = augment(mirror=0.5)(rows, IDS)
    flipped, kept = ((half - other).abs().amax(dim=(1, 2)) < 1e-6 for other in (rows.flip(2), rows))
    assert (flipped ^ kept).all()
    assert 20 <= flipped.sum() <= 44


def test_rotation_turns_pixels_not_proportions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfw_seq.data.augment.uniform", lambda images: torch.full((len(images),), 0.5))
    square = faces(3, 9, 9)
    turned, _ = augment(rotation=180)(square, IDS[:3])  # by a quarter
    assert torch.allclose(turned, square.rot90(1, (1, 2)), atol=1e-5)
    tall = torch.zeros(1, 21, 11)
    tall[0, 10, 6:9] = 1  # a bar right of the middle
    turned, _ = augment(rotation=180)(tall, IDS[:1])
    assert torch.allclose(turned[0].sum(), torch.tensor(3.0), atol=1e-4), "a bar of three pixels keeps its length"
    assert torch.allclose(turned[0, :, 5].sum(), torch.tensor(3.0), atol=1e-4), "it stands upright in the middle column"


def test_shift_and_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfw_seq.data.augment.uniform", lambda images: torch.ones(len(images)))
    rows = faces()
    moved, _ = augment(shift=0.5)(rows, IDS)  # half of 10 rows and of 8 pixels
    assert torch.allclose(moved[:, :5, :4], rows[:, 5:, 4:], atol=1e-5)
    assert torch.allclose(moved[:, 5:, :4], rows[:, -1:, 4:].expand(-1, 5, -1), atol=1e-5), "the edge is repeated"
    place = torch.arange(31) - 15.0
    blob = torch.exp(-(place[:, None] ** 2 + place**2) / 18)[None]
    larger, _ = augment(scale=0.5)(blob, IDS[:1])
    assert larger.sum().item() == pytest.approx(blob.sum().item() * 1.5**2, rel=0.02)


def test_brightness_and_contrast_are_relative_to_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfw_seq.data.augment.uniform", lambda images: torch.ones(len(images)))
    rows = faces()
    lit, _ = augment(brightness=0.5, contrast=0.2)(rows, IDS)
    spread, mean = torch.std_mean(rows, dim=(1, 2))
    assert torch.allclose(lit.mean(dim=(1, 2)), mean + 0.5 * spread, atol=1e-5)
    assert torch.allclose(lit.std(dim=(1, 2)), 1.2 * spread, atol=1e-5)


def test_cutout_covers_one_rectangle_with_the_mean() -> None:
    torch.manual_seed(0)
    rows = faces(400, 20, 10)
    covered, _ = augment(cutout=0.5, cutout_size=0.4)(rows, torch.arange(400) % 7)
    changed = covered != rows  # (B, T, F)
    assert 0.4 < changed.flatten(1).any(dim=1).float().mean() < 0.6
    high, wide = changed.any(dim=2).sum(dim=1), changed.any(dim=1).sum(dim=1)  # (B,)
    assert [int(high.max()), int(wide.max())] == [8, 4]
    assert torch.equal(changed.sum(dim=(1, 2)), high * wide), "a rectangle"
    means = rows.mean(dim=(1, 2), keepdim=True).expand_as(rows)
    assert torch.allclose(covered[changed], means[changed], atol=1e-6)


def test_mixup_mixes_images_and_targets_alike() -> None:
    torch.manual_seed(0)
    ids = torch.arange(7)
    rows = torch.eye(7)[:, None, :].expand(7, 3, 7)  # image i encodes its own class
    mixed, targets = augment(mixup=0.4)(rows, ids)
    assert torch.allclose(mixed, targets[:, None, :].expand(7, 3, 7), atol=1e-6)
    assert torch.allclose(targets.sum(dim=1), torch.ones(7))
    assert targets.gt(0).sum(dim=1).max() == 2
    many = augment(mixup=0.4)(rows.repeat(500, 1, 1), ids.repeat(500))[1]
    own = many[torch.arange(3500), ids.repeat(500)]
    assert own.var().item() == pytest.approx(0.25 / 1.8, rel=0.3)  # Beta(a, a) has variance 1 / (4 (2 a + 1))


def test_draws_follow_torchs_seed_and_differ_by_image() -> None:
    everything = augment(GRAY, **(dict.fromkeys(OFF, 0.1) | {"mirror": 0.5, "rotation": 10, "cutout": 0.5, "mixup": 1}))
    rows = faces(1).expand(64, 10, 8)
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(everything(rows, IDS))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][0], results[2][0])
    assert len(results[0][0].flatten(1).unique(dim=0)) == 64
    assert results[0][0].mean().item() == pytest.approx(rows.mean().item(), abs=0.1)
