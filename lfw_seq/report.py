"""`python -m lfw_seq.report sweep=DIR`: compare the runs of sweeps. Reads their result.json and metrics.csv only."""

import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig, ListConfig

from lfw_seq import cli
from lfw_seq.cli import UsageError
from lfw_seq.runs.folder import write_text

TERMINAL_ROWS, PAGE_ROWS = 15, 200


@hydra.main(config_path=str(cli.CONF / "report"), config_name="report", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Print the tables, and write the report's files into `out`."""
    print(cli.run(report, cfg)["text"])


def report(cfg: DictConfig) -> dict[str, str]:
    """Write the report that `conf/report/report.yaml` describes; returns its `text` for a terminal."""
    places = [cli.as_typed(place) for place in (cfg.sweep if isinstance(cfg.sweep, ListConfig) else [cfg.sweep])]
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
    from lfw_seq.reports import files, tables
    from lfw_seq.reports.compare import compare
    from lfw_seq.reports.figures import pictures
    from lfw_seq.reports.read import read

    made = compare(read(places), metric, monitor, monitor_mode)
    folder, title = _folder(places, out), f"Comparison of runs: {metric}"
    lead, shown = tables.sentences(made), tables.all_tables(made)
    on_page = [table.head(PAGE_ROWS) for table in shown]
    page, text = files.html(title, made, lead, on_page, pictures(made)), files.markdown(title, lead, on_page)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in {**files.csv_files(made), "report.md": text, "report.html": page}.items():
            write_text(folder / name, content.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(f"out={folder}: {error.strerror}; choose another folder with out=...") from error
    on_screen = [table.head(TERMINAL_ROWS).text() for table in shown if table.title != "Runs"]
    printed = "\n\n".join([title, *on_screen, "\n".join(lead), f"in {folder / 'report.html'}"])
    encoding = sys.stdout.encoding or "utf-8"
    return printed.encode(encoding, "replace").decode(encoding)


def _folder(places: Sequence[str | Path], out: str | Path | None) -> Path:
    if out is not None:
        return Path(out).expanduser()
    if len(places) == 1 and (only := Path(places[0]).expanduser()).is_dir():
        return only / "report"
    raise UsageError(f"sweep={','.join(map(str, places))}: needs out=FOLDER, for it may be several folders")


if __name__ == "__main__":
    cli.start(main)
