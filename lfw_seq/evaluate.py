"""`python -m lfw_seq.evaluate run=DIR`: evaluate a run's predictions; write JSON, tables, figures and a page."""

import io
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.cli import printable, refuse_links
from lfw_seq.parts import Natural, check_keys


@hydra.main(config_path=str(cli.CONF), config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Print the measures; all other results are written to `out`."""
    print("\n".join(map(printable, cli.run(evaluate, cfg)["lines"])))


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate a run as `conf/evaluate.yaml` selects; return the content of evaluation.json, and `lines` to print.

    Raises:
        UsageError: no such run or images, a damaged or refused checkpoint or file, or two runs with other images.
    """
    check_keys(cfg, {"mistakes": Natural, "photos": bool})
    import numpy as np

    from lfw_seq.evaluation import page, text
    from lfw_seq.evaluation.predictions import collect
    from lfw_seq.evaluation.scorecard import compare, csv_tables, is_reproduced, scorecard
    from lfw_seq.evaluation.sections import draw, learning_curve, sections
    from lfw_seq.evaluation.strangers import STATES
    from lfw_seq.runs.folder import write_bytes, write_json, write_text
    from lfw_seq.runs.record import PREDICTIONS, predictions_csv

    predictions = collect(cfg)
    card = {"run": str(predictions.folder), **scorecard(predictions), "reproduced": is_reproduced(predictions)}
    runs = [text.Evaluated("this run" * (cfg.against is not None), predictions, card)]
    if cfg.against is not None:
        other = collect(cfg, "against")
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


if __name__ == "__main__":
    cli.start(main)
