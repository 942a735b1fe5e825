"""Load the predictor of a run from its checkpoint; nothing in the file is trusted.

Shape legend: N images, B batch, T rows, F pixels a row, C people.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfw_seq import data, models
from lfw_seq.cli import UsageError, configuring
from lfw_seq.data.images import is_folder
from lfw_seq.data.sequences import Layout, Mode, PixelScale, Preprocessing, Side, Standardize
from lfw_seq.data.synthetic import Synthetic, image_counts
from lfw_seq.models.predictor import Predictor
from lfw_seq.models.recurrent import bf16_error
from lfw_seq.parts import Count, check_value, fits
from lfw_seq.runs.archive import FORMAT, METADATA, construct, open_checkpoint

MOST_PIXELS = 2**24  # per image
MOST_DRAWN = 2**28  # pixels of all drawn faces: 1 GiB
PREFIX = "predictor."  # of the predictor's weights in a classifier's state
FIELDS: dict[str, Any] = {
    "class_names": list[str], "shape": tuple[Side, Side], "fingerprint": str, "config": dict, "preprocessing": dict,
}  # fmt: skip
CONFIG_FIELDS: dict[str, Any] = {"model": dict, "data": dict, "trainer": dict, "split_seed": int, "test_mirror": bool}
DTYPES = {"64-true": torch.float64, "bf16-true": torch.bfloat16, "16-true": torch.float16}
AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class TrainedRun:
    """A trained predictor with its preprocessing and the config of its run."""

    folder: Path
    epoch: int  # of the weights, from 1
    config: dict[str, Any]  # as plain values
    class_names: tuple[str, ...]  # C people, in class order
    shape: tuple[int, int]  # (T, F)
    fingerprint: str  # of the training data
    preprocessing: Preprocessing  # from a photo to rows
    predictor: Predictor  # rows (B, T, F) in [0, 1] to logits (B, C), in evaluation mode

    def logits(self, rows: Tensor, batch_size: int | None = None) -> Tensor:
        """Logits (N, C) of rows (N, T, F) in [0, 1]; see `by_batch`."""
        return self.by_batch(self.predictor, rows, batch_size)

    def by_batch(self, function: Callable[[Tensor], Tensor], rows: Tensor, batch_size: int | None = None) -> Tensor:
        """Apply a function (B, T, F) -> (B, ...) that calls the predictor to rows (N, T, F) in [0, 1], by batch.

        Args:
            function: called in the precision of the training run, on the predictor's device.
            rows: on any device.
            batch_size: B; by default the training run's `eval_batch_size`, which reproduces its last digits.

        Returns:
            (N, ...), float32 on the CPU.
        """
        parameter = next(self.predictor.parameters())
        device, precision = parameter.device, self.config["trainer"].get("precision")
        mixed = AUTOCAST.get(precision)
        if mixed is not None and device.type == "cpu":  # bfloat16 is Lightning's choice there
            mixed = None if bf16_error() else torch.bfloat16
        size = batch_size or self.config["data"].get("eval_batch_size", 512)
        check_value("data.eval_batch_size", size, Count)
        with torch.inference_mode(), torch.autocast(device.type, mixed, enabled=mixed is not None):
            parts = rows.to(DTYPES.get(precision, torch.float32)).split(size)
            return torch.cat([function(part.to(device)).float().cpu() for part in parts])

    def probabilities(self, images: NDArray[np.float32], batch_size: int | None = None) -> NDArray[np.float32]:
        """Probabilities (N, C) of images (N, H, W[, 3]) in [0, 1].

        Raises:
            UsageError: images of another shape, or integers.
        """
        expected = (self.preprocessing.height, self.preprocessing.width, *[3] * self.preprocessing.color)
        if images.shape[1:] != expected or not np.issubdtype(images.dtype, np.floating):
            raise UsageError(f"images: {images.dtype} {images.shape}; expected floats in [0, 1], {('N', *expected)}")
        rows = torch.from_numpy(self.preprocessing.rows(images))
        return self.logits(rows, batch_size).softmax(dim=1).numpy()


def load_run(folder: str | Path, key: str = "run") -> TrainedRun:
    """Load the predictor of a run folder with its best weights, or its last ones where no best were kept.

    Raises:
        UsageError: no run there, or a checkpoint that is damaged, another project's, or contains code.
    """
    check_value(key, str(folder) if isinstance(folder, Path) else folder, str)
    root = Path(folder).expanduser()
    if not is_folder(root):
        raise UsageError(f"{key}={folder}: no such folder; expected the folder of a run of lfw_seq.train")
    files = [root / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise UsageError(
            f"{key}={folder}: no checkpoints/best.ckpt in it; expected the folder of a run of lfw_seq.train"
        )
    checkpoint = open_checkpoint(path)
    metadata = check_metadata(path, checkpoint.get(METADATA))
    state = {name.removeprefix(PREFIX): value for name, value in checkpoint["state_dict"].items()}
    with configuring(str(path)):
        preprocessing = Preprocessing(**metadata["preprocessing"])
        if preprocessing.shape != tuple(metadata["shape"]):
            raise UsageError(f"its images become rows of shape {preprocessing.shape}, not {metadata['shape']}")
        predictor = rebuild(metadata, preprocessing.layout, state)
    return TrainedRun(
        folder=root,
        epoch=int(checkpoint["epoch"]) + 1,
        config=metadata["config"],
        class_names=tuple(metadata["class_names"]),
        shape=(metadata["shape"][0], metadata["shape"][1]),
        fingerprint=metadata["fingerprint"],
        preprocessing=preprocessing,
        predictor=predictor,
    )


def check_metadata(path: Path, metadata: Any) -> dict[str, Any]:
    """Check the type and range of every field of a checkpoint's metadata, and return them.

    Raises:
        UsageError: they are missing, of another format, or not well formed.
    """
    if not isinstance(metadata, dict) or "format" not in metadata:
        raise UsageError(f"{path}: a checkpoint of another project or an older version; train the run again")
    if metadata["format"] != FORMAT:
        raise UsageError(f"{path}: format {metadata['format']!r:.50}, expected {FORMAT}; train the run again")
    config: Any = metadata.get("config")
    preprocessing: Any = metadata.get("preprocessing")
    attributes = get_type_hints(Preprocessing, include_extras=True)
    for node, fields in ((metadata, FIELDS), (config, CONFIG_FIELDS), (preprocessing, attributes)):
        for key, kind in fields.items():
            if not isinstance(node, dict) or key not in node or not fits(node[key], kind):
                raise UsageError(f"{path}: no proper {key!r} in its metadata; train the run again")
    height, width = metadata["shape"]
    if max(height * width, preprocessing["height"] * preprocessing["width"]) > MOST_PIXELS:
        raise UsageError(f"{path}: no proper shape in its metadata; train the run again")
    if len(set(metadata["class_names"])) != len(metadata["class_names"]) or not metadata["class_names"]:
        raise UsageError(f"{path}: no proper class_names in its metadata; train the run again")
    return metadata


def rebuild(metadata: Mapping[str, Any], layout: Layout, state: Mapping[str, Tensor]) -> Predictor:
    """Build the predictor described by metadata and load its weights, in evaluation mode.

    It is built on the meta device first: a file cannot allocate more memory than its weights need.

    Raises:
        UsageError: the metadata describe no net of ours, or the weights are another net's.
    """
    config, (steps, features) = metadata["config"], metadata["shape"]
    shape = {"num_features": features, "num_rows": steps, "num_classes": len(metadata["class_names"])}
    scale, mode = config["data"].get("pixel_scale"), config["data"].get("standardize")
    check_value("data.pixel_scale", scale, PixelScale)
    check_value("data.standardize", mode, Mode)

    def build() -> Predictor:
        net = construct("model", config["model"], models, shape)
        standardize = Standardize(mode, steps, features)
        return Predictor(net, standardize, float(scale), layout if config["test_mirror"] else None)

    with torch.device("meta"):
        expected = {name: value.shape for name, value in build().state_dict().items()}
    if expected != {name: value.shape for name, value in state.items()}:
        raise UsageError(f"its weights are not those of model._target_={config['model'].get('_target_')!r:.100}")
    predictor = build()
    predictor.load_state_dict(state)
    return predictor.to(DTYPES.get(config["trainer"].get("precision"), torch.float32)).eval()


def build_source(config: Mapping[str, Any]) -> Any:
    """Build the data source described by the keys of `conf/data` in a file.

    Raises:
        UsageError: a class that is none of ours, or an invalid value.
    """
    with configuring("data"):
        source = construct("data", dict(config), data, {})
        if isinstance(source, Synthetic):
            count = source.num_images or int(image_counts(source.num_people, None).sum())
            if count * source.height * source.width > MOST_DRAWN:
                raise UsageError(f"data.num_images={source.num_images}: refused, too many for a config from a file")
        return source


def set_up_gpus() -> None:
    """Let training and evaluation compute alike on a GPU, and in float32 where they say so, not in cuDNN's TF32."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or CUDA's matrix products are not reproducible
    torch.backends.cudnn.allow_tf32 = False


def pick_device(name: str) -> torch.device:
    """Device of the key `device`, set up: "auto" is the GPU where there is one.

    Raises:
        UsageError: no such device.
    """
    check_value("device", name, Literal["auto", "cpu", "cuda"])
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda: no GPU here; use device=cpu")
    set_up_gpus()
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
