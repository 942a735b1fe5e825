"""`python -m lfw_seq.baselines`: what faces give without a recurrent net, on the same splits, in such run folders."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import command, runs, summary, sweeps
from lfw_seq.errors import UsageError, check_whole
from lfw_seq.record import model_name, overrides, write_answers, write_result
from lfw_seq.runs import plain
from lfw_seq.train import prepare_process

if TYPE_CHECKING:
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from torch import Tensor

    from lfw_seq.data.module import FaceRows

log = logging.getLogger(__name__)

LEARNED = (  # attributes of scikit-learn's fitted steps
    "class_prior_",
    "_fit_X",
    "mean_",
    "scale_",
    "components_",
    "explained_variance_",
    "coef_",
    "support_vectors_",
    "dual_coef_",
    "intercept_",
)


@dataclass
class Answers:
    """What a model said: the part of a classifier that `summary` and `write_predictions` read.

    Attributes:
        values: metrics by `stage/name`.
        probabilities: (N, C) by stage.
    """

    values: dict[str, Tensor]
    probabilities: dict[str, Tensor]


@hydra.main(config_path=str(command.CONF), config_name="baselines", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """The command; returns the validation accuracy, NaN without validation."""
    result = command.run(fit, cfg)
    if result and not sweeps.in_sweep():
        print(summary.closing_table(result, cfg.run_dir))
    return float(result["metrics"].get("val/accuracy", math.nan)) if result else math.nan


def fit(cfg: DictConfig) -> dict[str, Any]:
    """Choose and fit on the training images, validate, test once, write the run folder.

    Validation measures the model fitted to the training images alone. The one tested has also seen the validation
    images where `refit` says so: nothing else here needs them, and nets choose their best epoch by them.

    Returns:
        What result.json holds, as for `lfw_seq.train`; no epochs.

    Raises:
        UsageError: a value, a file or a folder that the user has to mend.
    """
    started = time.perf_counter()
    for key, least in (("tuning_folds", 2), ("threads", 1), ("seed", 0)):
        check_whole(key, cfg[key], least)
    folder, name = Path(cfg.run_dir), runs.config_hash(cfg)
    with runs.claimed(folder, name):
        prepare_process(cfg)
        from threadpoolctl import threadpool_limits

        from lfw_seq.data.module import build

        data = build(plain(cfg.data), cfg.split_seed, cfg.seed)
        data.setup()
        runs.save_config(cfg, folder, overrides())
        with threadpool_limits(cfg.threads):
            answers, parameters = answer(cfg, data)
        write_answers(folder, answers, data)
        return write_result(cfg, data, answers, parameters, time.perf_counter() - started)


def answer(cfg: DictConfig, data: FaceRows) -> tuple[Answers, int]:
    """Fit; the metrics and probabilities of validation and test, and how many numbers the tested model keeps."""
    import numpy as np

    standardize = data.standardizer()
    pixels = {stage: standardize(rows).flatten(1).numpy() for stage, (rows, _) in data.tensors.items()}  # (N, T F)
    people = {stage: labels.numpy() for stage, (_, labels) in data.tensors.items()}
    search = build_search(cfg)
    try:
        search.fit(pixels["train"], people["train"])
    except ValueError as error:
        raise UsageError(f"model={model_name(cfg)}: {error}") from error
    log.info("%s: %s", model_name(cfg), search.best_params_ or "nothing to choose")
    model = search.best_estimator_
    answers = Answers({}, {})
    if len(people["val"]):
        measure(answers, model, pixels["val"], people["val"], "val")
    if cfg.refit and data.split.val_from == "train":
        model.fit(*(np.concatenate([part["train"], part["val"]]) for part in (pixels, people)))
    measure(answers, model, pixels["test"], people["test"], "test")
    return answers, count_numbers(model)


def build_search(cfg: DictConfig) -> GridSearchCV:
    """The pipeline, and the search of what it leaves open, by the accuracy over folds of the training images.

    Raises:
        UsageError: a model that `lfw_seq.train` trains.
    """
    from hydra.utils import instantiate
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    if not cfg.model._target_.startswith("lfw_seq.models.baselines."):
        raise UsageError(f"model={model_name(cfg)}: no baseline; train it with python -m lfw_seq.train")
    pipeline, grid = instantiate(cfg.model, _convert_="all")
    folds = StratifiedKFold(cfg.tuning_folds, shuffle=True, random_state=cfg.split_seed)
    return GridSearchCV(pipeline, grid, cv=folds, error_score="raise")


def measure(answers: Answers, model: Pipeline, pixels: Any, people: Any, stage: str) -> None:
    """Add a stage's metrics and probabilities.

    An SVM has no probabilities: the softmax of its one-against-rest scores ranks people as it does, uncalibrated.
    """
    import torch

    from lfw_seq.metrics import classification_metrics

    if hasattr(model, "predict_proba"):
        probabilities = torch.from_numpy(model.predict_proba(pixels))
    else:
        scores = torch.from_numpy(model.decision_function(pixels))  # (N, C), or (N,) of two people
        probabilities = (scores if scores.ndim == 2 else torch.stack([-scores, scores], dim=1)).softmax(dim=1)
    truth = torch.from_numpy(people)
    values = classification_metrics(probabilities.shape[1])(probabilities, truth)
    loss = -probabilities[torch.arange(len(truth)), truth].log().mean()
    answers.values |= {f"{stage}/{name}": value for name, value in {"loss": loss, **values}.items()}
    answers.probabilities[stage] = probabilities


def count_numbers(model: Pipeline) -> int:
    """How many numbers the fitted steps keep to answer with: for a nearest neighbour, all training pixels."""
    steps = [step for _, step in model.steps]
    return sum(
        getattr(step, name).size for step in steps for name in LEARNED if hasattr(getattr(step, name, None), "size")
    )


if __name__ == "__main__":
    command.start(main)
