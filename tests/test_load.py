"""The way back from a run, and what is refused on it."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lfw_seq.errors import UsageError
from lfw_seq.load import CARD, load_run
from lfw_seq.rebuild import checked_class, instantiate_model
from lfw_seq.train import train

from .conftest import SMALL, Compose


def copied(run: Path, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A run's checkpoint in a folder of the test's own, and its content."""
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / "best.ckpt"
    shutil.copy(run / "checkpoints" / "best.ckpt", path)
    return path, torch.load(path, weights_only=True)


class Hidden:
    """A pickle that runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def test_a_run_comes_back_with_its_best_weights(run: Path) -> None:
    back = load_run(run)
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert back.epoch == checkpoint["epoch"] + 1
    assert not back.net.training
    for name, value in back.net.state_dict().items():
        assert torch.equal(value, checkpoint["state_dict"][name])
    assert back.names == tuple(f"Person {index}" for index in range(1, 8))
    assert back.shape == (50, 37)
    assert (back.reading.height, back.reading.width, back.reading.order) == (50, 37, "top_down")
    assert back.config["model"]["hidden_size"] == 8
    assert back.net(torch.rand(3, 50, 37)).shape == (3, 7)


def test_without_best_weights_the_last_are_taken(config: Compose, tmp_path: Path) -> None:
    train(config(*SMALL, "callbacks.best=null", "data.order=columns", "model=gru"))
    back = load_run(tmp_path / "run")
    assert back.checkpoint.name == "last.ckpt"
    assert back.epoch == 2
    assert back.shape == (37, 50)
    image = np.arange(50 * 37, dtype=np.float32).reshape(1, 50, 37)
    assert np.array_equal(back.reading.rows(image)[0], image[0].T)


def test_no_run_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"no checkpoints/best\.ckpt"):
        load_run(tmp_path)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(run: Path, tmp_path: Path, share: float) -> None:
    path, _ = copied(run, tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UsageError, match=r"best\.ckpt: .*damaged"):
        load_run(tmp_path)


def test_code_in_a_checkpoint_is_refused_and_not_run(run: Path, tmp_path: Path) -> None:
    path, checkpoint = copied(run, tmp_path)
    marker = tmp_path / "executed"
    torch.save({**checkpoint, "extra": Hidden(marker)}, path)
    with pytest.raises(UsageError, match="more than tensors and plain values"):
        load_run(tmp_path)
    path.write_bytes(pickle.dumps(Hidden(marker)))
    with pytest.raises(UsageError, match="more than tensors and plain values"):
        load_run(tmp_path)
    assert not marker.exists()
    with path.open("rb") as file:
        pickle.load(file)  # the trap is a real one
    assert marker.exists()


def test_a_checkpoint_of_another_project_is_refused(run: Path, tmp_path: Path) -> None:
    path, checkpoint = copied(run, tmp_path)
    for content, expected in (
        ({"weight": torch.ones(2)}, "another project"),
        ([1, 2], "another project"),
        ({key: value for key, value in checkpoint.items() if key != CARD}, "another project or an older version"),
        (checkpoint | {CARD: checkpoint[CARD] | {"format": 9}}, "format 9, expected 1"),
        (checkpoint | {CARD: checkpoint[CARD] | {"class_names": [1]}}, "no proper people"),
        (checkpoint | {CARD: checkpoint[CARD] | {"reading": "x"}}, "no proper 'reading'"),
        (checkpoint | {CARD: checkpoint[CARD] | {"shape": [50, 2]}}, "weights are not those"),
        (checkpoint | {CARD: checkpoint[CARD] | {"config": {}}}, "its config has no "),
        (checkpoint | {"state_dict": {}}, "weights are not those"),
        (checkpoint | {"state_dict": checkpoint["state_dict"] | {"other": torch.ones(1)}}, "weights are not those"),
    ):
        torch.save(content, path)
        with pytest.raises(UsageError, match=expected):
            load_run(tmp_path)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "lfw_seq.train.train",
        "lfw_seq.modelsx.mlp.MLP",
        "lfw_seq.models.recurrent.torch.load",
        "lfw_seq.models.recurrent.nn.LSTM",
        "lfw_seq.models.recurrent.Tensor",
        "lfw_seq.models.init.initialise",
        "lfw_seq.models.reference.ReferenceLSTM",
        "lfw_seq.models.no_such.Net",
        "lfw_seq.models.",
        None,
    ],
)
def test_only_our_own_nets_are_built(run: Path, tmp_path: Path, target: str | None) -> None:
    path, checkpoint = copied(run, tmp_path)
    model = checkpoint[CARD]["config"]["model"]
    for evil in ({**model, "_target_": target}, {**model, "cell": [{"deep": {"_target_": target, "command": "x"}}]}):
        checkpoint[CARD]["config"]["model"] = evil
        torch.save(checkpoint, path)
        with pytest.raises(UsageError, match=r"refused; only classes of lfw_seq\.models"):
            load_run(tmp_path)


def test_a_card_asks_for_no_more_than_its_weights(run: Path, tmp_path: Path) -> None:
    path, checkpoint = copied(run, tmp_path)
    checkpoint[CARD]["config"]["model"]["hidden_size"] = 300_000  # would be 1.5 TB
    torch.save(checkpoint, path)
    with pytest.raises(UsageError, match="weights are not those"):
        load_run(tmp_path)


def test_hydras_other_keys_are_refused() -> None:
    for key in ("_partial_", "_recursive_", "_args_"):
        with pytest.raises(UsageError, match=key):
            instantiate_model({"_target_": "lfw_seq.models.mlp.MLP", key: True}, {})
    assert checked_class("lfw_seq.data.synthetic.Synthetic", "lfw_seq.data").__name__ == "Synthetic"
