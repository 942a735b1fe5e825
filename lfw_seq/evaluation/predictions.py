"""A finished run's predictions: for its own test images, for another split or source, or for a folder of photos.

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
from lfw_seq.evaluation.strangers import PROBABILITY, STATE, PeopleStates, Sureness, last_states, people_states
from lfw_seq.parts import Threads, check_value
from lfw_seq.runs.archive import find_class
from lfw_seq.runs.checkpoint import TrainedRun, build_source, load_run, pick_device
from lfw_seq.runs.folder import read_result, to_plain
from lfw_seq.runs.record import PREDICTIONS, read_predictions

AS_TRAINED = "run"
PLACE = ("download", "cache_dir")  # these have a value of their own in conf/evaluate.yaml
OWN, FACES, OTHER = "evaluation", "evaluation-faces", "evaluation-other"  # which images: the folder of what is written
Floats = NDArray[np.float32]
Strangers = tuple[tuple[str, ...], Floats]  # files, and images (S, H, W[, 3])


@dataclass(frozen=True)
class Predictions:
    """Predictions, and what they are measured against."""

    folder: Path  # the run
    result: Mapping[str, Any]  # its result.json; empty where there is none
    kind: str  # OWN, FACES or OTHER
    source: str  # the images in words
    names: tuple[str, ...]  # the people, C of them
    files: tuple[str, ...]  # N of them
    truth: NDArray[np.int64]  # ids, (N,)
    logits: Floats  # (N, C)
    probabilities: Floats  # (N, C)
    metrics: Mapping[str, Any] = field(default_factory=dict)  # as in result.json; none without a checkpoint
    by_step: Mapping[int, float] = field(default_factory=dict)  # accuracy if reading had stopped after so many steps
    validation: tuple[Floats, NDArray[np.int64]] | None = None  # logits (V, C) and ids (V,) to calibrate on
    strangers: tuple[str, ...] = ()  # files of people the run does not know, S of them
    sureness: Mapping[str, Sureness] = field(default_factory=dict)  # by score, the one to be used first
    people: PeopleStates | None = None  # where a row reader's training images lie
    images: Floats | None = None  # (N, H, W[, 3])
    notes: tuple[str, ...] = ()  # what a reader must know


def collect(cfg: DictConfig, key: str = "run") -> Predictions:
    """The predictions `conf/evaluate.yaml` describes; a run without a checkpoint has only its predictions.csv.

    Args:
        cfg: the config.
        key: of the run's folder.

    Raises:
        UsageError: no run, no images, or a checkpoint or file that is refused.
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
    """The predictions that a run without a checkpoint left behind."""
    keys = [cfg.split_seed, *(cfg.data.get(key, AS_TRAINED) for key in SPLIT)]
    if cfg.faces is not None or "_target_" in cfg.data or set(keys) != {AS_TRAINED}:
        raise UsageError(f"{root}: no checkpoint in it; it can be evaluated on its own test images only")
    files, truth, rows, names = read_predictions(root / PREDICTIONS)
    with configuring(str(root / PREDICTIONS)):
        scores = np.array(rows, dtype=np.float32).reshape(len(files), len(names))
    if not (len(files) and len(names) > 1 and (scores >= 0).all() and (scores <= 1).all()):
        raise UsageError(f"{root / PREDICTIONS}: expected probabilities of two people or more; run the training again")
    logits, source = np.log(np.maximum(scores, np.finfo(np.float32).tiny)), f"its own {len(files):,} test images"
    notes, people = ("The run has no checkpoint: predictions.csv is all there is.",), tuple(names)
    found = Predictions(
        root, read_result(root) or {}, OWN, source, people, tuple(files), np.array(truth), logits, scores
    )
    return replace(found, notes=notes)


