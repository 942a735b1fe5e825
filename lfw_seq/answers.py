"""What a finished run says to images: its test images, another source's, or a folder of faces.

Shape legend: N images, B batch, T rows, F pixels a row, C people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from lfw_seq.data.images import person_files
from lfw_seq.data.lfw import LFW
from lfw_seq.data.module import READING, build
from lfw_seq.data.split import Split
from lfw_seq.errors import UsageError, check_whole
from lfw_seq.inference import accuracy_by_step, pick_device, probabilities
from lfw_seq.inference import logits as read
from lfw_seq.load import Run, load_run
from lfw_seq.metrics import stage_metrics
from lfw_seq.rebuild import checked_class, checked_source
from lfw_seq.record import PREDICTIONS, read_predictions

AS_TRAINED = "run"
SPLIT = tuple(field.name for field in fields(Split) if field.name != "split_seed")
PLACE = ("download", "cache_dir")  # these have a value of their own in conf/evaluate.yaml
Images = NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """A run's answers.

    Attributes:
        folder: the run.
        source: the images, in words.
        names: the people, C of them.
        files: N of them.
        truth: ids, (N,).
        probabilities: (N, C).
        own_test: these are the run's own test images.
        metrics: as in result.json.
        validation: logits (V, C) and ids (V,) to calibrate on.
        strangers: files and probabilities (S, C) of people the run does not know.
        by_step: accuracy if reading had stopped after a number of steps; empty where it cannot.
        images: the images themselves, (N, H, W) or (N, H, W, 3).
        notes: what a reader must know.
    """

    folder: Path
    source: str
    names: tuple[str, ...]
    files: tuple[str, ...]
    truth: NDArray[np.int64]
    probabilities: Images
    own_test: bool
    metrics: dict[str, Any]
    validation: tuple[Images, NDArray[np.int64]] | None = None
    strangers: tuple[tuple[str, ...], Images] | None = None
    by_step: Mapping[int, float] = field(default_factory=dict)
    images: Images | None = None
    notes: tuple[str, ...] = ()


def ask(cfg: DictConfig, folder: str) -> Answers:
    """Let a run answer what `conf/evaluate.yaml` asks; one without a checkpoint has only its predictions.csv.

    Raises:
        UsageError: no run, no images, or a checkpoint that is refused.
    """
    root = Path(folder).expanduser()
    if (root / PREDICTIONS).is_file() and not (root / "checkpoints").is_dir():
        return from_table(cfg, root)
    run = load_run(folder)
    threads = run.config.get("threads", 1) if cfg.threads == AS_TRAINED else cfg.threads
    check_whole("threads", threads, 1, 1024)
    torch.set_num_threads(threads)
    run.net.to(pick_device(cfg.device))
    return ask_folder(cfg, run) if cfg.faces is not None else ask_split(cfg, run)


def from_table(cfg: DictConfig, root: Path) -> Answers:
    """The answers that a run without a net left behind."""
    changed = {key for key in SPLIT if cfg.data.get(key, AS_TRAINED) != AS_TRAINED}
    if cfg.faces is not None or changed or "_target_" in cfg.data or cfg.split_seed != AS_TRAINED:
        raise UsageError(f"{root}: no checkpoint in it; it can be evaluated on its own test images only")
    files, truth, rows, names = read_predictions(root / PREDICTIONS)
    probabilities, ids = np.array(rows, dtype=np.float32), np.array(truth)
    metrics = stage_metrics("test", torch.from_numpy(probabilities).log(), torch.from_numpy(ids), names)
    note = "No checkpoint: the answers are those of predictions.csv; no calibration and no strangers."
    return Answers(
        root, "its own test images", tuple(names), tuple(files), ids, probabilities, False, metrics, notes=(note,)
    )


def ask_split(cfg: DictConfig, run: Run) -> Answers:
    """The test images of a split: by default the run's own, to the last digit."""
    keys: Any = OmegaConf.to_container(cfg.data, resolve=True, throw_on_missing=True)
    config, seed, own = source_config(keys, cfg.split_seed, run)
    data = build(config, seed, 0)
    data.setup()
    if data.faces.names != run.names or data.shape != run.shape:
        raise UsageError(
            f"the images show {', '.join(data.faces.names[:9])} in {data.shape[0]} steps of {data.shape[1]}; the run "
            f"reads {', '.join(run.names[:9])} in {run.shape[0]} of {run.shape[1]}: set the keys of data, or use faces="
        )
    tested, own = data.indices["test"], own and data.faces.fingerprint == run.fingerprint
    rows = {
        stage: torch.from_numpy(run.reading.rows(data.faces.images[data.indices[stage]]))
        for stage in ("val", "test")
        if len(data.indices[stage])
    }
    logits = {stage: read(run, part) for stage, part in rows.items()}
    truth = {stage: data.tensors[stage][1] for stage in logits}
    files = tuple(data.faces.files[index] for index in tested)
    unknown = data.source.strangers() if isinstance(data.source, LFW) else None
    return Answers(
        folder=run.folder,
        source=f"{data.faces.source}, {len(tested):,} test images",
        names=run.names,
        files=files,
        truth=truth["test"].numpy(),
        probabilities=logits["test"].softmax(dim=1).numpy(),
        own_test=own,
        metrics={
            k: v for stage in logits for k, v in stage_metrics(stage, logits[stage], truth[stage], run.names).items()
        },
        validation=(logits["val"].numpy(), truth["val"].numpy()) if "val" in logits else None,
        strangers=None if unknown is None else (unknown.files, probabilities(run, unknown.images)),
        by_step=stopped(run, rows["test"], truth["test"]),
        images=data.faces.images[tested],
        notes=notes(cfg, run, files, own),
    )


