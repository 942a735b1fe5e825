"""`python -m lfw_seq.report sweep=DIR`: what the runs of a sweep say together. Reads their result.json files only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, ListConfig

from lfw_seq import command, page, runs
from lfw_seq.errors import UsageError
from lfw_seq.reporting import curves, formats, numbers, pictures, results, tables, words
from lfw_seq.reporting.study import Study, study

PAGE, TEXT = "report.html", "report.md"
TITLE = "What the runs say together"
TERMINAL_ROWS, PAGE_ROWS = 15, 200
TABLES = (tables.configurations, tables.key_effects, tables.comparisons, tables.other_metrics, tables.problems)


@hydra.main(config_path=str(command.CONF / "report"), config_name="report", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """The command: tables on the terminal, files in `out`."""
    if written := command.run(report, cfg):
        print(written["text"])


def report(cfg: DictConfig) -> dict[str, Any]:
    """The report `conf/report/report.yaml` asks for, as `text` for a terminal; see `write_report`."""
    places = [str(place) for place in (cfg.sweep if isinstance(cfg.sweep, ListConfig) else [cfg.sweep])]
    return {"text": write_report(places, str(cfg.metric), cfg.out, cfg.monitor, cfg.monitor_mode)}


def write_report(
    places: Sequence[str | Path],
    metric: str,
    out: str | Path | None = None,
    monitor: str | None = None,
    monitor_mode: str | None = None,
) -> str:
    """Compare the runs found in some places and write report.html, report.md and CSV files.

    Args:
        places: sweep folders, run folders, or globs of them.
        metric: what is compared, such as `test/accuracy`.
        out: the report's folder; by default `report` in the one place given.
        monitor: the validation metric that chooses the best configuration; by default what all runs watched.
        monitor_mode: `min` or `max`.

    Returns:
        The tables for a terminal.

    Raises:
        UsageError: no run is there, a value is wrong, or the report cannot be written.
    """
    content = study(results.read(places, metric), metric, monitor, monitor_mode)
    folder = _folder(places, out)
    made = [table for make in TABLES if (table := make(content)).rows]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in numbers.files(content, folder).items():
            (folder / name).unlink(missing_ok=True)  # an older report's, where this one has no such rows
            if text:
                runs.write_text(folder / name, text)
        runs.write_text(folder / TEXT, _markdown(content, made))
        runs.write_text(folder / PAGE, _page(content, made))
    except OSError as error:
        raise UsageError(f"out={folder}: {error.strerror}; choose another folder with out=...") from error
    return f"{_terminal(content, made)}\n\nin {folder / PAGE}"


def _folder(places: Sequence[str | Path], out: str | Path | None) -> Path:
    if out is not None:
        return Path(out).expanduser()
    if len(places) == 1 and (only := Path(places[0]).expanduser()).is_dir():
        return only / "report"
    raise UsageError(f"sweep={','.join(map(str, places))}: needs out=FOLDER, for it may be several folders")


def _terminal(content: Study, made: Sequence[tables.Table]) -> str:
    shown = [formats.text(formats.cut(table, TERMINAL_ROWS)) for table in made]
    return "\n\n".join([f"{TITLE}: {content.metric}", *shown, "\n".join(words.lead(content))])


def _markdown(content: Study, made: Sequence[tables.Table]) -> str:
    shown = [formats.markdown(formats.cut(table, PAGE_ROWS)) for table in made]
    return "\n".join([f"# {TITLE}: {content.metric}\n", formats.markdown_list(words.lead(content)), *shown])


def _page(content: Study, made: Sequence[tables.Table]) -> str:
    drawn_above: dict[str, list[tuple[str, Callable[[Study], pictures.Picture | None]]]] = {
        tables.CONFIGURATIONS: [("Every run", pictures.points)],
        tables.EFFECTS: [("Two keys together", pictures.heat_map), ("All keys together", pictures.parallel)],
        tables.METRICS: [("Learning curves", curves.learning_curves)],
    }
    pieces = [page.bullets(words.lead(content))]
    for table in made:
        for name, draw in drawn_above.get(table.title, []):
            if picture := draw(content):
                pieces += [page.heading(name), page.drawing(picture.figure, name, picture.caption)]
        pieces += [page.heading(table.title), formats.html(formats.cut(table, PAGE_ROWS))]
    return page.page(f"{TITLE}: {content.metric}", pieces)


if __name__ == "__main__":
    command.start(main)
