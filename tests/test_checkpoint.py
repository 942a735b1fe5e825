"""The way back from a run, and what is refused on it."""

import copy
import os
import pickle
import resource
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lfw_seq.cli import UsageError
from lfw_seq.data.module import build
from lfw_seq.evaluation.predictions import open_split
from lfw_seq.runs.archive import METADATA
from lfw_seq.runs.checkpoint import build_source, load_run
from lfw_seq.train import train

from .conftest import SMALL, Compose

WRITE = {  # the attack that once wrote a file, and the one that started a program
    "_target_": "pathlib.Path.write_text",
    "_args_": [{"_target_": "pathlib.Path", "_args_": ["owned"]}, "x"],
}
START = {"_target_": "os.system", "command": "touch owned"}


@pytest.fixture
def crafted(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A run folder whose checkpoint is changed; the test stands in it, so that a file called `owned` is seen."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    original = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)

    def craft(change: Callable[[dict[str, Any]], Any] = lambda checkpoint: None) -> Path:
        checkpoint = copy.deepcopy(original)
        changed = change(checkpoint)
        torch.save(checkpoint if changed is None else changed, tmp_path / "checkpoints" / "best.ckpt")
        return tmp_path

    return craft


class Hidden:
    """A pickle that runs a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned",)


def test_a_run_comes_back_with_its_best_weights(run: Path) -> None:
    back = load_run(run)
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert back.epoch == checkpoint["epoch"] + 1
    assert not back.predictor.training
    for name, value in back.predictor.state_dict().items():
        assert torch.equal(value, checkpoint["state_dict"][f"predictor.{name}"])
    assert back.shape == (50, 37)
    assert (back.preprocessing.height, back.preprocessing.width, back.preprocessing.order) == (50, 37, "top_down")
    assert back.config["model"]["hidden_size"] == 8
    wrong: list[Any] = [np.zeros((2, 50, 37), dtype=np.uint8), np.zeros((2, 37, 50)), np.zeros((2, 50, 37, 3))]
    for images in wrong:
        with pytest.raises(UsageError, match=r"expected floats in \[0, 1\], \('N', 50, 37\)"):
            back.probabilities(images)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_run_in_bfloat16_is_read_where_the_processor_refuses_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    back, rows = load_run(run), torch.rand(3, 50, 37)
    expected = back.logits(rows)
    back.config["trainer"]["precision"] = precision
    monkeypatch.setattr("lfw_seq.runs.checkpoint.bf16_error", lambda: "no kernel")
    assert torch.equal(back.logits(rows), expected)


def test_without_best_weights_the_last_are_taken(config: Compose, tmp_path: Path) -> None:
    train(config(*SMALL, "callbacks.best=null", "data.order=columns", "model=gru"))
    back = load_run(tmp_path / "run")
    assert back.epoch == 2
    assert back.shape == (37, 50)
    image = np.arange(50 * 37, dtype=np.float32).reshape(1, 50, 37)
    assert np.array_equal(back.preprocessing.rows(image)[0], image[0].T)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(crafted: Callable[..., Path], share: float) -> None:
    path = crafted() / "checkpoints" / "best.ckpt"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UsageError, match=r"best\.ckpt: .*damaged"):
        load_run(path.parent.parent)


def test_every_flipped_bit_of_the_weights_is_found(crafted: Callable[..., Path]) -> None:
    path = crafted() / "checkpoints" / "best.ckpt"
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        parts = [archive.read(entry) for entry in archive.infolist() if "/data/" in entry.filename]
    tensors = [part for part in parts if len(part) > 50]
    chance = np.random.default_rng(0)
    for _ in range(60):
        tensor = tensors[chance.integers(len(tensors))]
        place = whole.index(tensor) + int(chance.integers(len(tensor)))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << int(chance.integers(8)))]) + whole[place + 1 :])
        with pytest.raises(UsageError, match="damaged"):
            load_run(path.parent.parent)


def test_code_in_a_checkpoint_is_refused_and_not_run(crafted: Callable[..., Path]) -> None:
    folder = crafted(lambda checkpoint: checkpoint.update(extra=Hidden()))
    with pytest.raises(UsageError, match="more than tensors and plain values"):
        load_run(folder)
    (folder / "checkpoints" / "best.ckpt").write_bytes(pickle.dumps(Hidden()))
    with pytest.raises(UsageError, match="damaged"):
        load_run(folder)
    assert not Path("owned").exists()
    pickle.loads(pickle.dumps(Hidden()))  # the trap is a real one
    assert Path("owned").exists()


def test_compressed_entries_are_refused(crafted: Callable[..., Path]) -> None:
    path = crafted() / "checkpoints" / "best.ckpt"
    with zipfile.ZipFile(path) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(UsageError, match="its entries are compressed"):
        load_run(path.parent.parent)


def change(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set a value at a place in a checkpoint."""

    def changed(checkpoint: dict[str, Any]) -> None:
        node = checkpoint
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return changed


MODEL = (METADATA, "config", "model")
ENCODER = {"_target_": "lfw_seq.models.encoders.Reorder", "rows": True, "pixels": "each", "seed": 0}
READER = {"_target_": "lfw_seq.models.mlp.MLP", "hidden_size": 1, "num_layers": 1, "dropout": 0.0, "init": "torch"}
PARTS = {"encoder": ENCODER | {"_partial_": True}, "reader": READER | {"_partial_": True}}
REORDERED = {"_target_": "lfw_seq.models.encoded.EncodedReader", **PARTS}
ENDLESS: list[Any] = [0]  # small in memory and without end to walk
for _ in range(30):
    ENDLESS = [ENDLESS] * 10
STRETCHED = torch.zeros(1).expand(2**16, 2**16)
CRAFTED: dict[str, tuple[Any, str]] = {
    "no state": (lambda c: {"weight": torch.ones(2)}, "another project"),
    "a list": (lambda c: [1, 2], "another project"),
    "no metadata": (lambda c: c.pop(METADATA) and None, "another project or an older version"),
    "format": (change(METADATA, "format", value=9), "format 9, expected 2"),
    "names": (change(METADATA, "class_names", value=[1]), "no proper 'class_names'"),
    "no names": (change(METADATA, "class_names", value=[]), "no proper class_names"),
    "preprocessing": (change(METADATA, "preprocessing", value="x"), "no proper 'preprocessing'"),
    "color": (change(METADATA, "preprocessing", "color", value=True), r"rows of shape \(50, 111\), not \[50, 37\]"),
    "half a crop": (change(METADATA, "preprocessing", "crop", value=[0.5]), r"data\.crop=\[0\.5\]: expected fractions"),
    "a large crop": (change(METADATA, "preprocessing", "crop", value=[0, 1e6, 0, 1e6]), "expected fractions"),
    "shape": (change(METADATA, "shape", value=[50, 2]), r"rows of shape \(50, 37\), not \[50, 2\]"),
    "config": (change(METADATA, "config", value={}), "no proper 'model'"),
    "split seed": (change(METADATA, "config", "split_seed", value="x"), "no proper 'split_seed'"),
    "a large seed": (change(METADATA, "config", "split_seed", value=2**64), "no proper 'split_seed'"),
    "a float": (change(*MODEL, "num_layers", value=2.0), r"model\.num_layers=2\.0"),
    "empty state": (change("state_dict", value={}), "weights are not those"),
    "another weight": (change("state_dict", "other", value=torch.ones(1)), "weights are not those"),
    "stretched weight": (change("state_dict", "other", value=STRETCHED), "no plain tensor"),
    "a word for a weight": (change("state_dict", "other", value="x"), "no plain tensor"),
    "larger": (change(*MODEL, "hidden_size", value=60_000), "weights are not those"),
    "layers": (change(*MODEL, "num_layers", value=100_000), "expected a whole number from 0 to 1000"),
    "huge": (change(*MODEL, "hidden_size", value=2**62), r"model\.hidden_size"),
    "nan": (change(*MODEL, "dropout", value=float("nan")), r"model\.dropout=nan: refused"),
    "a text": (change(*MODEL, "dropout", value="${oc.env:HOME}"), r"model\.dropout='\$\{oc.env:HOME\}': refused"),
    "interpolated": (change(*MODEL, "cell", value="${oc.env:HOME}"), r"model\.cell"),
    "reordered": (change(*MODEL, value=REORDERED), "weights are not those"),
    "large shape": (change(METADATA, "shape", value=[40_000, 20_000]), "no proper shape"),
    "without end": (change(METADATA, "config", "loss", value=ENDLESS), "more than 100,000 values"),
    "a target for an argument": (change(*MODEL, "cell", value=WRITE), r"_target_='pathlib.Path.write_text': refused"),
    "in a list": (change(*MODEL, "cell", value=[WRITE]), r"model\.cell=\[.*refused"),
    "a partial": (change(*MODEL, "_partial_", value=True), "_partial_: refused"),
    "arguments": (change(*MODEL, "_args_", value=[1]), "_args_: refused"),
}
INNER: dict[str, Any] = {"_target_": "lfw_seq.models.mlp.MLP", "_partial_": True}
for _ in range(9):
    INNER = {"_target_": "lfw_seq.models.encoded.TwoReaders", "reader": INNER, "_partial_": True}
del INNER["_partial_"]
CRAFTED["nested"] = (change(*MODEL, value=INNER), "nested too deeply")
OTHERS = "recurrent.torch.load", "recurrent.nn.LSTM", "init.initialise"
ELSEWHERE = "os.system", "this.s", "lfw_seq.train.train", "lfw_seq.modelsx.mlp.MLP", "lfw_seq.data.__main__.X", None, 5
for target in (*(f"lfw_seq.models.{name}" for name in OTHERS), *ELSEWHERE):
    CRAFTED[str(target)] = (change(*MODEL, "_target_", value=target), "refused; expected a class of lfw_seq")


@pytest.mark.parametrize("name", CRAFTED)
def test_what_a_crafted_checkpoint_asks_for_is_refused_by_name(crafted: Callable[..., Path], name: str) -> None:
    how, expected = CRAFTED[name]
    folder = crafted(how)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match=expected):
        load_run(folder)
    assert "this" not in sys.modules
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert not Path("owned").exists()


