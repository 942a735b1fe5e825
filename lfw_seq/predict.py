"""`python -m lfw_seq.predict run=DIR images=PATH`: who is on photos, from a run's checkpoint alone."""

from __future__ import annotations

import csv
import glob
import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import command, runs
from lfw_seq.errors import UsageError, check_choice, check_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lfw_seq.load import Run

log = logging.getLogger(__name__)

FORMATS = ("table", "csv", "json")
UNKNOWN = "unknown"
UNREADABLE_STATUS = 1


@hydra.main(config_path=str(command.CONF), config_name="predict", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """The command; exit status 1 when an image could not be read."""
    result = command.run(predict, cfg)
    if result and result["unreadable"]:
        raise SystemExit(UNREADABLE_STATUS)


def predict(cfg: DictConfig) -> dict[str, Any]:
    """Name the person on each image; an unreadable image is named on stderr, and the others still go through.

    Args:
        cfg: the composed `conf/predict.yaml`.

    Returns:
        The answers, as printed with `format=json`, and the images that could not be read.

    Raises:
        UsageError: no such run, no image, or a checkpoint that is refused.
    """
    check_choice("format", cfg.format, FORMATS)
    check_whole("top_k", cfg.top_k)
    check_whole("batch_size", cfg.batch_size)
    threads = os.cpu_count() or 1 if cfg.threads is None else cfg.threads
    check_whole("threads", threads, 1, 1024)
    paths = find_images(cfg.images)
    import torch

    from lfw_seq.inference import logits, pick_device
    from lfw_seq.load import load_run

    torch.set_num_threads(threads)
    run = load_run(cfg.run)
    run.net.to(pick_device(cfg.device))
    threshold = read_threshold(run.folder, cfg.fpir)
    answers, unreadable = [], list[str]()
    for files, images in decoded(run, paths, cfg.batch_size, threads, unreadable):
        scores = logits(run, torch.from_numpy(run.reading.rows(images)), cfg.batch_size).softmax(dim=1)
        best, people = scores.topk(min(cfg.top_k, len(run.names)), dim=1)  # (B, k)
        for file, values, ids in zip(files, best.tolist(), people.tolist(), strict=True):
            top = [{"person": run.names[who], "probability": value} for value, who in zip(values, ids, strict=True)]
            answers.append(
                {"file": file, "answer": UNKNOWN if values[0] < threshold else run.names[ids[0]], "top": top}
            )
    write(cfg, answers)
    return {"answers": answers, "unreadable": unreadable}


def find_images(pattern: str) -> list[Path]:
    """The images a path or a pattern means, sorted.

    Raises:
        UsageError: there are none.
    """
    from lfw_seq.data.images import SUFFIXES

    path = Path(str(pattern)).expanduser()
    if path.is_file():
        return [path]
    matches = glob.iglob(str(path), recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
    found = path.rglob("*") if path.is_dir() else map(Path, matches)
    files = sorted(file for file in found if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise UsageError(
            f"images={pattern}: no image there; expected a file, a folder or a pattern with {', '.join(SUFFIXES)} files"
        )
    return files


def decoded(
    run: Run, paths: Sequence[Path], batch_size: int, threads: int, unreadable: list[str]
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Batches of file names and images (B, H, W[, 3]), decoded in threads; the unreadable are left out and noted."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from tqdm import tqdm

    def decode(path: Path) -> NDArray[np.float32] | str:
        try:
            return run.reading.image(path)
        except UsageError as error:
            return str(error).split(";")[0]

    hidden = len(paths) <= batch_size or not sys.stderr.isatty()
    with ThreadPoolExecutor(threads) as pool, tqdm(total=len(paths), unit="image", disable=hidden) as bar:
        for start in range(0, len(paths), batch_size):
            part = paths[start : start + batch_size]
            files, images = [], []
            for path, image in zip(part, pool.map(decode, part), strict=True):
                if isinstance(image, str):
                    log.error("error: %s", image)
                    unreadable.append(str(path))
                else:
                    files.append(str(path))
                    images.append(image)
            if images:
                yield files, np.stack(images)
            bar.update(len(part))


def read_threshold(folder: Path, fpir: float | None) -> float:
    """The run's open-set threshold at a share of strangers, as `evaluate` left it; 0, said so, where it left none.

    Raises:
        UsageError: evaluate set thresholds, but none for this share.
    """
    if fpir is None:
        return 0.0
    path = folder / "evaluation" / "evaluation.json"
    try:
        points = json.loads(path.read_text(encoding="utf-8"))["open_set"]["points"]
        thresholds = {float(point["target"]): float(point["threshold"]) for point in points}
    except (OSError, ValueError, KeyError, TypeError):
        log.info("No open-set threshold in %s: nobody is called %s. lfw_seq.evaluate sets one", path, UNKNOWN)
        return 0.0
    if fpir not in thresholds:
        raise UsageError(f"fpir={fpir}: expected null or one of {', '.join(f'{key:g}' for key in thresholds)}")
    return thresholds[fpir]


def write(cfg: DictConfig, answers: Sequence[dict[str, Any]]) -> None:
    """Print the answers, or write them whole into a file.

    Raises:
        UsageError: the file cannot be written.
    """
    text = {"table": as_table, "csv": as_csv, "json": as_json}[cfg.format](answers)
    if cfg.out is None:
        sys.stdout.write(text)
        return
    try:
        runs.write_text(Path(cfg.out).expanduser(), text)
    except OSError as error:
        raise UsageError(f"out={cfg.out}: cannot be written ({error.strerror}); choose another file") from error


def as_json(answers: Sequence[dict[str, Any]]) -> str:
    """A list of objects."""
    return json.dumps(answers, indent=1, ensure_ascii=False) + "\n"


def as_csv(answers: Sequence[dict[str, Any]]) -> str:
    """One row an image: file, answer, then person and probability by rank."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranks = range(1, 1 + max((len(answer["top"]) for answer in answers), default=0))
    writer.writerow(["file", "answer", *(f"{key}_{rank}" for rank in ranks for key in ("person", "probability"))])
    for answer in answers:
        writer.writerow([answer["file"], answer["answer"], *(cell for top in answer["top"] for cell in top.values())])
    return text.getvalue()


def as_table(answers: Sequence[dict[str, Any]]) -> str:
    """Columns for people."""
    rows = [
        [answer["file"], answer["answer"], *(f"{top['person']} {top['probability']:.3f}" for top in answer["top"])]
        for answer in answers
    ]
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)


if __name__ == "__main__":
    command.start(main)
