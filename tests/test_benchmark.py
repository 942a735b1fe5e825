"""The benchmark command, and what makes an epoch cheap."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lfw_seq.benchmarks.loops import matrix_products
from lfw_seq.benchmarks.peers import missing
from lfw_seq.benchmarks.turns import Cost, Report, in_turn, now, spent
from lfw_seq.build import build_classifier, build_net
from lfw_seq.data.module import build
from lfw_seq.hooks import STEP_HOOKS, skip_empty
from lfw_seq.runs import plain
from lfw_seq.train import train

from .conftest import SMALL, Compose, command


def test_contenders_take_turns_and_the_warm_up_is_left_out() -> None:
    order: list[str] = []

    def contender(name: str, wall: float) -> Cost:
        order.append(name)
        return Cost(wall * len(order), 1.0)

    costs = in_turn({"a": lambda: contender("a", 1), "b": lambda: contender("b", 2)}, rounds=3, warm_up=1)
    assert order == ["a", "b"] * 4
    assert [cost.wall for cost in costs["a"]] == [3, 5, 7]
    report = Report("x", costs)
    report.compare("b / a", "b", "a")
    report.compare("c / a", "c", "a")
    assert list(report.ratios) == ["b / a"]
    assert report.ratios["b / a"]["wall"] == {"median": 12 / 5, "min": 16 / 7, "max": 8 / 3}


def test_a_process_is_charged_what_it_used(tmp_path: Path) -> None:
    code = "import time\ndata = bytearray(200 * 2**20)\nwhile time.process_time() < 0.3: pass"
    used = spent([sys.executable, "-c", code], str(tmp_path), {})
    assert used.status == 0
    assert 0.3 <= used.cost.cpu < 2
    assert used.cost.wall >= 0.3
    assert 200 < used.peak_mib < 300
    failed = spent([sys.executable, "-c", "raise SystemExit('no luck')"], str(tmp_path), {})
    assert failed.status == 1
    assert "no luck" in failed.said


def test_the_matrix_products_of_an_epoch_are_counted_by_hand(config: Compose) -> None:
    cfg = config("data=synthetic", "data.num_images=140", "data.batch_size=100", "model.hidden_size=8")
    data = build(plain(cfg.data), cfg.split_seed, cfg.seed)
    data.setup()
    epoch = matrix_products(build_net(cfg, data), data, torch.device("cpu"))  # type: ignore[arg-type]
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        epoch(0)
    images, steps, features, hidden, people = len(data.tensors["train"][1]), 50, 37, 8, 7
    first = 2 * features * 4 * hidden + 3 * hidden * 4 * hidden  # rows in, their weights' gradient; the state's three
    second = 3 * hidden * 4 * hidden + 3 * hidden * 4 * hidden  # and the gradient of what the first layer gave
    assert counter.get_total_flops() == 2 * images * (steps * (first + second) + 3 * hidden * people)


def test_empty_step_hooks_are_taken_away_and_others_stay() -> None:
    class One(Callback):
        def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None: ...

    one, saver = One(), ModelCheckpoint()
    skip_empty(one)
    skip_empty(saver)
    assert {name for name in STEP_HOOKS if callable(getattr(one, name))} == {"on_after_backward"}
    assert callable(saver.on_train_batch_end)
    assert saver.on_before_backward is None
    assert callable(Callback().on_before_backward)  # only of this one


def test_a_hook_that_a_class_fills_is_called_in_a_run(config: Compose, tmp_path: Path) -> None:
    train(config(*SMALL, f"+callbacks.own._target_={__name__}.Counting", f"+callbacks.own.path={tmp_path / 'n'}"))
    assert (tmp_path / "n").read_text() == "8"  # 100 images in batches of 32, two epochs


class Counting(Callback):
    def __init__(self, path: str) -> None:
        self.path, self.steps = Path(path), 0

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: object) -> None:
        self.steps += 1

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.path.write_text(str(self.steps))


def test_tensorboard_holds_train_and_validation_by_epoch_and_the_test_after(config: Compose, tmp_path: Path) -> None:
    result = train(config(*SMALL))
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps["train/loss"] == steps["val/loss"] == steps["val/auroc"] == steps["train/lr"] == [1, 2]
    assert steps["test/macro_f1"] == [3]
    assert events.Scalars("test/loss")[0].value == result["metrics"]["test/loss"]
    best = events.Scalars("val/loss")[result["best_epoch"] - 1].value
    assert best == pytest.approx(result["metrics"]["val/loss"], abs=1e-6)


def test_the_classifier_reads_alike_with_and_without_its_empty_hooks(config: Compose) -> None:
    cfg = config(*SMALL)
    data = build(plain(cfg.data), cfg.split_seed, cfg.seed)
    data.setup()
    classifier = build_classifier(cfg, build_net(cfg, data), data)
    assert classifier.on_before_backward is None
    assert callable(classifier.on_train_batch_end)  # it logs there


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "named"),
    [
        (
            "epoch",
            [
                "ours / bare PyTorch loop",
                "ours / bare loop with metrics, checkpoints",
                "ours / matrix products alone",
                "augmentation alone / ours",
            ],
        ),
        ("predict", ["images a second, PyTorch, batches of 512"]),
    ],
)
def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, what: str, named: list[str]) -> None:
    small = (*SMALL[:3], "model.hidden_size=8", "augment=faces", "rounds=1", "warm_up=0", "epochs=1")
    done = command(f"what={what}", *small, "hydra.run.dir=run", cwd=tmp_path, module="lfw_seq.benchmark")
    assert done.returncode == 0, done.stderr
    for name in named:
        assert name in done.stdout
    result = json.loads((tmp_path / "run" / "benchmark.json").read_text())
    assert result["threads"] == 1
    assert result["machine"]["cores"] >= 1
    assert {**result["ratios"], **result["figures"]}.keys() >= set(named)
    for backend in ("tensorflow", "jax"):
        if what == "epoch" and (lack := missing(backend)):
            assert f"left out, {lack}" in done.stdout


def test_an_unknown_benchmark_is_refused(tmp_path: Path) -> None:
    done = command("what=speed", cwd=tmp_path, module="lfw_seq.benchmark")
    assert done.returncode == 2
    assert done.stderr == "error: what=speed: expected one of epoch, start, data, predict, sweep, scale\n"


@pytest.mark.parametrize("name", ["train", "baselines", "report", "benchmark"])
def test_help_is_hydras_own(tmp_path: Path, name: str) -> None:
    ours = command("--help", cwd=tmp_path, module=f"lfw_seq.{name}")
    code = f"""
import sys
from lfw_seq import {name}, plugins
sys.argv = ['{name}', '--help']
plugins.register()
{name}.main()
"""
    hydras = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ours.stdout == hydras.stdout
    assert "== Config ==" in ours.stdout


def test_help_names_a_wrong_choice(tmp_path: Path) -> None:
    wrong = command("--help", "model=lstmm", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: model=lstmm: no such choice")


def test_clocks_go_forward() -> None:
    started = now()
    sum(range(100_000))
    took = now().since(started)
    assert took.wall > 0
    assert took.of(2).cpu == took.cpu / 2
