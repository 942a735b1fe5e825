"""The LFW source: on synthetic photos in scikit-learn's layout, on a small archive, and on the real photos."""

import hashlib
import os
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import fetch_lfw_people
from sklearn.datasets._lfw import FUNNELED_ARCHIVE

from lfw_seq.cli import UsageError
from lfw_seq.data import download
from lfw_seq.data.faces import Faces
from lfw_seq.data.images import read_image
from lfw_seq.data.lfw import LFW
from lfw_seq.data.split import Split

from .conftest import save_face

CROP = (0.28, 0.5 + 0.28, 78 / 250, 172 / 250)  # slice_ as fractions


def source(home: Path | None, cache: Path) -> LFW:
    keys: dict[str, Any] = {"download": False, "funneled": True, "min_faces_per_person": 2, "resize": 0.4}
    keys |= {"color": False, "slice_": [[70, 195], [78, 172]], "skip_unreadable": False, "cache_dir": str(cache)}
    return LFW(data_home=None if home is None else str(home), **keys)


def draw_lfw(home: Path, *counts: int) -> list[Path]:
    """Write so many pictures of Ann Lee, Bo, Cy, Di and Ed."""
    people = zip(("Ann_Lee", "Bo", "Cy", "Di", "Ed"), counts, strict=False)
    names = [f"{person}/{person}_{n:04d}.jpg" for person, count in people for n in range(count)]
    photos = [home / "lfw_home" / "lfw_funneled" / name for name in names]
    for tone, path in enumerate(photos):
        save_face(path, tone + 1)
    return photos