DRAWN = {"num_people": 7, "num_images": 40, "height": 20, "width": 20, "seed": 0}
SYNTHETIC: dict[str, Any] = {"_target_": "lfw_seq.data.synthetic.Synthetic", **DRAWN}
IN_DATA = "__main__.X", "folder.listing", "lfw.np.load", "sequences.Standardize", "faces.Faces", "module.FaceRows"
NO_SOURCES: list[object] = ["os.system", "this.s", "", [], "lfw_seq.models.cnn.CNN", "lfw_seq.data.synthetic"]
NO_SOURCES += [f"lfw_seq.data.{name}" for name in (*IN_DATA, "synthetic.Synthetic.load")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_images": 4_000_000_000}, r"data\.num_images"),
        ({"num_images": [WRITE]}, r"data\.num_images=.*refused"),
        ({"num_images": [[START]]}, r"data\.num_images=.*refused"),
        ({"num_images": WRITE}, "refused; expected a class of lfw_seq"),
        *(({"_target_": name}, "refused; expected a class of lfw_seq") for name in NO_SOURCES),
        ({"num_images": None, "height": 1000, "width": 900}, "refused, too many for a config from a file"),
        ({"seed": START}, r"data\.seed.*refused"),
        ({"seed": "${oc.env:HOME}"}, r"data\.seed=.*refused"),
        ({"_args_": ["x"]}, "_args_: refused"),
        ({"_partial_": True}, "_partial_: refused"),
        ({"other": 1}, r"data\.other: refused"),
    ],
)
def test_a_source_out_of_a_file_holds_plain_values_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(build_source(SYNTHETIC).load().labels) == 40
    with pytest.raises(UsageError, match=expected):
        build_source(SYNTHETIC | changes)
    assert not Path("owned").exists()
    assert "this" not in sys.modules


