"""Images per second by batch size: a run's predictor in PyTorch, and in onnxruntime if it is installed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from lfw_seq.benchmarks.epoch import build
from lfw_seq.benchmarks.timing import Cost, Plan, mean_cost, read_clocks, unavailable
from lfw_seq.models.recurrent import bf16_error
from lfw_seq.runs.formats import INPUT, onnx_bytes

SIZES = (1, 32, 512)
Engine = Callable[[Tensor], Any]  # rows (B, T, F) to an array of probabilities (B, C)


def plan(cfg: DictConfig) -> Plan:
    """Predict 512 decoded images in batches, with an untrained net on the CPU."""
    data, classifier = build(cfg)
    net, rows = nn.Sequential(classifier.predictor, nn.Softmax(dim=1)).eval(), data.tensors["train"][0][: max(SIZES)]

    @torch.inference_mode()
    def in_torch(rows: Tensor, bf16: bool = False) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return net(rows).float().numpy()

    engines: dict[str, Engine] = {"PyTorch": in_torch}
    engines |= {} if (error := bf16_error()) else {"PyTorch in bf16": partial(in_torch, bf16=True)}
    missing = unavailable("export", "onnx", "onnxruntime")
    engines |= {} if missing else onnx_engines(net, rows, cfg.threads)
    contenders = {f"{name}, {n}": partial(predict, run, rows, n) for name, run in engines.items() for n in SIZES}
    pairs = [(name, f"PyTorch, {name.partition(', ')[2]}", "images_per_second") for name in contenders]
    notes = [f"{name}: within {abs(run(rows) - in_torch(rows)).max():.1e}" for name, run in engines.items()]
    notes += [f"onnxruntime: {missing}"] * bool(missing) + [f"bf16: skipped, {error}"] * bool(error)
    return "Probabilities of 512 images, by batch size", contenders, pairs[len(SIZES) :], notes


def predict(engine: Engine, rows: Tensor, size: int) -> Cost:
    """Cost of predicting rows (N, T, F) in batches, and images per second."""
    start = read_clocks()
    for batch in rows.split(size):
        engine(batch)
    cost = mean_cost([start, read_clocks()])
    return cost | {"images_per_second": len(rows) / cost["seconds"]}


def onnx_engines(net: nn.Module, rows: Tensor, threads: int) -> dict[str, Engine]:
    """The net in onnxruntime, in float32 and with 8-bit weights (dynamic quantization)."""
    from onnxruntime import InferenceSession, SessionOptions
    from onnxruntime.quantization import quantize_dynamic

    def run(session: Any, rows: Tensor) -> Any:
        return session.run(None, {INPUT: rows.numpy()})[0]

    options = SessionOptions()
    options.intra_op_num_threads = threads
    with TemporaryDirectory() as folder:
        files = {"ONNX": Path(folder, "float32.onnx"), "ONNX in int8": Path(folder, "int8.onnx")}
        files["ONNX"].write_bytes(onnx_bytes(net, rows))
        quantize_dynamic(*files.values())
        return {name: partial(run, InferenceSession(path, options)) for name, path in files.items()}