def ask_folder(cfg: DictConfig, run: Run) -> Answers:
    """All photos below a folder, <person>/<image>."""
    root = Path(cfg.faces).expanduser()
    if not root.is_dir():
        raise UsageError(f"faces={cfg.faces}: no such folder; expected <faces>/<person>/<image>")
    files = person_files(root, 1)
    images = np.stack([run.reading.image(root / name) for name in files])
    people = [name.split("/")[0].replace("_", " ") for name in files]
    known = np.array([person in run.names for person in people])
    if not known.any():
        raise UsageError(
            f"faces={cfg.faces}: shows nobody the run knows; expected folders named {', '.join(run.names[:9])}"
        )
    kept = tuple(np.array(files)[known].tolist())
    rows = torch.from_numpy(run.reading.rows(images[known]))
    logits = read(run, rows)
    truth = np.array([run.names.index(person) for person in people if person in run.names])
    strangers = (
        (tuple(np.array(files)[~known].tolist()), probabilities(run, images[~known])) if not known.all() else None
    )
    return Answers(
        folder=run.folder,
        source=f"{root}, {len(kept):,} images",
        names=run.names,
        files=kept,
        truth=truth,
        probabilities=logits.softmax(dim=1).numpy(),
        own_test=False,
        metrics=stage_metrics("test", logits, torch.from_numpy(truth), run.names),
        strangers=strangers,
        by_step=stopped(run, rows, torch.from_numpy(truth)),
        images=images[known],
        notes=("No validation images in a folder: not calibrated.", *notes(cfg, run, kept, own=False)),
    )


def stopped(run: Run, rows: Tensor, labels: Tensor) -> dict[int, float]:
    """See `accuracy_by_step`."""
    device = next(run.net.parameters()).device
    return accuracy_by_step(run.net.read, run.net.prepare(rows.to(device)), labels.to(device))


def source_config(keys: Mapping[str, Any], split_seed: int | str, run: Run) -> tuple[dict[str, Any], int, bool]:
    """The keys of `conf/data` to read with, the split's seed, and whether that is the run's own split of its source.

    A run's keys are checked before anything is built from them.
    """
    trained = checked_source(run.config["data"])
    chosen = {key: value for key, value in keys.items() if value != AS_TRAINED}
    other = "_target_" in chosen
    config = chosen if other else trained | chosen
    if missing := {*SPLIT, *READING} - config.keys():
        key = min(missing)
        raise UsageError(f"{run.folder}: trained by a version without data.{key}; say what it is with +data.{key}=...")
    if not other and (unknown := chosen.keys() - trained.keys() - {*PLACE, *SPLIT, *READING}):
        raise UsageError(
            f"data.{unknown.pop()}: the run's source has no such key; expected one of {', '.join(trained)}"
        )
    takes = {field.name for field in fields(checked_class(config["_target_"], "lfw_seq.data"))}
    config = {key: value for key, value in config.items() if key in takes or key not in PLACE}
    seed: Any = run.config["split_seed"] if split_seed == AS_TRAINED else split_seed  # checked by Split
    own: bool = (
        not other
        and seed == run.config["split_seed"]
        and all(config[key] == trained.get(key, config[key]) for key in SPLIT)
    )
    return config | {"order": run.reading.order}, seed, own


def notes(cfg: DictConfig, run: Run, files: tuple[str, ...], own: bool) -> tuple[str, ...]:
    """What makes the figures too good: images that trained the run, or chose its weights."""
    if own:
        leak = run.config["data"]["val_from"] == "test"
        return ("Validation was the test set: these figures are too good.",) if leak else ()
    try:
        config, seed, _ = source_config({key: cfg.data[key] for key in PLACE}, AS_TRAINED, run)
        data = build(config, seed, 0)
        data.setup()
    except UsageError as error:
        return (f"Whether the run learned from these images cannot be said: {error}",)
    used = {data.faces.files[index] for stage in ("train", "val") for index in data.indices[stage]}
    seen = sum(name in used for name in files)
    text = f"{seen:,} of these {len(files):,} images have the file name of one the run learned from: too good a figure."
    return (text,) if seen else ()
