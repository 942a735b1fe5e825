"""`python -m lfw_seq.report sweep=DIR`: compare the runs of sweeps by their result.json and metrics.csv."""

import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig, ListConfig

from lfw_seq import cli
from lfw_seq.cli import UsageError
from lfw_seq.runs.folder import write_text

TERMINAL_ROWS, PAGE_ROWS = 15, 200
METADATA = {"data": "source"} | {name: name for name in ("fingerprint", "device", "commit", "versions")}


@hydra.main(config_path=str(cli.CONF / "report"), config_name="report", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Print the tables; write the report into `out`."""
    print(cli.run(report, cfg)["text"])


def report(cfg: DictConfig) -> dict[str, str]:
    """Write the report of a composed `conf/report/report.yaml`; return its `text` for a terminal."""
    paths = [cli.as_typed(path) for path in (cfg.sweep if isinstance(cfg.sweep, ListConfig) else [cfg.sweep])]
    return {"text": write_report(paths, str(cfg.metric), cfg.out, cfg.monitor)}


def write_report(
    paths: Sequence[str | Path], metric: str, out: str | Path | None = None, monitor: str | None = None
) -> str:
    """Compare the runs in or below some paths; write report.html and CSV files; return the tables for a terminal.

    The arguments are the keys of `conf/report/report.yaml`.

    Raises:
        UsageError: there is no finished run, or a value is invalid.
    """
    from lfw_seq.evaluation import page
    from lfw_seq.reports import tables
    from lfw_seq.reports.compare import compare
    from lfw_seq.reports.figures import pictures
    from lfw_seq.reports.read import read

    result = compare(read(paths), metric, monitor)
    folder = (Path(paths[0], "report") if out is None else Path(out)).expanduser()
    if out is None:
        if len(paths) != 1 or not folder.parent.is_dir():
            raise UsageError(f"sweep={','.join(map(str, paths))}: needs out=FOLDER, as it may match several folders")
        cli.refuse_links(folder, folder.parent)
    title, summary, figures = tables.title(result), tables.sentences(result), pictures(result)
    facts = {name: result.runs[column].dropna().unique() for name, column in METADATA.items()}
    metadata = {name: tables.some(values) for name, values in facts.items() if len(values)}
    sections, parts = [page.Section("Summary", summary)], [title]
    for heading, table in tables.all_tables(result).items():
        sections.append(page.Section(heading, [], [tables.head(table, PAGE_ROWS)], figures.get(heading, [])))
        if heading != "Runs":
            cells, note, _ = tables.head(table, TERMINAL_ROWS)
            parts.append(f"{heading}\n{cells.to_string(index=False)}\n{note}".rstrip())
    texts = {name: page.as_csv(table) for name, table in tables.csv_tables(result).items()}
    texts["report.html"] = page.render(title, {"compared": result.metric} | metadata, [], sections)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        write_text(folder / name, cli.as_utf8(content))
    encoding = sys.stdout.encoding or "utf-8"
    printed = "\n\n".join([*parts, "\n".join(summary), f"in {folder / 'report.html'}"])
    printed = "\n".join(map(cli.printable, printed.split("\n")))
    return printed.encode(encoding, "replace").decode(encoding)


if __name__ == "__main__":
    cli.start(main)
