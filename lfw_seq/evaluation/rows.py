"""A net analysed row by row: accuracy after part of the rows, LSTM gates, gradients by row and by pixel.

Shape legend: N images, T steps, F features a step, D features a step of a layer, C people.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lfw_seq.models.predictor import Predictor
from lfw_seq.models.reference import ReferenceLSTM

M = TypeVar("M", bound=nn.Module)
ByStep = dict[int, float]  # by step, from 1
MAX_IMAGES = 1000  # evenly spaced, of more
CHUNK = 32  # images per batch: no more memory than a training step


@torch.no_grad()
def accuracy_by_step(predictor: Predictor, rows: Tensor, labels: Tensor, points: int = 25) -> ByStep:
    """Accuracy on rows (N, T, F) in [0, 1] with ids (N,) after `points` numbers of steps, evenly spaced, the last T.

    For a predictor in evaluation mode; empty for a net without `accepts_fewer_rows`.
    """
    if not getattr(predictor.net, "accepts_fewer_rows", False):
        return {}
    every = -(-len(rows) // MAX_IMAGES)
    stops = np.unique(np.linspace(1, rows.shape[1], points + 1).round().astype(int)[1:]).tolist()
    parts, labels = predictor.prepare(rows[::every]).split(CHUNK), labels[::every]
    predicted = {s: torch.cat([predictor.logits(part[:, :s]).argmax(dim=1) for part in parts]) for s in stops}
    return {stop: (ids == labels).float().mean().item() for stop, ids in predicted.items()}


@torch.no_grad()
def mean_gates(layer: nn.LSTM, inputs: Tensor) -> dict[str, ByStep]:
    """Mean gates, in [0, 1], of a layer's forward direction; inputs (N, T, D), or (T, N, D) without `batch_first`."""
    rows = inputs if layer.batch_first else inputs.transpose(0, 1)
    means: dict[str, ByStep] = {"forget": {}, "input": {}, "output": {}}
    for step, (gates, _, _) in enumerate(ReferenceLSTM(layer).steps(rows), 1):
        for name, values in means.items():
            values[step] = getattr(gates, name).mean().item()
    return means


def row_gradients(net: nn.Module, rows: Tensor, labels: Tensor) -> dict[str, ByStep]:
    """Norm of the gradient of an image's loss by step, mean over images (N, T, F) with ids (N,).

    For the pixels, and for the input of each recurrent layer above the first.
    """
    pixels = rows.clone().requires_grad_()
    logits, inputs = record_inputs(net, nn.RNNBase, pixels)
    loss = functional.cross_entropy(logits, labels, reduction="sum")  # a mean would divide each image's gradient by N
    upper = {f"input of layer {index}": x for index, x in enumerate(inputs.values(), 1) if index > 1}
    gradients = torch.autograd.grad(loss, [pixels, *upper.values()])
    norms = [gradient.norm(dim=2).mean(dim=0).tolist() for gradient in gradients]
    return {name: dict(enumerate(norm, 1)) for name, norm in zip(["pixels", *upper], norms, strict=True)}


def saliency(net: nn.Module, rows: Tensor, labels: Tensor) -> NDArray[np.float32]:
    """|d logit of the label / d pixel| (Simonyan et al., 2014), mean over images (N, T, F) with ids (N,); (T, F)."""
    pixels = rows.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(pixels)[torch.arange(len(labels)), labels].sum(), [pixels])
    strength: NDArray[np.float32] = gradient.abs().mean(dim=0).float().cpu().numpy()
    return strength


def record_inputs(net: nn.Module, kind: type[M], rows: Tensor) -> tuple[Tensor, dict[M, Tensor]]:
    """Logits (N, C) of rows (N, T, F), and the first input of each module of a class, in the order of the calls."""
    inputs: dict[M, Tensor] = {}

    def keep(module: M, arguments: tuple[Any, ...]) -> None:
        inputs.setdefault(module, arguments[0])

    with ExitStack() as hooks:  # removed at the end
        for module in net.modules():
            if isinstance(module, kind):
                hooks.enter_context(module.register_forward_pre_hook(keep))
        return net(rows), inputs


@contextmanager
def inspecting(net: nn.Module) -> Iterator[None]:
    """Evaluation mode with gradients; without cuDNN, whose recurrent layers have no backward pass in this mode."""
    training = net.training
    net.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        net.train(training)
