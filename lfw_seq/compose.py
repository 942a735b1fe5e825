"""What is typed on the command line, and Hydra's composition of it: quoting, `--help`, and its errors in one line."""

import difflib
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from lfw_seq import CONF

# Keys that hold a path: one may have spaces, commas, brackets or letters that Hydra's grammar has no place for.
PATHS = {"run", "against", "sweep", "faces", "images", "image", "out", "data.root", "data.data_home", "ckpt_path"}
PATHS |= {"hydra.run.dir", "hydra.sweep.dir"}
CFG = ("job", "hydra", "all")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
# Hydra's own, and the values they may have; it would answer a wrong one with its usage, in many lines.
FLAGS: dict[str, tuple[str, ...] | None] = {"-c": CFG, "--cfg": CFG, "-i": INFO, "--info": INFO}
FLAGS |= dict.fromkeys(["-h", "--help", "--hydra-help", "--version", "-r", "--run", "-m", "--multirun", "--resolve"])
FLAGS |= dict.fromkeys(["-p", "--package", "-cn", "--config-name", "-cd", "--config-dir", "-cp", "--config-path"])
FLAGS |= dict.fromkeys(["-sc", "--shell-completion", "--shell_completion"])
EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "slurm", "submitit_slurm": "slurm"}  # of launchers
EXTRAS |= {"optuna": "optuna", "onnx": "export", "onnxscript": "export", "onnxruntime": "export"}  # of modules
EXTRAS |= {"wandb": "wandb", "mlflow": "mlflow", "gradio": "demo"}
OTHER_CONFIGS = ("-cd", "--config-dir", "hydra.searchpath")  # which may have groups and keys of their own
MORE_HELP = "--cfg job prints every key with the choices that were typed; --hydra-help shows Hydra's own words."


def typed(key: str) -> list[str]:
    """The words key=value that the user typed for a key or for what is below it; in a sweep, this job's."""
    words = HydraConfig.get().overrides.task if HydraConfig.initialized() else sys.argv[1:]
    bare = [str(word).lstrip("+") for word in words]
    return [word for word in bare if word.startswith((f"{key}.", f"{key}=", f"{key}@"))]


def ordered(words: list[str]) -> list[str]:
    """The words of a command line with `-m` first, as Hydra wants none between those that have no dash.

    Raises:
        ValueError: a flag is none of Hydra's, or has no such value; a key that is added with + stands below none.
    """
    for flag, _, value in (word.partition("=") for word in words if word.startswith("-")):
        if flag not in FLAGS:
            raise ValueError(f"{flag}: no such flag; expected key=value, or one of {', '.join(FLAGS)}")
        if value and (values := FLAGS[flag]) and value not in values:
            raise ValueError(f"{flag}={value}: expected one of {', '.join(values)}")
    others = any(word.startswith(OTHER_CONFIGS) for word in words)
    for key in (added[1] for word in words if not others and (added := re.match(r"\++(\w+)[.=]", word))):
        if key != "hydra" and not (CONF / key).is_dir() and key not in _keys(besides=key):  # nothing would read it
            raise ValueError(_no_such_key(key))
    return sorted(words, key=lambda word: word not in ("-m", "--multirun"))


def path_exists(path: str | Path) -> bool:
    """Whether there is such a path; False for what cannot be one, as too long a name."""
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises


def quoted(word: str) -> str:
    """A word of the command line, quoted for Hydra when it is a path; a list of paths stays one, for a sweep."""
    key, _, path = word.partition("=")
    if key not in PATHS or path in ("", "null") or path[0] in "'\"":
        return word
    if path.startswith("~"):
        path = str(Path(path).expanduser())
    if key.startswith("hydra."):  # workers of a launcher may stand elsewhere
        path = str(Path(path).absolute())
    if not path_exists(path) and ("," in path or path[0] == "["):
        return word
    return "{}='{}'".format(key, path.replace("'", r"\'"))


def help_text() -> str:
    """This command's file of keys with its comments, and the choices of its groups; nothing is composed or imported."""
    root, name = _config()
    text = (root / f"{name}.yaml").read_text(encoding="utf-8")
    examples = "".join(text.splitlines(keepends=True)[:2])
    entries = [entry for entry in OmegaConf.load(root / f"{name}.yaml").defaults if isinstance(entry, DictConfig)]
    groups = []
    for group, chosen in ((str(group), entry[group]) for entry in entries for group in entry):
        if "hydra" in group:
            continue
        names = sorted(path.stem for path in (root / group).glob("*.yaml") if path.stem != "base")
        word = "null" if chosen is None else str(chosen).replace("'", "")
        groups.append(f"{f'{group}: {word}':<18} # {', '.join(names)}\n")
    keys = re.sub(r"^(defaults|hydra):.*\n(?: .*\n)+\n*", "", text.removeprefix(examples), flags=re.MULTILINE)
    purpose = (sys.modules["__main__"].__doc__ or name).splitlines()[0]
    return f"{purpose}\n\n{examples.replace('# ', '  ')}\n{''.join(groups)}\n{keys.strip()}\n\n{MORE_HELP}"


def describe_config_error(error: Exception) -> str:
    """What Hydra found wrong with a config, in one line that names the key."""
    text = str(error) or str(error.__cause__ or type(error).__name__)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        return _no_such_key(unknown[1])
    choice = re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text)
    if choice and (extra := EXTRAS.get(choice[2])) and choice[1] == "hydra/launcher":
        return f'{choice[1]}={choice[2]}: not installed; pip install -e ".[{extra}]"'
    options = re.findall(r"^\t(\S+)$", text, flags=re.MULTILINE)
    if choice and (options := options or sorted(path.stem for path in (CONF / choice[1]).glob("*.yaml"))):
        return f"{choice[1]}={choice[2]}: no such choice; expected one of {', '.join(options)}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: needs a value; add {error.full_key}=..."
    if text.startswith("Error merging override ") and error.__cause__ is not None:
        text = f"{text.removeprefix('Error merging override ')}: {str(error.__cause__).splitlines()[0]}"
    if isinstance(error, OverrideParseException):
        text = f"{error.override}: expected key=value; {text.splitlines()[0]}"
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _no_such_key(key: str) -> str:
    keys = _keys(besides=key)
    close = difflib.get_close_matches(key, keys, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    if key in keys:  # in a sweep over choices
        hint = "not every choice has it; "
    return f"{key}: no such key; {hint}--cfg job prints all keys"


def _config() -> tuple[Path, str]:
    """The folder of this command's config, and its name; a command may have a folder of its own."""
    name = Path(sys.argv[0]).stem
    return (CONF / name if (CONF / name / f"{name}.yaml").is_file() else CONF), name


def _keys(besides: str) -> list[str]:
    """Every key of this command's configuration with the choices that were typed, dotted.

    Args:
        besides: a word's key that is no part of it.
    """

    def walk(node: DictConfig, prefix: str) -> list[str]:
        keys = []
        for key in map(str, node):
            keys.append(f"{prefix}{key}")
            if not OmegaConf.is_interpolation(node, key) and not OmegaConf.is_missing(node, key):
                child = node[key]
                keys += walk(child, f"{prefix}{key}.") if isinstance(child, DictConfig) else []
        return keys

    root, name = _config()
    words = [word for word in sys.argv[1:] if re.fullmatch(r"\w+=\w+", word) and word.split("=")[0] != besides]
    for chosen in (words, []):
        with suppress(HydraException, OmegaConfBaseException):
            GlobalHydra.instance().clear()
            with initialize_config_dir(str(root), version_base="1.3"):
                return walk(compose(name, chosen), "")
    return []
