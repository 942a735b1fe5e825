"""`python -m lfw_seq.evaluate run=DIR`: evaluate a run's predictions; write JSON, tables, figures and a page."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.cli import UsageError, printable, refuse_links
from lfw_seq.parts import Natural, check_keys
from lfw_seq.runs.folder import RESULT

if TYPE_CHECKING:
    from lfw_seq.evaluation.predictions import Predictions

log = logging.getLogger(__name__)


@hydra.main(config_path=str(cli.CONF), config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Print the measures; all other results are written to `out`."""
    print("\n".join(map(printable, cli.run(evaluate, cfg)["lines"])))


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate a run as `conf/evaluate.yaml` selects; return the content of evaluation.json, and `lines` to print.

    Raises:
        UsageError: no such run or images, or a damaged or refused checkpoint or file.
    """
    check_keys(cfg, {"mistakes": Natural, "photos": bool})
    import numpy as np

    from lfw_seq.evaluation import page, text
    from lfw_seq.evaluation.predictions import collect
    from lfw_seq.evaluation.scorecard import compare, csv_tables, scorecard
    from lfw_seq.evaluation.sections import draw, learning_curve, sections
    from lfw_seq.evaluation.strangers import STATES
    from lfw_seq.runs.folder import write_bytes, write_json, write_text
    from lfw_seq.runs.record import PREDICTIONS, predictions_csv

    predictions = collect(cfg)
    card = {"run": str(predictions.folder), **scorecard(predictions), "reproduced": is_reproduced(predictions)}
    runs = [text.Evaluated("this run" * (cfg.against is not None), predictions, card)]
    if cfg.against is not None:
        other = collect(cfg, "against")
        check_same_images(predictions, other)
        card["comparison"] = compare(predictions, other)
        runs.append(text.Evaluated("the other run", other, scorecard(other)))
    drawn = draw(runs)
    out = Path(str(cfg.out)).expanduser() if cfg.out else predictions.folder / predictions.kind
    if not cfg.out:
        refuse_links(out, predictions.folder)
    parts = sections(runs, drawn, cfg.mistakes, cfg.photos)
    html = page.render(*text.describe(predictions), learning_curve(runs), parts)
    out.mkdir(parents=True, exist_ok=True)
    truth, probabilities = predictions.truth.tolist(), predictions.probabilities.tolist()
    write_text(out / PREDICTIONS, predictions_csv(predictions.files, truth, probabilities, predictions.names))
    for name, table in csv_tables(predictions, card).items():
        write_text(out / f"{name}.csv", page.as_csv(table))
    for name, picture in drawn.items():
        write_bytes(out / f"{name}.png", picture.png)
    if predictions.people is not None:
        np.savez(states := io.BytesIO(), **predictions.people._asdict())
        write_bytes(out / STATES, states.getvalue())
    write_text(out / "report.html", html)
    write_json(out / "evaluation.json", card)
    return {**card, "lines": [*text.lines(runs), f"  in {out / 'report.html'}"]}


def is_reproduced(predictions: Predictions) -> bool | None:
    """Whether all metrics equal those of result.json to the last digit; None for other images.

    Differences are logged: another device, number of threads or library version changes last digits.
    """
    if predictions.kind != "evaluation" or not predictions.metrics or not predictions.result:
        return None
    now = json.loads(json.dumps(predictions.metrics))
    with cli.configuring(str(predictions.folder / RESULT)):
        before = dict(predictions.result["metrics"])
    if "test/loss" not in before:  # test=false
        return None
    differing = [name for name, value in now.items() if name in before and before[name] != value and value == value]
    for name in differing:
        log.warning("%s is %s here, %r in the run's result.json", name, now[name], before[name])
    return not differing


def check_same_images(first: Predictions, second: Predictions) -> None:
    """Raise UsageError unless two runs predicted the same images of the same people."""
    if first.names != second.names:
        raise UsageError(f"against={second.folder}: has other people than run={first.folder}")
    if set(first.files) != set(second.files):
        common = len(set(first.files) & set(second.files))
        raise UsageError(
            f"against={second.folder}: tested on other images than run={first.folder} ({common} of {len(first.files)} "
            "in common); set split_seed, data.fold or faces for both"
        )


if __name__ == "__main__":
    cli.start(main)
