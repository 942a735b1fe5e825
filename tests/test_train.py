"""Whole runs: the run folder, the same numbers twice, the lab's protocol."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from sklearn import metrics as sk

from lfw_seq.cli import UsageError
from lfw_seq.evaluation.metrics import closing_table
from lfw_seq.models.recurrent import bf16_error
from lfw_seq.runs import folder as runs
from lfw_seq.runs import record
from lfw_seq.train import train
from lfw_seq.training import build

from .conftest import SMALL, Compose, Trained, command, table
from .test_sweeps import outcome

FILES = {".hydra/config.yaml", ".hydra/overrides.yaml", ".lock", "checkpoints/best.ckpt", "checkpoints/last.ckpt"}
FILES |= {"metrics.csv", "predictions.csv", "result.json"}


def test_a_run_folder_holds_what_the_contract_says(config: Compose, tmp_path: Path) -> None:
    run, result = tmp_path / "run", train(config(*SMALL))
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    events = {name for name in files if "/events.out.tfevents" in name}
    assert files - events == FILES
    assert events
    assert json.loads((run / "result.json").read_text()) == result
    assert result["status"] == "complete"
    assert result["config_hash"] == runs.config_hash(config(*SMALL))
    assert result["data"]["shape"] == [140, 50, 37]
    assert sum(map(sum, result["data"]["counts"].values())) == 140
    assert not result["data"]["validation_is_test"]
    assert result["model"]["parameters"] == 4 * 8 * (37 + 8 + 2) + 4 * 8 * (8 + 8 + 2) + 9 * 7
    assert result["epochs"] == 2
    assert result["device"].endswith("CPU, 1 thread")
    assert str(tmp_path) not in (run / "result.json").read_text()
    assert {"python", "torch", "lightning"} <= set(result["versions"])

    rows = table(run / "predictions.csv")
    names = result["data"]["class_names"]
    assert len(rows) == 28 == sum(result["data"]["counts"]["test"])
    assert list(rows[0]) == ["file", "true", "predicted", *names]
    for row in rows:
        probabilities = [float(row[name]) for name in names]
        assert sum(probabilities) == pytest.approx(1, abs=1e-6)
        assert row["predicted"] == names[probabilities.index(max(probabilities))]
    truth, predicted = [row["true"] for row in rows], [row["predicted"] for row in rows]
    assert result["metrics"]["test/accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert result["metrics"]["predicted_classes"] == len(set(predicted))
    assert result["metrics"]["majority_rate"] == truth.count(names[0]) / 28

    epochs = table(run / "metrics.csv")
    assert [row["epoch"] for row in epochs] == ["1", "2"]
    assert {"train/loss", "train/lr", "val/loss", "val/accuracy", "val/macro_f1", "val/auroc"} <= set(epochs[0])
    best = min(epochs, key=lambda row: float(row["val/loss"]))
    assert int(best["epoch"]) == result["best_epoch"]
    assert float(best["val/loss"]) == pytest.approx(result["metrics"]["val/loss"], abs=1e-6)
    for name in ("best", "last"):
        checkpoint = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert checkpoint["state_dict"]["predictor.net.head.weight"].shape == (7, 8)


def test_the_same_command_twice_gives_the_same_bytes(config: Compose, trained: Trained, tmp_path: Path) -> None:
    first, other = trained(), trained("seed=1")
    torch.rand(5)  # what ran before in this process does not matter
    torch.set_num_threads(2)
    train(config(*SMALL))
    assert outcome(first) == outcome(tmp_path / "run")
    assert outcome(first)["texts"][0] != outcome(other)["texts"][0]
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


def test_split_seed_and_seed_are_independent(trained: Trained) -> None:
    runs_of = [trained(), trained("seed=1"), trained("split_seed=7")]
    base, seed, split = ([row["file"] for row in table(run / "predictions.csv")] for run in runs_of)
    assert base == seed != split


def test_the_labs_protocol_trains_on_all_and_says_so(config: Compose, tmp_path: Path) -> None:
    cfg = config("experiment=lab", *SMALL, "data.num_images=null", "trainer.max_epochs=1")
    result = train(cfg)
    assert cfg.model.init == "keras"
    assert [sum(result["data"]["counts"][stage]) for stage in ("train", "val", "test")] == [1030, 258, 258]
    assert result["data"]["counts"]["test"][0] == 106
    assert result["data"]["validation_is_test"]
    assert "too good" in closing_table(result, "x")
    assert result["metrics"]["val/accuracy"] == result["metrics"]["test/accuracy"]
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 33


def test_without_validation_the_last_weights_are_tested(config: Compose, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"callbacks.early_stopping=null .*best.monitor=step callbacks.best.mode=max$"):
        train(config(*SMALL, "data.val_from=none"))
    result = train(config("experiment=recipe", *SMALL))
    assert [sum(result["data"]["counts"][stage]) for stage in ("train", "val", "test")] == [112, 0, 28]
    assert not [name for name in result["metrics"] if name.startswith("val/")]
    best, last = (
        torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last")
    )
    assert best["epoch"] == last["epoch"] == 1
    assert all(torch.equal(value, last["state_dict"][name]) for name, value in best["state_dict"].items())


def test_gradients_are_clipped_in_mixed_precision_and_with_balanced_class_weights(config: Compose) -> None:
    words = ("trainer.max_epochs=1", "trainer.precision=bf16-mixed", "loss.class_weights=balanced")
    result = train(config("experiment=recipe", *SMALL, *words))
    assert result["status"] == "complete"
    assert result["config"]["trainer"]["gradient_clip_val"] == 1


@pytest.mark.parametrize(
    ("precision", "flag", "error", "trained", "words"),
    [
        ("auto", True, "", "bf16-mixed", ""),
        ("auto", False, "", "32-true", "=auto: this processor has no instructions for bfloat16; float32 is used"),
        ("auto", True, "no kernel", "32-true", "=auto: this processor refuses bfloat16 (no kernel); float32 is used"),
        ("bf16-mixed", False, "", "bf16-mixed", "=bf16-mixed: this processor has no instructions for bfloat16\n"),
        ("bf16-mixed", False, "no kernel", "32-true", "no instructions for bfloat16; float32 is used"),
        ("16-mixed", True, "", "bf16-mixed", ""),
        ("32-true", False, "no kernel", "32-true", ""),
    ],
)
def test_bfloat16_where_the_processor_trains_in_it(
    config: Compose,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    precision: str,
    flag: bool,
    error: str,
    trained: str,
    words: str,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": flag})
    monkeypatch.setattr(build, "bf16_error", lambda: error)
    cfg = config("trainer=cpu", f"trainer.precision={precision}")
    assert build.choose_precision(cfg).trainer.precision == trained
    assert words in caplog.text
    assert bool(words) == bool(caplog.text)


def test_the_bfloat16_probe_names_the_error_and_draws_no_random_number(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_rng_state()
    bf16_error.cache_clear()
    bf16_error()
    assert torch.equal(torch.get_rng_state(), before)

    def refuse(*args: object) -> None:
        raise RuntimeError("could not create a primitive descriptor. Run workload with ...")

    bf16_error.cache_clear()
    monkeypatch.setattr(torch.nn.LSTM, "forward", refuse)
    assert bf16_error() == "could not create a primitive descriptor"
    bf16_error.cache_clear()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with (
        runs.lock_run_dir(tmp_path, "x"),
        pytest.raises(UsageError, match="another process"),
        runs.lock_run_dir(tmp_path, "x"),
    ):
        pass


def test_a_failed_run_says_why_and_may_be_run_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), runs.lock_run_dir(tmp_path / "run", "abc"):
        _ = 1 / 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result == {"status": "failed", "config_hash": "abc", "error": "ZeroDivisionError: division by zero"}
    with runs.lock_run_dir(tmp_path / "run", "abc"):
        pass


def test_the_hash_names_the_experiment_not_the_place(config: Compose) -> None:
    base = runs.config_hash(config())
    same = config("run_dir=/elsewhere", "traceback=true", "data.download=false", "callbacks=core")
    assert base == runs.config_hash(same)
    changes = ["seed=1", "model=gru", "data.resize=0.5", "callbacks.early_stopping.patience=3", "split_seed=1"]
    changes += ["trainer=cpu", "data.data_home=/x", "data.data_home=/y", "average_decay=0.9"]
    changes += ["trainer.precision=bf16-mixed"]
    assert len({base, *(runs.config_hash(config(change)) for change in changes)}) == 11


@pytest.mark.lfw
@pytest.mark.slow
def test_the_lstm_learns_real_faces(lfw_home: Path, tmp_path: Path) -> None:
    words = ("experiment=standardized", "schedule=one_cycle", "trainer.max_epochs=12")  # better, in fewer epochs
    done = command(*words, "hydra.run.dir=run", cwd=tmp_path, SCIKIT_LEARN_DATA=str(lfw_home))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["metrics"]["test/auroc"] >= 0.9
    assert result["metrics"]["test/accuracy"] > 0.65
    assert result["model"] == {"name": "lstm", "parameters": 218_503}


def test_new_files_of_the_package_make_a_commit_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "CONF", tmp_path / "conf")
    for words in ("init", "-c user.name=a -c user.email=a@b commit --allow-empty -m first"):
        subprocess.run(["git", "-C", str(tmp_path), *words.split()], check=True, capture_output=True)
    for name, dirty in (("notes.txt", False), ("conf/experiment/mine.yaml", True)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        state = record.git_state()
        assert state is not None
        assert state["dirty"] == dirty
