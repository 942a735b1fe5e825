"""The report of many runs: what is counted, grouped, chosen and said."""

import csv
import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lfw_seq import statistics
from lfw_seq.errors import UsageError
from lfw_seq.report import write_report
from lfw_seq.reporting import results
from lfw_seq.reporting.study import Study, study

from .conftest import SMALL, command
from .runs_on_disk import write_run


def analysed(*places: str | Path, metric: str = "test/accuracy", monitor: str | None = None) -> Study:
    return study(results.read(places, metric), metric, monitor, None)


def grid(folder: Path, **keys: Any) -> None:
    """Two sizes and two dropouts, two seeds each; accuracy .5, + .1 for 16 cells, - .02 for dropout, ± .01 by seed."""
    for size in (8, 16):
        for dropout in (0.0, 0.3):
            for seed in (0, 1):
                accuracy = 0.5 + 0.1 * (size == 16) - 0.02 * (dropout > 0) + (0.01 if seed else -0.01)
                name = f"{size}-{dropout}-{seed}"
                write_run(folder / name, accuracy, model__hidden_size=size, model__dropout=dropout, seed=seed, **keys)


def test_groups_are_configurations_without_seeds_paths_and_devices(tmp_path: Path) -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"seed": 0, "trainer__accelerator": "gpu"},
        {"seed": 1, "data__data_home": "/elsewhere", "debug": True},
        {"split_seed": 43},
        {"data__fold": 2},
        {"model__hidden_size": 16},
    )
    for index, keys in enumerate(changes):
        write_run(tmp_path / str(index), 0.5 + index / 100, **keys)
    found = analysed(tmp_path)
    assert [len(group.runs) for group in found.groups.groups] == [4, 1]
    assert found.groups.together == {"model.hidden_size": []}
    assert [group.settings for group in found.groups.groups] == [{"model.hidden_size": 8}, {"model.hidden_size": 16}]
    summary = found.groups.groups[0].summary
    assert (summary.n, summary.min, summary.max) == (4, 0.50, 0.53)
    assert summary.mean == pytest.approx(0.515, abs=1e-12)
    assert summary.sd == pytest.approx(math.sqrt(5 / 3) / 100, abs=1e-12)


def test_effect_of_each_key_is_the_mean_over_the_others(tmp_path: Path) -> None:
    grid(tmp_path)
    effects = {(effect.key, effect.level): effect for effect in analysed(tmp_path).effects}
    assert {key: round(effect.mean, 9) for key, effect in effects.items()} == {
        ("model.dropout", "0"): 0.55,
        ("model.dropout", "0.3"): 0.53,
        ("model.hidden_size", "8"): 0.49,
        ("model.hidden_size", "16"): 0.59,
    }
    for seed in (0, 1):  # of a grid with a hole, only what was run with both values compares
        (tmp_path / f"16-0.3-{seed}" / "result.json").unlink()
        (tmp_path / f"16-0.3-{seed}").rmdir()
    effects = {(effect.key, effect.level): effect for effect in analysed(tmp_path).effects}
    assert effects["model.hidden_size", "16"].mean == pytest.approx(0.6)
    assert effects["model.hidden_size", "8"].mean == pytest.approx(0.5)
    assert effects["model.hidden_size", "8"].combinations == 1
    assert all(effect.is_matched for effect in effects.values())


def test_many_numbers_of_a_key_are_put_into_quarters(tmp_path: Path) -> None:
    for index in range(12):
        write_run(tmp_path / str(index), index / 100, optimizer__lr=(index + 1) / 1000)
    effects = analysed(tmp_path).effects
    assert [effect.level for effect in effects] == [
        "0.001 to 0.003", "0.004 to 0.006", "0.007 to 0.009", "0.01 to 0.012",
    ]  # fmt: skip
    assert [round(effect.mean, 9) for effect in effects] == [0.01, 0.04, 0.07, 0.1]


def test_the_best_is_chosen_by_validation_never_by_test(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.9, model__hidden_size=8, val_loss=0.5)
    write_run(tmp_path / "b", 0.7, model__hidden_size=16, val_loss=0.4)
    write_run(tmp_path / "c", 0.99, model__hidden_size=32, val_loss=0.1, leaky=True)  # validated on test images
    found = analysed(tmp_path)
    assert [found.label(index) for index in found.ranked] == ["hidden_size=16", "hidden_size=8"]
    assert any("1 of 3 configurations were validated on their test images" in note for note in found.notes)
    text = write_report([tmp_path], "test/accuracy")
    assert "Best by validation: hidden_size=16, val/loss 0.400, the lowest mean of 2 configurations." in text
    assert "Its test/accuracy: 0.700 over 1 run. Always answering the most frequent person gets 0.400." in text
    by_accuracy = study(results.read([tmp_path], "test/accuracy"), "test/accuracy", "val/accuracy", None)
    assert by_accuracy.label(by_accuracy.ranked[0]) == "hidden_size=8"


