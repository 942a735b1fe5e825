"""Run folders, sweeps, journals and photos that may be a stranger's: nothing they name runs, or is written outside."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial
from PIL import Image

from lfw_seq.cli import UsageError
from lfw_seq.data.images import read_image
from lfw_seq.evaluation.strangers import STATES, read_threshold
from lfw_seq.runs import folder as runs
from lfw_seq.runs.archive import open_checkpoint
from lfw_seq.sweeps.search import load_study
from lfw_seq.train import train
from lfw_seq.training.callbacks.core import CheckpointFiles
from lfw_seq.training.fit import draw_seed

from .conftest import ANY_NET, SMALL, Compose, Shell


def test_the_config_of_a_run_interpolates_nothing(config: Compose, tmp_path: Path, marker: Path) -> None:
    # a resolver of ours compares the photos of a job's folder with those that data._target_ loads
    data = {"_target_": "of_a_stranger.build"}
    name = runs.config_hash(OmegaConf.create({"seed": 1, "data": data}))
    job = tmp_path / "run" / f"x-{name[:6]}"
    job.mkdir(parents=True)
    (job / ".lock").write_text(name)
    (job / "result.json").write_text('{"status": "complete", "data": {"fingerprint": "x"}}')
    hydra = {"go": "${job_name:x}", "sweep": {"dir": str(tmp_path / "run")}, "overrides": {"task": []}}
    saved = {"seed": "${oc.select:hydra.go,1}", "data": data, "hydra": hydra}
    (tmp_path / "run" / ".hydra").mkdir()
    (tmp_path / "run" / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(saved)))
    with pytest.raises(UsageError, match=r"seed=\$\{oc\.select:hydra\.go,1\}: expected a whole number"):
        draw_seed(config("seed=null"), tmp_path / "run", secondary=False)
    assert not marker.exists()


@pytest.mark.parametrize("key", ["optimizer._target_", "run_dir"])
def test_a_trial_that_waits_in_a_journal_has_keys_of_the_space_only(
    shell: Shell, tmp_path: Path, marker: Path, key: str
) -> None:
    value = str(tmp_path / "elsewhere") if key == "run_dir" else "of_a_stranger.build"
    search = {"n_startup_trials": 1, "prune_startup_trials": 1, "prune_warmup_epochs": 1}
    study = load_study(tmp_path / "sweep", search, "min", 0)
    waiting = create_trial(
        state=TrialState.WAITING, params={key: value}, distributions={key: CategoricalDistribution([value])}
    )
    study.add_trial(waiting)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    done = shell("-m", "+sweep=tpe", "trial=0", *ANY_NET, "hydra.sweep.dir=sweep")
    assert done.returncode == 1
    assert f"{key}='{value}': in optuna.journal, but not of search.space; remove that file" in done.stdout
    assert not marker.exists()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["train.log", ".lock", "checkpoints", ".hydra", "deep/er/train"])
def test_no_link_leads_out_of_a_folder_of_runs(shell: Shell, tmp_path: Path, name: str) -> None:
    mine, link = tmp_path / "mine", tmp_path / "run" / name
    mine.mkdir()
    (mine / "thesis.txt").write_text("kept")
    link.parent.mkdir(parents=True)
    (tmp_path / "run" / "here").symlink_to(".")  # as wandb leaves in a run folder
    link.symlink_to(mine / "thesis.txt" if name in ("train.log", ".lock") else mine)
    for words in (["hydra.run.dir=run"], ["-m", "seed=0", "hydra.sweep.dir=run"]):
        done = shell(*SMALL, *words)
        assert done.returncode == 2
        assert done.stderr == f"error: {link}: a link to another folder, which would be written into; remove the link\n"
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    assert (mine / "thesis.txt").read_text() == "kept"


def test_results_are_not_written_through_links(shell: Shell, run: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "mine").mkdir()
    for path in run.iterdir():
        (tmp_path / "copy" / path.name).symlink_to(path)  # the folder is named by the user, and only read
    for name, words, module in (("evaluation", "run=copy", "evaluate"), ("report", "sweep=copy", "report")):
        (tmp_path / "copy" / name).symlink_to(tmp_path / "mine")
        done = shell(words, module=module)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert f"copy/{name}: a link to another folder" in done.stderr
        assert list((tmp_path / "mine").iterdir()) == []


def test_a_draft_follows_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 7)
    (tmp_path / "mine").write_text("kept")
    (tmp_path / ".page.7.draft").symlink_to(tmp_path / "mine")
    runs.write_text(tmp_path / "page", "new")
    assert ((tmp_path / "page").read_text(), (tmp_path / "mine").read_text()) == ("new", "kept")


def test_a_folder_named_like_a_log_is_not_a_runs(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "run" / "old.log").mkdir(parents=True)
    (tmp_path / "run" / "old.log" / "thesis.txt").write_text("kept")
    done = shell(*SMALL, "optimizer.lr=-1", "hydra.run.dir=run")
    assert done.returncode == 2
    assert (tmp_path / "run" / "old.log" / "thesis.txt").read_text() == "kept"


def test_a_checkpoint_is_read_as_it_was_checked(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "legacy.ckpt"
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(harmless := io.BytesIO(), "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
    path.write_bytes(path.read_bytes() + harmless.getvalue())  # torch would read the pickle before the archive
    for load in (open_checkpoint, CheckpointFiles().load_checkpoint):
        with pytest.raises(UsageError, match="damaged, or not a checkpoint"):
            load(path)


def test_no_tensor_of_a_checkpoint_claims_more_than_the_file_holds(run: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["optimizer_states"][0]["state"][0]["exp_avg"] = torch.zeros(1).expand(8000, 8000)
    torch.save(checkpoint, tmp_path / "large.ckpt")
    with pytest.raises(UsageError, match="its tensors claim more than the file holds"):
        open_checkpoint(tmp_path / "large.ckpt")


@pytest.mark.parametrize("key", ["optimizer_states", "lr_schedulers", "loops", "callbacks", "resume"])
def test_a_checkpoint_that_cannot_be_continued_is_named(run: Path, config: Compose, tmp_path: Path, key: str) -> None:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint[key] = 5
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(UsageError, match=r"last\.ckpt: (cannot be continued \(.+\); start without it|TypeError)"):
        train(config(*SMALL, f"ckpt_path={tmp_path / 'last.ckpt'}", "trainer.max_epochs=3"))
    assert list((tmp_path / "run").iterdir()) == []


def test_an_interrupted_run_that_cannot_be_continued_is_named(config: Compose, tmp_path: Path) -> None:
    train(config(*SMALL))
    (tmp_path / "run" / "result.json").unlink()  # as if it had been killed at its end
    best, last = (tmp_path / "run" / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    best.write_bytes(best.read_bytes()[:1000])
    with pytest.raises(UsageError, match=r"best\.ckpt: damaged, or not a checkpoint"):
        train(config(*SMALL))
    checkpoint = torch.load(last, weights_only=True)
    del checkpoint["resume"]  # as of another version
    torch.save(checkpoint, last)
    with pytest.raises(UsageError, match=r"last\.ckpt: cannot be continued \(KeyError: 'resume'\); start without it"):
        train(config(*SMALL))
    assert last.is_file()


def test_compressed_states_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    folder.mkdir()
    point = {"target": 0.05, "score": "state", "threshold": 0, "fnir": 0, "turned_away": 0}
    (folder / "evaluation.json").write_text(json.dumps({"open_set": {"points": [point]}}))
    states: dict[str, Any] = {"means": np.zeros((3, 4)), "precision": np.eye(4)}
    np.savez(folder / STATES, **states)
    assert read_threshold(tmp_path, 0.05).score == "state"
    np.savez_compressed(folder / STATES, **states)
    with pytest.raises(UsageError, match=r"fpir=0\.05: no threshold"):
        read_threshold(tmp_path, 0.05)


def test_a_result_is_a_file_of_a_plausible_size(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="no regular file"):
        runs.read_result(tmp_path)
    path.unlink()
    path.write_text("[" * 100_000)
    with pytest.raises(UsageError, match="too many brackets"):
        runs.read_result(tmp_path)
    with path.open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(UsageError, match="67,108,865 bytes"):
        runs.read_result(tmp_path)


def test_a_photo_of_one_colour_does_not_fill_the_memory(tmp_path: Path) -> None:
    Image.new("1", (9000, 9000)).save(tmp_path / "black.png")
    assert (tmp_path / "black.png").stat().st_size < 100_000
    with pytest.raises(UsageError, match="9000x9000 pixels"):
        read_image(tmp_path / "black.png", None, 50, 37, color=False)
