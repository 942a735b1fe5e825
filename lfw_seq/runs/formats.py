"""Export a trained predictor as one file for other programs: ONNX, or a `torch.export` program.

Shape legend: N images, B batch, T rows, F pixels a row, C people.
"""

import io
import json
import warnings
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lfw_seq.cli import UsageError, configuring
from lfw_seq.models.predictor import Predictor
from lfw_seq.runs.archive import METADATA
from lfw_seq.runs.checkpoint import TrainedRun

INPUT, OUTPUT = "rows", "probabilities"
LEGACY = (
    "You are using the legacy",
    "Exporting a model to ONNX with a batch",
    "Converting a tensor to a",
    "Constant folding - Only steps=1",
)


class Probabilities(nn.Module):
    """Rows (B, T, F) in [0, 1] to probabilities (B, C).

    An image and its mirror are one batch: the ONNX exporter infers wrong shapes where a net is called twice.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, rows: Tensor) -> Tensor:
        """Probabilities (B, C)."""
        prepared, mirror = self.predictor.prepare(rows), self.predictor.mirror
        if mirror is None:
            logits: Tensor = self.predictor.net(prepared)
        else:
            one, other = self.predictor.net(torch.cat([prepared, mirror.mirror(prepared)])).chunk(2)
            logits = (one + other) / 2
        return logits.softmax(dim=1)


def metadata(run: TrainedRun) -> str:
    """Input, preprocessing, output and class names, as JSON for programs that use the file."""
    steps, features = run.shape
    facts = {
        "input": f"float32 {INPUT} in [0, 1] of shape (batch, {steps}, {features})",
        "output": f"float32 {OUTPUT} of shape (batch, {len(run.class_names)})",
        "class_names": list(run.class_names),
        "preprocessing": asdict(run.preprocessing),
        "photo": "EXIF orientation applied, cropped (edges rounded to pixels), resized by Pillow's bicubic filter, "
        "divided by 255, 16 bits by 257 before; gray is the mean of red, green and blue; without a crop, the largest "
        "centered region of the aspect height : width",
        "rows": "top_down, or reversed by bottom_up; by columns, the columns from the left; colors of a pixel adjacent",
        "epoch": run.epoch,
        "fingerprint": run.fingerprint,
    }
    return json.dumps(facts, ensure_ascii=False)


def to_onnx(run: TrainedRun) -> bytes:
    """Export to an ONNX file with a dynamic batch size.

    Raises:
        UsageError: a package is missing, or the net cannot be exported.
    """
    with configuring("format=onnx"):
        import onnx
        import onnxruntime  # noqa: F401  # needed later by the check: fail early
    try:
        content = onnx_bytes(Probabilities(run.predictor).eval(), torch.rand(2, *run.shape))
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).split("  [Caused")[0].split("Please")[0].strip()
        raise UsageError(f"format=onnx: this net has no ONNX form ({reason}); use format=torch") from error
    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, {METADATA: metadata(run)})
    return bytes(model.SerializeToString())


def onnx_bytes(net: nn.Module, rows: Tensor) -> bytes:
    """Export a net from rows (B, T, F) to probabilities (B, C), for any B; this exporter needs only onnx."""
    axes = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT], "dynamic_axes": axes}
    file: Any = io.BytesIO()  # torch 2.13 is annotated for paths only, but accepts files
    with warnings.catch_warnings():
        for message in LEGACY:
            warnings.filterwarnings("ignore", message=message)
        torch.onnx.export(net, (rows,), file, dynamo=False, **names)
    return bytes(file.getvalue())


def run_onnx(content: bytes, rows: Tensor) -> NDArray[np.float32]:
    """Compute probabilities (N, C) of rows (N, T, F) by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    probabilities: NDArray[np.float32] = session.run([OUTPUT], {INPUT: rows.numpy()})[0]
    return probabilities


def to_torch(run: TrainedRun) -> bytes:
    """Export to a `torch.export` program with a dynamic batch size; TorchScript is deprecated.

    Raises:
        UsageError: the net cannot be exported.
    """
    net, rows, file = Probabilities(run.predictor).eval(), torch.rand(2, *run.shape), io.BytesIO()
    with warnings.catch_warnings():  # nn.LSTM refreshes a list of its own weights, which the program does not need
        warnings.filterwarnings("ignore", message=r"The tensor attributes? .*_flat_weights")
        try:
            program = torch.export.export(net, (rows,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"format=torch: this net cannot be exported ({error}); use format=onnx") from error
    torch.export.save(program, file, extra_files={METADATA: metadata(run)})
    return file.getvalue()


def run_torch(content: bytes, rows: Tensor) -> NDArray[np.float32]:
    """Compute probabilities (N, C) of rows (N, T, F) by a program that `to_torch` exported."""
    with torch.inference_mode():
        probabilities: NDArray[np.float32] = torch.export.load(io.BytesIO(content)).module()(rows).numpy()
    return probabilities
