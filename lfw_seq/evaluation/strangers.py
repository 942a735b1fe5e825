"""How sure a run is that a face is one of its people's: by the highest probability, or by the state the rows leave.

A state is what the last linear layer reads: of a row reader, its pooled states. A stranger's is far from those of the
people, where its probabilities, which add up to 1, may still be sure. Shape legend: N images, T rows, F pixels a row,
D features of a state, C people.
"""

import csv
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lfw_seq.cli import UsageError, check_choice
from lfw_seq.evaluation.rows import record_inputs
from lfw_seq.runs.checkpoint import TrainedRun

PROBABILITY, STATE = "probability", "state"
STATES = "states"  # the table of mean states
Floats = NDArray[np.float64]


class Sureness(NamedTuple):
    """How sure of images of known people (N,) and of strangers (S,); larger is surer."""

    known: Floats
    strangers: Floats


def last_states(run: TrainedRun, rows: Tensor) -> Floats | None:
    """The states (N, D) that rows (N, T, F) in [0, 1] leave; None for a net without a linear layer."""
    if not any(isinstance(module, nn.Linear) for module in run.predictor.net.modules()):
        return None

    def state(part: Tensor) -> Tensor:
        inputs = record_inputs(run.predictor.net, nn.Linear, run.predictor.prepare(part))[1]
        return list(inputs.values())[-1].flatten(1)

    states: Floats = run.by_batch(state, rows).double().numpy()
    return states


def mean_states(states: Floats, ids: NDArray[np.int64], people: int) -> Floats:
    """The direction (C, D) of each person's mean state, of states (N, D) of ids (N,)."""
    return _directions(np.stack([states[ids == person].mean(axis=0) for person in range(people)]))


def similarity(states: Floats, means: Floats) -> Floats:
    """The cosine, in [-1, 1], between each state (N, D) and the nearest of the directions (C, D)."""
    nearest: Floats = (_directions(states) @ means.T).max(axis=1)
    return nearest


def default_score(run: TrainedRun) -> str:
    """What tells strangers better: states of a net that reads row by row, of any other probabilities (the study)."""
    return STATE if getattr(run.predictor.net, "accepts_fewer_rows", False) else PROBABILITY


class Threshold(NamedTuple):
    """What `evaluate` found for a share of strangers.

    Attributes:
        score: how sureness is measured.
        value: below it, a person is unknown; -inf names everybody.
        missed: the share of known people on the test images who are not given their name (FNIR).
        turned_away: the share of them who are called unknown.
        means: direction of each person's mean state, (C, D), where the score needs them.
    """

    score: str = PROBABILITY
    value: float = -math.inf
    missed: float = 0.0
    turned_away: float = 0.0
    means: Floats | None = None

    def sureness(self, run: TrainedRun, rows: Tensor, probabilities: Floats) -> Floats:
        """How sure the run is of rows (N, T, F), whose probabilities are (N, C); (N,)."""
        if self.means is None or (states := last_states(run, rows)) is None:
            best: Floats = probabilities.max(axis=1)
            return best
        return similarity(states, self.means)


def read_threshold(folder: Path, fpir: float | None, score: str | None = None) -> Threshold:
    """The threshold that `evaluate` set for a run.

    Args:
        folder: of the run.
        fpir: false positive identification rate, the share of strangers given a name; None names everybody.
        score: "probability" or "state"; None takes the one that tells strangers better.

    Raises:
        UsageError: evaluate set no threshold for this share, or its files are damaged.
    """
    if score is not None:
        check_choice("score", score, (PROBABILITY, STATE))
    if fpir is None:
        return Threshold()
    path = folder / "evaluation" / "evaluation.json"
    try:
        points = json.loads(path.read_text(encoding="utf-8"))["open_set"]["points"]
        point = next(p for p in points if p["target"] == fpir and score in (None, p["score"]))
        value, missed, away = (float(point[key]) for key in ("threshold", "fnir", "turned_away"))
        means = _read_means(path.with_name(f"{STATES}.csv")) if point["score"] == STATE else None
        return Threshold(point["score"], value, missed, away, means)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        remedy = f"use null, or 0.01, 0.05 or 0.1 after python -m lfw_seq.evaluate run={folder}"
        raise UsageError(f"fpir={fpir}: no threshold for it in {path}; {remedy}") from error


def _read_means(path: Path) -> Floats:
    with path.open(newline="", encoding="utf-8") as file:
        means: Floats = np.array([row[1:] for row in csv.reader(file)][1:], dtype=np.float64)
    return means


def _directions(vectors: Any) -> Floats:
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: Floats = vectors / np.maximum(lengths, np.finfo(np.float64).tiny)
    return directions
