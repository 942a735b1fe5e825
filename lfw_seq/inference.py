"""A run's net on images in memory.

Shape legend: N images, B batch, T rows, F pixels a row, C people.
"""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfw_seq.errors import UsageError, check_choice
from lfw_seq.load import Run

MOST_STOPPED = 1000
PRECISIONS = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def logits(run: Run, rows: Tensor, batch_size: int | None = None) -> Tensor:
    """Logits (N, C) of rows (N, T, F) in [0, 1], in the precision of the training run.

    Args:
        run: whose net.
        rows: on any device.
        batch_size: B; by default that of the training run's test, which gives the same last digits.
    """
    device = next(run.net.parameters()).device
    dtype = PRECISIONS.get(run.config["trainer"]["precision"])
    size = batch_size or run.config["data"]["eval_batch_size"]
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
        return torch.cat([run.net(part.to(device)).float().cpu() for part in rows.split(size)])


def probabilities(run: Run, images: NDArray[np.float32], batch_size: int | None = None) -> NDArray[np.float32]:
    """Probabilities (N, C) of images (N, H, W[, 3]) in [0, 1]."""
    rows = torch.from_numpy(run.reading.rows(images))
    answer: NDArray[np.float32] = logits(run, rows, batch_size).softmax(dim=1).numpy()
    return answer


def accuracy_by_step(
    read: Callable[[Tensor], Tensor], rows: Tensor, labels: Tensor, points: int = 25
) -> dict[int, float]:
    """How soon a reader knows: its accuracy if it had stopped at a step.

    Args:
        read: standardised rows, of any number of steps, to logits (N, C).
        rows: (N, T, F), standardised.
        labels: (N,); of more than 1,000 images, so many at most are read, taken evenly.
        points: at how many steps to stop, T included.

    Returns:
        Accuracy by number of steps read; empty for a net that needs all steps.
    """
    every = -(-len(rows) // MOST_STOPPED)
    rows, labels = rows[::every], labels[::every]
    stops = np.unique(np.linspace(1, rows.shape[1], points + 1).round().astype(int)[1:]).tolist()
    with torch.no_grad(), suppress(RuntimeError, ValueError):
        found = {stop: (read(rows[:, :stop]).argmax(dim=1) == labels).float().mean().item() for stop in stops[::-1]}
        return dict(reversed(found.items()))  # the longest first: what it needs serves the others
    return {}


def pick_device(name: str) -> torch.device:
    """The device of a key: "auto" is a GPU where there is one."""
    check_choice("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda: no GPU here; use device=cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
