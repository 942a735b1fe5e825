"""`python -m lfw_seq.benchmark what=epoch`: time this project against alternatives, contenders in turn."""

import importlib
import os
from pathlib import Path
from typing import Any, Literal

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.benchmarks.timing import run_round, summarize
from lfw_seq.parts import Count, check_keys
from lfw_seq.runs.folder import write_json
from lfw_seq.runs.record import cpu_name, versions


@hydra.main(config_path=str(cli.CONF), config_name="benchmark", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Print a table; write JSON to `out`."""
    result = cli.run(benchmark, cfg)
    print(f"{result['title']}; {result['device']}; median (min to max)")
    for name, row in result["summary"].items():
        cells = (f"{key} {s['median']:.4g} ({s['min']:.4g} to {s['max']:.4g})" for key, s in row.items())
        print(f"  {name:<48}", *cells)
    print(*result["notes"], f"written to {cfg.out}", sep="\n")


def benchmark(cfg: DictConfig) -> dict[str, Any]:
    """Measure, and write `out`.

    Returns:
        The content of `out`: costs and ratios of contenders, by round and summarized; notes, machine and versions.

    Raises:
        UsageError: `what` is unknown, or a number is out of range.
    """
    modules = Literal["epoch", "start", "predict", "sweep"]
    check_keys(cfg, {"what": modules, **dict.fromkeys(("rounds", "runs", "threads"), Count)})
    os.environ["OMP_NUM_THREADS"] = str(cfg.threads)  # read when NumPy's libraries are imported, here or in a child
    title, contenders, pairs, notes = importlib.import_module(f"lfw_seq.benchmarks.{cfg.what}").plan(cfg)
    rounds = [run_round(contenders, pairs) for _ in range(cfg.rounds)]
    result = {"what": cfg.what, "title": title, "summary": summarize(rounds), "notes": notes}
    result |= {"device": cpu_name(cfg.threads), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    result |= {"versions": versions(), "rounds": rounds}
    write_json(Path(cfg.out), result)
    return result


if __name__ == "__main__":
    cli.start(main)
