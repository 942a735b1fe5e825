"""Sources: class order, pixel guard, synthetic faces, folders, cache."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lfw_seq.data.cache import cached
from lfw_seq.data.faces import Faces, by_count, check_pixels
from lfw_seq.data.folder import Folder
from lfw_seq.data.images import read_image
from lfw_seq.data.synthetic import LFW_COUNTS, Synthetic, image_counts
from lfw_seq.errors import UsageError

from .conftest import save_face


def test_people_are_ordered_by_count_and_ties_by_name() -> None:
    ids, names = by_count(["b", "a", "c", "c", "b", "d", "c"])
    assert names == ("c", "b", "a", "d")
    assert ids.tolist() == [1, 2, 0, 0, 1, 3, 0]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([0.0, 1.5], "divide 8-bit pixels by 255"),
        ([-0.1, 0.5], "expected \\[0, 1\\]"),
        ([0.0, np.nan], "finite"),
        ([0.0, np.inf], "finite"),
        ([0.0, 1 / 255], "twice"),
    ],
)
def test_pixels_out_of_range_are_refused(pixels: list[float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_pixels(np.array([[pixels]], dtype=np.float32))


def test_pixels_in_range_pass() -> None:
    check_pixels(np.array([[[0.0, 1.0]]], dtype=np.float32))


def test_synthetic_faces_have_lfws_counts_and_repeat_by_seed() -> None:
    source = Synthetic(num_people=7, num_images=None, height=50, width=37, seed=0)
    faces, again, other = source.load(), source.load(), replace(source, seed=1).load()
    assert faces.images.shape == (1288, 50, 37)
    assert faces.images.dtype == np.float32
    assert np.bincount(faces.labels).tolist() == list(LFW_COUNTS)
    assert faces.fingerprint == again.fingerprint != other.fingerprint
    check_pixels(faces.images)
    assert faces.images.std(axis=0).min() > 0.02  # every pixel differs between faces


def test_synthetic_people_differ_more_than_their_own_photos() -> None:
    faces = Synthetic(num_people=7, num_images=700, height=50, width=37, seed=3).load()
    centred = faces.images - faces.images.mean(axis=(1, 2), keepdims=True)
    means = np.stack([centred[faces.labels == person].mean(axis=0) for person in range(7)])
    nearest = ((centred[:, None] - means) ** 2).sum(axis=(2, 3)).argmin(axis=1)
    assert 0.6 < (nearest == faces.labels).mean() < 0.999  # learnable, and not by a mean alone


@settings(max_examples=50, deadline=None)
@given(people=st.integers(2, 60), spare=st.integers(0, 5000))
def test_counts_fall_and_add_up(people: int, spare: int) -> None:
    counts = image_counts(people, 3 * people + spare)
    assert counts.sum() == 3 * people + spare
    assert counts.min() >= 3
    assert (np.diff(counts) <= 0).all()


def test_more_images_leave_the_people_as_they_are() -> None:
    small = Synthetic(num_people=3, num_images=30, height=50, width=37, seed=0).load()
    large = Synthetic(num_people=3, num_images=3000, height=50, width=37, seed=0).load()
    for person in range(3):
        a, b = (f.images[f.labels == person].mean(axis=0) for f in (small, large))
        others = [large.images[large.labels == other].mean(axis=0) for other in range(3) if other != person]
        assert ((a - b) ** 2).mean() < min(((a - other) ** 2).mean() for other in others)


def folder(root: Path, cache: Path, **changes: object) -> Folder:
    keys: dict[str, object] = {
        "min_faces_per_person": 1,
        "height": 50,
        "width": 37,
        "crop": None,
        "color": False,
        "skip_unreadable": False,
    }
    return Folder(root=str(root), cache_dir=str(cache), **(keys | changes))  # type: ignore[arg-type]


def test_folder_reads_formats_sizes_and_modes(tmp_path: Path) -> None:
    root = tmp_path / "Лица mine"
    for index, (suffix, mode, size) in enumerate(
        [("jpg", "RGB", (250, 250)), ("png", "L", (80, 60)), ("webp", "RGB", (33, 400)), ("png", "RGBA", (37, 50))]
    ):
        save_face(root / "Ann_Lee" / f"{index}.{suffix}", index + 1, size, mode)
        save_face(root / "Bo" / f"{index}.{suffix}", index + 9, size, mode)
    save_face(root / "Bo" / "more.JPEG", 3)
    (root / "Bo" / "notes.txt").write_text("not an image, and not called one")
    (root / ".hidden").mkdir()
    faces = folder(root, tmp_path / "cache").load()
    assert faces.names == ("Bo", "Ann Lee")
    assert faces.images.shape == (9, 50, 37)
    assert faces.files[0] == "Ann_Lee/0.jpg"
    assert folder(root, tmp_path / "cache", color=True, height=20, width=10).load().images.shape == (9, 20, 10, 3)


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    pixels = np.zeros((50, 37), dtype=np.uint8)
    pixels[:10] = 255  # bright on top
    upright = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    seen = read_image(tmp_path / "turned.png", None, 50, 37, color=False)
    assert np.array_equal(seen, pixels / np.float32(255))


def test_crop_is_a_fraction_of_the_photo(tmp_path: Path) -> None:
    pixels = np.arange(100 * 200, dtype=np.uint32).reshape(100, 200)
    Image.fromarray((pixels % 251).astype(np.uint8)).save(tmp_path / "a.png")
    kept = read_image(tmp_path / "a.png", [0.1, 0.6, 0.25, 0.5], 50, 50, color=False)
    assert np.allclose(kept * 255, (pixels % 251)[10:60, 50:100], atol=1e-3)


def test_without_a_crop_the_centre_keeps_its_shape(tmp_path: Path) -> None:
    wide = np.zeros((50, 137), dtype=np.uint8)
    wide[:, 50:87] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert np.allclose(read_image(tmp_path / "a.png", None, 50, 37, color=False), 200 / 255)


@pytest.mark.parametrize("spoil", ["text", "cut"])
def test_a_damaged_image_is_named_and_skipped_only_if_asked(tmp_path: Path, spoil: str) -> None:
    for person in ("a", "b"):
        for index in range(3):
            save_face(tmp_path / "faces" / person / f"{index}.jpg", index + 1)
    bad = tmp_path / "faces" / "a" / "1.jpg"
    bad.write_bytes(b"plain text" if spoil == "text" else bad.read_bytes()[:2000])
    with pytest.raises(UsageError, match=r"a/1.jpg.*skip_unreadable=true"):
        folder(tmp_path / "faces", tmp_path / "cache").load()
    faces = folder(tmp_path / "faces", tmp_path / "cache", skip_unreadable=True).load()
    assert len(faces.files) == 5
    assert "a/1.jpg" not in faces.files


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_faces_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=name):
        folder(tmp_path / name, tmp_path / "cache").load()


def faces_of(value: float) -> Faces:
    images = np.full((4, 5, 3), value, dtype=np.float32)
    return Faces(images, np.array([0, 0, 0, 1]), ("a", "b"), ("a/0", "a/1", "a/2", "b/0"), "test")


def test_cache_is_used_rebuilt_when_stale_and_noticed_when_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    built: list[float] = []

    def get(content: str, value: float) -> Faces:
        def build() -> Faces:
            built.append(value)
            return faces_of(value)

        return cached(str(tmp_path), {"resize": 0.4}, content, build)

    first = get("one", 0.1)
    kept = get("one", 0.2)
    assert built == [0.1]
    assert kept.fingerprint == first.fingerprint
    assert (kept.names, kept.files, kept.source) == (first.names, first.files, first.source)
    assert get("two", 0.3).images[0, 0, 0] == np.float32(0.3)
    (path,) = tmp_path.glob("*.npz")
    whole = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        for damage in (whole[:-100], b"", whole.replace(np.float32(0.3).tobytes(), np.float32(0.9).tobytes(), 1)):
            path.write_bytes(damage)
            assert get("two", 0.3).fingerprint == faces_of(0.3).fingerprint
    assert built == [0.1, 0.3, 0.3, 0.3, 0.3]
    assert caplog.text.count("damaged") == 3


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    faces = cached(str(tmp_path / "file" / "cache"), {}, "x", lambda: faces_of(0.5))
    assert faces.images.shape == (4, 5, 3)
    assert "not kept" in caplog.text


def test_a_changed_photo_makes_the_cache_stale(tmp_path: Path) -> None:
    for index in range(3):
        save_face(tmp_path / "faces" / "a" / f"{index}.png", index + 1)
    before = folder(tmp_path / "faces", tmp_path / "cache").load()
    save_face(tmp_path / "faces" / "a" / "1.png", 40)
    os.utime(tmp_path / "faces" / "a" / "1.png", ns=(0, 0))
    assert folder(tmp_path / "faces", tmp_path / "cache").load().fingerprint != before.fingerprint
