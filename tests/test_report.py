"""The report of many runs: what is counted, grouped, chosen and shown."""

import json
import math
import random
import re
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lfw_seq.report import write_report
from lfw_seq.reports.compare import Comparison, compare
from lfw_seq.reports.read import read
from lfw_seq.reports.significance import estimate
from lfw_seq.reports.tables import csv_tables, sentences

from .conftest import SMALL, Shell, imported
from .runs_on_disk import write_run

ACCURACY = "test/accuracy"


def compared(*places: str | Path, metric: str = ACCURACY, monitor: str | None = None) -> Comparison:
    return compare(read(places), metric, monitor)


def sweep(folder: Path, *runs: tuple[float, dict[str, Any]]) -> Comparison:
    """Write a run for each accuracy and its keys, and compare all in the folder."""
    for index, (accuracy, keys) in enumerate(runs):
        write_run(folder / str(index), accuracy, **keys)
    return compared(folder)


def labels(made: Comparison) -> list[str]:
    return [made.label(number) for number in made.table.index]


def grid(folder: Path, **keys: Any) -> None:
    """Two sizes and two dropouts, two seeds each; accuracy .5, + .1 for 16 cells, - .02 for dropout, ± .01 by seed."""
    for size, dropout, seed in product((8, 16), (0.0, 0.3), (0, 1)):
        accuracy = 0.5 + 0.1 * (size == 16) - 0.02 * (dropout > 0) + (0.01 if seed else -0.01)
        name = f"{size}-{dropout}-{seed}"
        write_run(folder / name, accuracy, model__hidden_size=size, model__dropout=dropout, seed=seed, **keys)


def test_configurations_differ_by_more_than_seeds_paths_and_devices(tmp_path: Path) -> None:
    made = sweep(
        tmp_path / "sweep",
        (0.50, {"seed": 0, "trainer__accelerator": "gpu", "model__dropout": 0}),  # 0 and 0.0 are one value
        (0.51, {"seed": 1, "data__data_home": "/elsewhere", "traceback": True, "trial": 3}),
        (0.52, {"split_seed": 43, "choices/trainer": "gpu"}),
        (0.53, {"data__fold": 2}),
        (0.54, {"model__hidden_size": 16}),
    )
    assert labels(made) == ["hidden_size=8", "hidden_size=16"]
    row, half = made.table.loc[0], 3.182446305284263 * math.sqrt(5 / 3) / 100 / 2  # t of 3 degrees of freedom at .975
    assert list(row[["runs", "splits", "min", "max"]]) == [4, 3, 0.50, 0.53]
    assert list(row[["mean", "sd"]]) == pytest.approx([0.515, math.sqrt(5 / 3) / 100], abs=1e-12)
    assert list(row[["low", "high"]]) == pytest.approx([0.515 - half, 0.515 + half], abs=1e-9)
    assert made.table.loc[1, ["sd", "low", "corrected_low"]].isna().all()
    made = sweep(tmp_path / "high", (0.9, {"seed": 0}), (1, {"seed": 1}), (1, {"seed": 2}))
    assert made.table["high"][0] == 1  # an interval ends where the metric does
    assert compared(tmp_path / "high", metric="val/loss").table["low"][0] < 0


def test_keys_that_happen_to_equal_the_seed_are_settings(tmp_path: Path) -> None:
    made = sweep(tmp_path, *((size / 10, {"seed": size, "model__num_layers": size}) for size in (1, 2)))
    assert labels(made) == ["num_layers=1", "num_layers=2"]


def test_values_keep_their_digits_their_dot_and_their_order(tmp_path: Path) -> None:
    values = [".5", "./5", "../5", "0.12345678901", 1e-7, 10, 9, None, True]
    made = sweep(tmp_path, *((0.5, {"model__pooling": value}) for value in values))
    texts = ["1e-07", "0.12345678901", ".5", "9", "10", "../5", "./5", "null", "true"]
    assert list(made.settings["model.pooling"]) == texts
    assert labels(made)[:2] == ["pooling=1e-07", "pooling=0.123457"]


