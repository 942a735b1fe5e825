"""How sure a run is that a face is one of its people's: by the highest probability, or by the state the rows leave.

A state is what the last layer of a row reader reads: its pooled states. A stranger's lies far from people's,
where its probabilities, which add up to 1, may still be sure.

Shape legend: N images, T rows, F pixels a row, D features of a state, C people.
"""

import json
import math
from pathlib import Path
from typing import Literal, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lfw_seq.cli import UsageError
from lfw_seq.evaluation.rows import record_inputs
from lfw_seq.parts import check_value
from lfw_seq.runs.checkpoint import TrainedRun

PROBABILITY, STATE = "probability", "state"
STATES = "states.npz"
Floats = NDArray[np.float64]


class Sureness(NamedTuple):
    """How sure of images of known people (N,) and of strangers (S,); larger is surer."""

    known: Floats
    strangers: Floats


class PeopleStates(NamedTuple):
    """Where people's training images lie: each one's mean state (C, D), and the inverse of their spread (D, D)."""

    means: Floats
    precision: Floats

    def sureness(self, states: Floats) -> Floats:
        """Minus the squared Mahalanobis distance from states (N, D) to the nearest mean (Lee et al., 2018); (N,)."""
        apart = [states - mean for mean in self.means]
        nearest: Floats = np.min([((part @ self.precision) * part).sum(axis=1) for part in apart], axis=0)
        return -nearest


def last_states(run: TrainedRun, rows: Tensor) -> Floats:
    """The states (N, D) that rows (N, T, F) in [0, 1] leave; with their mirror images' where the run predicts so."""
    predictor = run.predictor

    def state(part: Tensor) -> Tensor:
        prepared = predictor.prepare(part)
        views = [prepared] + ([predictor.mirror.mirror(prepared)] if predictor.mirror else [])
        inputs = [list(record_inputs(predictor.net, nn.Linear, view)[1].values())[-1] for view in views]
        return torch.stack(inputs).mean(dim=0)

    states: Floats = run.by_batch(state, rows).double().numpy()
    return states


def people_states(run: TrainedRun, rows: Tensor, ids: NDArray[np.int64]) -> PeopleStates | None:
    """What training rows (N, T, F) in [0, 1] of ids (N,) leave; None for a net that does not read row by row."""
    if not getattr(run.predictor.net, "accepts_fewer_rows", False):
        return None
    from sklearn.covariance import LedoitWolf  # takes a second, which predict need not wait

    states = last_states(run, rows)
    means = np.stack([states[ids == person].mean(axis=0) for person in range(len(run.class_names))])
    return PeopleStates(means, LedoitWolf(assume_centered=True).fit(states - means[ids]).precision_)


class Threshold(NamedTuple):
    """What `evaluate` found for a share of strangers.

    Attributes:
        score: how sureness is measured.
        value: below it, a person is unknown; -inf names everybody.
        missed: the share of known people on the test images who are not given their name (FNIR).
        turned_away: the share of them who are called unknown.
        people: what the score "state" needs.
    """

    score: str = PROBABILITY
    value: float = -math.inf
    missed: float = 0.0
    turned_away: float = 0.0
    people: PeopleStates | None = None

    def sureness(self, run: TrainedRun, images: NDArray[np.float32], probabilities: NDArray[np.float32]) -> Floats:
        """How sure the run is of images (N, H, W[, 3]), whose probabilities are (N, C); (N,)."""
        best: Floats = probabilities.max(axis=1).astype(np.float64)
        if self.people is None:
            return best
        return self.people.sureness(last_states(run, torch.from_numpy(run.preprocessing.rows(images))))


def read_threshold(folder: Path, fpir: float | None, score: str | None = None) -> Threshold:
    """The threshold that `evaluate` set for a run.

    Args:
        folder: of the run.
        fpir: false positive identification rate, the share of strangers given a name; None names everybody.
        score: "probability" or "state"; None takes the one that tells strangers better.

    Raises:
        UsageError: evaluate set no threshold for this share, or its files are damaged.
    """
    check_value("score", score, Literal["probability", "state"] | None)
    if fpir is None:
        return Threshold()
    path = folder / "evaluation" / "evaluation.json"
    try:
        points = json.loads(path.read_text(encoding="utf-8"))["open_set"]["points"]
        point = next(p for p in points if p["target"] == fpir and score in (None, p["score"]))
        value, missed, away = (float(point[key]) for key in ("threshold", "fnir", "turned_away"))
        people = None
        if point["score"] == STATE:
            with np.load(path.with_name(STATES), allow_pickle=False) as kept:
                people = PeopleStates(kept["means"], kept["precision"])
        return Threshold(point["score"], value, missed, away, people)
    except (OSError, ValueError, KeyError, TypeError, StopIteration, BadZipFile) as error:
        remedy = f"use null, or 0.01, 0.05 or 0.1 after python -m lfw_seq.evaluate run={folder}"
        raise UsageError(f"fpir={fpir}: no threshold for it in {path}; {remedy}") from error
