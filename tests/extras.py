"""`make test-extras`: each extra alone, in an environment that has the core dependencies and it, does what it is for.

No test of the suite: it downloads. The environment of the core is made once and lies under those of the extras.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lfw_seq import PACKAGE

from .conftest import ANY_NET, SMALL

ROOT = PACKAGE.parent
QUICK = (*SMALL, "trainer.max_epochs=1")
FEATURES = {  # what needs each extra
    "export": ("export", "run=run", "format=onnx"),
    "optuna": ("train", "-m", *ANY_NET, "trainer.max_epochs=1", "+sweep=tpe", "hydra.sweeper.params.trial='0,1'"),
    "joblib": ("train", "-m", *QUICK, "hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "seed=0,1"),
    "ray": ("train", "-m", *QUICK, "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=1", "seed=0,1"),
    "slurm": ("train", "-m", *QUICK, "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5", "seed=0,1"),
    "wandb": ("train", *QUICK, "logger=wandb", "logger.wandb.offline=true"),
    "mlflow": ("train", *QUICK, "logger=mlflow"),
    "demo": ("demo", "run=run"),
    "peers": ("benchmark", "what=epoch", *QUICK, "rounds=1"),
}
REFUSED = set(FEATURES) - {"peers"}  # whose lack ends a command; the benchmark skips peers that are absent


def create(folder: Path, extras: str, below: Path | None = None) -> Path:
    """An environment with this project and its extras; its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if below is not None:  # its packages are found, and not installed again
        (next(folder.glob("lib/*/site-packages")) / "core.pth").write_text(f"{below}\n")
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", f".{extras}"]
    subprocess.run(pip, cwd=ROOT, check=True)
    return python


def execute(python: Path, *words: str, cwd: Path, limit: int = 600) -> subprocess.CompletedProcess[str]:
    line = [str(python), "-m", "lfw_seq", *words]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=limit)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment with the core dependencies only."""
    return create(tmp_path_factory.mktemp("core") / "venv", "").parent.parent


@pytest.fixture
def run(core: Path, tmp_path: Path) -> Path:
    """A folder with a finished run."""
    done = execute(core / "bin" / "python", "train", *QUICK, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_each_extra_has_a_test() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras.keys() - {"dev"} == FEATURES.keys()


@pytest.mark.parametrize("extra", sorted(REFUSED))
def test_without_the_extra_one_line_names_it(core: Path, run: Path, extra: str) -> None:
    done = execute(core / "bin" / "python", *FEATURES[extra], cwd=run)
    assert done.returncode == 2
    assert f'pip install -e ".[{extra}]"' in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("extra", FEATURES)
def test_an_extra_alone_works(core: Path, run: Path, tmp_path: Path, extra: str) -> None:
    packages = next(core.glob("lib/*/site-packages"))
    python = create(tmp_path / "venv", f"[{extra}]", packages)
    if extra == "demo":  # a page that is served until Ctrl-C
        with pytest.raises(subprocess.TimeoutExpired):
            execute(python, *FEATURES[extra], cwd=run, limit=60)
        return
    done = execute(python, *FEATURES[extra], cwd=run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is not installed" not in done.stdout
