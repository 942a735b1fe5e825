"""`python -m lfw_seq.demo run=DIR`: watch the net read a face row by row, on a page for this machine alone or as a GIF.

Shape legend: T rows, F pixels a row, H and W of a face, C people.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.cli import UsageError, check_whole
from lfw_seq.predict import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from lfw_seq.runs.checkpoint import TrainedRun

BACKGROUND = 115  # gray around a drawn face
UNREAD = (0.55, 0.65, 0.8)
GIF_DPI, PAGE_DPI, COLOURS = 72, 130, 64


@dataclass(frozen=True)
class Reading:
    """What a run makes of a face.

    Attributes:
        names: the people, C of them.
        face: what the net sees, (H, W) or (H, W, 3).
        row: the row that each of its pixels is in, from 0, as `face`; a column where columns are read.
        probabilities: after each row, (T, C); all the same for a net that reads whole images only.
        saliency: of each pixel for the person named at the end, as `face`.
        gates: the mean of each by row, none for a net without LSTM.
        threshold: the probability below which a person is unknown.
    """

    names: tuple[str, ...]
    face: NDArray[np.float32]
    row: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    saliency: NDArray[np.float32]
    gates: dict[str, dict[float, float]]
    threshold: float

    def answer(self, rows: int) -> str:
        """The person named after some rows, with the probability."""
        scores = self.probabilities[rows - 1]
        name = self.names[scores.argmax()] if scores.max() >= self.threshold else UNKNOWN
        return f"after {rows} of {len(self.probabilities)} rows: {name}, {scores.max():.2f}"


@hydra.main(config_path=str(cli.CONF), config_name="demo", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Write the GIF, or serve the page until Ctrl-C."""
    cli.run(demo, cfg)


def demo(cfg: DictConfig) -> dict[str, Any]:
    """Show what `conf/demo.yaml` describes.

    Raises:
        UsageError: no such run or photo, runs that read other numbers of rows, or a file that cannot be written.
    """
    check_whole("face", cfg.face, 0)
    check_whole("port", cfg.port, 1, 65535)
    import torch
    from PIL import Image

    from lfw_seq.evaluation.strangers import PROBABILITY, read_threshold
    from lfw_seq.runs.checkpoint import load_run

    torch.set_num_threads(1)
    runs = [load_run(folder) for folder in (cfg.run, cfg.against) if folder is not None]
    if len({run.shape[0] for run in runs}) > 1:
        raise UsageError(f"against={cfg.against}: reads {runs[1].shape[0]} rows, run={cfg.run} {runs[0].shape[0]}")
    thresholds = [read_threshold(run.folder, cfg.fpir, PROBABILITY).value for run in runs]  # after every row
    with TemporaryDirectory() as folder:  # all that a page keeps of photos, until it ends
        first = Path(str(cfg.image)).expanduser() if cfg.image else draw_face(runs[0], cfg.face, Path(folder))
        if cfg.out is None:
            serve(runs, thresholds, first, cfg.port, Path(folder))
            return {}
        readings = [read(run, first, at) for run, at in zip(runs, thresholds, strict=True)]
    rows = range(1, runs[0].shape[0] + 1)
    colours = picture(readings, len(rows), GIF_DPI).quantize(COLOURS)
    start, *frames = [
        picture(readings, row, GIF_DPI).quantize(palette=colours, dither=Image.Dither.NONE) for row in rows
    ]
    times = [120] * len(frames) + [3000]  # milliseconds
    try:
        start.save(Path(str(cfg.out)).expanduser(), "GIF", save_all=True, append_images=frames, duration=times, loop=0)
    except OSError as error:
        raise UsageError(f"out={cfg.out}: cannot be written ({error.strerror}); choose another file") from error
    print("\n".join(reading.answer(len(rows)) for reading in readings))
    return {"frames": len(rows)}


def draw_face(run: TrainedRun, number: int, folder: Path) -> Path:
    """Write a photo of one of the people that `data=synthetic` draws, the face where the run's crop is."""
    from PIL import Image

    from lfw_seq.data.synthetic import Synthetic

    people, crop = max(2, len(run.class_names)), run.preprocessing.crop or (0.0, 1.0, 0.0, 1.0)
    high, wide = run.preprocessing.height, run.preprocessing.width
    images = Synthetic(people, 10 * people, high, wide, run.config["data"].get("seed", 0)).load().images
    face = Image.fromarray((images[number % len(images)] * 255).astype("uint8"))
    photo = Image.new("L", (round(wide / (crop[3] - crop[2])), round(high / (crop[1] - crop[0]))), BACKGROUND)
    photo.paste(face, (round(crop[2] * photo.width), round(crop[0] * photo.height)))
    photo.save(path := folder / f"face{number}.png")
    return path


