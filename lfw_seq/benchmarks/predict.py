"""Images a second by batch size: the net in PyTorch, and in onnxruntime where it is installed."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from lfw_seq.benchmarks.turns import Contender, Cost, Report, in_turn, now
from lfw_seq.build import build_classifier, build_net
from lfw_seq.data.module import build
from lfw_seq.export import INPUT, write_onnx
from lfw_seq.runs import plain

BATCHES = (1, 8, 32, 128, 512)
LEAST = 512  # images a turn


def measure(cfg: DictConfig) -> Report:
    """Time the probabilities of images that are decoded already: a forward pass of the classifier, untrained."""
    data = build(plain(cfg.data), cfg.split_seed, cfg.seed)
    data.setup()
    classifier = build_classifier(cfg, build_net(cfg, data), data)
    net = nn.Sequential(classifier, nn.Softmax(dim=1)).eval()
    rows = data.tensors["train"][0][:LEAST]  # (N, T, F)
    engines: dict[str, Callable[[Tensor], Any]] = {"PyTorch": net}
    report = Report("Probabilities of an image")
    lacking = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if lacking:
        report.notes.append(f"onnxruntime: left out, no {' and no '.join(lacking)}: pip install onnx onnxruntime")
    else:
        engines["onnxruntime"] = onnx_session(net, rows, cfg.threads)
    contenders = {
        f"{name}, batches of {size}": reading(engine, rows, size)
        for size in BATCHES
        for name, engine in engines.items()
    }
    with torch.inference_mode():
        report.costs = in_turn(contenders, cfg.rounds, cfg.warm_up)
    for name, costs in report.costs.items():
        report.figures[f"images a second, {name}"] = 1 / sorted(cost.wall for cost in costs)[len(costs) // 2]
    return report


def reading(engine: Callable[[Tensor], Any], rows: Tensor, size: int) -> Contender:
    """A contender that reads all rows in batches, and says what an image took."""

    def turn() -> Cost:
        started = now()
        for batch in rows.split(size):
            engine(batch)
        return now().since(started).of(len(rows))

    return turn


def onnx_session(net: nn.Module, rows: Tensor, threads: int) -> Callable[[Tensor], Any]:
    """The same net in onnxruntime.

    Raises:
        RuntimeError: its probabilities differ by more than 1e-5.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        write_onnx(net, rows, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(batch: Tensor) -> Any:
        return session.run(None, {INPUT: batch.numpy()})[0]

    with torch.inference_mode():
        difference = float(abs(run(rows) - net(rows).numpy()).max())
    if difference > 1e-5:
        raise RuntimeError(f"onnxruntime's probabilities differ by {difference:g}")
    return run
