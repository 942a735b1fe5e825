"""Open-set scores: the highest probability of a face, or the distance of its state to those of known people.

A state is the input of the last linear layer of a net that reads row by row. A stranger's may lie far from those of
all known people while its highest probability, of probabilities that add up to 1, is near 1.

Shape legend: N images, T rows, F pixels a row, D features of a state, C people.
"""

import math
import shlex
from pathlib import Path
from typing import Literal, NamedTuple
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lfw_seq.cli import UsageError
from lfw_seq.evaluation.rows import record_inputs
from lfw_seq.parts import check_value
from lfw_seq.runs.checkpoint import TrainedRun
from lfw_seq.runs.folder import read_json

PROBABILITY, STATE = "probability", "state"
STATES = "states.npz"
Floats = NDArray[np.float64]


class OpenSetScores(NamedTuple):
    """Scores of images of known people (N,) and of strangers (S,); higher for known people."""

    known: Floats
    strangers: Floats


class PeopleStates(NamedTuple):
    """Statistics of the training images' states: the mean of each person (C, D), and the precision matrix (D, D)."""

    means: Floats
    precision: Floats

    def scores(self, states: Floats) -> Floats:
        """Minus the squared Mahalanobis distance from states (N, D) to the nearest mean (Lee et al., 2018); (N,)."""
        offsets = [states - mean for mean in self.means]
        nearest: Floats = np.min([((offset @ self.precision) * offset).sum(axis=1) for offset in offsets], axis=0)
        return -nearest


def last_states(run: TrainedRun, rows: Tensor) -> Floats:
    """States (N, D) of rows (N, T, F) in [0, 1]; with test_mirror, the mean over an image and its mirror."""
    predictor = run.predictor

    def state(part: Tensor) -> Tensor:
        prepared = predictor.prepare(part)
        views = [prepared] + ([predictor.mirror.mirror(prepared)] if predictor.mirror else [])
        inputs = [list(record_inputs(predictor.net, nn.Linear, view)[1].values())[-1] for view in views]
        return torch.stack(inputs).mean(dim=0)

    states: Floats = run.by_batch(state, rows).double().numpy()
    return states


def people_states(run: TrainedRun, rows: Tensor, ids: NDArray[np.int64]) -> PeopleStates | None:
    """Statistics of training rows (N, T, F) in [0, 1] of ids (N,); None for a net that does not read row by row."""
    if not getattr(run.predictor.net, "accepts_fewer_rows", False):
        return None
    from sklearn.covariance import LedoitWolf  # a second to import, and not used by predict

    states = last_states(run, rows)
    means = np.stack([states[ids == person].mean(axis=0) for person in range(len(run.class_names))])
    return PeopleStates(means, LedoitWolf(assume_centered=True).fit(states - means[ids]).precision_)


class Threshold(NamedTuple):
    """A threshold that `evaluate` set, with its error rates on the test images of known people."""

    score: str = PROBABILITY  # or STATE
    value: float = -math.inf  # below it a person is unknown; -inf accepts all
    missed: float = 0.0  # share rejected or named wrongly (FNIR)
    turned_away: float = 0.0  # share rejected
    people: PeopleStates | None = None  # for STATE

    def scores(self, run: TrainedRun, images: NDArray[np.float32], probabilities: NDArray[np.float32]) -> Floats:
        """Scores (N,) of images (N, H, W[, 3]) in [0, 1] with probabilities (N, C)."""
        best: Floats = probabilities.max(axis=1).astype(np.float64)
        if self.people is None:
            return best
        return self.people.scores(last_states(run, torch.from_numpy(run.preprocessing.rows(images))))


def read_threshold(folder: Path, fpir: float | None, score: str | None = None) -> Threshold:
    """Read the threshold that `evaluate` set for a run and `fpir`, the share of strangers given a name.

    Without `fpir` all faces are accepted; without a score, "probability" or "state", it is the state's if there is one.

    Raises:
        UsageError: evaluate set no threshold for this rate, or its files are damaged.
    """
    check_value("score", score, Literal["probability", "state"] | None)
    if fpir is None:
        return Threshold()
    path, points = folder / "evaluation" / "evaluation.json", None
    try:
        measured = read_json(path)["open_set"]
        points = [] if measured is None else measured["points"]
        point = next(p for p in points if p["target"] == fpir and score in (None, p["score"]))
        check_value("score", point["score"], Literal["probability", "state"])
        value, missed, away = (float(point[key]) for key in ("threshold", "fnir", "turned_away"))
        people = None
        if point["score"] == STATE:
            with ZipFile(path.with_name(STATES)) as archive:
                if any(entry.compress_type != ZIP_STORED for entry in archive.infolist()):
                    raise BadZipFile(f"{STATES} is compressed")
            with np.load(path.with_name(STATES), allow_pickle=False) as states:
                people = PeopleStates(states["means"], states["precision"])
        return Threshold(point["score"], value, missed, away, people)
    except (OSError, ValueError, KeyError, TypeError, StopIteration, BadZipFile) as error:
        if points == []:
            remedy = "use null; it needs strangers, people under data.min_faces_per_person in the data of the run"
        else:
            again = f"python -m lfw_seq.evaluate run={shlex.quote(str(folder))}"
            remedy = f"use null, or 0.01, 0.05 or 0.1 after {again}"
        remedy += "; score=state is for nets that read row by row" * (score == STATE)
        raise UsageError(f"fpir={fpir}: no threshold for it in {path}; {remedy}") from error