@pytest.mark.parametrize("key", ["fold", "batch_size", "num_images"])
def test_no_module_is_imported_that_a_checkpoint_names(crafted: Callable[..., Path], marker: Path, key: str) -> None:
    node = {"_target_": "of_a_stranger.build"}
    with pytest.raises(UsageError, match=rf"data\.{key}"):
        open_split(load_run(crafted(change(METADATA, "config", "data", key, value=node))), {})
    assert not marker.exists()


def test_batches_have_a_size(crafted: Callable[..., Path]) -> None:
    run = load_run(crafted(change(METADATA, "config", "data", "eval_batch_size", value="x")))
    with pytest.raises(UsageError, match=r"data\.eval_batch_size=x: expected a whole number from 1"):
        run.logits(torch.zeros(2, *run.shape))


HOSTILE_LEAF: st.SearchStrategy[Any] = st.sampled_from([WRITE, START, [WRITE], [[START]], "${oc.env:HOME}"])
HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=20) | HOSTILE_LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["_target_", "x", "seed"]), inner),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutated_metadata_never_run_code_and_end_in_one_line(crafted: Callable[..., Path], data: st.DataObject) -> None:
    folder = crafted()
    checkpoint = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    node: Any = checkpoint[METADATA]
    while isinstance(node, dict) and node:
        key = data.draw(st.sampled_from(sorted(node)))
        if not isinstance(node[key], dict) or data.draw(st.booleans()):
            node[key] = data.draw(HOSTILE)
            break
        node = node[key]
    torch.save(checkpoint, folder / "checkpoints" / "best.ckpt")
    message = ""
    try:
        back = load_run(folder)
        build(back.config["data"], back.config["split_seed"], 0, build_source)
        back.logits(torch.zeros(2, *back.shape))
    except UsageError as error:
        message = str(error)
    assert "\n" not in message
    assert not Path("owned").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2_000_000  # KiB


def test_a_last_checkpoint_cannot_have_files_removed_outside(config: Compose, tmp_path: Path) -> None:
    options = (*SMALL, "trainer.max_epochs=4", "callbacks.early_stopping=null")
    train(config(*options))
    (tmp_path / "run" / "result.json").unlink()  # as if it had been killed
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("mine")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["epoch"] = 0
    for state in checkpoint["callbacks"].values():
        if "best_k_models" in state:
            evil = f"{state['dirpath']}/../../victim"
            state["best_k_models"] = {evil: torch.tensor(9.0)}
            state |= {"kth_best_model_path": evil, "best_model_path": evil, "last_model_path": evil}
    torch.save(checkpoint, last)
    train(config(*options))
    assert (victim / "file").read_text() == "mine"
