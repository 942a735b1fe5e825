"""`python -m lfw_seq` or `lfw-seq`: list the commands, or run one, as in `lfw-seq train model=gru`."""

import difflib
import os
import re
import runpy
import sys
from contextlib import nullcontext, redirect_stderr

from lfw_seq import PACKAGE

COMMANDS = ("train", "evaluate", "predict", "export", "report", "baselines", "benchmark", "demo")
COMPLETION = {"-sc", "--shell_completion", "--shell-completion"}  # Hydra's flags: `eval "$(lfw-seq -sc install=bash)"`


def main() -> None:
    """List the commands, or run the one in the first argument."""
    if COMPLETION & set(sys.argv):
        complete()
    elif len(sys.argv) == 1 or sys.argv[1] in ("-h", "--help"):
        print("Commands of lfw-seq; each takes key=value arguments and has --help\n")
        print("\n".join(f"  {usage:<34} {summary}" for usage, summary in map(describe, COMMANDS)))
    elif (name := sys.argv.pop(1)) in COMMANDS:
        runpy.run_module(f"lfw_seq.{name}", run_name="__main__", alter_sys=True)  # as `python -m` does
    else:
        close = "".join(f"did you mean {match}? " for match in difflib.get_close_matches(name, COMMANDS, n=1))
        print(f"error: {name}: no such command; {close}expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)


def describe(name: str) -> tuple[str, str]:
    """Usage and summary of a command, parsed from the first line of its file, which is not imported."""
    text = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
    match = re.match(rf'"""`python -m lfw_seq\.({name}\b[^`]*)`: (.*?)\.?(?:"""|\. |$)', text, re.MULTILINE)
    assert match, f"{name}.py: its first line does not describe the command"
    return match[1], match[2]


def complete() -> None:
    """Install Hydra's shell completion, or run it on the line without the command's name."""
    app, name, rest = re.findall(r"^\s*(\S*)\s*(\S*)(.*)", os.environ.get("COMP_LINE", ""))[0]
    os.environ["COMP_LINE"] = f"{app}{rest}"
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument not in COMMANDS]
    querying = any(argument.startswith("query=") for argument in sys.argv)
    if querying and not rest:  # the name itself is being typed
        print("\n".join(command for command in COMMANDS if command.startswith(name)))
        return
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere) if querying else nullcontext():  # noqa: PTH123
        runpy.run_module(f"lfw_seq.{name if name in COMMANDS else 'train'}", run_name="__main__")


if __name__ == "__main__":
    main()
