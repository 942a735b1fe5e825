"""Find run folders in sweeps."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lfw_seq.errors import UsageError
from lfw_seq.runs import LOCK, RESULT

UNFINISHED = {LOCK, ".hydra", "metrics.csv", "checkpoints"}  # one of these and no result.json: a run that has not ended


def run_folders(places: Sequence[str | Path], closed: list[tuple[Path, str]]) -> Iterator[Path]:
    """Every run folder in or under some places, once, in the order of places and paths.

    Args:
        places: sweep folders, run folders, or globs of them.
        closed: takes the folders that cannot be looked into, and why.

    Raises:
        UsageError: a place does not exist.
    """
    seen: set[tuple[int, int]] = set()
    for root in [root for place in places for root in _expand(str(place))]:
        for folder in _walk(root, closed):
            status = folder.stat()
            if (inode := (status.st_dev, status.st_ino)) not in seen:
                seen.add(inode)
                yield folder


def _expand(place: str) -> list[Path]:
    path = Path(place).expanduser()
    if path.is_dir():
        return [path]
    matches = Path(path.anchor).glob(str(path.relative_to(path.anchor))) if path.parts else []
    if not (folders := sorted(match for match in matches if match.is_dir())):
        raise UsageError(f"sweep={place}: no such folder; expected a sweep folder, a run folder, or a glob of them")
    return folders


def _walk(root: Path, closed: list[tuple[Path, str]]) -> Iterator[Path]:
    """Run folders in or under `root`; nothing inside a run folder is looked at, and no link is followed."""
    try:
        with os.scandir(root) as entries:
            names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError as error:
        closed.append((root, str(error.strerror)))
        return
    if RESULT in names or UNFINISHED & names.keys():
        yield root
        return
    for name in sorted(name for name, is_folder in names.items() if is_folder and not name.startswith(".")):
        yield from _walk(root / name, closed)
