"""What a checkpoint says of itself, so that it can be read back with nothing else at hand."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from lfw_seq.data.module import FaceRows
from lfw_seq.load import CARD, FORMAT


class Card(Callback):
    """Puts the run's card into each checkpoint: dicts, lists and primitives, see `lfw_seq.load`.

    Attributes:
        card: what stands there.
    """

    def __init__(self, config: dict[str, Any], data: FaceRows) -> None:
        images, crop = data.faces.images, data.source.crop
        self.card: dict[str, Any] = {
            "format": FORMAT,
            "config": config,
            "class_names": list(data.faces.names),
            "shape": list(data.shape),
            "fingerprint": data.faces.fingerprint,
            "reading": {
                "crop": None if crop is None else [float(edge) for edge in crop],
                "height": images.shape[1],
                "width": images.shape[2],
                "color": images.ndim == 4,
                "order": data.order,
            },
        }

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the card."""
        checkpoint[CARD] = self.card