def theirs(home: Path, copy: Path, **arguments: Any) -> Any:
    """Load the photos with scikit-learn, through links, since it writes into its folder."""
    (copy / "lfw_home").mkdir(parents=True)
    (copy / "lfw_home" / "lfw_funneled").symlink_to((home / "lfw_home" / "lfw_funneled").resolve())
    for target in ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt"):
        (copy / "lfw_home" / target).touch()
    return fetch_lfw_people(data_home=str(copy), download_if_missing=False, **arguments)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tree(root: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*"))


def test_faces_keep_their_files_and_the_data_folder_stays_as_it_was(tmp_path: Path) -> None:
    draw_lfw(tmp_path / "home", 3, 2, 1)
    root = tmp_path / "home" / "lfw_home" / "lfw_funneled"
    (root / "Bo" / ".DS_Store").write_text("x")
    before = tree(tmp_path / "home")
    faces = source(tmp_path / "home", tmp_path / "cache").load()
    assert tree(tmp_path / "home") == before
    assert (faces.names, faces.source, faces.images.shape) == (("Ann Lee", "Bo"), "LFW (funneled)", (5, 50, 37))
    for image, label, file in zip(faces.images, faces.labels, faces.files, strict=True):
        assert np.array_equal(image, read_image(root / file, CROP, 50, 37, color=False))
        assert file.startswith(faces.names[label].replace(" ", "_"))


def test_every_parameter_acts(tmp_path: Path) -> None:
    photos, lfw = draw_lfw(tmp_path, 3, 2, 1), source(tmp_path, tmp_path / "cache")
    assert replace(lfw, resize=0.5).load().images.shape == (5, 62, 47)
    assert replace(lfw, resize=None, color=True).load().images.shape == (5, 125, 94, 3)
    assert replace(lfw, min_faces_per_person=3).load().names == ("Ann Lee",)
    assert replace(lfw, min_faces_per_person=1, slice_=None, resize=0.1).load().images.shape == (6, 25, 25)
    strangers = replace(lfw, min_faces_per_person=3).strangers()
    assert strangers is not None
    assert (strangers.names, strangers.source) == (("Bo", "Cy"), "LFW (funneled)")
    assert replace(lfw, min_faces_per_person=1).strangers() is None
    with pytest.raises(UsageError, match="lfw_home/lfw and"):
        replace(lfw, funneled=False).load()
    photos[1].write_bytes(photos[1].read_bytes()[:3000])
    with pytest.raises(UsageError, match=photos[1].name):
        lfw.load()
    assert len(replace(lfw, skip_unreadable=True).load().files) == 4


def test_the_data_home_is_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_lfw(tmp_path / "home" / "scikit_learn_data", 3, 2)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "elsewhere"))
    assert len(source(None, tmp_path / "cache").load().files) == 5


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small archive at the URL of LFW."""
    draw_lfw(tmp_path / "made", 3, 2)
    path = tmp_path / "lfw-funneled.tgz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "made" / "lfw_home" / "lfw_funneled", "lfw_funneled")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    remote = FUNNELED_ARCHIVE._replace(url=path.as_uri(), checksum=checksum)
    monkeypatch.setattr(download, "FUNNELED_ARCHIVE", remote)
    return path


def test_missing_photos_are_downloaded_with_a_progress_bar_by_concurrent_calls_too(
    tmp_path: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lfw_home = tmp_path / "home" / "lfw_home"
    for name, age in ((".lfw-killed", 2 * 24 * 3600), (".lfw-running", 60)):
        (lfw_home / name).mkdir(parents=True)
        os.utime(lfw_home / name, (time.time() - age,) * 2)
    lfw = replace(source(tmp_path / "home", tmp_path / "cache"), download=True)
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(lfw.load) for _ in range(4)]
    assert {len(result.result().files) for result in results} == {5}
    assert "Downloading LFW" in capsys.readouterr().err
    assert names(lfw_home) == [".lfw-running", "lfw_funneled"]


def test_a_wrong_or_unreachable_archive_leaves_nothing(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "home").mkdir()
    lfw = replace(source(tmp_path / "home", tmp_path / "cache"), download=True)
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(UsageError, match="SHA-256"):
        lfw.load()
    assert names(tmp_path / "home" / "lfw_home") == []
    archive.unlink()
    (tmp_path / "home" / "lfw_home").rmdir()
    with pytest.raises(UsageError, match=r"no LFW in .*lfw_funneled and no download .*data=synthetic"):
        lfw.load()
    assert names(tmp_path / "home") == []


def compare(faces: Faces, lfw: LFW, expected: Any) -> None:
    """Assert equality with scikit-learn's images and names, and that `files` are theirs."""
    assert np.array_equal(faces.images, expected.images)
    assert [faces.names[label] for label in faces.labels] == [expected.target_names[t] for t in expected.target]
    height, width = faces.images.shape[1:3]
    for index in (0, len(faces.files) // 2, -1):
        photo = Path(str(lfw.data_home)) / "lfw_home" / "lfw_funneled" / faces.files[index]
        assert np.array_equal(faces.images[index], read_image(photo, lfw.crop, height, width, lfw.color))


@pytest.mark.lfw
@pytest.mark.parametrize(
    "changes",
    [
        {"resize": 0.5},
        {"resize": None},
        {"color": True},
        {"slice_": None, "resize": 0.1},
        {"slice_": [[0, 250], [25, 225]], "resize": 0.3},
    ],
)
def test_a_part_of_real_lfw_equals_scikit_learns(lfw_home: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    some = tmp_path / "some" / "lfw_home" / "lfw_funneled"
    some.mkdir(parents=True)
    people = sorted((lfw_home / "lfw_home" / "lfw_funneled").iterdir())
    for person in people[:: len(people) // 200]:
        (some / person.name).symlink_to(person.resolve())
    lfw = replace(source(tmp_path / "some", tmp_path / "cache"), **changes)
    parts = None if lfw.slice_ is None else tuple(slice(*part) for part in lfw.slice_)
    keys = {"min_faces_per_person": 2, "resize": lfw.resize, "color": lfw.color, "slice_": parts}
    faces = lfw.load()
    assert len(faces.names) > 5
    compare(faces, lfw, theirs(tmp_path / "some", tmp_path, **keys))


@pytest.mark.lfw
def test_real_lfw_and_its_split_are_the_labs(lfw_home: Path, tmp_path: Path) -> None:
    lfw = replace(source(lfw_home, tmp_path / "cache"), min_faces_per_person=70)
    faces = lfw.load()
    compare(faces, lfw, theirs(lfw_home, tmp_path, min_faces_per_person=70, resize=0.4))
    assert faces.fingerprint == "803c61cbabdc9ef5", "recorded runs depend on it"
    assert (faces.names[0], faces.names[-1]) == ("George W Bush", "Hugo Chavez")
    assert np.bincount(faces.labels).tolist() == [530, 236, 144, 121, 109, 77, 71]
    split = Split(test_size=0.2, val_size=0.1, val_from="train", train_size=1.0, split_seed=42, fold=None, num_folds=5)
    train, val, test = split.cut(faces.labels, faces.names)
    assert [len(train), len(val), len(test)] == [927, 103, 258]
    assert (faces.labels[test] == 0).sum() == 106
    assert (faces.labels[np.concatenate([train, val])] == 0).sum() == 424
