"""`python -m lfw_seq.train`: train a net on faces, test it once, and write a run folder."""

import logging
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.parts import to_plain
from lfw_seq.runs import folder as runs
from lfw_seq.sweeps import jobs

log = logging.getLogger(__name__)


@hydra.main(config_path=str(cli.CONF), config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Run the command; returns the best validation value of `monitor` for Hydra's sweepers, NaN without validation."""
    return jobs.run(train, cfg)


def train(cfg: DictConfig) -> dict[str, Any]:
    """Fit, restore the best weights, test once, write the run folder, by the composed `conf/train.yaml`.

    Returns:
        The content of result.json; empty under `trainer=ddp` in all processes but rank 0.

    Raises:
        UsageError: a value, a file or a folder that the user must correct.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(cfg.threads))  # read when NumPy's libraries and torch are imported
    from lfw_seq.data.module import build as build_data
    from lfw_seq.evaluation.metrics import count_parameters, describe, final_metrics
    from lfw_seq.runs import record
    from lfw_seq.training import build, fit
    from lfw_seq.training.callbacks import core

    fit.check_root(cfg)
    fit.warn_of_overridden_model()
    folder, experiment = Path(cfg.run_dir), runs.config_hash(cfg)
    cfg = fit.available_data(cfg)
    secondary = fit.is_secondary_process(cfg)
    with nullcontext() if secondary else runs.lock_run_dir(folder, experiment):
        with cli.configuring():
            cfg = fit.draw_seed(cfg, folder, secondary)
            fit.prepare_process(cfg.threads, cfg.seed)
            cfg, trial = draw_trial(cfg)
            data = build_data(to_plain(cfg.data), cfg.split_seed, cfg.seed)
            data.setup()
            cfg = build.choose_precision(cfg)
            classifier = build.build_classifier(cfg, data)
            fit.check_monitors(cfg, classifier)
            checkpoint, epochs_before = core.start_checkpoint(cfg, folder, classifier)
            trainer = build.build_trainer(cfg, epochs_before, [trial] if trial else ())
        log.info("%s", describe(data, classifier.predictor.net))
        if cfg.data.val_from == "test":
            log.warning("Validation is the test set (data.val_from=test): the test figures are too good")
        if not secondary:
            runs.save_config(cfg, folder)
        if cfg.train:
            with fit.fitting(trainer, checkpoint):
                trainer.fit(classifier, data, ckpt_path=checkpoint, weights_only=True)
        if secondary:
            return {}
        best_epoch = core.restore_best(trainer, classifier, None if cfg.train else checkpoint)
        classifier.trained_epochs = trainer.current_epoch
        tester = build.build_tester(cfg, trainer)
        if cfg.data.val_from != "none":
            tester.validate(classifier, data, verbose=False)
        if cfg.test:
            tester.test(classifier, data, verbose=False)
            record.write_predictions(folder, data, classifier.probabilities["test"].tolist())
        metrics = final_metrics(classifier.values, classifier.probabilities.get("test"), data)
        if trial:
            trial.close(metrics[cfg.monitor])
        build.log_result(trainer, metrics, best_epoch)
        return record.write_result(
            cfg,
            experiment,
            data,
            metrics,
            parameters=count_parameters(classifier.predictor.net),
            seconds=fit.seconds(trainer),
            device=fit.device_name(tester, cfg.threads),
            best_epoch=best_epoch,
            epochs=trainer.current_epoch or best_epoch,
        )


def draw_trial(cfg: DictConfig) -> tuple[DictConfig, Any]:
    """Draw this job's values of a search; returns the config with them and the trial, None outside a search."""
    if cfg.search is None and cfg.trial is None:
        return cfg, None
    if not isinstance(cfg.search, DictConfig):
        raise cli.UsageError(f"search={cli.as_typed(cfg.search)}: expected +sweep=tpe, which has the search's keys")
    from lfw_seq.sweeps.search import draw  # needs the extra optuna

    return draw(cfg)


if __name__ == "__main__":
    cli.start(main, jobs.stopped)