def test_the_effect_of_a_key_is_the_mean_over_the_others(tmp_path: Path) -> None:
    grid(tmp_path)
    effects = compared(tmp_path).effects.set_index(["key", "value"])["mean"].round(9).to_dict()
    assert effects == {
        ("model.dropout", "0"): 0.55, ("model.dropout", "0.3"): 0.53,
        ("model.hidden_size", "8"): 0.49, ("model.hidden_size", "16"): 0.59,
    }  # fmt: skip
    for seed in (0, 1):  # of a grid with a hole, only what was run with both values compares
        (tmp_path / f"16-0.3-{seed}" / "result.json").unlink()
    made = compared(tmp_path)
    found = made.effects.set_index(["key", "value"]).loc["model.hidden_size"]
    assert list(found["mean"]) == pytest.approx([0.5, 0.6])
    assert list(found["combinations"]) == [1, 1]
    assert made.effects["matched"].all()
    for seed in (0, 1):
        (tmp_path / f"8-0.0-{seed}" / "result.json").unlink()
    assert not compared(tmp_path).effects["matched"].any()


def test_many_numbers_of_a_key_are_put_into_quarters(tmp_path: Path) -> None:
    effects = sweep(tmp_path, *((index / 100, {"optimizer__lr": (index + 1) / 1000}) for index in range(12))).effects
    assert list(effects["value"]) == ["0.001 to 0.003", "0.004 to 0.006", "0.007 to 0.009", "0.01 to 0.012"]
    assert list(effects["mean"]) == pytest.approx([0.01, 0.04, 0.07, 0.1])


def test_the_best_is_chosen_by_validation_never_by_test(tmp_path: Path) -> None:
    made = sweep(
        tmp_path / "a",
        (0.9, {"model__hidden_size": 8, "metrics/val/loss": 0.5}),
        (0.7, {"model__hidden_size": 16, "metrics/val/loss": 0.4}),
        (0.99, {"model__hidden_size": 32, "metrics/val/loss": 0.1, "data/validation_is_test": True}),
    )
    assert [made.label(number) for number in made.order] == ["hidden_size=16", "hidden_size=8", "hidden_size=32"]
    text = write_report([tmp_path / "a"], ACCURACY)
    assert "Best by validation: hidden_size=16, with 0.400, the lowest mean val/loss of 2." in text
    assert "Its mean test/accuracy: 0.700 (runs 1, majority rate 0.400)." in text
    assert "1 of 3 configurations were validated on their test images: too good, and not ranked." in text
    write_run(tmp_path / "a" / "3", 0.8, model__hidden_size=64, **{"metrics/val/loss": None})
    assert "1 of 4 configurations have no validation score, and are not ranked." in write_report(
        [tmp_path / "a"], ACCURACY
    )
    made = compared(tmp_path / "a", monitor="val/accuracy")
    assert (made.mode, made.label(made.ranked[0])) == ("max", "hidden_size=8")
    for mode, best in (("min", "cell=0.1"), ("max", "cell=0.3")):  # of a metric of the user's own
        told = {"monitor": "val/own", "monitor_mode": mode}
        values = ({**told, "metrics/val/own": value, "model__cell": str(value)} for value in (0.2, 0.1, 0.3))
        made = sweep(tmp_path / mode, *((0.5, keys) for keys in values))
        assert (made.mode, made.label(made.ranked[0])) == (mode, best)
    write_run(tmp_path / "c", 0.5, **{"metrics/val/f1_per_person": {"Karl Kloss": 0.5}})
    assert compared(tmp_path / "c", monitor="val/f1_per_person/Karl Kloss").mode == "max"


def test_runs_that_watched_different_metrics_are_ranked_only_on_request(tmp_path: Path) -> None:
    made = sweep(tmp_path, (0.9, {}), (0.7, {"monitor": "val/accuracy", "monitor_mode": "max"}))
    assert made.decided == {"monitor": ["callbacks.best.monitor"], "monitor_mode": []}
    assert (made.monitor, made.ranked) == (None, [])
    assert "Keys that change with monitor: callbacks.best.monitor." in sentences(made)
    assert any("the runs monitored different metrics; try monitor=val/accuracy" in line for line in sentences(made))
    assert set(csv_tables(made)["configurations.csv"]["monitor"]) == {"val/loss", "val/accuracy"}
    assert len(compared(tmp_path, monitor="val/loss").ranked) == 2


