"""Shared fixtures. Tests never download: without LFW on disk its tests are skipped, or fail with --require-lfw."""

import csv
import functools
import importlib
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lfw_seq.cli import CONF, start
from lfw_seq.sweeps import jobs
from lfw_seq.train import train

from .browser import CHROMIUM, Browser

if TYPE_CHECKING:
    from lightning import Callback, Trainer

Compose = Callable[..., DictConfig]
Trained = Callable[..., Path]
Shell = Callable[..., subprocess.CompletedProcess[str]]
SMALL: tuple[str, ...] = ("data=synthetic", "data.num_images=140", "trainer=cpu", "trainer.max_epochs=2")
SMALL += ("model.hidden_size=8", "callbacks=core")
ANY_NET = tuple(word for word in SMALL if not word.startswith("model."))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-lfw", action="store_true", help="fail, not skip, where the real LFW photos are missing")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache decoded faces in a folder of the test session."""
    monkeypatch.setenv("LFW_SEQ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def lfw_home(request: pytest.FixtureRequest) -> Path:
    """scikit-learn's data folder with the real photos."""
    for home in (os.environ.get("SCIKIT_LEARN_DATA"), "~/scikit_learn_data"):
        if home and (Path(home).expanduser() / "lfw_home" / "lfw_funneled").is_dir():
            return Path(home).expanduser()
    if request.config.getoption("--require-lfw"):
        pytest.fail("no LFW in SCIKIT_LEARN_DATA or in scikit-learn's home")
    pytest.skip("no LFW on disk")


def composed(name: str, *overrides: str) -> DictConfig:
    """Compose the config of a command."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, list(overrides))


@pytest.fixture
def config(tmp_path: Path) -> Compose:
    """Compose conf/train.yaml with overrides; the run folder is in tmp_path."""
    return functools.partial(composed, "train", f"run_dir={tmp_path / 'run'}")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train a small model, once per set of overrides; the run folder, for tests that only read it."""

    @functools.cache
    def folder(*overrides: str) -> Path:
        run = tmp_path_factory.mktemp("trained") / "run"
        train(composed("train", f"run_dir={run}", *SMALL, *overrides))
        return run

    return folder


@pytest.fixture(scope="session")
def run(trained: Trained) -> Path:
    """A finished run on synthetic faces, for tests that only read it."""
    return trained()


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the module `of_a_stranger`, once imported, leaves."""
    (tmp_path / "of_a_stranger.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\ndef build(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "owned"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    started = Browser(tmp_path / "profile")
    yield started
    started.process.kill()
    started.process.wait()


def command(*words: str, cwd: Path, module: str = "lfw_seq.train", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project in a subprocess."""
    line = [sys.executable, "-m", module, *words]
    return subprocess.run(line, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=300)


def hear_ctrl_c() -> None:
    """For `preexec_fn`: Ctrl-C as from a terminal, as a shell starts what runs in its background with it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Train in a subprocess, and press Ctrl-C once there is a checkpoint."""
    line, pipe = [sys.executable, "-m", "lfw_seq.train", *words], subprocess.PIPE
    keys: dict[str, Any] = {"start_new_session": True, "preexec_fn": hear_ctrl_c}
    process = subprocess.Popen(line, cwd=cwd, stdout=pipe, stderr=pipe, text=True, **keys)
    while not list(cwd.rglob("checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(line, process.returncode, out, err)


def invoke(*words: str, monkeypatch: pytest.MonkeyPatch, module: str = "train") -> int:
    """Run a command in this process, without new imports; return its exit status."""
    GlobalHydra.instance().clear()
    main = importlib.import_module(f"lfw_seq.{module}").main
    monkeypatch.setattr(sys, "argv", [module, *words])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(jobs.SweepSummary, "current", None)
    handlers = logging.root.handlers[:]
    try:
        start(main, *([jobs.stopped] if module in ("train", "baselines") else []))
    except SystemExit as exit_:
        return int(exit_.code or 0)
    finally:
        GlobalHydra.instance().clear()
        logging.root.handlers[:] = handlers  # without Hydra's, whose file is deleted with the test
    return 0


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Run commands in this process with tmp_path as working directory."""
    monkeypatch.chdir(tmp_path)

    def execute(*words: str, module: str = "train") -> subprocess.CompletedProcess[str]:
        status = invoke(*words, module=module, monkeypatch=monkeypatch)
        return subprocess.CompletedProcess(words, status, *capsys.readouterr())

    return execute


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def imported(name: str, *words: str, cwd: Path, of: Iterable[str], **env: str) -> tuple[str, list[str]]:
    """Run a command in a subprocess; return its output and which of the modules `of` it imports."""
    code = f"""
import runpy, sys
sys.argv[0] = '{name}'
try:
    runpy.run_module('lfw_seq.{name}', run_name='__main__')
finally:
    print([name for name in {list(of)} if name in sys.modules])
"""
    line, env = [sys.executable, "-c", code, *words], {**os.environ, **env}
    done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    printed, _, loaded = done.stdout.rstrip().rpartition("\n")
    assert loaded.startswith("["), done.stderr
    return printed, re.findall(r"\w+", loaded)


def plain_trainer(epochs: int, *callbacks: "Callback", **more: Any) -> "Trainer":
    """A trainer on the CPU without logger, checkpoints or progress bar."""
    from lightning import Trainer  # a slow import that the controller of pytest-xdist does not need

    disabled = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    keys: dict[str, Any] = {"accelerator": "cpu", "num_sanity_val_steps": 0, **disabled, **more}
    return Trainer(max_epochs=epochs, callbacks=list(callbacks), **keys)


def batches(rows: Tensor, labels: Tensor, size: int) -> DataLoader[tuple[Tensor, ...]]:
    """DataLoader without shuffling; its own generator keeps it from drawing from torch's global one."""
    return DataLoader(TensorDataset(rows, labels), size, generator=torch.Generator())


def save_face(path: Path, tone: int, size: tuple[int, int] = (250, 250), mode: str = "RGB") -> None:
    """Write a synthetic picture that depends on `tone`: no photo of a person."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.arange(size[1])[:, None] * tone + np.arange(size[0])[None, :]
    pixels = np.stack([rows % 256, (rows * 2) % 256, (rows * 3) % 256], axis=2).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
