"""A net trained on the probabilities of a finished run, and which runs may teach it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lfw_seq.cli import UsageError
from lfw_seq.runs.checkpoint import load_run
from lfw_seq.train import train
from lfw_seq.training.distillation import Distillation, load_teacher

from .conftest import SMALL, Compose, Trained, table


def test_targets_are_the_teachers_probabilities_of_the_augmented_images(run: Path) -> None:
    teacher, rows, ids = load_run(run).predictor.net, torch.rand(5, 50, 37), torch.zeros(5, dtype=torch.int64)

    def darken(rows: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        return rows / 2, ids

    same, plain = Distillation(teacher, None)(rows, ids)
    darker, targets = Distillation(teacher, darken)(rows, ids)
    assert torch.equal(same, rows)
    assert torch.equal(darker, rows / 2)
    assert torch.equal(targets, teacher(rows / 2).softmax(dim=1))
    assert not torch.equal(targets, plain)
    assert not targets.requires_grad
    assert Distillation(teacher, None)(rows.double(), ids)[1].sum(dim=1) == pytest.approx([1] * 5)


def test_a_net_learns_what_its_teacher_says_not_the_ids(
    config: Compose, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return nn.functional.one_hot(torch.full((len(rows),), 4), 7) * 20.0

    monkeypatch.setattr("lfw_seq.training.build.load_teacher", lambda *_: Wrong())
    train(config(*SMALL, f"teacher={run}", "trainer.max_epochs=4", "optimizer.lr=0.02"))
    assert {row["predicted"] for row in table(tmp_path / "run" / "predictions.csv")} == {"Person 5"}


def test_a_teacher_has_seen_the_same_training_images(config: Compose, trained: Trained, tmp_path: Path) -> None:
    def teacher(*words: str, folder: Path = tmp_path) -> nn.Module:
        fingerprint = load_run(trained()).fingerprint
        return load_teacher(config(*SMALL, f"teacher={folder}", *words), fingerprint)

    def same(one: nn.Module, folder: Path) -> bool:
        return torch.equal(one.head.weight, load_run(folder).predictor.net.head.weight)  # type: ignore[union-attr, arg-type]

    first, other = trained(), trained("split_seed=7")
    assert same(teacher(folder=first), first)
    for name, folder in (("a", first), ("b", other)):
        (tmp_path / name).symlink_to(folder)
    assert same(teacher(), first)
    assert same(teacher("split_seed=7"), other)
    for words in ("split_seed=8", "data.fold=0", "data.standardize=image", "data.train_size=0.5", "data.val_from=none"):
        with pytest.raises(UsageError, match=r"teacher=.*: 0 of its 2 finished runs have split_seed=\d+ and the same"):
            teacher(words)
    with pytest.raises(UsageError, match="0 of its 1 finished runs"):
        load_teacher(config(*SMALL, f"teacher={first}"), "other photos")
    (tmp_path / "c").symlink_to(trained("seed=1"))
    with pytest.raises(UsageError, match="2 of its 3 finished runs"):
        teacher()


def test_a_run_with_a_teacher_is_recorded_and_repeats(config: Compose, run: Path, tmp_path: Path) -> None:
    words = (*SMALL, f"teacher={run}", "augment=faces")
    first, alone = train(config(*words)), train(config(*SMALL, "augment=faces", f"run_dir={tmp_path / 'alone'}"))
    assert first["config"]["teacher"] == str(run)
    assert first["model"] == alone["model"]
    assert first["metrics"] != alone["metrics"]
    assert train(config(*words, f"run_dir={tmp_path / 'again'}"))["metrics"] == first["metrics"]