def test_pairs_are_tested_on_the_splits_both_ran_on(tmp_path: Path) -> None:
    differences = [0.02, 0.04, 0.06]
    for split, difference in enumerate(differences):
        for seed, shift in ((0, -0.005), (1, 0.005)):  # seeds on one split are averaged: they are no further splits
            keys = {"split_seed": split, "seed": seed}
            write_run(tmp_path / f"net {split}{seed}", 0.7 + difference + shift, **keys)
            write_run(tmp_path / f"svm {split}{seed}", 0.7 + shift, **keys, model={"C": 1}, **{"model/name": "svm"})
    write_run(tmp_path / "alone", 0.1, split_seed=9, **{"model/name": "svm"}, model={"C": 1})
    made = compared(tmp_path)
    expected = estimate(differences, 20 / 80)  # validation images are learned from
    assert expected is not None
    (pair,) = made.pairs.itertuples(index=False)
    assert tuple(pair)[2:8] == pytest.approx(expected)
    assert (made.label(pair.first), made.label(pair.second)) == ("model=lstm", "model=svm")
    assert pair.p_holm == pair.p
    half = 4.302652729911275 * 0.02 * math.sqrt(1 / 3 + 1 / 4)
    assert list(made.table.loc[0, ["corrected_low", "corrected_high"]]) == pytest.approx([0.74 - half, 0.74 + half])
    assert "rely on the corrected ones (Nadeau and Bengio)" in (text := write_report([tmp_path], ACCURACY))
    assert re.search(r"model=lstm +model=svm +3 +0\.040", text)


def test_without_validation_all_pairs_are_tested(tmp_path: Path) -> None:
    for size, split in product(range(1, 17), range(2)):
        keys = {"model__hidden_size": size, "split_seed": split, "monitor": "step"}
        write_run(tmp_path / f"{size}-{split}", 0.5 + size / 100 + split * size / 1000, **keys)
    made = compared(tmp_path)
    assert made.ranked == []
    assert len(made.pairs) == 16 * 15 / 2
    assert "none has a score" not in " ".join(sentences(made))


def test_a_choice_stands_for_the_keys_it_brings(tmp_path: Path) -> None:
    gru: dict[str, Any] = {"model/name": "gru", "model__cell": "gru", "model__bias": True}
    settings: dict[str, dict[str, Any]] = {"lab": {"model__cell": "lstm"}, "fixed": gru}
    settings |= {f"{name}_fast": {**keys, "optimizer__lr": 0.1} for name, keys in settings.items()}
    made = sweep(tmp_path / "plain", *((0.5, keys) for keys in settings.values()))
    assert made.decided == {"model": ["model.bias", "model.cell"], "optimizer.lr": []}
    named = [(0.5, {**keys, "choices/experiment": name, "choices/trainer": name}) for name, keys in settings.items()]
    svm = {"model/name": "svm", "model": {"C": 1}}  # a baseline has no experiment
    expected = [f"experiment={name}" for name in ("fixed", "fixed_fast", "lab", "lab_fast", "svm")]
    assert labels(sweep(tmp_path / "named", *named, (0.4, svm))) == expected


def test_what_speaks_against_the_numbers_is_said(tmp_path: Path) -> None:
    one_class = {"metrics/predicted_classes": 1}
    other = {"seed": 1, "data/fingerprint": "g"}
    sweep(
        tmp_path, (0.4, one_class), (0.5, {"seed": 1}), (0.5, other), (0.4, one_class), (0.9, {"choices/debug": "fdr"})
    )
    made = compared(tmp_path, tmp_path / "0", f"{tmp_path}/*")
    assert list(made.table["runs"]) == [2, 1]
    assert labels(made) == ["fingerprint=f", "fingerprint=g"]  # data that differ are never one configuration
    text = write_report([tmp_path], ACCURACY)
    assert "1 of 3 runs predict one person only: their accuracy is that person's share." in text
    assert "The runs use different data; their scores are not comparable: faces (f), faces (g)." in text
    assert "No difference is tested: a test needs two splits or more" in text
    assert [(Path(folder).name, kind) for folder, kind, _ in made.skipped] == [("4", "debug"), ("3", "repeated")]


