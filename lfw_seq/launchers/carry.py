"""Run folders on their way between machines that share no disk."""

from pathlib import Path

from lfw_seq import runs


def pack(folder: Path) -> dict[str, bytes]:
    """The files of a run folder by their path in it; none where it does not exist."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def unpack(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files, each whole and result.json last, unless the folder holds a finished run."""
    if runs.read_result(folder):
        return
    for name in sorted(files, key=lambda name: name == runs.RESULT):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.carried")
        draft.write_bytes(files[name])
        draft.replace(path)
