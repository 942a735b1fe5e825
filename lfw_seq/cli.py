"""Run commands: a user's mistake ends in one line on stderr with exit status 2, and new folders are removed."""

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
INTERRUPTED_STATUS = 130  # 128 + SIGINT, as in shells


class UsageError(ValueError):
    """A user's mistake; the message has the value, what was expected, and the remedy."""


class RunError(RuntimeError):
    """A run that cannot continue; the message has the cause and the remedy."""


# A user can also correct a config that cannot be built, and a path that cannot be read or written.
USAGE_ERRORS = (UsageError, RunError, InstantiationException, OmegaConfBaseException, HydraException, OSError)


def describe(error: BaseException) -> str:
    """Format an error in one line, without Hydra's wrapping of what a constructor raises."""
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
        odd = re.compile(r"([\w/]+)=(.*,)?(null|true|false|[\d.]+)(,.*)?")
        groups = [match[0] for match in map(odd.fullmatch, sys.argv[1:]) if match and (CONF / match[1]).is_dir()]
        text = f"{' '.join(groups) or error}: expected one of its choices; --help lists them"
    elif isinstance(error, OSError) and error.strerror:
        text = _describe_path(error)
    else:
        text = str(error) if isinstance(error, ValueError | RunError) else f"{kind}: {error}" if str(error) else kind
    return " ".join(text.split())


def _describe_path(error: OSError) -> str:
    """Format a path that cannot be read or written, with its key where it, or a folder around it, was typed."""
    for key, _, value in (argument.partition("=") for argument in sys.argv[1:]):
        place = value.strip("'")
        if key in ("out", "hydra.run.dir", "hydra.sweep.dir") and Path(str(error.filename)).is_relative_to(place):
            return f"{key}={place}: cannot be written ({error.strerror}); expected another place"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def printable(text: str) -> str:
    """Replace control characters, which would change a terminal's state."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def as_utf8(text: str) -> str:
    """Replace the bytes of file names that are not UTF-8, which Python reads as surrogates, and other surrogates."""
    known = re.sub("[\ud800-\udc7f\udd00-\udfff]", "\N{REPLACEMENT CHARACTER}", text)
    return known.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def stop(message: str) -> NoReturn:
    """Print an error and exit with the status of a user's mistake."""
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    raise SystemExit(USAGE_STATUS)


@contextmanager
def configuring(key: str = "") -> Iterator[None]:
    """Turn whatever fails while objects are built from a config into a UsageError.

    Args:
        key: put before the message, with the value typed for it, unless the message has one.

    Raises:
        UsageError: for any exception inside.
    """
    try:
        yield
    except Exception as error:
        raise UsageError(name_key(key, describe(error))) from error


def name_key(key: str, text: str) -> str:
    """Prefix a message with the key and the value at fault, as far as they are known.

    A library's error has the name of its argument, not the key in the config.
    """
    if key in text or text.startswith(tuple(f"{argument}:" for argument in sys.argv[1:])):
        return text
    overrides, named = typed(key), []
    for override in overrides:
        name, _, value = override.partition("=")
        if re.search(rf"(?<![\w.])({re.escape(name.rpartition('.')[2])}|{re.escape(value)})(?![\w.])", text):
            named.append(override)
    return f"{' '.join(named or overrides) or key}: {text}"


