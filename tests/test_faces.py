"""Sources: class order, pixel guard, synthetic faces, folders of photos, cache."""

import logging
import os
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lfw_seq.cli import UsageError
from lfw_seq.data import images
from lfw_seq.data.faces import Faces, by_count, check_memory, check_pixels
from lfw_seq.data.folder import Folder
from lfw_seq.data.images import person_files, read_image
from lfw_seq.data.synthetic import Synthetic, image_counts

from .conftest import save_face


def test_people_are_ordered_by_count_and_ties_by_name() -> None:
    ids, names = by_count(["b", "a", "c", "c", "b", "d", "c"])
    assert names == ("c", "b", "a", "d")
    assert ids.tolist() == [1, 2, 0, 0, 1, 3, 0]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([0.0, 1.5], r"from 0 to 1\.5: .*divide 8-bit pixels by 255"),
        ([-0.1, 0.5], r"from -0\.1 to 0\.5: expected \[0, 1\]"),
        ([0.0, np.nan], "finite"),
        ([0.0, np.inf], "finite"),
        ([0.0, 1 / 255], "divided by 255 twice .* or every photo is almost black"),
    ],
)
def test_pixels_that_are_no_photos_are_refused(pixels: list[float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_pixels(np.array([[pixels]], dtype=np.float32))
    check_pixels(np.array([[[0, 1]]], dtype=np.float32))


def test_images_that_do_not_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfw_seq.data.faces.os.sysconf", {"SC_PHYS_PAGES": 2**18, "SC_PAGE_SIZE": 2**12}.get)
    check_memory("data.num_images=40000", 40_000, 50, 37)
    with pytest.raises(UsageError, match=r"^data\.num_images=9000000: 9,000,000 images .* 186\.1 GiB .* 1\.0;"):
        Synthetic(num_people=7, num_images=9_000_000, height=50, width=37, seed=0)


@pytest.mark.parametrize(
    ("source", "fingerprint"),
    [(Synthetic(7, None, 50, 37, 0), "daa4370cd8879329"), (Synthetic(12, 1500, 20, 16, 2), "e5d67bee37f8f828")],
)
def test_drawn_faces_do_not_depend_on_the_c_library(source: Synthetic, fingerprint: str) -> None:
    assert source.load().fingerprint == fingerprint


@settings(max_examples=50, deadline=None)
@given(people=st.integers(2, 60), spare=st.integers(0, 5000))
def test_counts_fall_and_add_up(people: int, spare: int) -> None:
    counts = image_counts(people, 3 * people + spare)
    assert counts.sum() == 3 * people + spare
    assert counts.min() >= 3
    assert (np.diff(counts) <= 0).all()


def folder(root: Path, cache: Path, **changes: object) -> Folder:
    keys: dict[str, object] = {"min_faces_per_person": 1, "height": 50, "width": 37, "crop": None, "color": False}
    return Folder(root=str(root), cache_dir=str(cache), **({"skip_unreadable": False} | keys | changes))  # type: ignore[arg-type]


def test_folder_reads_formats_sizes_and_modes(tmp_path: Path) -> None:
    root = tmp_path / "Лица mine"
    for index, (suffix, mode, size) in enumerate(
        [("jpg", "RGB", (250, 250)), ("png", "L", (80, 60)), ("webp", "RGB", (33, 400)), ("png", "RGBA", (37, 50))]
    ):
        save_face(root / "Ann_Lee" / f"{index}.{suffix}", index + 1, size, mode)
        save_face(root / "Bo" / f"{index}.{suffix}", index + 9, size, mode)
    save_face(root / "Bo" / "more.JPEG", 3)
    save_face(root / "Bo" / ".hidden.jpg", 3)
    save_face(root / ".hidden" / "0.jpg", 3)
    (root / "Bo" / "folder.jpg").mkdir()
    (root / "Bo" / "notes.txt").write_text("not an image, and not called one")
    faces = folder(root, tmp_path / "cache").load()
    assert faces.names == ("Bo", "Ann Lee")
    assert faces.images.shape == (9, 50, 37)
    assert faces.files[0] == "Ann_Lee/0.jpg"
    assert folder(root, tmp_path / "cache", color=True, height=20, width=10).load().images.shape == (9, 20, 10, 3)
    strangers = folder(root, tmp_path / "cache", min_faces_per_person=5).strangers()
    assert strangers is not None
    assert strangers.files == faces.files[:4]


def test_exif_orientation_is_honored(tmp_path: Path) -> None:
    pixels = np.zeros((50, 37), dtype=np.uint8)
    pixels[:10] = 255  # bright on top
    upright = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to view
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    seen = read_image(tmp_path / "turned.png", None, 50, 37, color=False)
    assert np.array_equal(seen, pixels / np.float32(255))


def test_sixteen_bits_a_pixel_keep_their_scale(tmp_path: Path) -> None:
    values = np.full((50, 37), 40_000, dtype=np.uint16)
    values[:5], values[5:10] = 0, 65_535
    Image.fromarray(values).save(tmp_path / "a.png")
    seen = read_image(tmp_path / "a.png", None, 50, 37, color=False)
    assert np.allclose(seen, values / 65_535, atol=1e-6)
    color = read_image(tmp_path / "a.png", None, 20, 15, color=True)
    assert color.shape == (20, 15, 3)
    assert 0 <= color.min() < color.max() <= 1


def test_crop_is_a_fraction_of_the_photo(tmp_path: Path) -> None:
    pixels = np.arange(100 * 200, dtype=np.uint32).reshape(100, 200)
    Image.fromarray((pixels % 251).astype(np.uint8)).save(tmp_path / "a.png")
    kept = read_image(tmp_path / "a.png", [0.1, 0.6, 0.25, 0.5], 50, 50, color=False)
    assert np.allclose(kept * 255, (pixels % 251)[10:60, 50:100], atol=1e-3)
    assert read_image(tmp_path / "a.png", [0.5, 0.5001, 0, 1], 5, 5, color=False).shape == (5, 5)


@pytest.mark.parametrize(("size", "shape"), [((137, 50), (50, 37)), ((1, 1), (50, 37)), ((3, 1), (4096, 1))])
def test_without_a_crop_the_center_keeps_its_shape(
    tmp_path: Path, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    wide = np.zeros(size[::-1], dtype=np.uint8)
    wide[:, size[0] // 2 - 18 if size[0] > 36 else 0 : size[0] // 2 + 19] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert np.allclose(read_image(tmp_path / "a.png", None, *shape, color=False), 200 / 255)


@pytest.mark.parametrize("spoil", ["text", "cut", "eps", "empty"])
def test_files_that_are_no_images_are_named_and_skipped_only_if_configured(tmp_path: Path, spoil: str) -> None:
    for person in ("a", "b"):
        for index in range(3):
            save_face(tmp_path / "faces" / person / f"{index}.jpg", index + 1)
    bad = tmp_path / "faces" / "a" / "1.jpg"
    whole = bad.read_bytes()
    if spoil == "eps":
        Image.new("RGB", (50, 50)).save(bad, format="EPS")
    else:
        bad.write_bytes({"text": b"plain text", "cut": whole[:2000], "empty": b""}[spoil])
    with pytest.raises(UsageError, match=r"a/1.jpg: not a readable JPEG, PNG or WebP image .*skip_unreadable=true$"):
        folder(tmp_path / "faces", tmp_path / "cache").load()
    faces = folder(tmp_path / "faces", tmp_path / "cache", skip_unreadable=True).load()
    assert faces.files == ("a/0.jpg", "a/2.jpg", "b/0.jpg", "b/1.jpg", "b/2.jpg")


def test_loops_broken_links_and_names_outside_utf8(tmp_path: Path) -> None:
    save_face(tmp_path / "faces" / "a" / "0.jpg", 1)
    for name, target in (("loop", "loop"), ("up", ".."), ("nothing", "missing")):
        (tmp_path / "faces" / name).symlink_to(target)
    (tmp_path / "faces" / "a" / "up").symlink_to("..")
    assert person_files(tmp_path / "faces", 1) == ["a/0.jpg"]
    save_face(tmp_path / "faces" / os.fsdecode(b"Jos\xe9") / "0.jpg", 1)
    with pytest.raises(UsageError, match=r"'Jos\\udce9/0.jpg' is not a name in UTF-8; rename it"):
        person_files(tmp_path / "faces", 1)


def test_cache_is_used_and_rebuilt_when_stale_or_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, decode = tmp_path / "faces" / "a" / "0.png", Mock()
    save_face(photo, 1)
    monkeypatch.setattr(images, "read_image", decode)

    def get(value: float) -> Faces:
        decode.return_value = np.full((50, 37), value, dtype=np.float32)
        return folder(tmp_path / "faces", tmp_path / "cache").load()

    first, kept = get(0.1), get(0.2)
    assert decode.call_count == 1
    assert kept.fingerprint == first.fingerprint
    assert (kept.names, kept.files, kept.source) == (first.names, first.files, first.source)
    os.utime(photo, ns=(0, 0))
    stale = get(0.3)
    assert stale.images[0, 0, 0] == np.float32(0.3)
    (path,) = (tmp_path / "cache").glob("*.npz")
    whole = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        for damage in (whole[:-100], b"", whole.replace(np.float32(0.3).tobytes(), np.float32(0.9).tobytes(), 1)):
            path.write_bytes(damage)
            assert get(0.3).fingerprint == stale.fingerprint
    assert decode.call_count == 5
    assert caplog.text.count("damaged") == 3


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_face(tmp_path / "faces" / "a" / "0.png", 1)
    (tmp_path / "file").write_text("")
    assert folder(tmp_path / "faces", tmp_path / "file" / "cache").load().images.shape == (1, 50, 37)
    assert "not cached" in caplog.text


def test_a_changed_photo_or_decoder_makes_the_cache_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(3):
        save_face(tmp_path / "faces" / "a" / f"{index}.png", index + 1)
    source = folder(tmp_path / "faces", tmp_path / "cache")
    before = source.load()
    save_face(tmp_path / "faces" / "a" / "1.png", 40)
    os.utime(tmp_path / "faces" / "a" / "1.png", ns=(0, 0))
    assert source.load().fingerprint != before.fingerprint
    (tmp_path / "images.py").write_text("another decoder")
    monkeypatch.setattr(images, "__file__", str(tmp_path / "images.py"))
    monkeypatch.setattr(images, "read_image", lambda *_: np.ones((50, 37), dtype=np.float32))
    assert source.load().images.min() == 1
