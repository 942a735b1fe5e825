"""`python -m lfw_seq.export run=DIR format=onnx|torch`: a run's net as one file for other programs."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import command
from lfw_seq.errors import UsageError, check_choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from lfw_seq.load import Run

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
INPUT, OUTPUT = "rows", "probabilities"
METADATA = "lfw_seq"  # the key, or the name of the file inside
TOLERANCE = 1e-5
DRAWN = 256  # rows to check on where the test images are not at hand


@hydra.main(config_path=str(command.CONF), config_name="export", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """The command."""
    result = command.run(export, cfg)
    if result:
        print(
            f"{result['file']}: {INPUT} {result['input']} in [0, 1] to {OUTPUT}; "
            f"on {result['checked']:,} {result['checked_on']} the run's first answers, and its {OUTPUT} within "
            f"{result['difference']:.1e}"
        )


def export(cfg: DictConfig) -> dict[str, Any]:
    """Write the file, once what it holds answers as the run does.

    Args:
        cfg: the composed `conf/export.yaml`.

    Returns:
        The file, what it was checked on, and the largest difference of a probability.

    Raises:
        UsageError: no such run, or a net that this format cannot hold.
    """
    check_choice("format", cfg.format, tuple(SUFFIXES))
    import torch

    from lfw_seq.load import load_run

    torch.set_num_threads(1)
    run = load_run(cfg.run)
    rows, checked_on = rows_to_check(cfg, run)
    with torch.inference_mode():
        expected = run.net(rows).softmax(dim=1).numpy()
    path = Path(cfg.out).expanduser() if cfg.out else run.folder / f"model{SUFFIXES[cfg.format]}"
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        {"onnx": save_onnx, "torch": save_torch}[cfg.format](run, draft)
        answer = {"onnx": run_onnx, "torch": run_torch}[cfg.format]
        difference = check(expected, answer(draft, rows), path)
        check(expected[:1], answer(draft, rows[:1]), path)  # a batch of one is where a fixed size shows
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"out={path}: cannot be written ({error.strerror}); choose another file") from error
    finally:
        draft.unlink(missing_ok=True)
    steps, features = run.shape
    return {
        "file": str(path),
        "input": f"(any, {steps}, {features})",
        "checked": len(rows),
        "checked_on": checked_on,
        "difference": difference,
    }


def rows_to_check(cfg: DictConfig, run: Run) -> tuple[Tensor, str]:
    """The run's test images (N, T, F); numbers drawn at random where they are not at hand."""
    import torch

    from lfw_seq.answers import AS_TRAINED, source_config
    from lfw_seq.data.module import build

    try:
        config, seed, _ = source_config(dict(cfg.data), AS_TRAINED, run)
        data = build(config, seed, 0)
        data.setup()
    except UsageError:
        return torch.rand(
            DRAWN, *run.shape, generator=torch.Generator().manual_seed(0)
        ), "drawn inputs (no test images)"
    return torch.from_numpy(run.reading.rows(data.faces.images[data.indices["test"]])), "test images"


def check(expected: NDArray[np.float32], found: NDArray[np.float32], path: Path) -> float:
    """The largest difference of a probability.

    Raises:
        RuntimeError: it is above 1e-5, or a first answer differs.
    """
    difference = float(abs(expected - found).max())
    if difference > TOLERANCE or (expected.argmax(axis=1) != found.argmax(axis=1)).any():
        raise RuntimeError(f"{path} not written: its probabilities differ from the run's by up to {difference:g}")
    return difference


def metadata(run: Run) -> str:
    """What a program needs to prepare its input and to name the output, as JSON."""
    steps, features = run.shape
    return json.dumps(
        {
            "input": f"float32 {INPUT} in [0, 1] of shape (batch, {steps}, {features})",
            "output": f"float32 {OUTPUT} of shape (batch, {len(run.names)})",
            "names": list(run.names),
            "reading": asdict(run.reading),
            "epoch": run.epoch,
            "data_fingerprint": run.fingerprint,
        },
        ensure_ascii=False,
    )


def answering(run: Run) -> nn.Module:
    """The reader with its probabilities, instead of logits, at the end.

    An image and its mirror are read as one batch: the ONNX exporter mistakes shapes where a net is called twice.
    """
    import torch
    from torch import nn

    class Answering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.reader = run.net

        def forward(self, rows: Tensor) -> Tensor:
            if self.reader.mirror is None:
                return self.reader(rows).softmax(dim=1)  # type: ignore[no-any-return]
            prepared = self.reader.prepare(rows)
            one, other = self.reader.net(torch.cat([prepared, self.reader.mirror.mirror(prepared)])).chunk(2)
            return ((one + other) / 2).softmax(dim=1)  # type: ignore[no-any-return]

    return Answering().eval()


def save_onnx(run: Run, path: Path) -> None:
    """Write an ONNX file with the batch size left open."""
    import torch

    try:
        import onnx
        import onnxruntime  # noqa: F401  # the check needs it: say so before the work
    except ImportError as error:
        raise UsageError(
            f"format=onnx: {error.name} is missing; pip install 'lfw_seq[export]', or format=torch"
        ) from error
    try:
        write_onnx(answering(run), torch.rand(2, *run.shape), path)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).split("  [Caused")[0].split("Please")[0].strip()
        raise UsageError(f"format=onnx: this net has no ONNX form ({reason}); use format=torch") from error
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {METADATA: metadata(run)})
    onnx.save(model, str(path))


def write_onnx(net: nn.Module, rows: Tensor, path: Path) -> None:
    """Write a net from rows (B, T, F) to probabilities (B, C), with any B; this exporter needs no package but onnx."""
    import torch

    with warnings.catch_warnings():
        for word in ("You are using the legacy", "Exporting a model to ONNX with a batch", "Converting a tensor to a"):
            warnings.filterwarnings("ignore", message=word)
        torch.onnx.export(
            net,
            (rows,),
            str(path),
            dynamo=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        )


def run_onnx(path: Path, rows: Tensor) -> NDArray[np.float32]:
    """Probabilities (N, C) by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    answer: NDArray[np.float32] = session.run([OUTPUT], {INPUT: rows.numpy()})[0]
    return answer


def save_torch(run: Run, path: Path) -> None:
    """Write a torch.export program with the batch size left open; TorchScript is on its way out of torch."""
    import torch

    with warnings.catch_warnings():  # nn.LSTM refreshes a list of its own weights: nothing that the program needs
        warnings.filterwarnings("ignore", message=r"The tensor attributes? .*_flat_weights")
        try:
            program = torch.export.export(
                answering(run), (torch.rand(2, *run.shape),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
            )
        except (torch._dynamo.exc.TorchDynamoException, RuntimeError, ValueError) as error:
            raise UsageError(f"format=torch: this net cannot be exported ({error}); use format=onnx") from error
    torch.export.save(program, path, extra_files={METADATA: metadata(run)})


def run_torch(path: Path, rows: Tensor) -> NDArray[np.float32]:
    """Probabilities (N, C) by the program in a file we just wrote."""
    import torch

    with torch.inference_mode():
        answer: NDArray[np.float32] = torch.export.load(path).module()(rows).numpy()
    return answer


if __name__ == "__main__":
    command.start(main)
