"""`python -m lfw_seq.evaluate run=DIR`: measure a run's predictions; write JSON, tables, figures and a page."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.cli import UsageError, printable
from lfw_seq.parts import Natural, check_keys

if TYPE_CHECKING:
    from lfw_seq.evaluation.predictions import Predictions

log = logging.getLogger(__name__)

EVALUATION = "evaluation.json"


@hydra.main(config_path=str(cli.CONF), config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Print the numbers; everything else is in `out`."""
    print("\n".join(map(printable, cli.run(evaluate, cfg)["lines"])))


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Measure a run's predictions, and write what is found.

    Args:
        cfg: the composed `conf/evaluate.yaml`.

    Returns:
        What evaluation.json holds, and `lines` for a terminal.

    Raises:
        UsageError: no such run, no such images, or a checkpoint that is refused.
        OSError: a file that cannot be written.
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

    found = collect(cfg)
    card = {"run": str(found.folder), **scorecard(found), "reproduced": is_reproduced(found)}
    runs = [text.Evaluated("this run" * (cfg.against is not None), found, card)]
    if cfg.against is not None:
        other = collect(cfg, "against")
        check_same_images(found, other)
        card["comparison"] = compare(found, other)
        runs.append(text.Evaluated("the other run", other, scorecard(other)))
    drawn = draw(runs)
    out = Path(str(cfg.out)).expanduser() if cfg.out else found.folder / found.kind
    parts = sections(runs, drawn, cfg.mistakes, cfg.photos)
    html = page.render(*text.describe(found), learning_curve(runs), parts)
    out.mkdir(parents=True, exist_ok=True)
    probabilities = found.probabilities.tolist()
    write_text(out / PREDICTIONS, predictions_csv(found.files, found.truth.tolist(), probabilities, found.names))
    for name, table in csv_tables(found, card).items():
        write_text(out / f"{name}.csv", page.as_csv(table))
    for name, picture in drawn.items():
        write_bytes(out / f"{name}.png", picture.png)
    if found.people is not None:
        np.savez(states := io.BytesIO(), **found.people._asdict())
        write_bytes(out / STATES, states.getvalue())
    write_text(out / "report.html", html)
    write_json(out / EVALUATION, card)
    return {**card, "lines": [*text.lines(runs), f"  in {out / 'report.html'}"]}


def is_reproduced(found: Predictions) -> bool | None:
    """Whether each metric of result.json came out the same to the last digit; None for other images.

    A difference is logged: another device, number of threads or version of a library changes last digits.
    """
    if found.kind != "evaluation" or not found.metrics or not found.result:
        return None
    before, now = found.result.get("metrics", {}), json.loads(json.dumps(found.metrics))
    differing = [name for name, value in now.items() if name in before and before[name] != value and value == value]
    for name in differing:
        log.warning("%s is %s here, %s in the run's result.json", name, now[name], before[name])
    return not differing


def check_same_images(first: Predictions, second: Predictions) -> None:
    """Raise UsageError unless two runs predicted the same images of the same people."""
    if first.names != second.names:
        raise UsageError(f"against={second.folder}: knows other people than run={first.folder}")
    if set(first.files) != set(second.files):
        common = len(set(first.files) & set(second.files))
        raise UsageError(
            f"against={second.folder}: tested on other images than run={first.folder} ({common} of {len(first.files)} "
            "in common); set split_seed, data.fold or faces for both"
        )


if __name__ == "__main__":
    cli.start(main)
