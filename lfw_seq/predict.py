"""`python -m lfw_seq.predict run=DIR images=PATH`: the most likely person on each photo, from a checkpoint alone."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.cli import UsageError, printable
from lfw_seq.parts import Count, Threads, check_keys
from lfw_seq.runs.folder import csv_text, write_text
from lfw_seq.runs.record import UNKNOWN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lfw_seq.evaluation.strangers import Threshold
    from lfw_seq.runs.checkpoint import TrainedRun

Prediction = dict[str, Any]


@hydra.main(config_path=str(cli.CONF), config_name="predict", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Print the person on each photo; exit status 1 if one could not be read."""
    if cli.run(predict, cfg)["unreadable"]:
        raise SystemExit(1)


def predict(cfg: DictConfig) -> dict[str, Any]:
    """Predict the person on each image of `conf/predict.yaml`; unreadable ones are reported on stderr and left out.

    Returns:
        The predictions, as printed with `format=json`, and the images that could not be read.

    Raises:
        UsageError: no such run, no image, or a damaged or refused checkpoint.
    """
    kinds = {"format": Literal["table", "csv", "json"], "top_k": Count, "batch_size": Count, "threads": Threads | None}
    check_keys(cfg, kinds)
    threads = cfg.threads or os.cpu_count() or 1
    paths = find_images(str(cfg.images))
    import torch

    from lfw_seq.evaluation.strangers import read_threshold
    from lfw_seq.runs.checkpoint import load_run, pick_device

    torch.set_num_threads(threads)
    run = load_run(cfg.run)
    run.predictor.to(pick_device(cfg.device))
    threshold = read_threshold(run.folder, cfg.fpir, cfg.score)
    if cfg.fpir is not None:
        print("\n".join(describe(threshold)), file=sys.stderr)
    predictions, unreadable = list[Prediction](), list[str]()
    for files, images in decoded(run, paths, cfg.batch_size, threads, unreadable):
        scores = run.probabilities(images, cfg.batch_size)
        known = (threshold.scores(run, images, scores) >= threshold.value).tolist()
        ranked = (-scores).argsort(axis=1, kind="stable")[:, : cfg.top_k].tolist()
        for file, row, order, accepted in zip(files, scores.tolist(), ranked, known, strict=True):
            top = [{"person": run.class_names[i], "probability": row[i]} for i in order]
            name = top[0]["person"] if accepted else UNKNOWN
            predictions.append({"file": file, "predicted": name, "top": top})
    text = cli.as_utf8({"table": as_table, "csv": as_csv, "json": as_json}[cfg.format](predictions))
    sys.stdout.write(text) if cfg.out is None else write_text(Path(str(cfg.out)).expanduser(), text)
    unknown = sum(prediction["predicted"] == UNKNOWN for prediction in predictions)
    summary = f"{len(predictions):,} image{'s' * (len(predictions) != 1)}"
    summary += f", {unknown:,} of them {UNKNOWN}" * (cfg.fpir is not None)
    summary += f"; {len(unreadable):,} could not be read" * bool(unreadable)
    print(summary, file=sys.stdout if cfg.format == "table" and cfg.out is None else sys.stderr)
    return {"predictions": predictions, "unreadable": unreadable}


def find_images(pattern: str) -> list[Path]:
    """The images of a file, a folder or a pattern, sorted; UsageError where there are none."""
    from lfw_seq.data.images import SUFFIXES

    path = Path(pattern).expanduser()
    if path.is_file():
        return [path]
    matches = glob.iglob(str(path), recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
    paths = path.rglob("*") if path.is_dir() else map(Path, matches)
    if files := sorted(file for file in paths if file.suffix.lower() in SUFFIXES and file.is_file()):
        return files
    raise UsageError(f"images={pattern}: no image there; expected a {', '.join(SUFFIXES)} file, a folder or a pattern")


def decoded(
    run: TrainedRun, paths: Sequence[Path], batch_size: int, threads: int, unreadable: list[str]
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Yield file names and images (B, H, W[, 3]) in [0, 1], decoded in threads; add unreadable files to the list."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from tqdm import tqdm

    def decode(path: Path) -> NDArray[np.float32] | UsageError:
        try:
            return run.preprocessing.image(path)
        except UsageError as error:
            return error

    hidden = len(paths) <= batch_size or not sys.stderr.isatty()
    with ThreadPoolExecutor(threads) as pool, tqdm(total=len(paths), unit="image", disable=hidden) as bar:
        for part in (paths[start : start + batch_size] for start in range(0, len(paths), batch_size)):
            images = dict(zip(map(str, part), pool.map(decode, part), strict=True))
            for path in [path for path, image in images.items() if isinstance(image, UsageError)]:
                print(f"error: {printable(str(images.pop(path)).rpartition(';')[0])}", file=sys.stderr)
                unreadable.append(path)
            if images:
                yield list(images), np.stack(list(images.values()))  # type: ignore[arg-type]
            bar.update(len(part))


def describe(threshold: Threshold) -> list[str]:
    """The threshold and its error rates on known people, in a line or two."""
    errors = f"this rejects or misnames {threshold.missed:.1%} of known people on the test images (FNIR)"
    lines = [f"{UNKNOWN} below {threshold.score} {threshold.value:.4f}: {errors}"]
    if threshold.turned_away > 0.5:
        lines.append(f"warning: the threshold rejects {threshold.turned_away:.0%} of known people; fpir=null names all")
    return lines


def as_json(predictions: Sequence[Prediction]) -> str:
    """A JSON list of the predictions."""
    return json.dumps(predictions, indent=1, ensure_ascii=False) + "\n"


def as_csv(predictions: Sequence[Prediction]) -> str:
    """CSV with one row per image: file, predicted person, then person and probability by rank."""
    ranks = range(1, 1 + max((len(prediction["top"]) for prediction in predictions), default=0))
    header = ["file", "predicted", *(f"{key}_{rank}" for rank in ranks for key in ("person", "probability"))]
    rows = [[p["file"], p["predicted"], *(cell for top in p["top"] for cell in top.values())] for p in predictions]
    return csv_text(header, rows)


def as_table(predictions: Sequence[Prediction]) -> str:
    """A table for the terminal, one line per image."""
    rows = [["image", "predicted", "the most likely people and their probabilities"]]
    for prediction in predictions:
        top = ", ".join(f"{person['person']} {person['probability']:.3f}" for person in prediction["top"])
        rows.append([printable(text) for text in (prediction["file"], prediction["predicted"], top)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)


if __name__ == "__main__":
    cli.start(main)
