"""What TensorBoard itself serves of a small sweep, read over HTTP, and that looking changes no number."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import nn
from torch.nn import functional

from lfw_seq import runs
from lfw_seq.callbacks.gates import mean_gates
from lfw_seq.callbacks.gradients import row_gradients, saliency
from lfw_seq.callbacks.hparams import chosen
from lfw_seq.callbacks.periodic import Periodic
from lfw_seq.callbacks.projector import last_features
from lfw_seq.checkpoints import WholeCheckpointIO
from lfw_seq.command import CONF
from lfw_seq.inference import accuracy_by_step
from lfw_seq.models.recurrent import RecurrentReader
from lfw_seq.train import train

from .conftest import SMALL, Compose
from .test_sweeps import Killed, killed_after, outcome

LOOKING = (*SMALL[:-1], "look.every_n_epochs=1", "look.time_share=1")
ROOT = Path(__file__).resolve().parent.parent
MEASURES = ("loss", "accuracy", "macro_f1", "auroc")
RUNS = ("outputs/plain", "multirun/s/gru")
PEOPLE = [f"Person {index}" for index in range(1, 8)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a TensorBoard, started as `make tensorboard` starts it, on a plain run and one of a sweep."""
    home = tmp_path_factory.mktemp("home")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for folder, *options in (("outputs/plain",), ("multirun/s/gru", "model=gru", "optimizer.lr=0.01", "seed=1")):
            train(compose("train", [*LOOKING, f"run_dir={home / folder}", *options]))
    found = re.search(r"^tensorboard:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    *before, start = [line.lstrip("\t@") for line in found[1].splitlines()]
    for line in before:
        subprocess.run(line, shell=True, cwd=home, check=True)
    words = start.replace("$(BIN)/tensorboard", f"{sys.executable} -m tensorboard.main").replace("$(ARGS)", "--port=0")
    with subprocess.Popen(words.split(), cwd=home, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address = next(match[0] for text in process.stderr if (match := re.search(r"http://[\w.:-]+/(?= )", text)))
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:  # it reads one run after the other, while it serves
                tags = ask(address, "scalars/tags")
                if all("hp/test_auroc" in tags.get(run, ()) for run in RUNS):
                    break
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()


def fetch(address: str, route: str, body: Any = None, **query: Any) -> bytes:
    """What a plugin answers."""
    url = f"{address}data/{route}?{urllib.parse.urlencode(query)}".rstrip("?")
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=60
    ) as answer:
        return bytes(answer.read())


def ask(address: str, route: str, body: Any = None, **query: Any) -> Any:
    return json.loads(fetch(address, f"plugin/{route}", body, **query))


@pytest.mark.parametrize("run", RUNS)
def test_scalars_stand_at_their_epochs(served: str, run: str) -> None:
    tags = ask(served, "scalars/tags")
    assert set(RUNS) <= tags.keys()
    by_epoch = [f"{stage}/{name}" for stage in ("train", "val") for name in MEASURES]
    for tag in (*by_epoch, "train/lr", "train/gradient_norm", "train/images_per_second"):
        points = ask(served, "scalars/scalars", run=run, tag=tag)
        assert [step for _, step, _ in points] == [1, 2], tag
        assert all(value > 0 or "f1" in tag or "accuracy" in tag for _, _, value in points), tag
    for tag in [f"test/{name}" for name in MEASURES]:
        assert len(ask(served, "scalars/scalars", run=run, tag=tag)) == 1, tag
    layout = ask(served, "custom_scalars/layout")
    text = json.dumps(layout)
    for name in MEASURES:
        assert f"^train/{name}$" in text
        assert f"^val/{name}$" in text


@pytest.mark.parametrize("run", RUNS)
def test_images_are_pictures(served: str, run: str) -> None:
    tags = ask(served, "images/tags")[run]
    answered = ("confusion", "confusion_by_row", "roc", "precision_recall", "reliability", "mistakes")
    rows = ["rows/gradient", "rows/saliency", "rows/accuracy", *(["rows/gates"] if run == RUNS[0] else [])]
    for tag in ("inputs/as_read", *rows, *(f"{stage}/{name}" for stage in ("val", "test") for name in answered)):
        samples = ask(served, "images/images", run=run, tag=tag, sample=0)
        assert tag in tags
        assert samples, tag
        picture = np.asarray(
            Image.open(BytesIO(fetch(served, f"plugin/images/individualImage?{samples[-1]['query']}")))
        )
        assert picture.shape[0] > 200, tag
        assert picture.shape[1] > 200, tag
        assert len(np.unique(picture)) > 20, tag  # not a blank one
    assert ("rows/gates" in tags) == (run == RUNS[0])  # a GRU has none
    assert {f"precision_recall/{name}" for name in PEOPLE} <= ask(served, "pr_curves/tags")[run].keys()


@pytest.mark.parametrize("run", RUNS)
def test_histograms_graph_and_projector(served: str, run: str) -> None:
    tags = ask(served, "histograms/tags")[run]
    parameters = [f"layers.{layer}.{part}_l0" for layer in (0, 1) for part in ("weight_ih", "weight_hh", "bias_ih")]
    for name in (*parameters, "head.weight", "head.bias"):
        for kind in ("weights", "gradients"):
            points = ask(served, "histograms/histograms", run=run, tag=f"{kind}/{name}")
            assert {1, 2} <= {point[1] for point in points}, name
            assert tags[f"{kind}/{name}"]
    assert ask(served, "graphs/info")[run]["run_graph"] is True
    graph = fetch(served, "plugin/graphs/graph", run=run, large_attrs_key="x").decode()
    assert ("lstm" if run == RUNS[0] else "gru") in graph
    (point,) = ask(served, "projector/info", run=run)["embeddings"]
    assert point["tensorShape"] == [28, 8]
    name = point["tensorName"]
    header, *people = fetch(served, "plugin/projector/metadata", run=run, name=name).decode().splitlines()
    assert header == "person\tpredicted\tanswer"
    assert len(people) == 28
    assert {row.split("\t")[0] for row in people} <= set(PEOPLE)
    assert {row.split("\t")[2] for row in people} <= {"right", "wrong"}
    sprites = Image.open(BytesIO(fetch(served, "plugin/projector/sprite_image", run=run, name=name)))
    assert sprites.size == (192, 192)  # 6 x 6 squares of 32
    numbers = np.frombuffer(fetch(served, "plugin/projector/tensor", run=run, name=name), dtype=np.float32)
    assert len(numbers) == 28 * 8
    assert np.isfinite(numbers).all()


def test_hparams_compare_a_sweep_without_a_gap(served: str) -> None:
    experiment = ask(served, "hparams/experiment", {"hparamsLimit": 0})
    columns = {column["name"] for column in experiment["hparamInfos"]}
    assert len(columns) >= 10
    assert {"model.cell", "model.hidden_size", "optimizer.lr", "seed"} <= columns
    metrics = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert metrics == {f"hp/{stage}_{name}" for stage in ("val", "test") for name in MEASURES}
    asked = {
        "allowedStatuses": ["STATUS_SUCCESS"],
        "colParams": [
            *({"hparam": name, "includeInResult": True} for name in sorted(columns)),
            *({"metric": {"tag": tag, "group": ""}, "includeInResult": True} for tag in sorted(metrics)),
        ],
        "startIndex": 0,
        "sliceSize": 10,
    }
    groups = ask(served, "hparams/session_groups", asked)["sessionGroups"]
    assert len(groups) == 2
    for group in groups:
        assert set(group["hparams"]) >= columns
        assert all(value not in (None, "") for value in group["hparams"].values())
        values = {metric["name"]["tag"]: metric["value"] for metric in group["metricValues"]}
        assert values.keys() == metrics
        assert all(value >= 0 for value in values.values())
    assert {group["hparams"]["model.cell"] for group in groups} == {"lstm", "gru"}
    assert {group["hparams"]["optimizer.lr"] for group in groups} == {0.001, 0.01}
    for run in RUNS:
        (point,) = ask(served, "scalars/scalars", run=run, tag="hp/test_accuracy")
        assert point[2] == ask(served, "scalars/scalars", run=run, tag="test/accuracy")[0][2]
        assert "hp_metric" not in ask(served, "scalars/tags")[run]


def test_looking_changes_nothing_not_even_after_a_kill(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("trainer.max_epochs=3", "optimizer.lr=0.05", "augment=faces")

    def numbers(run: str) -> dict[str, Any]:
        found = outcome(tmp_path / run)
        del found["result"]["config"], found["result"]["choices"]  # which name the callbacks
        return found

    train(config(*SMALL, *options))
    plain = numbers("run")
    looked = config(*LOOKING, *options, f"run_dir={tmp_path / 'looked'}")
    assert runs.config_hash(looked) == plain["result"]["config_hash"]
    train(looked)
    assert numbers("looked") == plain
    with monkeypatch.context() as patch:
        patch.setattr(WholeCheckpointIO, "save_checkpoint", killed_after(2))
        with pytest.raises(Killed):
            train(config(*LOOKING, *options, f"run_dir={tmp_path / 'resumed'}"))
    train(config(*LOOKING, *options, f"run_dir={tmp_path / 'resumed'}"))
    assert numbers("resumed") == plain


@pytest.mark.slow
@pytest.mark.parametrize("net", ["rnn", "mlp", "cnn", "residual", "row_conv", "two_readers", "windows"])
def test_every_net_can_be_looked_at(config: Compose, tmp_path: Path, net: str) -> None:
    width = () if net in ("cnn", "residual", "row_conv", "two_readers", "windows") else ("model.hidden_size=8",)
    words = [word for word in LOOKING if not word.startswith("model.")]
    train(config(*words, f"model={net}", *width, "trainer.max_epochs=1", "data.standardize=pixel"))
    assert runs.read_result(tmp_path / "run")


@pytest.mark.parametrize(
    "key",
    [
        "figures",
        "photos",
        "gradients",
        "reading",
        "gates",
        "weights",
        "speed",
        "gradient_norm",
        "charts",
        "graph",
        "projector",
        "hparams",
    ],
)
def test_each_can_be_left_out(config: Compose, key: str) -> None:
    without = config(*LOOKING, f"callbacks.{key}=null")
    assert without.callbacks[key] is None
    assert runs.config_hash(without) == runs.config_hash(config(*LOOKING))


def test_a_turn_is_passed_over_when_time_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, shown = [0.0], list[int]()
    monkeypatch.setattr("lfw_seq.callbacks.periodic.time.process_time", lambda: clock[0])

    class Slow(Periodic):
        guess = 0.5

        def _show(self, trainer: Any, model: Any, stage: str, step: int) -> None:
            clock[0] += 2.0
            shown.append(step)

    class Stub:
        current_epoch = 0

    slow, stub = Slow(every_n_epochs=5, time_share=0.02), Stub()
    slow.on_train_start(stub, stub)  # type: ignore[arg-type]
    for stub.current_epoch in range(300):
        clock[0] += 1.0
        slow.on_train_epoch_end(stub, stub)  # type: ignore[arg-type]
        assert slow.spent <= max(2.0, 0.02 * clock[0])
    assert shown == [25, 200, 300]  # the guess of .5 s is affordable after 25 s, 2 s more at 200, and 4 at 300


def reader(cell: str) -> RecurrentReader:
    torch.manual_seed(0)
    return RecurrentReader(5, 9, 3, cell, 6, 2, 0.3, False, "last", "torch").eval()


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_by_row_are_those_of_single_images(cell: str) -> None:
    net, rows, labels = reader(cell), torch.rand(4, 9, 5), torch.tensor([0, 1, 2, 0])
    found = row_gradients(net, rows, labels)
    assert list(found) == ["pixels", "input of layer 2"]
    norms = []
    for row, label in zip(rows, labels, strict=True):
        pixels = row[None].clone().requires_grad_()
        functional.cross_entropy(net(pixels), label[None]).backward()
        assert pixels.grad is not None
        norms.append(pixels.grad[0].norm(dim=1))
    assert np.allclose(found["pixels"], torch.stack(norms).mean(dim=0).numpy(), atol=1e-7)
    net.zero_grad()
    strength = saliency(net, rows, labels)
    step = torch.zeros_like(rows)
    step[:, 2, 3] = 1e-3
    with torch.no_grad():
        slope = (net(rows + step) - net(rows - step)).gather(1, labels[:, None]) / 2e-3
    assert strength[2, 3] == pytest.approx(slope.abs().mean().item(), rel=1e-2)


def test_gates_follow_the_equations() -> None:
    layer, rows = nn.LSTM(5, 6, batch_first=True), torch.rand(4, 9, 5)
    with torch.no_grad():
        means = mean_gates(layer, rows)
        weight, _, *biases = layer.all_weights[0]
        first = torch.sigmoid(rows[:, 0] @ weight.T + sum(biases)).chunk(4, dim=1)
    for part, name in ((0, "input"), (1, "forget"), (3, "output")):
        assert means[name].shape == (9,)
        assert means[name][0] == pytest.approx(first[part].mean().item(), abs=1e-6)


def test_reading_stops_and_embeddings_are_the_heads_input() -> None:
    net, rows = reader("lstm"), torch.rand(6, 9, 5)
    with torch.no_grad():
        labels = net(rows).argmax(dim=1)
    found = accuracy_by_step(net, rows, labels, points=3)
    assert list(found) == [4, 6, 9]
    assert found[9] == 1.0
    assert accuracy_by_step(nn.Sequential(nn.Flatten(), nn.Linear(45, 2)), rows, labels) == {}  # needs all rows
    features = last_features(net, rows)
    assert features is not None
    assert torch.allclose(net.head(features), net(rows))


def test_hyperparameters_are_words_and_numbers() -> None:
    config = {"model": {"_target_": "a.b.Net", "size": 3, "reader": {"cell": "gru"}}, "flag": False, "none": None}
    assert chosen(config, "model._target_") == "Net"
    assert chosen(config, "model.size") == 3
    assert chosen(config, "model.cell") == "gru"
    assert chosen(config, "flag") == "False"
    assert chosen(config, "none") == chosen(config, "model.no.such") == "none"