def from_split(cfg: DictConfig, run: TrainedRun) -> Predictions:
    """The test images of a split: by default the run's own, to the last digit."""
    data, own = open_split(run, to_plain(cfg.data), cfg.split_seed)
    if (data.faces.names, data.shape) != (run.class_names, run.shape):
        given, known = (", ".join(names[:9]) for names in (data.faces.names, run.class_names))
        raise UsageError(f"data: shows {given} in {data.shape}; the run knows {known} in {run.shape}; or use faces=")
    tested, others = data.indices["test"], data.source.strangers() if isinstance(data.source, LFW | Folder) else None
    files = tuple(data.faces.files[index] for index in tested)
    found = from_rows(
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
    if not len(data.indices["val"]):
        return found
    rows, truth = data.tensors["val"]
    logits = run.logits(rows)
    metrics = {**found.metrics, **stage_metrics("val", logits, truth, run.class_names)}
    return replace(found, metrics=metrics, validation=(logits.numpy(), truth.numpy()))


def from_folder(cfg: DictConfig, run: TrainedRun) -> Predictions:
    """All photos below a folder, <person>/<image>; people the run does not know are strangers."""
    root = Path(str(cfg.faces)).expanduser()
    if not root.is_dir():
        raise UsageError(f"faces={cfg.faces}: no such folder; expected <person>/<image> in it")
    files = np.array(person_files(root, 1))
    people = np.array([file.split("/")[0].replace("_", " ") for file in files])
    known = np.isin(people, run.class_names)
    if not known.any():
        names = ", ".join(run.class_names[:9])
        raise UsageError(f"faces={cfg.faces}: shows nobody the run knows; expected folders named {names}")
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
    strangers: Strangers | None,
    trained: tuple[Tensor, Tensor] | None = None,
    **fields: Any,
) -> Predictions:
    """Predictions for rows (N, T, F) of ids (N,), and for strangers; states need the rows and ids that `trained`."""
    logits, like = run.logits(rows), next(run.predictor.parameters())
    found = Predictions(
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
        return found
    files, others = strangers[0], torch.from_numpy(run.preprocessing.rows(strangers[1]))
    known = found.probabilities, run.probabilities(strangers[1])
    sureness = {PROBABILITY: Sureness(*(part.max(axis=1).astype(np.float64) for part in known))}
    people = people_states(run, trained[0], trained[1].numpy()) if trained else None
    if people is not None:  # the better score comes first
        sureness = {STATE: Sureness(*(people.sureness(last_states(run, part)) for part in (rows, others)))} | sureness
    return replace(found, strangers=files, sureness=sureness, people=people)


def open_split(run: TrainedRun, keys: Mapping[str, Any], split_seed: int | str = AS_TRAINED) -> tuple[FaceRows, bool]:
    """The data a run was trained on, or what other keys of `conf/data` make of it, in the run's order of reading.

    Returns:
        The data, and whether they are the run's own split.

    Raises:
        UsageError: a key or its value is none, or the images are not there.
    """
    trained, chosen = run.config["data"], {key: value for key, value in keys.items() if value != AS_TRAINED}
    other = "_target_" in chosen
    if not other and (unknown := chosen.keys() - trained.keys() - {*PLACE, *SPLIT, *READING}):
        raise UsageError(f"data.{min(unknown)}: the run's source has no such key; expected one of {', '.join(trained)}")
    keys = (chosen if other else trained | chosen) | {"order": run.preprocessing.order}
    takes = getattr(find_class(sources, keys.get("_target_")), "__annotations__", PLACE)
    config = {key: value for key, value in keys.items() if key not in PLACE or key in takes}
    seed: Any = run.config["split_seed"] if split_seed == AS_TRAINED else split_seed  # checked by Split
    data = build(config, seed, 0, instantiate_source if other else build_source)
    data.setup()
    same = seed == run.config["split_seed"] and all(config[key] == trained.get(key) for key in SPLIT)
    return data, not other and same and data.faces.fingerprint == run.fingerprint


def caveats(cfg: DictConfig, run: TrainedRun, files: tuple[str, ...], own: bool) -> tuple[str, ...]:
    """What makes the numbers too good: images that trained the run, by their file names, or chose its weights."""
    if own:
        leak = run.config["data"].get("val_from") == "test"
        return ("Validation was the test set: these numbers are too good.",) if leak else ()
    try:
        data, _ = open_split(run, {key: cfg.data[key] for key in PLACE})
    except UsageError as error:
        return (f"The run's own images cannot be found, so some of them may be among these: {error}",)
    used = {data.faces.files[index] for stage in ("train", "val") for index in data.indices[stage]}
    if seen := sum(name in used for name in files):
        return (f"{seen:,} of these {len(files):,} images have the name of one that trained the run: too good.",)
    return ()
