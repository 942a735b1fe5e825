"""The benchmark command: contenders in turn, ratios of pairs, and what its JSON holds."""

import json
import os
import signal
import sys
from itertools import count
from pathlib import Path

import pytest

from lfw_seq.benchmarks.timing import Cost, Turn, Turns, mean_cost, run_command, run_round, summarize, unavailable
from lfw_seq.cli import UsageError
from lfw_seq.models.recurrent import bf16_error

from .conftest import SMALL, Shell


def run_benchmark(shell: Shell, what: str, *words: str) -> tuple[str, dict[str, dict[str, dict[str, float]]]]:
    """What the command prints, and the summary that it writes."""
    done = shell(f"what={what}", *words, "rounds=1", f"hydra.run.dir={what}", module="benchmark")
    assert done.returncode == 0, done.stderr
    result = json.loads(Path(what, "benchmark.json").read_text())
    assert len(result["rounds"]) == 1
    assert all(name in done.stdout for name in result["summary"])
    return done.stdout, result["summary"]


def test_contenders_take_turns_and_ratios_are_taken_within_a_round() -> None:
    order: list[str] = []
    seconds = count(1)

    def contender(name: str) -> Cost:
        order.append(name)
        return {"seconds": float(next(seconds)), "cpu_seconds": 1.0}

    contenders = {"a": lambda: contender("a"), "b": lambda: contender("b")}
    rounds = [run_round(contenders, [("b", "a", "seconds")]) for _ in range(3)]
    assert order == ["a", "b"] * 3
    assert [costs["a"]["seconds"] for costs in rounds] == [1, 3, 5]
    summary = summarize(rounds)
    assert summary["b"]["seconds"] == {"median": 4, "min": 2, "max": 6}
    assert mean_cost([{"seconds": 1.0}, {"seconds": 2.0}, {"seconds": 5.0}]) == {"seconds": 2.0}
    assert summary["b / a"] == {"seconds": {"median": 4 / 3, "min": 6 / 5, "max": 2}}


def test_a_command_is_charged_its_memory_and_its_childrens_time(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import time\ndata = bytearray(200 * 2**20)\nwhile time.process_time() < 0.3: pass"
    cost = run_command(["sh", "-c", f"{sys.executable} -c '{code}'; true"])
    assert cost["cpu_seconds"] >= 0.3
    assert cost["seconds"] >= 0.3
    assert 200 < cost["peak_mib"] < 2000  # of this process too, which has imported torch
    with pytest.raises(UsageError, match="ended with status 3: see its error above"):
        run_command([sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"])
    assert "no luck" in capfd.readouterr().err


def count_epochs(turn: Turn, path: Path, last: int) -> None:
    for epoch in range(1, last + 1):
        turn()
        os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C, which the command answers
        path.write_text(f"{epoch} {os.getpid()}")


def test_a_training_waits_for_its_turn_in_a_process_of_its_own(tmp_path: Path) -> None:
    turns = {name: Turns(count_epochs, 2, tmp_path / name, 9) for name in "ab"}
    for epoch in (3, 4):  # after two that warm up
        assert min(turns["a"]().values()) >= 0
        assert [(tmp_path / name).read_text().split()[0] for name in "ab"] == [str(epoch), str(epoch - 1)]
        turns["b"]()
    assert len({os.getpid(), *(int((tmp_path / name).read_text().split()[1]) for name in "ab")}) == 3
    assert not any(turn.process.is_alive() for turn in turns.values())
    with pytest.raises(UsageError, match="a contender stopped: see its error above"):
        Turns(count_epochs, 9, tmp_path / "c", 1)


def test_what_is_not_installed_is_named_with_the_remedy() -> None:
    assert unavailable("peers", "json") is None
    assert unavailable("x", "json", "no_such") == 'skipped, no_such is not installed: pip install -e ".[x]"'
    assert "no_such.part" not in str(unavailable("x", "no_such", "no_such.part"))  # of a package that is missing


def test_predictions_agree_in_every_engine(shell: Shell) -> None:
    printed, summary = run_benchmark(shell, "predict", *SMALL)
    assert {name.partition(", ")[2] for name in summary if "/" not in name} == {"1", "32", "512"}
    assert all(row["images_per_second"]["median"] > 0 for row in summary.values())
    differences = {line.partition(": within ")[0]: line for line in printed.splitlines() if ": within " in line}
    if bf16_error():
        assert f"bf16: skipped, {bf16_error()}" in printed
    else:
        assert float(differences["PyTorch in bf16"].split()[-1]) < 0.02
    if unavailable("export", "onnx", "onnxruntime") is None:
        assert float(differences["ONNX"].split()[-1]) < 1e-5


@pytest.mark.slow
def test_an_epoch_beside_the_shortest_loop(shell: Shell) -> None:
    printed, summary = run_benchmark(shell, "epoch", *SMALL)
    in_bf16 = {"ours in bf16 / that loop in bf16", "ours in bf16 / ours", "that loop in bf16 / shortest PyTorch loop"}
    assert {"ours / shortest PyTorch loop"} | (set() if bf16_error() else in_bf16) <= summary.keys()
    for name, backend in {"Keras on TensorFlow": "tensorflow", "Keras on JAX": "jax"}.items():
        lack = unavailable("peers", "keras", backend)
        assert f"{name}: {lack}" in printed if lack else f"{name} / ours" in summary


@pytest.mark.slow
def test_commands_are_timed_with_what_was_typed(shell: Shell) -> None:
    _, summary = run_benchmark(shell, "start", *SMALL)
    assert {"--help / empty Hydra app --help", "first step / imports", "a run / imports"} <= summary.keys()
    _, summary = run_benchmark(shell, "sweep", *SMALL, "runs=1")
    assert "one process / single commands" in summary
