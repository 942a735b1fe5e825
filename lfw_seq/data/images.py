"""List and decode image files, for training and for prediction alike."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lfw_seq.cli import UsageError, as_typed

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MOST_PIXELS = 2**26  # of a photo
FORMATS = ("JPEG", "PNG", "WEBP")  # of Pillow's fifty: some run external programs


def person_files(root: Path, least: int) -> list[str]:
    """List the images of people with at least `least` of them below `root`, sorted, as person/file.

    Hidden files and folders are skipped. What has an image's suffix but is none, as a pipe or a broken link, is listed:
    `read_image` refuses it.

    Raises:
        UsageError: nobody has as many, or a name is not valid UTF-8.
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
    if odd := [name for name in files if re.search("[\ud800-\udfff]", name)]:  # surrogates: bytes that are not UTF-8
        raise UsageError(f"{root}: {odd[0]!r} is not a name in UTF-8; rename it")
    return files


def is_folder(path: Path) -> bool:
    """Whether this is a folder; False, not an error, for too long a name."""
    return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises


def is_range(edges: Sequence[float], most: int) -> bool:
    """Whether these are two increasing numbers in [0, `most`]."""
    return len(edges) == 2 and 0 <= edges[0] < edges[1] <= most


def check_crop(crop: Sequence[float] | None) -> None:
    """Raise UsageError unless a crop is None or fractions [top, bottom, left, right] of an image."""
    if crop is not None and not (is_range(crop[:2], 1) and is_range(crop[2:], 1)):
        raise UsageError(f"data.crop={as_typed(crop)}: expected fractions [top,bottom,left,right] from 0 to 1")


def read_image(path: Path, crop: Sequence[float] | None, height: int, width: int, color: bool) -> NDArray[np.float32]:
    """Decode, apply EXIF orientation, crop, resize (bicubic) and scale to [0, 1]; arguments as fields of `Folder`.

    Returns:
        float32, (height, width) as the mean of the colors, as in scikit-learn's loader; (height, width, 3) in color.

    Raises:
        UsageError: the file is damaged or not an image; names the file.
    """
    try:
        if not path.is_file():
            raise OSError("no regular file")  # reading a pipe would block forever
        with Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > MOST_PIXELS:
                raise ValueError(f"{file.width}x{file.height} pixels")  # some bytes can be gigabytes of one colour
            image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip to 8
            image = Image.fromarray(np.asarray(image, dtype=np.float32) / 257)
        else:
            image = image.convert("RGB")
    except Exception as error:  # a damaged file can raise anything
        raise UsageError(f"{path}: not a readable JPEG, PNG or WebP image ({error}); repair or remove it") from error
    face = image.crop(_box(image.width, image.height, crop, height / width)).resize((width, height))
    pixels = np.asarray(face, dtype=np.float32) / np.float32(255)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels.clip(0, 1)[:, :, None], 3, axis=2)
    return pixels if color else pixels.mean(axis=2)


def _box(width: int, height: int, crop: Sequence[float] | None, aspect: float) -> tuple[int, int, int, int]:
    """Region to keep in pixels, at least one each way: left, top, right, bottom."""
    if crop is not None:
        sides = height, height, width, width
        top, bottom, left, right = (round(edge * side) for edge, side in zip(crop, sides, strict=True))
        return left, top, max(right, left + 1), max(bottom, top + 1)
    kept_width, kept_height = max(1, min(width, round(height / aspect))), max(1, min(height, round(width * aspect)))
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    return left, top, left + kept_width, top + kept_height
