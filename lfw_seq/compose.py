"""Command-line arguments for Hydra: quoting of paths, `--help`, and Hydra's errors in one line."""

import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from lfw_seq import CONF

# Keys whose value is a path, which may have spaces, commas, brackets or letters that Hydra's grammar does not allow.
PATHS = {"run", "against", "sweep", "faces", "images", "image", "out", "data.root", "data.data_home", "ckpt_path"}
WRITTEN = {"out", "hydra.run.dir", "hydra.sweep.dir"}  # never swept
PATHS |= WRITTEN
CFG = ("job", "hydra", "all")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
# Hydra's flags and their valid values; for a wrong one Hydra itself prints its usage, in many lines.
FLAGS: dict[str, tuple[str, ...] | None] = {"-c": CFG, "--cfg": CFG, "-i": INFO, "--info": INFO}
FLAGS |= dict.fromkeys(["-h", "--help", "--hydra-help", "--version", "-r", "--run", "-m", "--multirun", "--resolve"])
FLAGS |= dict.fromkeys(["-p", "--package", "-cn", "--config-name", "-cd", "--config-dir", "-cp", "--config-path"])
FLAGS |= dict.fromkeys(["-sc", "--shell-completion", "--shell_completion"])
EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "slurm", "submitit_slurm": "slurm"}  # of launchers
EXTRAS |= {"optuna": "optuna", "onnx": "export", "onnxscript": "export", "onnxruntime": "export"}  # of modules
EXTRAS |= {"wandb": "wandb", "mlflow": "mlflow", "gradio": "demo"}
OTHER_CONFIGS = ("-cd", "--config-dir", "hydra.searchpath")  # these may add groups and keys
MORE_HELP = "--cfg job prints every key of the composed config; --hydra-help shows Hydra's own help."


def typed(key: str) -> list[str]:
    """The overrides key=value that the user typed for a key or for keys below it; in a sweep, this job's."""
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else sys.argv[1:]
    bare = [str(override).lstrip("+") for override in overrides]
    return [override for override in bare if override.startswith((f"{key}.", f"{key}=", f"{key}@"))]


def ordered(arguments: list[str]) -> list[str]:
    """Sort the arguments of a command, `-m` first: Hydra accepts no flag between overrides.

    Raises:
        ValueError: a flag that Hydra lacks, an invalid value of a flag, or a key added with + below no known key.
    """
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, equals, value = argument.partition("=")
        if not flag.startswith("-"):
            continue
        if flag not in FLAGS:
            raise ValueError(f"{flag}: no such flag; expected key=value, or one of {', '.join(FLAGS)}")
        value = value if equals else following
        if value and (values := FLAGS[flag]) and value not in values:
            raise ValueError(f"{flag}={value}: expected one of {', '.join(values)}")
    others = any(argument.startswith(OTHER_CONFIGS) for argument in arguments)
    for key in (added[1] for argument in arguments if not others and (added := re.match(r"\++(\w+)[.=]", argument))):
        if key != "hydra" and not (CONF / key).is_dir() and key not in _keys(besides=key):  # nothing would read it
            raise ValueError(_no_such_key(key))
    return sorted(arguments, key=lambda argument: argument not in ("-m", "--multirun"))


def path_exists(path: str | Path) -> bool:
    """Whether a path exists; False for an invalid path, as too long a name."""
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises


def quoted(override: str) -> str:
    """Quote an override for Hydra when its value is a path; leave a list of paths, which is a sweep."""
    key, _, path = override.partition("=")
    if key not in PATHS or path in ("", "null") or path[0] in "'\"":
        return override
    if path.startswith("~"):
        path = str(Path(path).expanduser())
    if key.startswith("hydra."):  # a launcher's workers may have another working directory
        path = str(Path(path).absolute())
    if key not in WRITTEN and not path_exists(path) and ("," in path or path[0] == "["):
        return override
    return "{}='{}'".format(key, path.replace("'", r"\'"))


def help_text() -> str:
    """Format this command's config file with its comments and the choices of its groups; nothing is composed."""
    root, name = _config()
    text = (root / f"{name}.yaml").read_text(encoding="utf-8")
    examples = "".join(text.splitlines(keepends=True)[:2])
    entries = [entry for entry in OmegaConf.load(root / f"{name}.yaml").defaults if isinstance(entry, DictConfig)]
    groups = []
    for group, chosen in ((str(group), entry[group]) for entry in entries for group in entry):
        if "hydra" in group:
            continue
        names = sorted(path.stem for path in (root / group).glob("*.yaml") if path.stem != "base")
        choice = "null" if chosen is None else str(chosen).replace("'", "")
        groups.append(f"{f'{group}: {choice}':<18} # {', '.join(names)}\n")
    keys = re.sub(r"^(defaults|hydra):.*\n(?: .*\n)+\n*", "", text.removeprefix(examples), flags=re.MULTILINE)
    purpose = (sys.modules["__main__"].__doc__ or name).splitlines()[0]
    return f"{purpose}\n\n{examples.replace('# ', '  ')}\n{''.join(groups)}\n{keys.strip()}\n\n{MORE_HELP}"


def describe_config_error(error: Exception) -> str:
    """Format Hydra's error about a config in one line, with the key."""
    text = str(error) or str(error.__cause__ or type(error).__name__)
    if unknown := re.search(r"Could not override '([^']+)'", text):
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
    hint = "".join(f"did you mean {close}? " for close in difflib.get_close_matches(key, keys, n=1))
    if key in keys:  # in a sweep over choices
        hint = "not every choice has it; "
    return f"{key}: no such key; {hint}--cfg job prints all keys"


def _config() -> tuple[Path, str]:
    """Folder and name of this command's config; some commands have their own folder."""
    name = Path(sys.argv[0]).stem
    return (CONF / name if (CONF / name / f"{name}.yaml").is_file() else CONF), name


def _keys(besides: str) -> list[str]:
    """All dotted keys of this command's config, composed with the choices typed but that of the key `besides`."""

    def walk(node: object, prefix: str = "") -> Iterator[str]:
        for key, value in node.items() if isinstance(node, dict) else ():
            yield f"{prefix}{key}"
            yield from walk(value, f"{prefix}{key}.")

    root, name = _config()
    choices = [arg for arg in sys.argv[1:] if re.fullmatch(r"\w+=\w+", arg) and arg.split("=")[0] != besides]
    for chosen in (choices, []):
        with suppress(HydraException, OmegaConfBaseException):
            GlobalHydra.instance().clear()
            with initialize_config_dir(str(root), version_base="1.3"):
                return list(walk(OmegaConf.to_container(compose(name, chosen))))
    return []
