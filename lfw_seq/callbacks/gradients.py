"""How far a loss reaches back over the rows, and on which pixels an answer hangs.

Shape legend: N images, T steps, F features a step, H image rows, W pixels a row.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter

from lfw_seq.callbacks.periodic import Periodic
from lfw_seq.classifier import Classifier
from lfw_seq.data.module import FaceRows
from lfw_seq.data.sequences import pictures
from lfw_seq.tensorboard import add_figure

IMAGES = 32  # at most so many validation images are looked at: no more memory than a training step


class Gradients(Periodic):
    """The norm of the loss gradient by row, and a saliency map."""

    def show(self, writer: SummaryWriter, data: FaceRows, model: Classifier, stage: str, step: int) -> None:
        """Look at the validation images, also at the end."""
        from lfw_seq import row_figures  # matplotlib: not before training has begun

        if not len(data.tensors["val"][1]):
            return
        rows, labels = (tensor[:IMAGES].to(model.device) for tensor in data.tensors["val"])
        curves = row_gradients(model, rows, labels)
        series = {name: (np.arange(1, len(norm) + 1), norm) for name, norm in curves.items()}
        title = "How far back the loss reaches"
        figure = row_figures.by_step(title, "mean norm of d loss / d input at a step", series, logarithmic=True)
        add_figure(writer, "rows/gradient", figure, step)
        norm = curves["pixels"]
        writer.add_scalar("rows/gradient_first_to_last", float(norm[0] / max(norm[-1], 1e-30)), step)
        faces = data.faces.images
        strength = saliency(model, rows, labels)  # (T, F)
        image = pictures(strength[None], data.order, faces.ndim == 4)[0]
        mean = faces[data.indices["val"]].mean(axis=0)
        if faces.ndim == 4:
            image, mean = image.mean(axis=2), mean.mean(axis=2)
        add_figure(writer, "rows/saliency", row_figures.saliency(mean, image), step)


def row_gradients(model: nn.Module, rows: Tensor, labels: Tensor) -> dict[str, NDArray[Any]]:
    """The norm of an image's loss gradient by the input of each step, mean over images.

    Args:
        model: rows to logits, in evaluation mode.
        rows: (N, T, F).
        labels: ids (N,).

    Returns:
        (T,) for the pixels, and for what each recurrent layer above the first reads.
    """
    inputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            if arguments[0].requires_grad:
                inputs[name] = arguments[0]

        return hook

    layers = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    hooks = [
        layer.register_forward_pre_hook(keep(f"input of layer {index}")) for index, layer in enumerate(layers[1:], 2)
    ]
    pixels = rows.clone().requires_grad_()
    try:
        loss = functional.cross_entropy(model(pixels), labels, reduction="sum")  # so that each image has its own
    finally:
        for hook in hooks:
            hook.remove()
    found = torch.autograd.grad(loss, [pixels, *inputs.values()])
    names = ["pixels", *inputs]
    return {name: part.norm(dim=2).mean(dim=0).float().cpu().numpy() for name, part in zip(names, found, strict=True)}


def saliency(model: nn.Module, rows: Tensor, labels: Tensor) -> NDArray[np.float32]:
    """|d logit of the true person / d pixel| (Simonyan et al., 2014), mean over images, (T, F)."""
    pixels = rows.clone().requires_grad_()
    own = model(pixels).gather(1, labels[:, None]).sum()
    (found,) = torch.autograd.grad(own, [pixels])
    strength: NDArray[np.float32] = found.abs().mean(dim=0).cpu().numpy()
    return strength
