"""Synthetic faces: no photos, no download, any number of people and images.

A person is a random draw of shapes and tones; an image adds draws of pose, expression, light and noise. Faces are
soft ellipses painted back to front, in chunks of images.

Shape legend: N images, P people, H rows, W pixels a row.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lfw_seq.data.faces import Faces, check_memory
from lfw_seq.parts import Bounds, Count, Natural, check_value

Array = NDArray[Any]  # float32
Side = Annotated[int, Bounds(8, 1024)]  # of an image, in pixels

LFW_COUNTS = (530, 236, 144, 121, 109, 77, 71)
CHUNK = 512  # images painted at a time; fixed, since noise is drawn per chunk
NOISE = 0.03  # standard deviation of each pixel
# Largest normal draw: those above 3.6542 NumPy computes by the C library's logarithm, whose last digit may differ.
LARGEST = np.float32(3.654)
# Of a person: (low, high) of a uniform draw. Lengths are in half widths or half heights of the image; above 0,
# upper_lip and chin give a moustache and a beard.
TRAITS = {
    "skin": (0.50, 0.78), "head_width": (0.74, 0.96), "head_height": (1.00, 1.18), "hair": (0.06, 0.55),
    "hairline": (-1.02, -0.62), "brow_y": (-0.50, -0.36), "brow_tone": (0.10, 0.45), "brow_thick": (0.035, 0.09),
    "brow_slope": (-0.16, 0.16), "eye_x": (0.34, 0.46), "eye_y": (-0.28, -0.16), "eye_width": (0.13, 0.20),
    "eye_height": (0.05, 0.10), "nose_y": (0.10, 0.26), "nose_width": (0.12, 0.24), "mouth_y": (0.46, 0.62),
    "mouth_width": (0.24, 0.42), "lip_thick": (0.04, 0.10), "lip_tone": (0.22, 0.48), "upper_lip": (-0.12, 0.28),
    "chin": (-0.10, 0.22), "cheek": (-0.12, 0.12),
}  # fmt: skip
# Of an image: standard deviation of a normal draw around 0. A turn shifts the features within the head.
NUISANCES = {
    "shift_x": 0.05, "shift_y": 0.05, "size": 0.04, "tilt": 0.05, "turn": 0.07, "smile": 0.10, "open": 0.05,
    "raise": 0.03, "lids": 0.15, "light_x": 0.16, "light_y": 0.08, "gain": 0.10, "offset": 0.03, "background": 0.20,
}  # fmt: skip


@dataclass(frozen=True)
class Synthetic:
    """Synthetic faces with LFW's distribution of images per person."""

    crop: ClassVar[None] = None  # a face fills its image
    num_people: Annotated[int, Bounds(2, 100_000)]  # P
    num_images: Count | None  # N, at least 3 per person; None for LFW's own counts (1,288 for 7 people)
    height: Side
    width: Side
    seed: Natural  # of people and images

    def __post_init__(self) -> None:
        check_value("data.num_images", self.num_images, Annotated[int, Bounds(3 * self.num_people)] | None)
        count = self.num_images or int(image_counts(self.num_people, None).sum())
        check_memory(f"data.num_images={self.num_images}", count, self.height, self.width)

    def load(self) -> Faces:
        """Generate the faces, identical for equal arguments."""
        counts = image_counts(self.num_people, self.num_images)
        labels = np.repeat(np.arange(self.num_people, dtype=np.int64), counts)
        low, high = np.array(list(TRAITS.values()), dtype=np.float32).T
        people, photos = (np.random.default_rng([self.seed, stream]) for stream in range(2))
        traits = low + (high - low) * people.random((self.num_people, len(TRAITS)), dtype=np.float32)
        nuisances = _normal(photos, (len(labels), len(NUISANCES)))
        nuisances *= np.array(list(NUISANCES.values()), dtype=np.float32)
        images = np.empty((len(labels), self.height, self.width), dtype=np.float32)
        for start in range(0, len(labels), CHUNK):
            part = slice(start, start + CHUNK)
            faces = _paint(traits[labels[part]], nuisances[part], self.height, self.width)
            noise = _normal(np.random.default_rng([self.seed, 2, start]), faces.shape)
            images[part] = np.clip(faces + NOISE * noise, 0, 1)
        names = tuple(f"Person {index + 1}" for index in range(self.num_people))
        files = tuple(f"synthetic/{index:06d}" for index in range(len(labels)))
        return Faces(images, labels, names, files, f"synthetic faces (seed {self.seed})")


