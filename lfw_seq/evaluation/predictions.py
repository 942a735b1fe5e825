"""Predictions of a finished run: on its own test images, another split or source, or a folder of photos.

Shape legend: N images, V validation images, S images of strangers, T rows, F pixels a row, C people.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from lfw_seq import data as sources
from lfw_seq.cli import UsageError, configuring
from lfw_seq.data.folder import Folder
from lfw_seq.data.images import person_files
from lfw_seq.data.lfw import LFW
from lfw_seq.data.module import READING, SPLIT, FaceRows, build, instantiate_source
from lfw_seq.evaluation.metrics import stage_metrics
from lfw_seq.evaluation.rows import accuracy_by_step
from lfw_seq.evaluation.strangers import PROBABILITY, STATE, OpenSetScores, PeopleStates, last_states, people_states
from lfw_seq.parts import Threads, check_value, to_plain
from lfw_seq.runs.archive import find_class
from lfw_seq.runs.checkpoint import TrainedRun, build_source, load_run, pick_device
from lfw_seq.runs.folder import read_result
from lfw_seq.runs.record import PREDICTIONS, read_predictions

AS_TRAINED = "run"
LOCAL_KEYS = ("download", "cache_dir")  # of this machine, never AS_TRAINED
OWN, FACES, OTHER = "evaluation", "evaluation-faces", "evaluation-other"  # the kind of images, and the output folder
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Predictions:
    """Predictions of N images, and the data to evaluate them with."""

    folder: Path  # the run folder
    result: Mapping[str, Any]  # result.json; empty without one
    kind: str  # OWN, FACES or OTHER
    source: str  # a description of the images
    names: tuple[str, ...]  # of the C people
    files: tuple[str, ...]  # of the N images
    truth: NDArray[np.int64]  # ids, (N,)
    logits: Floats  # (N, C)
    probabilities: Floats  # (N, C)
    metrics: Mapping[str, Any] = field(default_factory=dict)  # as in result.json; empty without a checkpoint
    by_step: Mapping[int, float] = field(default_factory=dict)  # accuracy by number of steps read
    validation: tuple[Floats, NDArray[np.int64]] | None = None  # logits (V, C) and ids (V,) for calibration
    strangers: tuple[str, ...] = ()  # files of the S images of people outside the classes
    open_set_scores: Mapping[str, OpenSetScores] = field(default_factory=dict)  # by kind of score, the default first
    people: PeopleStates | None = None  # of the training images, for a net that reads row by row
    images: Floats | None = None  # (N, H, W[, 3]) in [0, 1]
    notes: tuple[str, ...] = ()  # warnings


def collect(cfg: DictConfig, key: str = "run") -> Predictions:
    """Predict the images that `conf/evaluate.yaml` selects; without a checkpoint, read the run's predictions.csv.

    Raises:
        UsageError: no run, no images, or a damaged or refused checkpoint or file.
    """
    root = Path(str(cfg[key])).expanduser()
    if (root / PREDICTIONS).is_file() and not (root / "checkpoints").is_dir():
        return from_table(cfg, root)
    run = load_run(cfg[key], key)
    threads = run.config.get("threads", 1) if cfg.threads == AS_TRAINED else cfg.threads
    check_value("threads", threads, Threads)
    torch.set_num_threads(threads)
    run.predictor.to(pick_device(cfg.device))
    return from_split(cfg, run) if cfg.faces is None else from_folder(cfg, run)


def from_table(cfg: DictConfig, root: Path) -> Predictions:
    """Read the predictions.csv of a run without a checkpoint."""
    keys = [cfg.split_seed, *(cfg.data.get(key, AS_TRAINED) for key in SPLIT)]
    if cfg.faces is not None or "_target_" in cfg.data or set(keys) != {AS_TRAINED}:
        raise UsageError(f"{root}: no checkpoint in it; without one a run is evaluated on its own test images only")
    files, truth, rows, names = read_predictions(root / PREDICTIONS)
    with configuring(str(root / PREDICTIONS)):
        scores = np.array(rows, dtype=np.float32).reshape(len(files), len(names))
    if not (len(files) and len(names) > 1 and (scores >= 0).all() and (scores <= 1).all()):
        raise UsageError(f"{root / PREDICTIONS}: expected probabilities of two people or more; run the training again")
    logits, people = np.log(np.maximum(scores, np.finfo(np.float32).tiny)), tuple(names)
    source, result = f"its own {len(files):,} test images", read_result(root) or {}
    notes = ("The run has no checkpoint: evaluated from predictions.csv alone.",)
    return Predictions(root, result, OWN, source, people, tuple(files), np.array(truth), logits, scores, notes=notes)


def from_split(cfg: DictConfig, run: TrainedRun) -> Predictions:
    """Predict the test images of a split, by default the run's own, with the exact values of its training."""
    data, own = open_split(run, to_plain(cfg.data), cfg.split_seed)
    if (data.faces.names, data.shape) != (run.class_names, run.shape):
        people, classes = (", ".join(names[:9]) for names in (data.faces.names, run.class_names))
        raise UsageError(
            f"data: {people} in shape {data.shape}; expected the run's {classes} in shape {run.shape}; or use faces="
        )
    tested, others = data.indices["test"], data.source.strangers() if isinstance(data.source, LFW | Folder) else None
    files = tuple(data.faces.files[index] for index in tested)
    predictions = from_rows(
        run,
        *data.tensors["test"],
        None if others is None else (others.files, others.images),
        data.tensors["train"] if own else None,
        kind=OWN if own else OTHER,
        source=f"{data.faces.source}, {len(files):,} test images",
        files=files,
        images=data.faces.images[tested],
        notes=caveats(cfg, run, files, own),
    )
    if not own or not len(data.indices["val"]):
        why = "The run kept no validation images" if own else "Validation images of this split may have been trained on"
        return replace(predictions, notes=(*predictions.notes, f"{why}: not calibrated."))
    rows, truth = data.tensors["val"]
    logits = run.logits(rows)
    metrics = {**predictions.metrics, **stage_metrics("val", logits, truth, run.class_names)}
    return replace(predictions, metrics=metrics, validation=(logits.numpy(), truth.numpy()))


