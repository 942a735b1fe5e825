"""The README's blocks of commands: each one that can run here runs, in small, as it stands there.

A block without a language, or of `sh`, holds commands, one a line; anything else is a block of `text`. README_PYTHON
names another Python to run them with: CI gives one that has the core dependencies only.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lfw_seq import CONF, PACKAGE

from .conftest import save_face
from .test_install import make

ROOT = PACKAGE.parent
PYTHON = os.environ.get("README_PYTHON", sys.executable)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SKIPPED = {  # how a line begins or what stands in it, and why it does not run here
    r"^(source|cd|git|eval) ": "of the shell, before any command of the project",
    r"^make (install|test|test-all|test-extras|lint|notebooks|tensorboard|clean)\b": "the set-up, or tests",
    r"^(\S*python\S* -m )?pip install ": "changes the environment",
    r"trainer=(gpu|ddp)\b": "needs GPUs, or is test_ddp's",
}
CLUSTER = {"hydra/launcher=slurm", "hydra/launcher=ray_cluster"}  # test_launchers has stand-ins for both
NEEDS = {  # a word, the extra it needs, and the module that comes with it
    "hydra/launcher=joblib": ("joblib", "hydra_plugins.hydra_joblib_launcher"),
    "hydra/launcher=ray_cluster": ("ray", "hydra_plugins.hydra_ray_launcher"),
    "hydra/launcher=slurm": ("slurm", "hydra_plugins.hydra_submitit_launcher"),
    "+sweep=tpe": ("optuna", "optuna"),
}
SMALL = {  # what a command takes in addition, to be quick
    "train": ["data=synthetic", "data.num_images=140", "trainer.max_epochs=1", "trainer.accelerator=cpu"],
    "baselines": ["data=synthetic", "data.num_images=420", "tuning_folds=2"],  # 150 eigenfaces need more photos
}


def lines() -> list[str]:
    """The commands of the README, one a line, without comments."""
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    joined = "\n".join(text for language, text in blocks if language in ("", "sh")).replace("\\\n", " ")
    parts = [part for line in joined.splitlines() for part in re.sub(r"(^|\s)#.*", "", line).split(" && ")]
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def started(line: str) -> list[list[str]]:
    """The commands of lfw_seq that a line starts: for each its name and words."""
    if line.startswith("make "):
        made = make(ROOT, *shlex.split(line)[1:], "-n")
        assert made.returncode == 0, made.stderr
        return [words for part in made.stdout.splitlines() if " -m lfw_seq" in part for words in started(part.strip())]
    words = shlex.split(line)
    program, flag, module, *rest = words
    assert (Path(program).name, flag) == ("python", "-m"), f"{line}: no command; a block of ```text?"
    name = module.removeprefix("lfw_seq").removeprefix(".")
    return [[name, *rest] if name else rest]


def in_small(words: list[str], home: Path) -> list[str]:
    """A command's words with two values of each key that is swept, on few drawn faces, on what lies in `home`."""
    name, *given = words or ["--help"]
    there = {"run": "run", "sweep": "sweep", "images": "FACES"}
    changed = []
    for word in given:
        key, _, value = word.partition("=")
        if key in there and (key != "sweep" or name == "report"):
            value = str(home / there[key])
        elif {"-m", "--multirun"} & set(given):
            value = two_of(value)
        changed.append(f"{key}={value}" if "=" in word else word)
        if key == "+sweep":
            params = OmegaConf.load(CONF / "sweep" / f"{value}.yaml").hydra.sweeper.params
            changed += [f"hydra.sweeper.params.{key}='{two_of(str(values))}'" for key, values in params.items()]
    small = SMALL.get(name, [])
    if "-m" in given and name == "train":
        small = [*small, "callbacks=core"]  # no figures
    if {"--help", "-h", "--cfg", "--info"} & set(given):
        small = []
    return [name, *changed, *small]


def two_of(values: str) -> str:
    """The first two of values that are swept."""
    inner = re.fullmatch(r"range\((?:(\d+),)?\s*(\d+)\)", values)
    if inner:
        first = int(inner[1] or 0)
        return f"{first},{first + 1}"
    return ",".join(values.split(",")[:2]) if "[" not in values else values


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn faces, a run and a sweep, which commands read."""
    folder = tmp_path_factory.mktemp("readme")
    for number, person in enumerate(("Ann", "Bo", "Cy")):
        for index in range(9):
            save_face(folder / "FACES" / person / f"{index}.png", 10 * number + index + 1, (60, 80))
    for words in (["hydra.run.dir=run"], ["-m", "hydra.sweep.dir=sweep", "seed=0,1"]):
        done = execute(["train", *words, *SMALL["train"], "callbacks=core"], folder)
        assert done.returncode == 0, done.stderr
    return folder


def execute(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [PYTHON, "-m", "lfw_seq", *words]
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=600)


def test_the_readme_holds_commands_that_exist() -> None:
    found = lines()
    assert any(line.startswith("make train") for line in found)
    for line in found:
        if re.search("|".join(SKIPPED), line) is None:
            assert started(line), f"{line}: starts no command of the project"
        elif line.startswith("make "):
            assert make(ROOT, *shlex.split(line)[1:], "-n").returncode == 0
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"pip install -e ['\"]\.\[(\w+)\]", text)) <= EXTRAS.keys()
    assert "lfw_seq[" not in text  # a name on the package index that is not this project's


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in lines() if re.search("|".join(SKIPPED), line) is None])
def test_a_command_of_the_readme_runs(home: Path, tmp_path: Path, line: str) -> None:
    for words in started(line):
        lacking = [extra for word, (extra, module) in NEEDS.items() if word in words and not importable(module)]
        if not lacking and CLUSTER & set(words):
            pytest.skip("needs a cluster")
        done = execute(in_small(words, home), tmp_path)
        assert done.returncode == (2 if lacking else 0), (
            f"{' '.join(in_small(words, home))}\n{done.stdout}{done.stderr}"
        )
        assert "Traceback" not in done.stderr
        for extra in lacking:
            assert f'pip install -e ".[{extra}]"' in done.stderr.splitlines()[-1]


def importable(module: str) -> bool:
    return subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode == 0
