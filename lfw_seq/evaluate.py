"""`python -m lfw_seq.evaluate run=DIR`: all that a run's answers say, as JSON, tables, pictures and a page."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import command, runs
from lfw_seq.errors import UsageError, check_whole
from lfw_seq.evaluation_text import closing_lines

if TYPE_CHECKING:
    from lfw_seq.answers import Answers

log = logging.getLogger(__name__)

EVALUATION = "evaluation.json"


@hydra.main(config_path=str(command.CONF), config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """The command: the closing table on the terminal, everything else in `out`."""
    result = command.run(evaluate, cfg)
    if result:
        print("\n".join(closing_lines(result)))
        print(f"  in {cfg.out}")


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Let the run answer, measure the answers, and write what they say.

    Args:
        cfg: the composed `conf/evaluate.yaml`.

    Returns:
        What evaluation.json holds.

    Raises:
        UsageError: no such run, no such images, or a checkpoint that is refused.
    """
    check_whole("mistakes", cfg.mistakes, 0)
    from lfw_seq import evaluation_files, evaluation_page, scorecard
    from lfw_seq.answers import ask

    answers = ask(cfg, cfg.run)
    result = {"run": str(answers.folder), **scorecard.scorecard(answers)}
    result["reproduced"] = reproduced(answers)
    result["by_step"] = answers.by_step
    differing: list[dict[str, Any]] = []
    if cfg.against is not None:
        other = ask(cfg, cfg.against)
        check_same_images(answers, other)
        result["comparison"], differing = scorecard.compare(answers, other)
    out = make_folder(cfg.out)
    evaluation_files.write_tables(out, answers, result, differing)
    pictures = evaluation_files.draw(answers)
    for name, figure in pictures.items():
        evaluation_files.save_figure(out / f"{name}.png", figure)
    page = evaluation_page.report(answers, result, differing, pictures, cfg.mistakes, cfg.photos)
    runs.write_text(out / "report.html", page)
    runs.write_json(out / EVALUATION, result)
    return result


def reproduced(answers: Answers) -> bool | None:
    """Whether each metric of result.json came out the same to the last digit; None for other images.

    A difference is logged: another device, number of threads or version of a library changes last digits.
    """
    if not answers.own_test:
        return None
    try:
        before = json.loads((answers.folder / runs.RESULT).read_text(encoding="utf-8"))["metrics"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    now = json.loads(json.dumps(answers.metrics))
    differing = [name for name, value in now.items() if name in before and before[name] != value and value == value]
    for name in differing:
        log.warning("%s is %s here, %s in %s", name, now[name], before[name], runs.RESULT)
    return not differing


def check_same_images(first: Answers, second: Answers) -> None:
    """Raise UsageError unless two runs answered on the same images of the same people."""
    if first.names != second.names:
        raise UsageError(f"against={second.folder}: knows other people than run={first.folder}")
    if set(first.files) != set(second.files):
        common = len(set(first.files) & set(second.files))
        raise UsageError(
            f"against={second.folder}: tested on other images than run={first.folder} ({common} of {len(first.files)} "
            "in common); set split_seed, data.fold or faces for both"
        )


def make_folder(out: str) -> Path:
    """The folder that is written into.

    Raises:
        UsageError: it cannot be made.
    """
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"out={out}: cannot be made ({error.strerror}); choose another folder") from error
    return folder


if __name__ == "__main__":
    command.start(main)