def read(run: TrainedRun, path: Path, threshold: float) -> Reading:
    """Read a photo row by row.

    Raises:
        UsageError: not a readable image.
    """
    import numpy as np
    import torch
    from torch import nn

    from lfw_seq.data.sequences import pictures
    from lfw_seq.evaluation import rows as by_row

    prepare, predictor = run.preprocessing, run.predictor
    face = prepare.image(path)
    rows = torch.from_numpy(prepare.rows(face[None])).to(next(predictor.parameters()))  # (1, T, F)
    steps = rows.shape[1]
    stops = range(1, steps + 1) if getattr(predictor.net, "accepts_fewer_rows", False) else [steps] * steps
    with by_row.inspecting(predictor):
        with torch.no_grad():
            prepared = predictor.prepare(rows)
            scores = torch.cat([predictor.logits(prepared[:, :stop]) for stop in stops]).float().softmax(dim=1)
            layers = by_row.record_inputs(predictor.net, nn.LSTM, prepared)[1]
        strength = by_row.saliency(predictor, rows, scores[-1:].argmax(dim=1))
    gates = next((by_row.mean_gates(layer, inputs) for layer, inputs in layers.items()), {})
    when = np.repeat(np.arange(steps, dtype=np.float32)[None, :, None], rows.shape[2], axis=2)
    return Reading(
        run.class_names,
        face,
        pictures(when, prepare.order, prepare.color)[0],
        scores.numpy(),
        pictures(strength[None], prepare.order, prepare.color)[0],
        {name: {at * steps / len(means): mean for at, mean in means.items()} for name, means in gates.items()},
        threshold,
    )


def picture(readings: Sequence[Reading], rows: int, dpi: int) -> Image.Image:
    """Face and saliency as far as they are read, probabilities and gates up to there; one line of four for each run."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure((9, 2.7 * len(readings)), dpi, layout="constrained")
    axes = figure.subplots(len(readings), 4, squeeze=False, width_ratios=[2, 2, 6, 4])
    for (seen, strong, people, gates), reading in zip(axes, readings, strict=True):
        steps, colour = np.arange(1, rows + 1), reading.face.ndim == 3
        face, row = (part if colour else np.repeat(part[:, :, None], 3, axis=2) for part in (reading.face, reading.row))
        seen.imshow(np.where(row < rows, face, UNREAD))
        seen.set(xticks=[], yticks=[], xlabel="read")
        saliency, row = (part.mean(axis=2) if colour else part for part in (reading.saliency, reading.row))
        strong.imshow(np.where(row < rows, saliency, np.nan), vmin=0, vmax=saliency.max(), cmap="magma")
        strong.set(xticks=[], yticks=[], xlabel="saliency")
        for person in np.argsort(-reading.probabilities.max(axis=0), kind="stable")[:7]:
            people.plot(steps, reading.probabilities[:rows, person], label=reading.names[person])
        if reading.threshold:
            people.axhline(reading.threshold, color="gray", linestyle=":", label=f"{UNKNOWN} below")
        people.set(xlim=(1, len(reading.probabilities)), ylim=(0, 1), xlabel="rows read", ylabel="probability")
        people.set_title(reading.answer(rows), fontsize=10)
        people.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
        for name, means in reading.gates.items():
            shown = {at: mean for at, mean in means.items() if at <= rows}
            gates.plot(list(shown), list(shown.values()), label=name)
        gates.set(xlim=(1, len(reading.probabilities)), ylim=(0, 1), xlabel="rows read")
        gates.set_title("mean of the gates" if reading.gates else "no gates: not an LSTM", fontsize=10)
        gates.legend(fontsize=7, loc="lower right") if reading.gates else gates.set_axis_off()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def serve(runs: Sequence[TrainedRun], thresholds: Sequence[float], first: Path, port: int, folder: Path) -> None:
    """Serve the page on the loopback until Ctrl-C; what is uploaded lies in `folder`, and is gone with it."""
    os.environ |= {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    with cli.configuring("demo"):
        import gradio

    def look(path: str | None) -> tuple[list[Reading], str]:
        try:
            return [read(run, Path(path), at) for run, at in zip(runs, thresholds, strict=True)] if path else [], ""
        except UsageError as error:
            return [], str(error)

    def show(readings: list[Reading], rows: int) -> tuple[Any, str]:
        answers = "\n".join(reading.answer(rows) for reading in readings)
        return (picture(readings, rows, PAGE_DPI) if readings else None), answers

    def another(number: int) -> tuple[str, int]:
        return str(draw_face(runs[0], number + 7, folder)), number + 7

    steps = runs[0].shape[0]
    with gradio.Blocks(title="Reading a face row by row", analytics_enabled=False) as page:
        readings, number = gradio.State([]), gradio.State(0)
        with gradio.Row():
            photo = gradio.Image(
                str(first), image_mode=None, type="filepath", sources=["upload", "webcam"], label="Photo"
            )
            with gradio.Column():
                rows = gradio.Slider(1, steps, steps, step=1, label="Rows read", elem_id="rows")
                names = gradio.Textbox(label="Named", lines=len(runs), elem_id="names")
                drawn, problem = gradio.Button("Draw a face", elem_id="draw"), gradio.Markdown()
        shown = gradio.Image(show_label=False, buttons=["fullscreen"], interactive=False, format="png")
        drawn.click(another, number, [photo, number])
        for event in (page.load, photo.change):
            event(look, photo, [readings, problem]).then(show, [readings, rows], [shown, names])
        rows.change(show, [readings, rows], [shown, names], trigger_mode="always_last")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio's own requests
    print(f"http://127.0.0.1:{port} until Ctrl-C", flush=True)
    theme = gradio.themes.Base(font="sans-serif", font_mono="monospace")  # others are fetched
    page.launch(server_name="127.0.0.1", server_port=port, share=False, quiet=True, theme=theme, footer_links=[])


if __name__ == "__main__":
    cli.start(main)