BROKEN: dict[str, Any] = {
    "truncated": '{"status": "complete", "metr', "empty": "", "bytes": b"\xff\xfe\x00", "list": "[1, 2]", "word": '"a"',
    "foreign": '{"accuracy": 0.9}', "bare": '{"status": "complete"}', "deep": "[" * 100_000, "git": {"git": "c0ffee"},
    "no metrics": {"metrics": [1]}, "no config": {"config": "lstm"},
    "nan": {"metrics/test/accuracy": math.nan}, "null": {"metrics/test/accuracy": None}, "images": {"data/counts": [0]},
    "true": {"metrics/test/accuracy": True}, "text": {"metrics/test/accuracy": "0.9"},
    "zero": {"data/counts": {"train": [0], "val": [0], "test": [1]}}, "half": {"data/counts": {"train": "40"}},
}  # fmt: skip


def test_what_cannot_be_used_is_named_and_skipped(tmp_path: Path) -> None:
    write_run(tmp_path / "good", 0.5)
    for name, content in BROKEN.items():
        changes = content if isinstance(content, dict) else {}
        path = write_run(tmp_path / name, 0.9, seed=1, **changes) / "result.json"
        if not changes:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "folder" / "result.json").mkdir(parents=True)
    made = compared(tmp_path)
    assert list(made.runs["folder"]) == ["good"]
    assert sorted(Path(folder).name for folder, _, _ in made.skipped) == sorted([*BROKEN, "folder"])
    assert {kind for _, kind, _ in made.skipped} == {"unusable"}
    assert all(reason and "\n" not in reason for _, _, reason in made.skipped)


@pytest.mark.filterwarnings("error")
def test_odd_values_are_left_out(tmp_path: Path) -> None:
    odd = {"metrics/path": 0.5, "choices/data": {"a": 1}, "seconds": 10**400, "model/parameters": 1e300}
    for seed, (name, value) in enumerate([*odd.items(), ("data/source", "\ud800")]):
        write_run(tmp_path / str(seed), 0.5, seed=seed, **{name: value})
    assert "5 finished runs of one configuration." in write_report([tmp_path], ACCURACY)
    table = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert table["seconds"].notna().sum() == table["parameters"].notna().sum() == 4
    assert set(table["source"]) == {"faces", "\N{REPLACEMENT CHARACTER}"}


def test_failed_and_unfinished_runs_are_listed(tmp_path: Path) -> None:
    write_run(tmp_path / "good", 0.5)
    (tmp_path / "bad").mkdir()
    failed = {"status": "failed", "error": "RuntimeError: \x1b[31mno | <b>memory"}
    (tmp_path / "bad" / "result.json").write_text(json.dumps(failed))
    (tmp_path / "cut" / ".hydra").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    text = write_report([tmp_path], ACCURACY)
    assert re.search(r"failed +RuntimeError:.*no \| <b>memory", text)
    assert "\x1b" not in text
    assert "unfinished" in text
    assert "no | &lt;b&gt;memory" in (tmp_path / "report" / "report.html").read_text()


def test_files_hold_every_digit(tmp_path: Path) -> None:
    grid(tmp_path / "sweep", data__order="=cmd()", **{"choices/experiment": "+sum"})
    write_run(tmp_path / "sweep" / "e", 1 / 3, data__order="top_down", **{"choices/experiment": "lab"})
    write_report([tmp_path / "sweep"], ACCURACY, out=tmp_path / "out")
    names = ("configurations.csv", "runs.csv", "effects.csv", "differences.csv")
    table, runs, *_ = (pd.read_csv(tmp_path / "out" / name) for name in names)
    assert list(table["rank_by_validation"]) == [3, 1, 4, 2, 5]
    assert table["mean"][1] == pytest.approx(0.6, abs=1e-15)
    last = runs.set_index("folder").loc["e"]
    assert (last[ACCURACY], last["commit"], last["versions"]) == (1 / 3, "c0ffee-dirty", "python 3, torch 2")
    assert last["test/f1_per_person/Bo"] == 0.5
    assert set(runs["experiment"]) == {"'+sum", "lab"}  # no formula for a spreadsheet


