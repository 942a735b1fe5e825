"""Image files: the only place where photos are found and decoded, for training and for prediction alike."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lfw_seq.cli import UsageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
FORMATS = ("JPEG", "PNG", "WEBP")  # of Pillow's fifty: some start other programs


def person_files(root: Path, least: int) -> list[str]:
    """The images below `root` of people with at least `least` of them, sorted, as person/file.

    Hidden ones are left out. What is named like an image but is none, as a pipe or a link that leads nowhere, is
    listed: `read_image` refuses it.

    Raises:
        UsageError: nobody has as many, or a name is not text.
        OSError: a folder cannot be read.
    """
    files: list[str] = []
    for person in sorted(filter(is_folder, root.iterdir())):
        photos = [path for path in sorted(person.iterdir()) if path.suffix.lower() in SUFFIXES]
        photos = [path for path in photos if not is_folder(path) and not path.name.startswith(".")]
        if len(photos) >= least and not person.name.startswith("."):
            files += [f"{person.name}/{path.name}" for path in photos]
    if not files:
        raise UsageError(
            f"{root}: nobody has data.min_faces_per_person={least} or more images ({', '.join(SUFFIXES)}); "
            "expected <person>/<image>"
        )
    if odd := [name for name in files if re.search("[\ud800-\udfff]", name)]:  # how Python keeps bytes that are no text
        raise UsageError(f"{root}: {odd[0]!r} is not a name in UTF-8; rename it")
    return files


def is_folder(path: Path) -> bool:
    """Whether this is a folder; False for what cannot be one, as a loop of links or too long a name."""
    return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises


def read_image(path: Path, crop: Sequence[float] | None, height: int, width: int, color: bool) -> NDArray[np.float32]:
    """Decode, turn upright (EXIF), crop, resize (bicubic) and scale to [0, 1].

    Args:
        path: a JPEG, PNG or WebP file.
        crop: top, bottom, left, right as fractions of the image; without it the largest
            centered part with the shape height : width.
        height: rows of the result.
        width: pixels a row.
        color: keep red, green and blue; else their mean, as scikit-learn's LFW loader does.

    Returns:
        float32, (height, width), or (height, width, 3) in color.

    Raises:
        UsageError: the file is no image or is damaged; names the file.
    """
    try:
        if not path.is_file():
            raise OSError("no regular file")  # reading a pipe would wait for ever
        with Image.open(path, formats=FORMATS) as file:
            image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip to 8
            image = Image.fromarray(np.asarray(image, dtype=np.float32) / 257)
        else:
            image = image.convert("RGB")
    except Exception as error:  # a damaged file fails in whatever way its bytes lead to
        raise UsageError(
            f"{path}: not a readable JPEG, PNG or WebP image ({error}); mend or remove it, or leave it out with "
            "data.skip_unreadable=true"
        ) from error
    kept = image.crop(_box(image.width, image.height, crop, height / width)).resize((width, height))
    pixels = np.asarray(kept, dtype=np.float32) / np.float32(255)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels.clip(0, 1)[:, :, None], 3, axis=2)
    return pixels if color else pixels.mean(axis=2)


def _box(wide: int, high: int, crop: Sequence[float] | None, shape: float) -> tuple[int, int, int, int]:
    """The part to keep, in pixels, at least one: left, top, right, bottom."""
    if crop is not None:
        top, bottom, left, right = (
            round(edge * side) for edge, side in zip(crop, (high, high, wide, wide), strict=True)
        )
        return left, top, max(right, left + 1), max(bottom, top + 1)
    kept_wide, kept_high = max(1, min(wide, round(high / shape))), max(1, min(high, round(wide * shape)))
    left, top = (wide - kept_wide) // 2, (high - kept_high) // 2
    return left, top, left + kept_wide, top + kept_high
