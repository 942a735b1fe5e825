"""The shape of the code: imports run one way, and every choice of the configs trains and comes back."""

import ast
import symtable
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lfw_seq
from lfw_seq.cli import CONF, UsageError
from lfw_seq.data.module import build
from lfw_seq.parts import to_plain
from lfw_seq.runs.checkpoint import load_run
from lfw_seq.runs.record import read_predictions
from lfw_seq.train import train

from .conftest import ANY_NET, Compose

ROOT = Path(lfw_seq.__file__).parent
# From the bottom to the top: a package imports those before it. Above them stand the commands, and what times these.
ORDER = ("", "compose", "cli", "parts", "data", "models", "runs", "evaluation", "training", "sweeps", "reports")
TOP = ("benchmark", "benchmarks", "__main__")


def layer(module: str) -> int:
    part = module.removeprefix("lfw_seq").lstrip(".").split(".")[0]
    return ORDER.index(part) if part in ORDER else len(ORDER) + (part in TOP)


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lfw_seq"):
            parts = [f"{node.module}.{name.name}" for name in node.names]
            found |= {part if part in FILES else node.module for part in parts}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("lfw_seq")}
    return found


FILES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


@pytest.mark.parametrize("module", FILES)
def test_imports_run_one_way(module: str) -> None:
    above = {name for name in imports(FILES[module]) if layer(name) > layer(module)}
    assert not above


def listed(table: symtable.SymbolTable) -> list[symtable.SymbolTable]:
    """The list, set and dict comprehensions of a scope, also nested ones."""
    inner = [one for one in table.get_children() if one.get_name() in ("listcomp", "setcomp", "dictcomp")]
    return [*inner, *(deeper for one in inner for deeper in listed(one))]


@pytest.mark.parametrize("module", FILES)
def test_no_comprehension_binds_a_global_that_another_reads(module: str) -> None:
    """Python 3.12.0 to 3.12.3, Ubuntu 24.04's, then raises UnboundLocalError (cpython#118513)."""
    scopes = [symtable.symtable(FILES[module].read_text(encoding="utf-8"), module, "exec")]
    for scope in scopes:
        scopes += scope.get_children()
        symbols = [symbol for one in listed(scope) for symbol in one.get_symbols()]
        bound = {symbol.get_name() for symbol in symbols if symbol.is_local()}
        assert not bound & {symbol.get_name() for symbol in symbols if symbol.is_global()}, scope.get_lineno()


def test_no_two_modules_import_each_other() -> None:
    TopologicalSorter({module: imports(path) for module, path in FILES.items()}).prepare()  # raises with the cycle


def test_no_module_stands_in_for_one_of_the_standard_library() -> None:
    assert not {path.stem for path in FILES.values()} & sys.stdlib_module_names - {"__main__", "__init__"}


CHOICES = [
    *(f"model={path.stem}" for path in sorted((CONF / "model").glob("*.yaml"))),
    *(f"experiment={path.stem}" for path in sorted((CONF / "experiment").glob("*.yaml"))),
]
LABS = ("lab", "lab_double_scaled", "lab_fixed", "standardized", "augmented", "recipe", "recipe_long", "best_lab_net")
PARAMETERS = dict.fromkeys(LABS, 218_503) | {"both_directions": 568_328, "best": 883_432, "cnn": 124_263}


class Elsewhere(nn.Module):
    def __init__(self, num_features: int, num_rows: int, num_classes: int) -> None:
        super().__init__()


def test_a_net_that_could_not_be_loaded_again_is_not_trained(config: Compose) -> None:
    cfg = config(*ANY_NET)
    cfg.model = {"_target_": f"{__name__}.Elsewhere"}
    with pytest.raises(UsageError, match=r"Elsewhere.*: a net is a class in lfw_seq/models, its arguments annotated"):
        train(cfg)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_trains_and_comes_back_with_equal_predictions(
    config: Compose, tmp_path: Path, choice: str
) -> None:
    cfg = config(choice, *ANY_NET, "data.num_images=105", "trainer.max_epochs=1")
    result = train(cfg)
    assert result["epochs"] == 1
    group, _, name = choice.partition("=")
    if group == "experiment" and name in PARAMETERS:
        assert result["model"]["parameters"] == PARAMETERS[name]
        assert result["data"]["validation_is_test"] == (name in ("lab", "lab_double_scaled"))
    back = load_run(tmp_path / "run")
    data = build(to_plain(cfg.data), cfg.split_seed, cfg.seed)
    data.setup()
    probabilities = back.probabilities(data.faces.images[data.indices["test"]])
    files, truth, expected, names = read_predictions(tmp_path / "run" / "predictions.csv")
    assert files == [data.faces.files[index] for index in data.indices["test"]]
    assert np.array_equal(np.array(truth), data.faces.labels[data.indices["test"]])
    assert tuple(names) == back.class_names
    assert torch.equal(torch.tensor(expected), torch.from_numpy(probabilities))
