"""`python -m lfw_seq.benchmark what=epoch`: what a run costs beside the arithmetic, contenders in turn."""

from __future__ import annotations

import importlib
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import command, record, runs
from lfw_seq.errors import check_choice, check_whole
from lfw_seq.train import prepare_process

if TYPE_CHECKING:
    from lfw_seq.benchmarks.turns import Report

KINDS = ("epoch", "start", "data", "predict", "sweep", "scale")  # modules of lfw_seq.benchmarks


@hydra.main(config_path=str(command.CONF), config_name="benchmark", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """The command: a table on the terminal, JSON in `out`."""
    if result := command.run(benchmark, cfg):
        print(f"{result['title']}; {result['threads']} thread(s), {result['machine']['processor']}")
        print("\n".join(table(result)))
        print(f"  in {cfg.out}")


def benchmark(cfg: DictConfig) -> dict[str, Any]:
    """Measure and write `out`.

    Returns:
        What JSON holds: the report of `lfw_seq.benchmarks.<what>`, threads, machine and versions.
    """
    check_choice("what", cfg.what, KINDS)
    check_whole("rounds", cfg.rounds)
    check_whole("warm_up", cfg.warm_up, 0)
    check_whole("epochs", cfg.epochs)
    prepare_process(cfg)
    report: Report = importlib.import_module(f"lfw_seq.benchmarks.{cfg.what}").measure(cfg)
    result = {"what": cfg.what, **report.plain(), "threads": cfg.threads, "machine": machine()}
    result["versions"] = record.versions()
    runs.write_json(Path(cfg.out), result)
    return result


def machine() -> dict[str, Any]:
    """The machine in words, and how busy it is."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return {"cores": os.cpu_count(), "processor": processor, "load": os.getloadavg()[0]}


def table(result: dict[str, Any]) -> list[str]:
    """A line each contender, ratio, figure and note."""
    from lfw_seq.benchmarks.turns import spread

    lines = []
    for name, costs in result["costs"].items():
        wall, cpu = (spread([cost[key] * 1000 for cost in costs]) for key in ("wall", "cpu"))
        lines.append(
            f"  {name:<40}{wall['median']:9.1f} ms ({wall['min']:.1f} to {wall['max']:.1f})  CPU {cpu['median']:.1f} ms"
        )
    for name, ratio in result["ratios"].items():
        wall, cpu = ratio["wall"], ratio["cpu"]
        lines.append(
            f"  {name:<43} {wall['median']:.3f}  ({wall['min']:.3f} to {wall['max']:.3f})   "
            f"CPU {cpu['median']:.3f}  ({cpu['min']:.3f} to {cpu['max']:.3f})"
        )
    lines += [f"  {name:<43} {value:,.6g}" for name, value in result["figures"].items()]
    return [*lines, *(f"  {note}" for note in result["notes"])]


if __name__ == "__main__":
    command.start(main)
