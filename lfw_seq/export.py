"""`python -m lfw_seq.export run=DIR format=onnx|torch`: write a run's predictor as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.cli import UsageError
from lfw_seq.parts import check_keys, to_plain
from lfw_seq.runs.folder import write_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from lfw_seq.runs.checkpoint import TrainedRun

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-5


@hydra.main(config_path=str(cli.CONF), config_name="export", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Write the file, and print the result of its check."""
    made = cli.run(export, cfg)
    print(
        f"{made['file']}: rows {made['input']} in [0, 1] to probabilities; on {made['checked']:,} "
        f"{made['checked_on']} the same predictions as the run's net in float32, and probabilities within "
        f"{made['difference']:.1e}"
    )


def export(cfg: DictConfig) -> dict[str, Any]:
    """Write the file of `conf/export.yaml`, once its content predicts as the run does.

    Returns:
        The file, the shape of its input, the inputs it was checked on, and the largest difference of a probability.

    Raises:
        UsageError: no such run, a net that cannot be exported in this format, or predictions that differ.
        OSError: the file cannot be written.
    """
    check_keys(cfg, {"format": Literal["onnx", "torch"], "data.download": bool})
    import torch

    from lfw_seq.runs import formats
    from lfw_seq.runs.checkpoint import load_run

    torch.set_num_threads(1)
    run = load_run(cfg.run)
    run.predictor.float()  # the file computes in float32, whatever the precision of the training
    rows, checked_on = rows_to_check(cfg, run)
    with torch.inference_mode():
        expected = run.predictor(rows).softmax(dim=1).numpy()
    path = Path(str(cfg.out)).expanduser() if cfg.out else run.folder / f"model{SUFFIXES[cfg.format]}"
    to_bytes = {"onnx": formats.to_onnx, "torch": formats.to_torch}[cfg.format]
    predict = {"onnx": formats.run_onnx, "torch": formats.run_torch}[cfg.format]
    content = to_bytes(run)  # in memory: torch aborts the process where the disk is full
    difference = check(expected, predict(content, rows), path)
    check(expected[:1], predict(content, rows[:1]), path)  # reveals a fixed batch size
    write_bytes(path, content)
    shape = f"(any, {run.shape[0]}, {run.shape[1]})"
    return {"file": str(path), "input": shape, "checked": len(rows), "checked_on": checked_on, "difference": difference}


def rows_to_check(cfg: DictConfig, run: TrainedRun) -> tuple[Tensor, str]:
    """The run's test images as rows (N, T, F), or 256 random ones where these are missing; and a description."""
    import torch

    from lfw_seq.evaluation.predictions import open_split

    try:
        data, _ = open_split(run, to_plain(cfg.data))
    except UsageError:
        rows = torch.rand(256, *run.shape, generator=torch.Generator().manual_seed(0))
        return rows, "random inputs (no test images)"
    return data.tensors["test"][0], "test images"


def check(expected: NDArray[np.float32], exported: NDArray[np.float32], path: Path) -> float:
    """The largest difference of probabilities (N, C).

    Raises:
        UsageError: it is nan or above 1e-5, or shapes or predictions differ.
    """
    difference = float(abs(expected - exported).max()) if expected.shape == exported.shape else float("nan")
    if not difference <= TOLERANCE or (expected.argmax(axis=1) != exported.argmax(axis=1)).any():
        raise UsageError(
            f"{path}: not written, because its probabilities differ from the run's by up to {difference:g}; try the "
            "other format, or train the run again where its probabilities are nan"
        )
    return difference


if __name__ == "__main__":
    cli.start(main)