def test_runs_that_tell_no_mode_are_ranked_by_what_their_metric_means(tmp_path: Path) -> None:
    for name, accuracy in (("a", 0.5), ("b", 0.9)):
        folder = write_run(tmp_path / name, accuracy, monitor="val/accuracy", model__hidden_size=name)
        result = json.loads((folder / "result.json").read_text())
        del result["config"]["monitor_mode"]
        (folder / "result.json").write_text(json.dumps(result))
    found = analysed(tmp_path)
    assert found.monitor is not None
    assert found.monitor.mode == "max"
    assert found.label(found.ranked[0]) == "hidden_size=b"


def test_runs_that_watched_different_values_are_ranked_only_on_request(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.9)
    write_run(tmp_path / "b", 0.7, monitor="val/accuracy", monitor_mode="max")
    found = analysed(tmp_path)
    assert found.groups.together == {"monitor": ["callbacks.best.monitor"], "monitor_mode": []}
    assert (found.monitor, found.ranked) == (None, [])
    assert any("monitor=val/loss ranks them" in note for note in found.notes)
    assert len(analysed(tmp_path, monitor="val/loss").ranked) == 2
    with pytest.raises(UsageError, match="monitor=val/los: expected one of val/accuracy, val/loss"):
        analysed(tmp_path, monitor="val/los")


def test_pairs_are_tested_on_the_splits_both_ran_on(tmp_path: Path) -> None:
    differences = [0.02, 0.04, 0.06]
    for split, difference in enumerate(differences):
        for seed in (0, 1):  # seeds on one split are averaged: they are no further splits
            shift = 0.005 if seed else -0.005
            folder = tmp_path / f"{split}{seed}"
            write_run(folder / "a", 0.7 + difference + shift, split_seed=split, seed=seed, model__hidden_size=16)
            write_run(folder / "b", 0.7 + shift, split_seed=split, seed=seed)
    write_run(tmp_path / "alone", 0.1, split_seed=9)
    (pair,) = (found := analysed(tmp_path)).pairs
    expected = statistics.corrected_test([-one for one in differences], 20 / 80)  # validation images are learned from
    assert expected is not None
    assert pair.test.n == 3
    assert (pair.test.t, pair.test.p) == pytest.approx((expected.t, expected.p))
    assert (found.label(pair.first), found.label(pair.second)) == ("hidden_size=8", "hidden_size=16")
    assert pair.adjusted == pair.test.p
    corrected = found.groups.groups[1].corrected
    assert corrected is not None
    half = 4.302652729911275 * 0.02 * math.sqrt(1 / 3 + 1 / 4)
    assert (corrected.low, corrected.high) == pytest.approx((0.74 - half, 0.74 + half), abs=1e-9)


def test_seeds_on_one_split_give_no_test_and_it_says_so(tmp_path: Path) -> None:
    grid(tmp_path)
    found = analysed(tmp_path)
    assert found.pairs == []
    assert any("No difference between configurations could be tested" in note for note in found.notes)


def test_a_choice_stands_for_the_keys_it_brings(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.5, model__cell="lstm")
    write_run(tmp_path / "b", 0.6, model="gru", model__cell="gru", model__bias=True)
    write_run(tmp_path / "c", 0.6, model="gru", model__cell="gru", model__bias=True, optimizer__lr=0.1)
    write_run(tmp_path / "d", 0.5, model__cell="lstm", optimizer__lr=0.1)
    assert analysed(tmp_path).groups.together == {"model": ["model.bias", "model.cell"], "optimizer.lr": []}
    for name, experiment in (("a", "lab"), ("b", "fixed"), ("c", "fast"), ("d", "lab_fast")):
        path = tmp_path / name / "result.json"
        result = json.loads(path.read_text())
        path.write_text(json.dumps({**result, "choices": {"experiment": experiment, "trainer": name}}))
    found = analysed(tmp_path)
    assert list(found.groups.together) == ["experiment"]
    assert [found.label(index) for index in range(2)] == ["experiment=fast", "experiment=fixed"]


def test_data_that_differ_are_never_one_group(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.5)
    write_run(tmp_path / "b", 0.5, seed=1, fingerprint="g")
    found = analysed(tmp_path)
    assert [group.settings for group in found.groups.groups] == [{"data.fingerprint": "f"}, {"data.fingerprint": "g"}]
    assert any("different data" in note for note in found.notes)


