"""What the net makes of each test image, for TensorBoard's projector.

Shape legend: N images, D features.
"""

from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor, nn
from torch.nn import functional

from lfw_seq.callbacks.periodic import evaluating
from lfw_seq.classifier import Classifier
from lfw_seq.tensorboard import writer_of

PICTURE = 32  # pixels a side at most: TensorBoard lays the pictures out in float64, and shows them as small


class Projector(Callback):
    """The test images as the last linear layer sees them, with names and small pictures: into the run's own folder.

    Attributes:
        most: images at most.
    """

    def __init__(self, most: int) -> None:
        self.most = most

    def on_test_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Write them."""
        writer, data = writer_of(trainer), trainer.datamodule  # type: ignore[attr-defined]
        if writer is None:
            return
        rows = data.tensors["test"][0][: self.most].to(pl_module.device)
        with evaluating(pl_module):
            features = last_features(pl_module, rows)
        if features is None:
            return
        tested = data.indices["test"][: self.most]
        predicted = pl_module.probabilities["test"].argmax(dim=1)[: self.most].tolist()
        names = data.faces.names
        metadata = [
            [names[data.faces.labels[index]], names[guess], "right" if data.faces.labels[index] == guess else "wrong"]
            for index, guess in zip(tested, predicted, strict=True)
        ]
        images = torch.from_numpy(data.faces.images[tested])
        sprites = images.permute(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
        high, wide = sprites.shape[2:]
        side = max(high, wide)  # the projector lays out squares
        sprites = functional.pad(sprites, (0, side - wide, 0, side - high), value=1.0)
        if side > PICTURE:
            sprites = functional.interpolate(sprites, size=(PICTURE, PICTURE), mode="area")
        header = ["person", "predicted", "answer"]
        writer.add_embedding(features.cpu(), metadata, sprites, tag="test", metadata_header=header)


@torch.no_grad()
def last_features(model: nn.Module, rows: Tensor) -> Tensor | None:
    """What the linear layer that gives the logits reads, (N, D); None where no linear layer does."""
    seen: list[Tensor] = []

    def keep(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append(arguments[0])

    hooks = [layer.register_forward_pre_hook(keep) for layer in model.modules() if isinstance(layer, nn.Linear)]
    try:
        model(rows)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[-1].float() if seen and seen[-1].ndim == 2 else None
