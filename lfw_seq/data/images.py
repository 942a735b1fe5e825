"""One image file to one array: the only place where photos are decoded, for training and for prediction alike."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lfw_seq.errors import UsageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def person_files(root: Path, least: int) -> list[str]:
    """The images below `root` of people with at least `least` of them, sorted, as person/file.

    Raises:
        UsageError: nobody has as many.
    """
    files = []
    for person in _names(root, folders=True):
        photos = [name for name in _names(root / person, folders=False) if name.lower().endswith(SUFFIXES)]
        if len(photos) >= least:
            files += [f"{person}/{photo}" for photo in photos]
    if not files:
        raise UsageError(
            f"{root}: nobody has data.min_faces_per_person={least} or more images ({', '.join(SUFFIXES)}); "
            "expected <person>/<image>"
        )
    return files


def _names(folder: Path, folders: bool) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() == folders and not entry.name.startswith("."))


def read_image(path: Path, crop: Sequence[float] | None, height: int, width: int, color: bool) -> NDArray[np.float32]:
    """Decode, turn upright (EXIF), crop, resize (bicubic) and scale to [0, 1].

    Args:
        path: a JPEG, PNG or WebP file.
        crop: top, bottom, left, right as fractions of the image; without it the largest
            centred part with the shape height : width.
        height: rows of the result.
        width: pixels a row.
        color: keep red, green and blue; else their mean, as scikit-learn's LFW loader does.

    Returns:
        float32, (height, width), or (height, width, 3) in colour.

    Raises:
        UsageError: the file is no image or is damaged; names the file.
    """
    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(
            f"{path}: not a readable image ({error}); mend or remove it, or skip it with data.skip_unreadable=true"
        ) from error
    box = _box(upright.width, upright.height, crop, height / width)
    pixels = np.asarray(upright.crop(box).resize((width, height)), dtype=np.float32) / np.float32(255)
    return pixels if color else pixels.mean(axis=2)


def _box(wide: int, high: int, crop: Sequence[float] | None, shape: float) -> tuple[int, int, int, int]:
    """The part to keep, in pixels: left, top, right, bottom."""
    if crop is not None:
        top, bottom, left, right = crop
        return round(left * wide), round(top * high), round(right * wide), round(bottom * high)
    kept_wide, kept_high = min(wide, round(high / shape)), min(high, round(wide * shape))
    left, top = (wide - kept_wide) // 2, (high - kept_high) // 2
    return left, top, left + kept_wide, top + kept_high