def test_a_repeated_experiment_counts_once(tmp_path: Path) -> None:
    for folder in ("a", "b", "deep/er/c"):
        write_run(tmp_path / folder, 0.5)
    found = analysed(tmp_path, tmp_path / "a", f"{tmp_path}/*")
    assert [len(group.runs) for group in found.groups.groups] == [1]
    assert any("2 runs repeat the configuration, seeds and data of another" in note for note in found.notes)


BROKEN: dict[str, tuple[Any, str]] = {
    "truncated": ('{"status": "complete", "metr', "not JSON, or cut off"),
    "empty": ("", "not JSON, or cut off"),
    "bytes": (b"\xff\xfe\x00", "not JSON, or cut off"),
    "foreign": ('{"accuracy": 0.9}', "not a result of this project"),
    "list": ("[1, 2]", "not a result of this project"),
    "deep": ("[" * 100_000, "recursion"),
    "metrics": ({"metrics": [1]}, "metrics is [1]: expected an object"),
    "nan": ({"metrics": {"test/accuracy": math.nan}}, "metrics.test/accuracy is nan: expected a finite number"),
    "null": ({"metrics": {"test/accuracy": None}}, "metrics.test/accuracy is None: expected a finite number"),
    "word": ({"metrics": {"test/accuracy": "0.9"}}, "metrics.test/accuracy is '0.9': expected a finite number"),
    "true": ({"metrics": {"test/accuracy": True}}, "metrics.test/accuracy is True: expected a finite number"),
    "counts": ({"data": {"counts": {"train": "40", "val": [1], "test": [1]}}}, "data.counts: expected whole numbers"),
    "config": ({"config": "lstm"}, "config is 'lstm': expected an object"),
    "bare": ({"config": None}, "config is None: expected an object"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_is_named_and_left_out(tmp_path: Path, name: str) -> None:
    write_run(tmp_path / "good", 0.5)
    folder = write_run(tmp_path / name, 0.9, seed=1)
    content, reason = BROKEN[name]
    if isinstance(content, dict):
        content = json.dumps({**json.loads((folder / "result.json").read_text()), **content})
    (folder / "result.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    found = analysed(tmp_path)
    assert [run.folder.name for group in found.groups.groups for run in group.runs] == ["good"]
    ((left_out, why),) = found.found.left_out
    assert left_out == folder
    assert reason in why


def test_failed_and_unfinished_runs_are_listed(tmp_path: Path) -> None:
    write_run(tmp_path / "good", 0.5)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "result.json").write_text(
        '{"status": "failed", "error": "RuntimeError: \\u001b[31mno | memory"}'
    )
    (tmp_path / "cut" / ".hydra").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    text = write_report([tmp_path], "test/accuracy")
    assert f"{tmp_path}/bad  failed     RuntimeError:  [31mno | memory" in text
    assert f"{tmp_path}/cut  not ended  it has no result.json yet" in text
    assert "no \\| memory" in (tmp_path / "report" / "report.md").read_text()
    only_failed = write_report([tmp_path / "bad"], "test/accuracy", out=tmp_path / "failed")
    assert "No run has ended well." in only_failed
    assert sorted(path.name for path in (tmp_path / "failed").iterdir()) == ["report.html", "report.md"]


def test_a_model_that_knows_one_answer_is_called_that(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.4, classes=1)
    write_run(tmp_path / "b", 0.5, seed=1)
    text = write_report([tmp_path], "test/accuracy")
    assert "Beware: 1 of 2 runs answer one person only." in text
    assert "1 of 2 runs give every test image the same answer: their accuracy is the share of that person" in text


def test_files_hold_every_digit(tmp_path: Path) -> None:
    grid(tmp_path)
    write_report([tmp_path], "test/accuracy", out=tmp_path / "out")
    with (tmp_path / "out" / "groups.csv").open() as file:
        groups = list(csv.DictReader(file))
    assert [(row["model.dropout"], row["model.hidden_size"], row["runs"]) for row in groups] == [
        ("0.0", "8", "2"), ("0.0", "16", "2"), ("0.3", "8", "2"), ("0.3", "16", "2"),
    ]  # fmt: skip
    assert [row["rank_by_validation"] for row in groups] == ["3", "1", "4", "2"]
    assert float(groups[1]["mean"]) == pytest.approx(0.6, abs=1e-15)
    with (tmp_path / "out" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert sorted(float(row["test/accuracy"]) for row in rows)[0] == 0.47
    page = (tmp_path / "out" / "report.html").read_text()
    assert [page.count(f"<h2>{name}</h2>") for name in ("Every run", "Two keys together", "Learning curves")] == [
        1,
        1,
        0,
    ]
    assert not (tmp_path / "out" / "tests.csv").exists()


def test_pictures_follow_the_sweep(tmp_path: Path) -> None:
    for index in range(27):
        keys = {"model__hidden_size": 2 ** (index % 3), "model__dropout": index // 3 % 3 / 10}
        folder = write_run(tmp_path / str(index), index / 30, optimizer__lr=10.0 ** -(index // 9 + 1), **keys)
        (folder / "metrics.csv").write_text("epoch,train/loss,val/loss\n1,2.0,1.9\n2,1.5,nan\n3,1.2,1.4\n")
    (tmp_path / "0" / "metrics.csv").write_text("half,a\n")
    write_report([tmp_path], "test/accuracy")
    page = (tmp_path / "report" / "report.html").read_text()
    for name, count in (("Every run", 1), ("All keys together", 1), ("Learning curves", 1), ("Two keys together", 0)):
        assert page.count(f"<h2>{name}</h2>") == count
    assert page.count("data:image/png;base64,") == 3


def test_a_folder_named_by_what_was_typed_can_be_given(tmp_path: Path) -> None:
    name = "model=lstm,gru_seed=0,1"
    write_run(tmp_path / "multirun" / name / "a", 0.5)
    done = command(f"sweep=multirun/{name}", cwd=tmp_path, module="lfw_seq.report")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "multirun" / name / "report" / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "sweep: needs a value"),
        (["sweep=nowhere"], "sweep=nowhere: no such folder"),
        (["sweep=runs", "metirc=x"], "metirc: no such key; did you mean metric?"),
        (["sweep=void"], "sweep=void: no result.json in or under it"),
        (["sweep=runs/*"], "sweep=runs/*: needs out=FOLDER"),
        (["sweep=runs", "monitor=val/x"], "monitor=val/x: expected one of val/accuracy, val/loss"),
        (["sweep=runs", "monitor=val/loss", "monitor_mode=up"], "monitor_mode=up: expected one of min, max"),
        (["sweep=runs", "out=runs/a/result.json"], "out=runs/a/result.json: "),
    ],
)
def test_a_mistake_ends_in_one_line(tmp_path: Path, words: list[str], expected: str) -> None:
    write_run(tmp_path / "runs" / "a", 0.5)
    (tmp_path / "void").mkdir()
    done = command(*words, cwd=tmp_path, module="lfw_seq.report")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {expected}"), line
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "result.json", "runs", "void"]


def test_the_command_imports_no_torch_and_leaves_its_report_only(tmp_path: Path) -> None:
    write_run(tmp_path / "Łódź faces" / "a b", 0.5)
    write_run(tmp_path / "more" / "c", 0.7, seed=1)
    code = """
import runpy, sys
sys.argv = ['report', 'sweep=["Łódź faces",more/*]', 'out=both']
try:
    runpy.run_module('lfw_seq.report', run_name='__main__')
finally:
    print([name for name in ('torch', 'lightning', 'sklearn', 'pandas') if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert "Finished runs: 2. Configurations, seeds aside: 1." in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both", "more", "Łódź faces"]


@pytest.mark.slow
def test_a_real_sweep(tmp_path: Path) -> None:
    grid_words = ("model.hidden_size=4,8", "split_seed=1,2,3", "hydra.sweep.dir=sweep")
    done = command("-m", *SMALL, *grid_words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = write_report([tmp_path / "sweep"], "test/macro_f1")
    assert "Finished runs: 6. Configurations, seeds aside: 2." in text
    found = analysed(tmp_path / "sweep", metric="test/macro_f1")
    assert found.groups.together == {"model.hidden_size": []}
    assert [len(group.splits) for group in found.groups.groups] == [3, 3]
    assert found.groups.groups[0].test_share == pytest.approx(28 / 112)
    assert "<h2>Learning curves</h2>" in (tmp_path / "sweep" / "report" / "report.html").read_text()


@pytest.mark.slow
def test_ten_thousand_runs_are_read_once_and_counted(tmp_path: Path) -> None:
    draws = random.Random(0)
    for index in range(10_000):
        keys = {"optimizer__lr": (1 + index // 10) / 1000, "split_seed": index % 10}
        write_run(tmp_path / str(index), 0.5 + draws.random() / 4, **keys)
    found = analysed(tmp_path)
    assert [len(group.runs) for group in found.groups.groups] == [10] * 1000
    assert len(found.pairs) == 999  # the best by validation with each other
    assert "985 more rows are in the CSV files" in write_report([tmp_path], "test/accuracy")