def test_figures_follow_the_sweep(tmp_path: Path) -> None:
    for index in range(12):
        keys = {"model__hidden_size": 2 ** (index % 3), "model__dropout": index // 3 % 2 / 10}
        folder = write_run(tmp_path / "a" / str(index), index / 30, optimizer__lr=10.0 ** -(index // 6), **keys)
        (folder / "metrics.csv").write_text("epoch,train/loss,val/loss\n1,2.0,1.9\n2,1.5,nan\n3,1.2,1.4\n")
    (tmp_path / "a" / "0" / "metrics.csv").write_text("half,a\n")
    write_run(tmp_path / "b" / "alone", 0.5)
    for place, count in (("a", 3), ("b", 1)):
        write_report([tmp_path / place], ACCURACY)
        page = (tmp_path / place / "report" / "report.html").read_text()
        assert page.count("data:image/png;base64,") == count
    assert page.count('alt="train/loss') == 0


@pytest.mark.filterwarnings("error")  # of a layout without room for its axes
def test_many_keys_leave_room_for_the_curves(tmp_path: Path) -> None:
    keys = [f"model__a_rather_long_name_of_a_key_{number}" for number in range(12)]
    for value in range(2):
        folder = write_run(
            tmp_path / str(value), 0.5, **{key: key * (value + number % 2) for number, key in enumerate(keys)}
        )
        (folder / "metrics.csv").write_text("epoch,train/loss,val/loss\n1,2.0,1.9\n2,1.5,1.7\n")
    write_report([tmp_path], ACCURACY)


@pytest.mark.filterwarnings("error")  # as of glyphs that the font lacks
def test_settings_are_no_commands_of_a_terminal(tmp_path: Path) -> None:
    for seed, pooling in enumerate(("\x1b[2J", "last")):
        write_run(tmp_path / str(seed), 0.5, model__pooling=pooling)
    assert "\x1b" not in write_report([tmp_path], ACCURACY)


def test_any_name_on_an_ascii_terminal_without_torch(tmp_path: Path) -> None:
    write_run(tmp_path / "Łódź faces" / "a b", 0.5, model__pooling="größte")
    write_run(tmp_path / "model=lstm,gru_seed=0,1" / "c", 0.7, seed=1)
    words, ascii_only = ('sweep=["Łódź faces","model=*"]', "out=größe"), {"LC_ALL": "C", "PYTHONUTF8": "0"}
    printed, found = imported("report", *words, cwd=tmp_path, of=("torch", "lightning", "sklearn"), **ascii_only)
    assert found == []
    assert "2 finished runs of 2 configurations" in printed
    assert "größte" in (tmp_path / "größe" / "runs.csv").read_text(encoding="utf-8")
    assert "Łódź faces/a b" in (tmp_path / "größe" / "runs.csv").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["größe", "model=lstm,gru_seed=0,1", "Łódź faces"]


@pytest.mark.slow
def test_a_real_sweep_ends_with_its_report(tmp_path: Path, shell: Shell) -> None:
    done = shell("-m", *SMALL, "model.hidden_size=4,8", "split_seed=1,2,3", "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    assert "6 finished runs of 2 configurations" in done.stdout
    made = compared(tmp_path / "sweep", metric="test/macro_f1")
    assert made.decided == {"model.hidden_size": []}
    assert list(made.table["splits"]) == [3, 3]
    assert made.runs["test_share"][0] == pytest.approx(28 / 112)
    page = (tmp_path / "sweep" / "report" / "report.html").read_text()
    assert 'alt="train/loss: hidden_size=4, hidden_size=8.' in page


@pytest.mark.slow
def test_ten_thousand_runs(tmp_path: Path) -> None:
    draws = random.Random(0)
    for index in range(10_000):
        keys = {"optimizer__lr": (1 + index // 10) / 1000, "split_seed": index % 10}
        write_run(tmp_path / str(index), 0.5 + draws.random() / 4, **keys)
    text = write_report([tmp_path], ACCURACY)
    assert "985 more rows are in the CSV files" in text
    runs = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert list(runs.groupby("configuration").size()) == [10] * 1000
    assert len(pd.read_csv(tmp_path / "report" / "differences.csv")) == 999  # the best by validation with each other
