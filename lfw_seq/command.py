"""How every command treats its user: a mistake ends in one line on stderr, exit status 2 and no empty folders."""

import difflib
import errno
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from lfw_seq import CONF as CONF
from lfw_seq import plugins, sweeps
from lfw_seq.errors import USAGE_ERRORS, describe, stop

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
# Keys that hold a path: one may have spaces, commas, brackets or letters that Hydra's grammar has no place for.
PATHS = (
    "run",
    "against",
    "sweep",
    "faces",
    "images",
    "out",
    "data.root",
    "data.data_home",
    "hydra.run.dir",
    "hydra.sweep.dir",
)


def start(main: Callable[[], Any]) -> None:
    """Run a `@hydra.main` function as a command; a config that cannot be composed ends in one line."""
    sys.argv[1:] = [quoted(word) for word in sys.argv[1:]]
    if sweeps.finished_before():
        return
    plugins.register()
    if os.environ.get("HYDRA_FULL_ERROR") == "1" or "debug=true" in sys.argv:
        main()
        raise SystemExit(sweeps.finish())
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing
    try:
        if {"--help", "-h"} & set(sys.argv):
            print(_help_text())
            return
        main()
    except (HydraException, OmegaConfBaseException) as error:
        stop(_hydra_message(error))
    except (KeyboardInterrupt, SystemExit) as end:
        if not isinstance(end, KeyboardInterrupt) and not isinstance(end.__context__, KeyboardInterrupt):
            raise
        again = " Start the same command again to go on." if sweeps.current else ""
        print(f"Interrupted.{again}", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        if sweeps.current is None:
            if isinstance(error, OSError) and error.errno in UNWRITABLE:
                stop(describe(error))
            raise
        raise SystemExit(sweeps.finish(error)) from None
    raise SystemExit(sweeps.finish())


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


def quoted(word: str) -> str:
    """A word of the command line, quoted for Hydra when it is a path; a list of paths stays one, for a sweep."""
    key, _, path = word.partition("=")
    if key not in PATHS or path in ("", "null") or path[0] in "'\"":
        return word
    if not Path(path).exists() and ("," in path or path[0] == "["):
        return word
    return "{}='{}'".format(key, path.replace("'", r"\'"))


def run(task: sweeps.Task, cfg: DictConfig) -> dict[str, Any] | None:
    """Run a command's task in its Hydra job; a user's mistake ends in one line. For a multirun see `sweeps.run_job`.

    Returns:
        What the task returned; None for a job of a multirun that did not finish.
    """
    if sweeps.in_sweep() and "run_dir" in cfg:
        return sweeps.run_job(task, cfg)
    try:
        return task(cfg)
    except USAGE_ERRORS as error:
        if cfg.debug:
            raise
        stop(_hydra_message(error) if isinstance(error, OmegaConfBaseException) else describe(error))
    finally:
        _remove_unused(HydraConfig.get())


def _hydra_message(error: Exception) -> str:
    text = str(error) or str(error.__cause__ or type(error).__name__)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        keys = _keys(besides=unknown[1])
        close = difflib.get_close_matches(unknown[1], keys, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        if unknown[1] in keys:  # in a sweep over choices
            hint = "not every choice has it; "
        return f"{unknown[1]}: no such key; {hint}--cfg job prints all keys"
    choice = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
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
        for key in node:
            keys.append(f"{prefix}{key!s}")
            if isinstance(child := node._get_node(key), DictConfig):
                keys += walk(child, f"{prefix}{key!s}.")
        return keys

    root, name = _config()
    typed = [word for word in sys.argv[1:] if re.fullmatch(r"\w+=\w+", word) and word.split("=")[0] != besides]
    for words in (typed, []):
        with suppress(HydraException, OmegaConfBaseException):
            GlobalHydra.instance().clear()
            with initialize_config_dir(str(root), version_base="1.3"):
                return walk(compose(name, words), "")
    return []


def _remove_unused(hydra: HydraConf) -> None:
    """Remove the folder Hydra made, and its date's, when nothing but the log is in it."""
    folder, log = Path(hydra.runtime.output_dir), f"{hydra.job.name}.log"
    if folder == Path.cwd():  # of a command that makes no folder
        return
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [log]:
            (folder / log).unlink()
        folder.rmdir()
        folder.parent.rmdir()
        folder.parent.parent.rmdir()
