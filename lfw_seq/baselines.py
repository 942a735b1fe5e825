"""`python -m lfw_seq.baselines`: classifiers without a recurrent net, with the splits and run folders of the nets."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.cli import UsageError
from lfw_seq.parts import Bounds, Seed, Threads, build_part, check_keys, check_value, to_plain
from lfw_seq.runs import folder as runs
from lfw_seq.sweeps import jobs

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline
    from torch import Tensor

    from lfw_seq.data.module import FaceRows

log = logging.getLogger(__name__)

KEYS = {
    "baseline": Literal["majority", "nearest", "logistic", "svm", "nystroem"],
    "tuning_folds": Annotated[int, Bounds(2, 1000)],
    "threads": Threads,
    "seed": Seed,
    "refit": bool,
    "fail_fast": bool,
}
# fitted attributes of scikit-learn estimators
LEARNED: tuple[str, ...] = ("class_prior_", "mean_", "scale_", "components_", "explained_variance_")
LEARNED += ("normalization_", "coef_", "support_vectors_", "dual_coef_", "intercept_")


@hydra.main(config_path=str(cli.CONF), config_name="baselines", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Run the command; return the validation value of `monitor`, NaN without validation."""
    return jobs.run(fit, cfg)


def fit(cfg: DictConfig) -> dict[str, Any]:
    """Tune and fit on the training images, validate, test once, write the run folder.

    Validation measures the model fitted to the training images alone. With `refit`, the tested model is fitted to
    training and validation images, as nets use the latter too, to select their best epoch.

    Returns:
        The content of result.json, as for `lfw_seq.train`, without epochs.

    Raises:
        UsageError: a value, a file or a folder is invalid.
    """
    started = time.perf_counter()
    from threadpoolctl import threadpool_limits

    from lfw_seq.data.module import build
    from lfw_seq.evaluation.metrics import classification_metrics, final_metrics
    from lfw_seq.runs import record
    from lfw_seq.training.fit import prepare_process

    check_keys(cfg, KEYS)
    folder, experiment = Path(cfg.run_dir), runs.config_hash(cfg)
    with runs.lock_run_dir(folder, experiment):
        with cli.configuring():
            prepare_process(cfg.threads, cfg.seed)
            data = build(to_plain(cfg.data), cfg.split_seed, cfg.seed)
            data.setup()
            known = ("loss", *classification_metrics(len(data.faces.names)))
            check_value("monitor", cfg.monitor, Literal[tuple(f"val/{name}" for name in known)])
        runs.save_config(cfg, folder)
        with threadpool_limits(cfg.threads), cli.configuring(cfg.baseline):
            values, probabilities, parameters = fit_and_test(cfg, data)
        record.write_predictions(folder, data, probabilities.tolist())
        metrics = final_metrics(values, probabilities, data)
        seconds, device = time.perf_counter() - started, record.cpu_name(cfg.threads)
        return record.write_result(
            cfg, experiment, data, metrics, parameters=parameters, seconds=seconds, device=device
        )


def fit_and_test(cfg: DictConfig, data: FaceRows) -> tuple[dict[str, Tensor], Tensor, int]:
    """Fit the pipeline, its hyperparameters selected by cross-validated accuracy on the training images.

    Returns:
        Metrics by `stage/name`, test probabilities (N, C), and the number of parameters of the fitted model.

    Raises:
        UsageError: more `tuning_folds` or `components` than images to fit on.
    """
    import numpy as np
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    standardize, scale = data.standardizer(), cfg.data.pixel_scale
    pixels = {stage: standardize(rows * scale).flatten(1).numpy() for stage, (rows, _) in data.tensors.items()}
    people = {stage: labels.numpy() for stage, (_, labels) in data.tensors.items()}  # pixels are (N, T F)
    images = len(pixels["train"])
    if cfg.tuning_folds > images:
        raise UsageError(f"tuning_folds={cfg.tuning_folds}: expected at most {images}, the training images")
    pipeline, grid = build_part(cfg.baseline, cfg[cfg.baseline], tuple)
    least = images - math.ceil(images / cfg.tuning_folds)
    if (components := cfg[cfg.baseline].get("components", 0)) > least:
        raise UsageError(f"{cfg.baseline}.components={components}: expected at most {least}, the images of a fold")
    folds = StratifiedKFold(cfg.tuning_folds, shuffle=True, random_state=cfg.split_seed)
    search = GridSearchCV(pipeline, grid, cv=folds, error_score="raise").fit(pixels["train"], people["train"])
    log.info("%s: %s", cfg.baseline, search.best_params_ or "nothing to tune")
    model, values = search.best_estimator_, dict[str, "Tensor"]()
    if len(people["val"]):
        values |= measure(model, pixels["val"], people["val"], "val")[0]
    if cfg.refit and data.split.val_from == "train":
        model.fit(*(np.concatenate([part["train"], part["val"]]) for part in (pixels, people)))
    tested, probabilities = measure(model, pixels["test"], people["test"], "test")
    return values | tested, probabilities, count_numbers(model)


def measure(model: Pipeline, pixels: Any, people: Any, stage: str) -> tuple[dict[str, Tensor], Tensor]:
    """Metrics of a stage by `stage/name`, and its probabilities (N, C), for pixels (N, T F) and ids (N,).

    An SVM has no probabilities: the softmax of its one-vs-rest scores has the same ranking, uncalibrated.
    """
    import torch

    from lfw_seq.evaluation.metrics import classification_metrics

    if hasattr(model, "predict_proba"):
        probabilities = torch.from_numpy(model.predict_proba(pixels))
    else:
        scores = torch.from_numpy(model.decision_function(pixels))  # (N, C), or (N,) for two people
        probabilities = (scores if scores.ndim == 2 else torch.stack([-scores, scores], dim=1)).softmax(dim=1)
    truth = torch.from_numpy(people)
    values = classification_metrics(probabilities.shape[1])(probabilities, truth)
    tiny = torch.finfo(torch.float32).tiny  # a nearest neighbour gives a wrong person probability 1
    loss = 0 - probabilities[torch.arange(len(truth)), truth].clamp(min=tiny).log().mean()
    return {f"{stage}/{name}": value for name, value in {"loss": loss, **values}.items()}, probabilities


def count_numbers(model: Pipeline) -> int:
    """Number of parameters of the fitted steps; for a nearest neighbour, all training pixels."""
    parts: list[Any] = [getattr(step, name, None) for _, step in model.steps for name in LEARNED]
    last = model.steps[-1][1]
    images = getattr(last, "n_samples_fit_", 0)
    return int(sum(part.size for part in parts if hasattr(part, "size")) + images * last.n_features_in_)


if __name__ == "__main__":
    cli.start(main, jobs.stopped)
