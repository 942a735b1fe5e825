"""How every command treats its user: a mistake ends in one line on stderr, with status 2, and leaves nothing behind."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from hydra.errors import HydraException, InstantiationException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lfw_seq import CONF as CONF
from lfw_seq.compose import EXTRAS, describe_config_error, help_text, ordered, path_exists, quoted, typed

USAGE_STATUS = 2
INTERRUPTED_STATUS = 130  # 128 + SIGINT, as shells have it


class UsageError(ValueError):
    """A mistake of the user: the message names the value, what was expected, and the remedy."""


class RunError(RuntimeError):
    """A run that cannot go on: the message names the cause and the remedy."""


# A config that cannot be built, or a path that cannot be read or written, is the user's to correct as well.
USAGE_ERRORS = (UsageError, RunError, InstantiationException, OmegaConfBaseException, HydraException, OSError)


def describe(error: BaseException) -> str:
    """An error in one line, without the wrapping Hydra puts around what a constructor raises."""
    cause, kind = error.__cause__, type(error).__name__
    missing = re.search(r"(?:No module named|Requirement) '(\w+)", f"{error} {cause}")
    if missing and (extra := EXTRAS.get(missing[1])):
        return f'{missing[1]} is not installed: pip install -e ".[{extra}]"'
    if isinstance(error, InstantiationException) and cause is not None:
        key = re.search(r"full_key: (hydra\S+)", str(error))
        text = " ".join([*typed(key[1]), f"{key[1]}: {cause}"]) if key else describe(cause)
    elif isinstance(error, HydraException | OmegaConfBaseException):
        text = describe_config_error(error)
    elif "Config group override must be" in str(error):
        odd = [word for word in sys.argv[1:] if re.fullmatch(r"[\w/]+=(null|true|false|[\d.]+)", word)]
        groups = [word for word in odd if (CONF / word.partition("=")[0]).is_dir()]
        text = f"{' '.join(groups) or error}: expected one of its choices; --help lists them"
    elif isinstance(error, OSError) and error.strerror:
        text = _describe_path(error)
    else:
        text = str(error) if isinstance(error, ValueError | RunError) else f"{kind}: {error}" if str(error) else kind
    return " ".join(text.split())


def _describe_path(error: OSError) -> str:
    """A path that cannot be read or written; where it was typed, or a folder around it, with the key."""
    for key, _, value in (word.partition("=") for word in sys.argv[1:]):
        place = value.strip("'")
        if key in ("out", "hydra.run.dir", "hydra.sweep.dir") and Path(str(error.filename)).is_relative_to(place):
            return f"{key}={place}: cannot be written ({error.strerror}); expected another place"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


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
        key: named in the message with what was typed for it, unless the error names one.

    Raises:
        UsageError: for any exception inside.
    """
    try:
        yield
    except Exception as error:
        raise UsageError(name_key(key, describe(error))) from error


def name_key(key: str, text: str) -> str:
    """A message that begins with the key and the value at fault, as far as they are known.

    A library's constructor knows the name of its argument, not where in the config it stands.
    """
    if key in text or text.startswith(tuple(f"{word}:" for word in sys.argv[1:])):
        return text
    words, named = typed(key), []
    for word in words:
        name, _, value = word.partition("=")
        if re.search(rf"(?<![\w.])({re.escape(name.rpartition('.')[2])}|{re.escape(value)})(?![\w.])", text):
            named.append(word)
    return f"{' '.join(named or words) or key}: {text}"


def as_typed(value: object) -> str:
    """A value as YAML and the command line have it."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    return text.replace(", ", ",").replace("'", "") if text.startswith("[") else text


class NewFolders(Callback):
    """Hydra callback: remember which folders a run makes, so that a run that fails removes those and no others."""

    made: tuple[Path, ...] = ()  # innermost first
    run: Path | None = None  # the run folder
    begun: bool = False  # whether the task is at work: before it, all that fails is the user's mistake

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before Hydra makes the run folder."""
        NewFolders.run = Path(config.hydra.run.dir).absolute()
        self.remember(NewFolders.run)
        if config.hydra.output_subdir is not None:
            stop(f"hydra.output_subdir={config.hydra.output_subdir}: leave it out; expected null")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before Hydra makes the sweep's folder."""
        self.remember(Path(config.hydra.sweep.dir).absolute())

    @staticmethod
    def remember(folder: Path) -> None:
        """Keep which of a folder and those around it are not there yet."""
        NewFolders.made = tuple(path for path in (folder, *folder.parents) if not path_exists(path))

    @staticmethod
    def remove_unused() -> None:
        """Remove the folders that were made, when nothing but a log or Hydra's list of the sweep's words is in them."""
        with suppress(OSError):
            for folder in NewFolders.made[:1]:
                files = list(folder.iterdir())
                if all(path.suffix == ".log" or path.name == "multirun.yaml" for path in files):
                    for path in files:
                        path.unlink()
            for path in NewFolders.made:
                path.rmdir()


def start(main: Callable[[], Any], stopped: Callable[[BaseException], int | None] = lambda error: None) -> None:
    """Run a `@hydra.main` function as a command.

    Args:
        main: the function.
        stopped: gives the exit status of a multirun that an error ended; None for any other command.
    """
    words = sys.argv[1:]
    try:
        sys.argv[1:] = [quoted(word) for word in ordered(words)]
    except ValueError as error:
        stop(str(error))
    NewFolders.made, NewFolders.run, NewFolders.begun = (), None, False
    if os.environ.get("HYDRA_FULL_ERROR") == "1" or "traceback=true" in sys.argv:
        os.environ["HYDRA_FULL_ERROR"] = "1"
        main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing
    try:
        if {"--help", "-h"} & set(sys.argv):
            print(help_text(), flush=True)
        else:
            main()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, KeyboardInterrupt) or isinstance(end.__context__, KeyboardInterrupt):
            stopped(end)
            print(f"Interrupted. {_how_to_resume(words)}", file=sys.stderr)
            raise SystemExit(INTERRUPTED_STATUS) from None
        raise
    except Exception as error:
        status = stopped(error)
        if status is not None:
            raise SystemExit(status) from None
        if isinstance(error, USAGE_ERRORS) or not NewFolders.begun:
            NewFolders.remove_unused()
            text = describe(error)
            stop(text if isinstance(error, USAGE_ERRORS) else name_key("hydra", text))
        raise


def run(task: Callable[[DictConfig], dict[str, Any]], cfg: DictConfig) -> dict[str, Any]:
    """Run a command's task in its Hydra job; one that fails removes the folders it made and left empty."""
    NewFolders.begun = True
    try:
        if not isinstance(cfg.traceback, bool):
            raise UsageError(f"traceback={as_typed(cfg.traceback)}: expected true or false")
        return task(cfg)
    except USAGE_ERRORS as error:  # here, as Hydra prints a line of its own about what leaves a job
        if cfg.traceback is True:
            raise
        stop(describe(error))
    finally:
        NewFolders.remove_unused()


def _how_to_resume(words: list[str]) -> str:
    if not {"-m", "--multirun"} & set(words):
        if NewFolders.run is None or not (NewFolders.run / "checkpoints").is_dir():
            return ""
        words = [word for word in words if not word.startswith("hydra.run.dir=")]
        words.append(f"hydra.run.dir={NewFolders.run}")
    return f"Go on with: {shlex.join(['python', '-m', f'lfw_seq.{Path(sys.argv[0]).stem}', *words])}"
