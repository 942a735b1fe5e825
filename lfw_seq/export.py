"""`python -m lfw_seq.export run=DIR format=onnx|torch`: a run's predictor as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.cli import UsageError
from lfw_seq.parts import check_keys
from lfw_seq.runs.folder import to_plain, write_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from lfw_seq.runs.checkpoint import TrainedRun

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-5


@hydra.main(config_path=str(cli.CONF), config_name="export", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Write the file, and print what it was checked on."""
    found = cli.run(export, cfg)
    print(
        f"{found['file']}: rows {found['input']} in [0, 1] to probabilities; on {found['checked']:,} "
        f"{found['checked_on']} the same predictions as the run, and probabilities within {found['difference']:.1e}"
    )


def export(cfg: DictConfig) -> dict[str, Any]:
    """Write the file, once what it holds predicts as the run does.

    Args:
        cfg: the composed `conf/export.yaml`.

    Returns:
        The file, what it was checked on, and the largest difference of a probability.

    Raises:
        UsageError: no such run, or a net that this format cannot hold.
        OSError: the file cannot be written.
    """
    check_keys(cfg, {"format": Literal["onnx", "torch"], "data.download": bool})
    import torch

    from lfw_seq.runs import formats
    from lfw_seq.runs.checkpoint import load_run

    torch.set_num_threads(1)
    run = load_run(cfg.run)
    run.predictor.float()  # whatever the training's precision was: the file computes in float32
    rows, checked_on = rows_to_check(cfg, run)
    with torch.inference_mode():
        expected = run.predictor(rows).softmax(dim=1).numpy()
    path = Path(str(cfg.out)).expanduser() if cfg.out else run.folder / f"model{SUFFIXES[cfg.format]}"
    to_bytes = {"onnx": formats.to_onnx, "torch": formats.to_torch}[cfg.format]
    predict = {"onnx": formats.run_onnx, "torch": formats.run_torch}[cfg.format]
    content = to_bytes(run)  # in memory: torch aborts the process where the disk is full
    difference = check(expected, predict(content, rows), path)
    check(expected[:1], predict(content, rows[:1]), path)  # a batch of one is where a fixed size shows
    write_bytes(path, content)
    shape = f"(any, {run.shape[0]}, {run.shape[1]})"
    return {"file": str(path), "input": shape, "checked": len(rows), "checked_on": checked_on, "difference": difference}


def rows_to_check(cfg: DictConfig, run: TrainedRun) -> tuple[Tensor, str]:
    """The run's test images as rows (N, T, F); 256 drawn ones where they are not at hand."""
    import torch

    from lfw_seq.evaluation.predictions import open_split

    try:
        data, _ = open_split(run, to_plain(cfg.data))
    except UsageError:
        drawn = torch.rand(256, *run.shape, generator=torch.Generator().manual_seed(0))
        return drawn, "drawn inputs (no test images)"
    return data.tensors["test"][0], "test images"


def check(expected: NDArray[np.float32], found: NDArray[np.float32], path: Path) -> float:
    """The largest difference of a probability.

    Raises:
        UsageError: it is nan or above 1e-5, the shapes differ, or a prediction does.
    """
    difference = float(abs(expected - found).max()) if expected.shape == found.shape else float("nan")
    if not difference <= TOLERANCE or (expected.argmax(axis=1) != found.argmax(axis=1)).any():
        raise UsageError(
            f"{path}: not written, for its probabilities differ from the run's by up to {difference:g}; try the other "
            "format, or train the run again where its probabilities are nan"
        )
    return difference


if __name__ == "__main__":
    cli.start(main)
