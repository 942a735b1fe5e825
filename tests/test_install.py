"""The set-up by make, the package as pip builds it, and the command that lists the others."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lfw_seq import CONF, PACKAGE, __main__

from .conftest import SMALL, command, composed, imported

ROOT = PACKAGE.parent
BUILT = ("pyproject.toml", "README.md", "conf", "lfw_seq")  # what a wheel is made of
STAMP = ".venv/core.stamp"
# pip as the Makefile calls it: nothing is downloaded, and torch is not there yet
PIP = "PIP=sh -c '[ $$0 = install ]'"


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder with nothing of the environment the tests run in."""
    outer = ("MAKEFLAGS", "MAKELEVEL", "ARGS", "WHAT", "PYTHON", "PYTHONPATH")  # where make runs the tests
    env = {key: value for key, value in os.environ.items() if key not in outer}
    return subprocess.run(["make", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the set-up reads."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def old_python(folder: Path) -> Path:
    """A program that says what Python 3.10 says to the Makefile."""
    program = folder / "python3.10"
    program.write_text('#!/bin/sh\ncase "$*" in *print*) echo Python 3.10;; *) exit 1;; esac\n')
    program.chmod(0o755)
    return program


def test_python_below_3_11_is_named_in_one_line(checkout: Path) -> None:
    for python, version in ((str(old_python(checkout)), "Python 3.10"), ("no-such-python", "missing")):
        done = make(checkout, STAMP, f"PYTHON={python}", PIP)
        assert done.returncode == 2
        assert done.stdout == f"PYTHON={python} is {version}; Python 3.11 or newer is needed: make PYTHON=python3.12\n"
        assert not (checkout / ".venv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "old", "no pip", "half a pip"])
def test_a_set_up_that_failed_half_way_heals(checkout: Path, damage: str) -> None:
    venv = checkout / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python, packages = venv / "bin" / "python", next(venv.glob("lib/*/site-packages"))
    (checkout / STAMP).touch()
    if damage in ("gone", "old"):
        python.unlink()
        python.symlink_to("no-such-python" if damage == "gone" else old_python(checkout))
    if damage == "half a pip":
        (packages / "pip").mkdir()
    kept = packages / "kept.py"
    kept.touch()
    done = make(checkout, STAMP, f"PYTHON={sys.executable}", PIP)
    assert done.returncode == 0, done.stderr
    assert (checkout / STAMP).is_file()
    version = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True, check=True).stdout
    assert str(venv) in version
    assert kept.exists() == (damage not in ("gone", "old"))
    assert ("torch==" in done.stdout) == (os.uname()[0::4] == ("Linux", "x86_64"))  # a line before gigabytes come


def test_an_environment_that_works_stays(checkout: Path) -> None:
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)  # of this environment, which has pip
    (checkout / STAMP).touch()
    done = make(checkout, "-n", STAMP, f"PYTHON={old_python(checkout)}")
    have = "Python {}.{}".format(*sys.version_info)
    assert f"PYTHON={checkout / 'python3.10'} is not used: .venv has {have}; make clean removes it" in done.stdout
    assert f"'{STAMP}' is up to date" in done.stdout
    (checkout / STAMP).unlink()
    assert make(checkout, STAMP, PIP).returncode == 0
    assert (venv / "bin" / "python").readlink() == Path(sys.executable)


def test_make_train_trains_what_the_command_trains() -> None:
    lines = make(ROOT, "-n", "train", "ARGS=experiment=best").stdout.splitlines()
    (words,) = (line.partition(" -m lfw_seq.train ")[2].split() for line in lines if " -m lfw_seq.train " in line)
    expected = composed("train", "experiment=best", "substitute_data=true", "run_dir=run")
    assert composed("train", *words, "run_dir=run") == expected


@pytest.mark.slow
def test_a_wheel_works_in_an_empty_folder(tmp_path: Path) -> None:
    source, site, empty = (tmp_path / name for name in ("source", "site", "ещё место (1)"))
    empty.mkdir()
    source.mkdir()
    for name in BUILT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, timeout=300)
    for suffix in ("*.py", "*.html", "py.typed"):
        installed = {path.relative_to(site / "lfw_seq") for path in (site / "lfw_seq").rglob(suffix)}
        assert installed == {path.relative_to(PACKAGE) for path in PACKAGE.rglob(suffix)}
    configs = {path.relative_to(site / "lfw_seq" / "conf") for path in site.rglob("*.yaml")}
    assert configs == {path.relative_to(CONF) for path in CONF.rglob("*.yaml")}
    assert sorted(path.name for path in site.iterdir() if "dist-info" not in path.name) == ["bin", "lfw_seq"]
    env = {**os.environ, "PYTHONPATH": str(site), "MPLCONFIGDIR": str(tmp_path / "fonts")}  # matplotlib's first start
    for words in (["train", *SMALL, "hydra.run.dir=run"], ["evaluate", "run=run"]):
        line = [str(site / "bin" / "lfw-seq"), *words]
        done = subprocess.run(line, cwd=empty, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "fontManager" not in done.stdout + done.stderr
    assert "The test metrics equal the training run's to the last digit." in done.stdout
    assert [path.name for path in empty.iterdir()] == ["run"]
    assert (empty / "run" / "evaluation" / "report.html").is_file()


def test_the_commands_are_listed_and_light(tmp_path: Path) -> None:
    printed, heavy = imported("__main__", cwd=tmp_path, of=("hydra", "torch"))
    assert heavy == []
    assert re.findall(r"^  (\w+) .{30}", printed, re.MULTILINE) == list(__main__.COMMANDS)
    modules = {path.stem for path in PACKAGE.glob("*.py") if "\n@hydra.main(" in path.read_text()}
    assert modules == set(__main__.COMMANDS)


def test_a_wrong_command_is_named(tmp_path: Path) -> None:
    done = command("trian", "model=gru", cwd=tmp_path, module="lfw_seq")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: trian: no such command; did you mean train\? expected one of .*\n", done.stderr)


def test_a_command_starts_as_python_does(tmp_path: Path) -> None:
    (started, module) = (
        command(*words, "--cfg", "hydra", "-p", "hydra.job", "seed=1", cwd=tmp_path, module=name)
        for name, words in (("lfw_seq", ("train",)), ("lfw_seq.train", ()))
    )
    assert started.stdout == module.stdout
    assert "config_name: train" in started.stdout
    done = command("train", "data.nothing=1", cwd=tmp_path, module="lfw_seq")
    assert done.returncode == 2
    assert re.fullmatch(r"error: data\.nothing: no such key; .*\n", done.stderr)


COMPLETED = {
    "lfw-seq ": {"train", "evaluate", "report"},
    "lfw-seq ev": {"evaluate"},
    "lfw-seq train model=ls": {"model=lstm"},
    "lfw-seq train -m model=gru model.hidden": {"model.hidden_size="},
    "lfw-seq train run_dir=": set(),  # cannot be known yet: nothing, and no message
    "lfw-seq report swe": {"sweep="},
}


@pytest.mark.parametrize(("line", "expected"), COMPLETED.items())
def test_the_shell_completes(tmp_path: Path, line: str, expected: set[str]) -> None:
    program = tmp_path / "lfw-seq"  # as pip writes it
    program.write_text(f"#!{sys.executable}\nfrom lfw_seq.__main__ import main\nmain()\n")
    program.chmod(0o755)
    words = line.split()
    number = len(words) if line.endswith(" ") else len(words) - 1
    script = f"""eval "$(lfw-seq -sc install=bash)"
        complete -p lfw-seq >/dev/null || exit 1
        COMP_LINE='{line}' COMP_POINT={len(line)} COMP_CWORD={number}
        hydra_bash_completion; echo "${{COMPREPLY[@]}}" """
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert expected <= set(done.stdout.split()) if line.endswith(" ") else expected == set(done.stdout.split())
