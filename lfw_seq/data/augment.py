"""Training faces changed at random, a whole batch at a time.

Shape legend: B batch, C colors, H image rows, W pixels a row, T steps of the sequence, F features a step, P people.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn import functional

from lfw_seq.data.batches import Batch
from lfw_seq.data.sequences import Layout
from lfw_seq.parts import Bounds

UpToOne = Annotated[float, Bounds(0, 1)]


@dataclass(frozen=True)
class Augment:
    """Mirrors, moves, turns, lights, covers and mixes images. A value of 0 leaves that out.

    Every image draws its own values, from torch's global generator of the batch's device. Moves, turns and scales are
    one bilinear resampling; what comes from outside repeats the edge. Brightness and contrast are in units of the
    image's own spread, so that they mean the same whether pixels are standardized or not; pixels may leave [0, 1].

    Attributes:
        layout: where the pixels of an image lie in its sequence.
        num_classes: P.
        mirror: probability of swapping left and right.
        shift: largest move, as a share of height and width.
        rotation: largest turn in degrees.
        scale: largest change of size, as a share.
        brightness: largest change of the mean, in standard deviations of the image.
        contrast: largest change of the standard deviation, as a share.
        cutout: probability of covering a rectangle with the image's mean (DeVries and Taylor, 2017).
        cutout_size: sides of the rectangle, as a share of height and width.
        mixup: alpha of mixup (Zhang et al., 2018): an image and its targets are mixed with another's of the batch,
            with a share from Beta(alpha, alpha).
    """

    layout: Layout
    num_classes: int
    mirror: UpToOne
    shift: Annotated[float, Bounds(0, 0.5)]
    rotation: Annotated[float, Bounds(0, 180)]
    scale: Annotated[float, Bounds(0, 0.9)]
    brightness: Annotated[float, Bounds(0, 10)]
    contrast: UpToOne
    cutout: UpToOne
    cutout_size: UpToOne
    mixup: Annotated[float, Bounds(0, 100)]

    def __call__(self, rows: Tensor, targets: Tensor) -> Batch:
        """Change rows (B, T, F) with their ids (B,); with mixup, targets are probabilities (B, P)."""
        images = self.layout.images(rows)
        if self.mirror or self.shift or self.rotation or self.scale:
            images = self._move(images)
        if self.brightness or self.contrast:
            images = self._light(images)
        if self.cutout and self.cutout_size:
            images = self._cover(images)
        rows = self.layout.rows(images)
        return self._mix(rows, targets) if self.mixup else (rows, targets)

    def _move(self, images: Tensor) -> Tensor:
        """(B, C, H, W) mirrored, turned, scaled and shifted: one affine map an image, in units of half its sides."""
        height, width = images.shape[2:]
        angle, size = math.radians(self.rotation) * uniform(images), 1 + self.scale * uniform(images)
        side = torch.where(torch.rand_like(size) < self.mirror, -1.0, 1.0)
        cos, sin = angle.cos() / size, angle.sin() / size
        shift_x, shift_y = 2 * self.shift * uniform(images), 2 * self.shift * uniform(images)
        across = torch.stack([side * cos, -sin * height / width, shift_x], dim=1)  # (B, 3)
        down = torch.stack([side * sin * width / height, cos, shift_y], dim=1)
        grid = functional.affine_grid(torch.stack([across, down], dim=1), list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def _light(self, images: Tensor) -> Tensor:
        """(B, C, H, W) with another mean and spread."""
        spread, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
        brightness, contrast = (uniform(images).view(-1, 1, 1, 1) for _ in range(2))
        return (images - mean) * (1 + self.contrast * contrast) + mean + self.brightness * brightness * spread

    def _cover(self, images: Tensor) -> Tensor:
        """(B, C, H, W) with a rectangle anywhere, perhaps partly outside, at the image's mean."""
        covered = torch.rand(len(images), device=images.device) < self.cutout  # (B,)
        inside = []
        for size in images.shape[2:]:
            center = torch.rand(len(images), 1, device=images.device) * size
            place = torch.arange(size, device=images.device) + 0.5
            inside.append((place - center).abs() < self.cutout_size * size / 2)  # (B, H), (B, W)
        mask = inside[0][:, :, None] & inside[1][:, None, :] & covered[:, None, None]  # (B, H, W)
        return torch.where(mask[:, None], images.mean(dim=(1, 2, 3), keepdim=True), images)

    def _mix(self, rows: Tensor, targets: Tensor) -> Batch:
        """Rows and targets (B, P), each a mean of two images'."""
        alpha = torch.full((len(rows),), float(self.mixup), device=rows.device)
        share = Beta(alpha, alpha, validate_args=False).sample()
        other = torch.randperm(len(rows), device=rows.device)
        soft = functional.one_hot(targets, self.num_classes).to(rows.dtype)  # (B, P)
        return rows.lerp(rows[other], share[:, None, None]), soft.lerp(soft[other], share[:, None])


def uniform(images: Tensor) -> Tensor:
    """A number in [-1, 1) for each image, (B,)."""
    return 2 * torch.rand(len(images), device=images.device) - 1