def as_typed(value: object) -> str:
    """Format a value as in YAML and on the command line."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    return text.replace(", ", ",").replace("'", "") if text.startswith("[") else text


def refuse_links(folder: Path, home: Path) -> None:
    """Refuse links in a folder that is written into, and the folder itself, where they lead out of `home`.

    Raises:
        UsageError: there is one.
    """
    paths = [folder]
    for place, folders, files in os.walk(folder):  # which follows none
        paths += [Path(place, name) for name in (*folders, *files)]
    for path in paths:
        # not Path's methods, which raise for loops of links and for too long a name
        if os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(home)):  # noqa: PTH114
            raise UsageError(f"{path}: a link to another folder, which would be written into; remove the link")


class NewFolders(Callback):
    """Hydra callback: record which folders a run creates, so that a failed run removes those and no others."""

    created: tuple[Path, ...] = ()  # innermost first
    run: Path | None = None  # the run folder
    started: bool = False  # whether the task has started: until then every error is a user's mistake

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Run before Hydra creates the run folder."""
        NewFolders.run = Path(config.hydra.run.dir).absolute()
        self.record(NewFolders.run)
        if config.hydra.output_subdir is not None:
            stop(f"hydra.output_subdir={config.hydra.output_subdir}: leave it out; expected null")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Run before Hydra creates the sweep's folder."""
        self.record(Path(config.hydra.sweep.dir).absolute())

    @staticmethod
    def record(folder: Path) -> None:
        """Record which of a folder and its parents do not exist yet; stop at links in it."""
        try:
            refuse_links(folder, folder)
        except UsageError as error:  # Hydra would only log it
            stop(str(error))
        NewFolders.created = tuple(path for path in (folder, *folder.parents) if not path_exists(path))

    @staticmethod
    def remove_unused() -> None:
        """Remove the created folders if they hold nothing but logs and Hydra's list of a sweep's overrides."""
        with suppress(OSError):
            files = [path for folder in NewFolders.created[:1] for path in folder.iterdir()]
            if all(path.suffix == ".log" or path.name == "multirun.yaml" for path in files):
                for path in files:
                    path.unlink()
            for path in NewFolders.created:
                path.rmdir()


def start(main: Callable[[], Any], stopped: Callable[[BaseException], int | None] = lambda error: None) -> None:
    """Run a `@hydra.main` function as a command; `stopped` returns the exit status of a multirun ended by an error."""
    arguments = sys.argv[1:]
    try:
        sys.argv[1:] = [quoted(argument) for argument in ordered(arguments)]
    except ValueError as error:
        stop(str(error))
    NewFolders.created, NewFolders.run, NewFolders.started = (), None, False
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1" or "traceback=true" in sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing
    if full_error:
        main()
        return
    try:
        if {"--help", "-h"} & set(sys.argv):
            print(help_text(), flush=True)
        else:
            main()
    except BrokenPipeError:  # closed by its reader, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, KeyboardInterrupt) or isinstance(end.__context__, KeyboardInterrupt):
            stopped(end)
            print(f"Interrupted. {_how_to_resume(arguments)}", file=sys.stderr)
            raise SystemExit(INTERRUPTED_STATUS) from None
        raise
    except Exception as error:
        if (status := stopped(error)) is not None:
            raise SystemExit(status) from None
        if isinstance(error, USAGE_ERRORS) or not NewFolders.started:
            NewFolders.remove_unused()
            text = describe(error)
            stop(text if isinstance(error, USAGE_ERRORS) else name_key("hydra", text))
        raise


def run(task: Callable[[DictConfig], dict[str, Any]], cfg: DictConfig) -> dict[str, Any]:
    """Run a command's task in its Hydra job; remove the folders created for it that stayed empty."""
    NewFolders.started = True
    try:
        if not isinstance(cfg.traceback, bool):
            raise UsageError(f"traceback={as_typed(cfg.traceback)}: expected true or false")
        return task(cfg)
    except USAGE_ERRORS as error:  # here, as Hydra prints a line of its own about an error raised by a job
        if cfg.traceback is True:
            raise
        stop(describe(error))
    finally:
        NewFolders.remove_unused()


def _how_to_resume(arguments: list[str]) -> str:
    if not {"-m", "--multirun"} & set(arguments):
        if NewFolders.run is None or not (NewFolders.run / "checkpoints").is_dir():
            return ""
        arguments = [argument for argument in arguments if not argument.startswith("hydra.run.dir=")]
        arguments.append(f"hydra.run.dir={NewFolders.run}")
    return f"Resume with: {shlex.join(['python', '-m', f'lfw_seq.{Path(sys.argv[0]).stem}', *arguments])}"
