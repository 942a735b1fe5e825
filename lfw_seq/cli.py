"""How every command treats its user: a mistake ends in one line on stderr, with status 2, and leaves nothing behind."""

import difflib
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from string import Template
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from lfw_seq import CONF as CONF

USAGE_STATUS = 2
INTERRUPTED_STATUS = 130  # 128 + SIGINT, as shells have it
# Keys that hold a path: one may have spaces, commas, brackets or letters that Hydra's grammar has no place for.
PATHS = {"run", "against", "sweep", "faces", "images", "out", "data.root", "data.data_home"}
PATHS |= {"hydra.run.dir", "hydra.sweep.dir"}
EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "slurm", "submitit_slurm": "slurm"}  # of launchers
EXTRAS |= {"optuna": "optuna", "onnx": "export", "onnxscript": "export", "onnxruntime": "export"}  # of modules


class UsageError(ValueError):
    """A mistake of the user: the message names the value, what was expected, and the remedy."""


class RunError(RuntimeError):
    """A run that cannot go on: the message names the cause and the remedy."""


# A config that cannot be built, or a path that cannot be read or written, is the user's to correct as well.
USAGE_ERRORS = (UsageError, RunError, InstantiationException, OmegaConfBaseException, HydraException, OSError)


def describe(error: BaseException) -> str:
    """An error in one line, without the wrapping Hydra puts around what a constructor raises."""
    cause, kind = error.__cause__, type(error).__name__
    missing = re.search(r"No module named '(\w+)", f"{error} {cause}")
    if missing and (extra := EXTRAS.get(missing[1])):
        return f'{missing[1]} is not installed: pip install -e ".[{extra}]"'
    if isinstance(error, InstantiationException) and cause is not None:
        key = re.search(r"full_key: (\S+)", str(error))
        text = str(cause) if isinstance(cause, UsageError) or key is None else f"{key[1]}: {cause}"
    elif isinstance(error, HydraException | OmegaConfBaseException):
        text = _config_message(error)
    elif "Config group override must be" in str(error):
        nulls = [word for word in sys.argv[1:] if word.endswith("=null")]
        text = f"{' '.join(nulls)}: expected one of its choices; --help lists them"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = str(error) if isinstance(error, UsageError | RunError) else f"{kind}: {error}" if str(error) else kind
    return " ".join(text.split())


def printable(text: str) -> str:
    """A text without control characters, which would change a terminal's state."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def stop(message: str) -> NoReturn:
    """End the command over a mistake of the user."""
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    raise SystemExit(USAGE_STATUS)


@contextmanager
def configuring(key: str = "") -> Iterator[None]:
    """The boundary of the user's mistakes: whatever fails while a config becomes objects is a UsageError.

    Args:
        key: named in the message, unless the error names one.

    Raises:
        UsageError: for any exception inside.
    """
    try:
        yield
    except Exception as error:
        text = describe(error)
        raise UsageError(text if key in text else f"{key}: {text}") from error


def check_whole(name: str, value: object, least: int = 1, most: int | None = None) -> None:
    """Raise UsageError unless `value` is a whole number in [least, most]."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    inside = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not inside or (most is not None and isinstance(value, int) and value > most):
        raise UsageError(f"{name}={value}: expected a whole number {bounds}")


def check_real(name: str, value: object, low: float, high: float, *, open_low: bool = False) -> None:
    """Raise UsageError unless `value` is a finite number in [low, high), or in (low, high) with `open_low`."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (low <= float(value) < high) or (open_low and float(value) == low):  # type: ignore[arg-type]
        raise UsageError(
            f"{name}={value}: expected a number {'above' if open_low else 'from'} {low:g} and below {high:g}"
        )


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise UsageError unless `value` is one of `choices`."""
    if value not in choices:
        raise UsageError(f"{name}={value}: expected one of {', '.join(choices)}")


def check_bool(name: str, value: object) -> None:
    """Raise UsageError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise UsageError(f"{name}={value}: expected true or false")


class NewFolders(Callback):
    """Hydra callback: remember which folders a run makes, so that a run that fails removes those and no others."""

    made: tuple[Path, ...] = ()  # innermost first
    run: Path | None = None  # the run folder

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before Hydra makes the run folder."""
        NewFolders.run = folder = Path(config.hydra.run.dir).absolute()
        NewFolders.made = tuple(path for path in (folder, *folder.parents) if not _exists(path))


def start(main: Callable[[], Any], stopped: Callable[[BaseException], int | None] = lambda error: None) -> None:
    """Run a `@hydra.main` function as a command.

    Args:
        main: the function.
        stopped: gives the exit status of a multirun that an error ended; None for any other command.
    """
    sys.argv[1:] = [quoted(word) for word in sys.argv[1:]]
    NewFolders.made, NewFolders.run = (), None
    if os.environ.get("HYDRA_FULL_ERROR") == "1" or "debug=true" in sys.argv:
        os.environ["HYDRA_FULL_ERROR"] = "1"
        main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing
    try:
        if {"--help", "-h"} & set(sys.argv):
            print(_help_text())
        else:
            main()
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, KeyboardInterrupt) or isinstance(end.__context__, KeyboardInterrupt):
            print(f"Interrupted. {_how_to_resume()}", file=sys.stderr)
            stopped(end)
            raise SystemExit(INTERRUPTED_STATUS) from None
        raise
    except Exception as error:
        status = stopped(error)
        if status is not None:
            raise SystemExit(status) from None
        if isinstance(error, USAGE_ERRORS) or NewFolders.run is None:  # None: the config could not be composed
            stop(describe(error))
        raise