def from_folder(cfg: DictConfig, run: TrainedRun) -> Predictions:
    """Predict all photos <person>/<image> of a folder; people outside the run's classes are strangers."""
    root = Path(str(cfg.faces)).expanduser()
    if not root.is_dir():
        raise UsageError(f"faces={cfg.faces}: no such folder; expected <person>/<image> in it")
    files = np.array(person_files(root, 1))
    people = np.array([file.split("/")[0].replace("_", " ") for file in files])
    known = np.isin(people, run.class_names)
    if not known.any():
        names = ", ".join(run.class_names[:9])
        raise UsageError(f"faces={cfg.faces}: no folder of a person of the run; expected folders named {names}")
    images = np.stack([run.preprocessing.image(root / file) for file in files])
    kept, others = (tuple(files[part].tolist()) for part in (known, ~known))
    return from_rows(
        run,
        torch.from_numpy(run.preprocessing.rows(images[known])),
        torch.tensor([run.class_names.index(person) for person in people[known]]),
        (others, images[~known]) if others else None,
        kind=FACES,
        source=f"{root}, {len(kept):,} images",
        files=kept,
        images=images[known],
        notes=("A folder has no validation images: not calibrated.", *caveats(cfg, run, kept, own=False)),
    )


def from_rows(
    run: TrainedRun,
    rows: Tensor,
    truth: Tensor,
    strangers: tuple[tuple[str, ...], Floats] | None,  # files, and images (S, H, W[, 3])
    trained: tuple[Tensor, Tensor] | None = None,
    **fields: Any,
) -> Predictions:
    """Predict rows (N, T, F) of ids (N,), and strangers; the state score needs `trained`, the training rows and ids."""
    logits, like = run.logits(rows), next(run.predictor.parameters())
    predictions = Predictions(
        folder=run.folder,
        result=read_result(run.folder) or {},
        names=run.class_names,
        truth=truth.numpy(),
        logits=logits.numpy(),
        probabilities=logits.softmax(dim=1).numpy(),
        metrics=stage_metrics("test", logits, truth, run.class_names),
        by_step=accuracy_by_step(run.predictor, rows.to(like), truth.to(like.device)),
        **fields,
    )
    if strangers is None:
        return predictions
    files, others = strangers[0], torch.from_numpy(run.preprocessing.rows(strangers[1]))
    both = predictions.probabilities, run.probabilities(strangers[1])
    scores = {PROBABILITY: OpenSetScores(*(part.max(axis=1).astype(np.float64) for part in both))}
    people = people_states(run, trained[0], trained[1].numpy()) if trained else None
    if people is not None:  # the better score first
        scores = {STATE: OpenSetScores(*(people.scores(last_states(run, part)) for part in (rows, others)))} | scores
    return replace(predictions, strangers=files, open_set_scores=scores, people=people)


def open_split(run: TrainedRun, keys: Mapping[str, Any], split_seed: int | str = AS_TRAINED) -> tuple[FaceRows, bool]:
    """Set up a run's data with some keys of `conf/data` changed; return them, and whether they are its own split.

    Raises:
        UsageError: an unknown key, a wrong value, or missing images.
    """
    trained, chosen = run.config["data"], {key: value for key, value in keys.items() if value != AS_TRAINED}
    other = "_target_" in chosen
    if not other and (unknown := chosen.keys() - trained.keys() - {*LOCAL_KEYS, *SPLIT, *READING}):
        raise UsageError(f"data.{min(unknown)}: the run's source has no such key; expected one of {', '.join(trained)}")
    keys = (chosen if other else trained | chosen) | {"order": run.preprocessing.order}
    fields = getattr(find_class(sources, keys.get("_target_")), "__annotations__", LOCAL_KEYS)
    config = {key: value for key, value in keys.items() if key not in LOCAL_KEYS or key in fields}
    seed: Any = run.config["split_seed"] if split_seed == AS_TRAINED else split_seed  # checked by Split
    data = build(config, seed, 0, instantiate_source if other else build_source)
    data.setup()
    same = seed == run.config["split_seed"] and all(config[key] == trained.get(key) for key in SPLIT)
    return data, not other and same and data.faces.fingerprint == run.fingerprint


def caveats(cfg: DictConfig, run: TrainedRun, files: tuple[str, ...], own: bool) -> tuple[str, ...]:
    """Warn of numbers that are too good: images, by file name, that the run was trained on or selected with."""
    if own:
        leak = run.config["data"].get("val_from") == "test"
        return ("Validation was the test set: these numbers are too good.",) if leak else ()
    try:
        data, _ = open_split(run, {key: cfg.data[key] for key in LOCAL_KEYS})
    except UsageError as error:
        return (f"The run's own images are missing, so its training images may be among these: {error}",)
    notes = []
    if data.faces.fingerprint != run.fingerprint:
        notes.append("The photos have changed since the run was trained: its own metrics cannot be computed again.")
    used = {data.faces.files[index] for stage in ("train", "val") for index in data.indices[stage]}
    if seen := sum(name in used for name in files):
        total = f"{seen:,} of these {len(files):,} images"
        notes.append(f"{total} were used in training, by file name: the numbers are too good.")
    return tuple(notes)
