"""Random augmentation of training images, one batch at a time.

Shape legend: B batch, C colors, H image rows, W pixels a row, T steps of the sequence, F features a step, P people.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn import functional

from lfw_seq.data.module import Batch
from lfw_seq.data.sequences import Layout
from lfw_seq.parts import Bounds

UpToOne = Annotated[float, Bounds(0, 1)]


@dataclass(frozen=True)
class Augment:
    """Random flip, affine map, brightness, contrast, cutout and mixup; a value of 0 disables one.

    Values are drawn per image from torch's global generator of the batch's device. Flip, shift, rotation and scale are
    one bilinear resampling with the edge repeated. Brightness and contrast are relative to the image's standard
    deviation, so that they act alike on raw and on standardized pixels; results are not clipped to [0, 1]. Mixup
    (Zhang et al., 2018) interpolates an image and its target with another of the batch.
    """

    layout: Layout  # position of an image's pixels in its sequence
    num_classes: int  # P
    mirror: UpToOne  # probability of a horizontal flip
    shift: Annotated[float, Bounds(0, 0.5)]  # largest, as a fraction of height and width
    rotation: Annotated[float, Bounds(0, 180)]  # largest, in degrees
    scale: Annotated[float, Bounds(0, 0.9)]  # largest relative change of size
    brightness: Annotated[float, Bounds(0, 10)]  # largest change of the mean, in standard deviations of the image
    contrast: UpToOne  # largest relative change of the standard deviation
    cutout: UpToOne  # probability of filling a rectangle with the image's mean (DeVries and Taylor, 2017)
    cutout_size: UpToOne  # sides of the rectangle, as a fraction of height and width
    mixup: Annotated[float, Bounds(0, 100)]  # alpha of the weight's distribution, Beta(alpha, alpha)

    def __call__(self, rows: Tensor, targets: Tensor) -> Batch:
        """Augment rows (B, T, F) with class ids (B,); mixup returns targets as probabilities (B, P)."""
        images = self.layout.images(rows)
        if self.mirror or self.shift or self.rotation or self.scale:
            images = self._warp(images)
        if self.brightness or self.contrast:
            images = self._jitter(images)
        if self.cutout and self.cutout_size:
            images = self._cut_out(images)
        rows = self.layout.rows(images)
        return self._mix(rows, targets) if self.mixup else (rows, targets)

    def _warp(self, images: Tensor) -> Tensor:
        """(B, C, H, W) flipped, rotated, scaled and shifted: one affine map per image, in units of half its sides."""
        height, width = images.shape[2:]
        angle, size = math.radians(self.rotation) * uniform(images), 1 + self.scale * uniform(images)
        flip = torch.where(torch.rand_like(size) < self.mirror, -1.0, 1.0)
        cos, sin = angle.cos() / size, angle.sin() / size
        shift_x, shift_y = 2 * self.shift * uniform(images), 2 * self.shift * uniform(images)
        row_x = torch.stack([flip * cos, -sin * height / width, shift_x], dim=1)  # (B, 3)
        row_y = torch.stack([flip * sin * width / height, cos, shift_y], dim=1)
        grid = functional.affine_grid(torch.stack([row_x, row_y], dim=1), list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def _jitter(self, images: Tensor) -> Tensor:
        """(B, C, H, W) with mean and standard deviation changed."""
        deviation, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
        brightness, contrast = (uniform(images).view(-1, 1, 1, 1) for _ in range(2))
        return (images - mean) * (1 + self.contrast * contrast) + mean + self.brightness * brightness * deviation

    def _cut_out(self, images: Tensor) -> Tensor:
        """(B, C, H, W) with a rectangle, its center anywhere in the image, filled with the image's mean."""
        selected = torch.rand(len(images), device=images.device) < self.cutout  # (B,)
        inside = []
        for size in images.shape[2:]:
            center = torch.rand(len(images), 1, device=images.device) * size
            position = torch.arange(size, device=images.device) + 0.5
            inside.append((position - center).abs() < self.cutout_size * size / 2)  # (B, H), (B, W)
        mask = inside[0][:, :, None] & inside[1][:, None, :] & selected[:, None, None]  # (B, H, W)
        return torch.where(mask[:, None], images.mean(dim=(1, 2, 3), keepdim=True), images)

    def _mix(self, rows: Tensor, targets: Tensor) -> Batch:
        """Rows (B, T, F) and targets (B, P), each interpolated with those of another image."""
        alpha = torch.full((len(rows),), float(self.mixup), device=rows.device)
        weight = Beta(alpha, alpha, validate_args=False).sample()
        other = torch.randperm(len(rows), device=rows.device)
        soft = functional.one_hot(targets, self.num_classes).to(rows.dtype)  # (B, P)
        return rows.lerp(rows[other], weight[:, None, None]), soft.lerp(soft[other], weight[:, None])


def uniform(images: Tensor) -> Tensor:
    """One uniform draw from [-1, 1) per image, (B,)."""
    return 2 * torch.rand(len(images), device=images.device) - 1