def run(task: Callable[[DictConfig], dict[str, Any]], cfg: DictConfig) -> dict[str, Any]:
    """Run a command's task in its Hydra job; one that fails removes the folders it made and left empty."""
    try:
        return task(cfg)
    except USAGE_ERRORS as error:  # here, as Hydra prints a line of its own about what leaves a job
        if cfg.debug:
            raise
        stop(describe(error))
    finally:
        _remove_unused()


def _how_to_resume() -> str:
    if {"-m", "--multirun"} & set(sys.argv):
        return "Start the same command again to go on."
    if NewFolders.run is None or not (NewFolders.run / "checkpoints").is_dir():
        return ""
    words = [word for word in sys.argv[1:] if not word.startswith("hydra.run.dir=")]
    line = ["python", "-m", f"lfw_seq.{Path(sys.argv[0]).stem}", *words, f"hydra.run.dir={NewFolders.run}"]
    return f"Go on with: {shlex.join(line)}"


def _remove_unused() -> None:
    """Remove what this run made of its folder and the folders around it, when nothing but the log is in it."""
    hydra = HydraConfig.get()
    folder, log = Path(hydra.runtime.output_dir), f"{hydra.job.name}.log"
    with suppress(OSError):
        if folder in NewFolders.made and [path.name for path in folder.iterdir()] == [log]:
            (folder / log).unlink()
        for path in NewFolders.made:
            path.rmdir()


def _help_text() -> str:
    """What Hydra's own `--help` prints; it would copy all its configs twice for each group to find the choices."""
    root, name = _config()
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    with initialize_config_dir(str(root), version_base="1.3"):
        cfg = compose(name, words, return_hydra_config=True)
    choices: dict[str, list[str]] = {}
    for path in sorted(root.glob("*/**/*.yaml")):
        group = path.parent.relative_to(root).as_posix()
        if group.split("/")[0] != "hydra":
            choices.setdefault(group, []).append(path.stem)
    groups = [f"{group}: {', '.join(names)}\n" for group, names in sorted(choices.items())]
    shown = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    template = Template(cfg.hydra.help.template)
    return template.substitute(APP_CONFIG_GROUPS="".join(groups), CONFIG=OmegaConf.to_yaml(shown))


def _config() -> tuple[Path, str]:
    """The folder of this command's config, and its name; a command may have a folder of its own."""
    name = Path(sys.argv[0]).stem
    return (CONF / name if (CONF / name / f"{name}.yaml").is_file() else CONF), name


def _exists(path: str | Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises where a name is too long


def quoted(word: str) -> str:
    """A word of the command line, quoted for Hydra when it is a path; a list of paths stays one, for a sweep."""
    key, _, path = word.partition("=")
    if key not in PATHS or path in ("", "null") or path[0] in "'\"":
        return word
    if path.startswith("~"):
        path = str(Path(path).expanduser())
    if key.startswith("hydra."):  # workers of a launcher may stand elsewhere
        path = str(Path(path).absolute())
    if not _exists(path) and ("," in path or path[0] == "["):
        return word
    return "{}='{}'".format(key, path.replace("'", r"\'"))


def _config_message(error: Exception) -> str:
    """What Hydra found wrong with a config, in one line that names the key."""
    text = str(error) or str(error.__cause__ or type(error).__name__)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        keys = _keys(besides=unknown[1])
        close = difflib.get_close_matches(unknown[1], keys, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        if unknown[1] in keys:  # in a sweep over choices
            hint = "not every choice has it; "
        return f"{unknown[1]}: no such key; {hint}--cfg job prints all keys"
    choice = re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text)
    if choice and (extra := EXTRAS.get(choice[2])) and choice[1] == "hydra/launcher":
        return f'{choice[1]}={choice[2]}: not installed; pip install -e ".[{extra}]"'
    if choice and (options := re.findall(r"^\t(\S+)$", text, flags=re.MULTILINE)):
        return f"{choice[1]}={choice[2]}: no such choice; expected one of {', '.join(options)}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: needs a value; add {error.full_key}=..."
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


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
    typed = [word for word in sys.argv[1:] if re.fullmatch(r"\w+=\w+", word) and word.split("=")[0] != besides]
    for words in (typed, []):
        with suppress(HydraException, OmegaConfBaseException):
            GlobalHydra.instance().clear()
            with initialize_config_dir(str(root), version_base="1.3"):
                return walk(compose(name, words), "")
    return []
