"""What an LSTM keeps, takes in and shows at each row.

Shape legend: N images, T steps, D features a step of a layer.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from lfw_seq.callbacks.periodic import Periodic
from lfw_seq.classifier import Classifier
from lfw_seq.data.module import FaceRows
from lfw_seq.models.reference import ReferenceLSTM, read_cell, update_cell
from lfw_seq.tensorboard import add_figure

IMAGES = 64  # at most so many validation images are looked at


class Gates(Periodic):
    """The mean forget, input and output gate by row, of each LSTM layer's forward direction."""

    @torch.no_grad()
    def show(self, writer: SummaryWriter, data: FaceRows, model: Classifier, stage: str, step: int) -> None:
        """Look at the validation images, also at the end; nets without an LSTM have no gates."""
        from lfw_seq import row_figures  # matplotlib: not before training has begun

        if not len(data.tensors["val"][1]):
            return
        layers = [module for module in model.modules() if isinstance(module, nn.LSTM)]
        inputs: dict[nn.Module, Tensor] = {}
        hooks = [layer.register_forward_pre_hook(lambda layer, x: inputs.update({layer: x[0]})) for layer in layers]
        try:
            model(data.tensors["val"][0][:IMAGES].to(model.device))
        finally:
            for hook in hooks:
                hook.remove()
        read = [layer for layer in layers if layer in inputs]
        means = {f"layer {index}": mean_gates(layer, inputs[layer]) for index, layer in enumerate(read, 1)}
        if means:
            add_figure(writer, "rows/gates", row_figures.gates(means), step)


def mean_gates(layer: nn.LSTM, inputs: Tensor) -> dict[str, NDArray[Any]]:
    """The mean gates by step, (T,) each, of a layer reading (N, T, D), or (T, N, D) without `batch_first`."""
    cell_of, steps = ReferenceLSTM(layer), inputs.unbind(dim=1 if layer.batch_first else 0)
    h = cell = inputs.new_zeros(len(steps[0]), layer.hidden_size)
    means: dict[str, list[float]] = {"forget": [], "input": [], "output": []}
    for x in steps:
        gates = cell_of.gates(x, h)
        cell = update_cell(gates, cell)
        h = read_cell(gates, cell)
        for name, values in means.items():
            values.append(getattr(gates, name).mean().item())
    return {name: np.array(values) for name, values in means.items()}
