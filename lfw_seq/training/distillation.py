"""Distillation: training on the probabilities of a finished run, the teacher, instead of ids.

Shape legend: B batch, T rows, F pixels a row, C people.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor, nn

from lfw_seq.cli import UsageError
from lfw_seq.data.batches import Batch
from lfw_seq.data.module import SPLIT
from lfw_seq.parts import to_plain
from lfw_seq.runs.checkpoint import load_run
from lfw_seq.runs.folder import RESULT, read_result

log = logging.getLogger(__name__)

SAME = (*SPLIT, "order", "pixel_scale", "standardize")  # keys of conf/data that net and teacher have in common


class Distillation:
    """Replace the targets of augmented images by a teacher's probabilities for them (Hinton et al., 2015).

    The teacher reads the same augmented images as the net (Beyer et al., 2022, "consistent teaching").

    Attributes:
        teacher: from standardized rows (B, T, F) to logits (B, C), in evaluation mode.
        augment: transforms rows and ids before; None for no augmentation.
    """

    def __init__(self, teacher: nn.Module, augment: Callable[[Tensor, Tensor], Batch] | None) -> None:
        self.teacher, self.augment = teacher.requires_grad_(False), augment

    def __call__(self, rows: Tensor, targets: Tensor) -> Batch:
        """Augment standardized rows (B, T, F); returns them and probabilities (B, C)."""
        if self.augment is not None:
            rows, _ = self.augment(rows, targets)
        return rows, self.teacher.to(rows)(rows).float().softmax(dim=1)


def load_teacher(cfg: DictConfig, fingerprint: str) -> nn.Module:
    """Load the net of `teacher`, the folder of a run, or of a sweep with one run on the same split.

    Args:
        cfg: the config of the net to train.
        fingerprint: of its data.

    Raises:
        UsageError: no such run, several, or one that was trained on other images: these may be test images here.
    """
    root = Path(cfg.teacher).expanduser()
    folders = [root] if (root / RESULT).is_file() else [path.parent for path in sorted(root.glob(f"*/{RESULT}"))]
    own = training_images(to_plain(cfg), fingerprint)
    results = {folder: result for folder in folders if (result := read_result(folder))}
    same = [
        folder
        for folder, result in results.items()
        if training_images(result["config"], result["data"]["fingerprint"]) == own
    ]
    if len(same) != 1:
        raise UsageError(
            f"teacher={cfg.teacher}: {len(same)} of its {len(results)} finished runs have split_seed={cfg.split_seed} "
            "and the same data and standardization; expected the folder of one, or of a sweep with one"
        )
    log.info("Taught by %s", same[0])
    return load_run(same[0], "teacher").predictor.net


def training_images(config: Mapping[str, Any], fingerprint: str) -> list[Any]:
    """What determines the standardized training images of a run, from its config and the data's fingerprint."""
    return [fingerprint, config["split_seed"], *(config["data"].get(key) for key in SAME)]
