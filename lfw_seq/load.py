"""The one way back from a run: its checkpoint to a net that answers, trusting nothing in the file.

A checkpoint is opened with `weights_only=True`, and its card (`lfw_seq.callbacks.card`) may name classes of
`lfw_seq.models` alone: whatever else a file asks for is refused before anything of it runs.

Shape legend: B batch, T rows, F pixels a row, C people.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfw_seq.errors import UsageError
from lfw_seq.rebuild import rebuild

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lfw_seq.data.layout import Layout
    from lfw_seq.reader import Reader

CARD = "lfw_seq"  # the checkpoint's key
FORMAT = 1
CARD_TYPES = {"config": dict, "class_names": list, "shape": list, "fingerprint": str, "reading": dict}
CONFIG_KEYS = {"model", "data", "trainer", "split_seed", "test_mirror"}
READING_KEYS = {"crop", "height", "width", "color", "order"}


@dataclass(frozen=True)
class Reading:
    """From a photo to what the net reads.

    Attributes:
        crop: top, bottom, left, right to keep, as fractions; None keeps the largest centred part.
        height: rows of the face.
        width: pixels a row.
        color: red, green and blue are kept.
        order: of reading, see `lfw_seq.data.sequences`.
    """

    crop: list[float] | None
    height: int
    width: int
    color: bool
    order: str

    def image(self, path: Path) -> NDArray[np.float32]:
        """Decode a photo: float32 in [0, 1], (height, width) or (height, width, 3).

        Raises:
            UsageError: not a readable image.
        """
        from lfw_seq.data.images import read_image

        return read_image(path, self.crop, self.height, self.width, self.color)

    @property
    def layout(self) -> Layout:
        """Where an image's pixels lie in its sequence."""
        from lfw_seq.data.layout import Layout

        return Layout(self.order == "columns", 3 if self.color else 1)

    def rows(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images (B, height, width[, 3]) in [0, 1] as rows (B, T, F)."""
        from lfw_seq.data.sequences import sequences

        return sequences(images, self.order)


@dataclass(frozen=True)
class Run:
    """A trained net and what it needs.

    Attributes:
        folder: where the run is.
        checkpoint: the file the weights are from.
        epoch: they are those after this epoch, from 1.
        config: the run's config, plain.
        names: the people, in class order, C of them.
        shape: T and F.
        fingerprint: of the data it learned from.
        reading: how a photo becomes rows.
        net: rows in [0, 1], (B, T, F), to logits (B, C), in evaluation mode: the whole of what a prediction runs.
    """

    folder: Path
    checkpoint: Path
    epoch: int
    config: dict[str, Any]
    names: tuple[str, ...]
    shape: tuple[int, int]
    fingerprint: str
    reading: Reading
    net: Reader


def load_run(folder: str | Path) -> Run:
    """Load the net of a run folder with its best weights, or its last ones where no best were kept.

    Raises:
        UsageError: no run there, or a checkpoint that is damaged, another project's, or asks for code.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UsageError(f"run={folder}: no such folder; expected the folder of a run of lfw_seq.train")
    files = [root / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise UsageError(f"run={folder}: no checkpoints/best.ckpt in it; expected the folder of a run of lfw_seq.train")
    checkpoint = open_checkpoint(path)
    card = check_card(path, checkpoint.get(CARD))
    steps, features = card["shape"]
    shape = {"num_features": features, "num_rows": steps, "num_classes": len(card["class_names"])}
    reading = Reading(**card["reading"])
    return Run(
        folder=root,
        checkpoint=path,
        epoch=int(checkpoint["epoch"]) + 1,
        config=card["config"],
        names=tuple(card["class_names"]),
        shape=(steps, features),
        fingerprint=card["fingerprint"],
        reading=reading,
        net=rebuild(path, card["config"], shape, reading.layout, checkpoint["state_dict"]),
    )


def open_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content: tensors and primitives, nothing executed.

    Raises:
        UsageError: the file is damaged, no checkpoint, or holds anything else.
    """
    import pickle

    import torch

    try:
        with warnings.catch_warnings():  # of a file that is refused anyway
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path}: not opened, as it holds more than tensors and plain values, or is damaged"
        ) from error
    except Exception as error:  # a damaged file fails in whatever way its bytes lead to
        raise UsageError(
            f"{path}: damaged, or not a checkpoint ({type(error).__name__}); train the run again, or copy it whole"
        ) from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "epoch"} <= checkpoint.keys():
        raise UsageError(f"{path}: a checkpoint of another project; expected one written by lfw_seq.train")
    return checkpoint


def check_card(path: Path, card: Any) -> dict[str, Any]:
    """The card of a checkpoint, once it is what this version writes.

    Raises:
        UsageError: it is missing, of another format, or not well formed.
    """
    if not isinstance(card, dict) or "format" not in card:
        raise UsageError(f"{path}: a checkpoint of another project or an older version; train the run again")
    if card["format"] != FORMAT:
        raise UsageError(f"{path}: format {card['format']}, expected {FORMAT}: written by another version of lfw_seq")
    for key, kind in CARD_TYPES.items():
        if not isinstance(card.get(key), kind):
            raise UsageError(f"{path}: its card has no proper {key!r}; train the run again")
    if missing := CONFIG_KEYS - card["config"].keys():
        raise UsageError(f"{path}: its config has no {missing.pop()!r}; train the run again")
    sizes = [card["reading"].get("height"), card["reading"].get("width"), *card["shape"]]
    whole = len(sizes) == 4 and all(isinstance(size, int) and 0 < size <= 2**16 for size in sizes)
    named = card["class_names"] and all(isinstance(name, str) for name in card["class_names"])
    if not whole or not named or card["reading"].keys() != READING_KEYS:
        raise UsageError(f"{path}: its card names no proper people, shape or reading; train the run again")
    return card
