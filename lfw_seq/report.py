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
CARD = {"data": "source", "fingerprint": "fingerprint", "device": "device", "commit": "commit", "versions": "versions"}


@hydra.main(config_path=str(cli.CONF / "report"), config_name="report", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Print the tables, and write the report's files into `out`."""
    print(cli.run(report, cfg)["text"])


def report(cfg: DictConfig) -> dict[str, str]:
    """Write the report that `conf/report/report.yaml` describes; returns its `text` for a terminal."""
    places = [cli.as_typed(place) for place in (cfg.sweep if isinstance(cfg.sweep, ListConfig) else [cfg.sweep])]
    return {"text": write_report(places, str(cfg.metric), cfg.out, cfg.monitor)}


def write_report(
    places: Sequence[str | Path],
    metric: str,
    out: str | Path | None = None,
    monitor: str | None = None,
) -> str:
    """Compare the runs found in some places and write report.html and CSV files.

    Args:
        places: sweep folders, run folders, or globs of them.
        metric: what is compared, such as `test/accuracy`.
        out: the report's folder; by default `report` in the one place given.
        monitor: the validation metric that chooses the best configuration; by default what all runs watched.

    Returns:
        The tables for a terminal.

    Raises:
        UsageError: no run is there, or a value is wrong.
        OSError: the report cannot be written.
    """
    from lfw_seq.evaluation import page
    from lfw_seq.reports import tables
    from lfw_seq.reports.compare import compare
    from lfw_seq.reports.figures import pictures
    from lfw_seq.reports.read import read

    made = compare(read(places), metric, monitor)
    folder, title = _folder(places, out), tables.title(made)
    lead, shown = tables.sentences(made), tables.all_tables(made)
    drawn = pictures(made)
    found = {name: made.runs[fact].dropna().unique() for name, fact in CARD.items()}
    card = {"compared": made.metric} | {name: tables.some(values) for name, values in found.items() if len(values)}
    sections = [page.Section("Summary", lead)]
    for heading, table in shown.items():
        sections.append(page.Section(heading, [], [tables.head(table, PAGE_ROWS)], drawn.get(heading, [])))
    texts = {name: page.as_csv(table) for name, table in tables.csv_tables(made).items()}
    texts["report.html"] = page.render(title, card, [], sections)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        write_text(folder / name, content.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    cut = {heading: tables.head(table, TERMINAL_ROWS) for heading, table in shown.items() if heading != "Runs"}
    parts = [
        f"{heading}\n{table.cells.to_string(index=False)}\n{table.note}".rstrip() for heading, table in cut.items()
    ]
    printed = "\n\n".join([title, *parts, "\n".join(lead), f"in {folder / 'report.html'}"])
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