def image_counts(num_people: int, num_images: int | None) -> NDArray[np.int64]:
    """Images per person (P,), at least 3, by LFW's counts for seven people and 530 / rank for any further.

    With `num_images` they are distributed in proportion to these counts.
    """
    tail = [530 / (rank + 1) for rank in range(len(LFW_COUNTS), num_people)]
    weights = np.array([*LFW_COUNTS, *tail][:num_people])
    if num_images is None:
        return np.maximum(weights.astype(np.int64), 3)
    spare = num_images - 3 * num_people
    shares = spare * weights / weights.sum()
    counts = shares.astype(np.int64)
    counts[np.argsort(counts - shares, kind="stable")[: spare - counts.sum()]] += 1
    return -np.sort(-(counts + 3))


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.standard_normal(shape, dtype=np.float32).clip(-LARGEST, LARGEST)


def _paint(traits: Array, nuisances: Array, height: int, width: int) -> Array:
    """Faces (N, H, W), not clipped to [0, 1], from `TRAITS` (N, 22) and `NUISANCES` (N, 14)."""
    t = {name: traits[:, index, None, None] for index, name in enumerate(TRAITS)}  # each (N, 1, 1)
    n = {name: nuisances[:, index, None, None] for index, name in enumerate(NUISANCES)}
    y = np.linspace(-1, 1, height, dtype=np.float32)[None, :, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, None, :]
    x, y = (x - n["shift_x"] - n["tilt"] * y) / (1 + n["size"]), (y - n["shift_y"] + n["tilt"] * x) / (1 + n["size"])
    inner = x - n["turn"]  # (N, H, W): x relative to the features
    side = np.abs(inner)  # both eyes and both brows at once
    eye_x, eye_y = side - t["eye_x"], y - t["eye_y"]

    head = _ellipse(x, y, t["head_width"], t["head_height"], 7)
    shade = t["skin"] * (1.04 - 0.16 * x * x) + t["cheek"] * _ellipse(side - 0.5, y - 0.25, 0.35, 0.4, 1)
    brow = y - t["brow_y"] + n["raise"] - t["brow_slope"] * eye_x
    eye = _ellipse(eye_x, eye_y, t["eye_width"], t["eye_height"] * np.maximum(1 + n["lids"], 0.2), 2)
    nose_x, nose_y = t["nose_width"], y - t["nose_y"]
    lip_y = y - (t["mouth_y"] + t["nose_y"]) / 2 - 0.03
    moustache = _ellipse(inner, lip_y, t["mouth_width"] * 1.1, 0.10, 2) * np.clip(t["upper_lip"] * 3.5, 0, 0.9)
    beard = head * _step(y - 0.62 + 0.25 * side, 4) * np.clip(t["chin"] * 3.5, 0, 0.8)
    mouth, opened = y - t["mouth_y"] + n["smile"] * (inner * inner * 6 - 0.4), np.abs(n["open"])

    face = np.broadcast_to(0.45 + n["background"], x.shape).astype(np.float32)
    _blend(face, _ellipse(x, y + 0.15, t["head_width"] * 1.10, t["head_height"] * 1.06, 5), t["hair"])
    _blend(face, head, shade)
    _blend(face, head * _step(t["hairline"] + 0.12 * x * x - y, 9), t["hair"])
    _blend(face, _ellipse(eye_x, brow, t["eye_width"] * 1.35, t["brow_thick"], 2), t["brow_tone"])
    _blend(face, eye, np.float32(0.82))
    _blend(face, eye * _ellipse(eye_x, eye_y, 0.07, 0.09, 2), np.float32(0.08))
    face += 0.10 * _ellipse(inner - 0.04, nose_y + 0.2, nose_x * 0.45, 0.3, 1)
    _blend(face, _ellipse(side - nose_x * 0.5, nose_y, nose_x * 0.4, 0.05, 2), t["skin"] * 0.55)
    _blend(face, moustache, t["hair"])
    _blend(face, beard, t["hair"])
    _blend(face, _ellipse(inner, mouth, t["mouth_width"], t["lip_thick"] + opened, 2), t["lip_tone"])
    _blend(face, _ellipse(inner, mouth, t["mouth_width"] * 0.8, opened + 0.012, 2), np.float32(0.12))
    lit: Array = face * (1 + n["light_x"] * x + n["light_y"] * y + n["gain"]) + n["offset"]
    return lit.astype(np.float32, copy=False)


def _blend(face: Array, mask: Array, tone: Array | np.float32) -> None:
    """Blend a tone into `face` in place; `mask` is its opacity in [0, 1]."""
    face += mask * (tone - face)


def _ellipse(x: Array, y: Array, a: Array | float, b: Array | float, sharpness: float) -> Array:
    """Mask of an ellipse with semi-axes a and b: 1 inside, 0 outside, with a soft edge."""
    return _step(1 - (x / a) ** 2 - (y / b) ** 2, sharpness / 2)


def _step(value: Array, sharpness: float) -> Array:
    return np.clip(0.5 + sharpness * value, 0, 1)
