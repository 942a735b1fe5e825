"""`python -m lfw_seq.demo run=DIR`: a net reads a face row by row, on a page of this machine or as a GIF."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import hydra
from omegaconf import DictConfig

from lfw_seq import cli
from lfw_seq.cli import UsageError
from lfw_seq.parts import Bounds, Natural, check_keys

if TYPE_CHECKING:
    from lfw_seq.evaluation.reading import Reading
    from lfw_seq.runs.checkpoint import TrainedRun

BACKGROUND = 115  # gray level around a drawn face, of 255
PAGE_DPI = 130


@hydra.main(config_path=str(cli.CONF), config_name="demo", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Write the GIF, or serve the page until Ctrl-C."""
    cli.run(demo, cfg)


def demo(cfg: DictConfig) -> dict[str, Any]:
    """Write the GIF or serve the page of `conf/demo.yaml`; returns the number of `frames` of a GIF.

    Raises:
        UsageError: no such run or photo, or runs that read different numbers of rows.
        OSError: a file that cannot be written.
    """
    check_keys(cfg, {"face": Natural, "port": Annotated[int, Bounds(1, 65535)]})
    import torch

    from lfw_seq.evaluation.reading import animate, read
    from lfw_seq.evaluation.strangers import PROBABILITY, read_threshold
    from lfw_seq.runs.checkpoint import load_run

    torch.set_num_threads(1)
    runs = [load_run(folder) for folder in (cfg.run, cfg.against) if folder is not None]
    if len({run.shape[0] for run in runs}) > 1:
        raise UsageError(f"against={cfg.against}: reads {runs[1].shape[0]} rows, run={cfg.run} {runs[0].shape[0]}")
    thresholds = [read_threshold(run.folder, cfg.fpir, PROBABILITY).value for run in runs]  # at every stop

    def read_all(path: Path) -> list[Reading]:
        faces = [(run, run.preprocessing.image(path), at) for run, at in zip(runs, thresholds, strict=True)]
        return [read(run.predictor, run.preprocessing, run.class_names, face, at) for run, face, at in faces]

    if cfg.image is not None and not Path(str(cfg.image)).expanduser().is_file():
        raise UsageError(f"image={cfg.image}: no such file; expected a JPEG, PNG or WebP photo")
    if cfg.out is not None and Path(str(cfg.out)).suffix.lower() != ".gif":
        raise UsageError(f"out={cfg.out}: expected a name that ends in .gif")
    with TemporaryDirectory() as folder:  # of all photos that a page stores; removed at its end
        first = Path(str(cfg.image)).expanduser() if cfg.image else draw_photo(runs[0], cfg.face, Path(folder))
        if cfg.out is None:
            serve(runs, read_all, first, cfg.port, Path(folder))
            return {}
        readings = read_all(first)
    Path(str(cfg.out)).expanduser().write_bytes(animate(readings))
    captions = (cli.printable(reading.caption(runs[0].shape[0])) for reading in readings)
    print("\n".join([*captions, f"in {cfg.out}"]))
    return {"frames": runs[0].shape[0]}


def draw_photo(run: TrainedRun, number: int, folder: Path) -> Path:
    """Write a photo with a drawn face in the run's crop, and return its path."""
    from PIL import Image

    from lfw_seq.evaluation.reading import draw_face

    prepare = run.preprocessing
    face = draw_face(prepare, len(run.class_names), run.config["data"].get("seed", 0), number)
    top, bottom, left, right = prepare.crop or (0.0, 1.0, 0.0, 1.0)
    size = round(prepare.width / (right - left)), round(prepare.height / (bottom - top))
    photo = Image.new("L", size, BACKGROUND)
    photo.paste(Image.fromarray((face * 255).astype("uint8")), (round(left * size[0]), round(top * size[1])))
    photo.save(path := folder / f"face{number}.png")
    return path


def serve(
    runs: Sequence[TrainedRun], read_all: Callable[[Path], list[Reading]], first: Path, port: int, folder: Path
) -> None:
    """Serve the page on 127.0.0.1 until Ctrl-C; uploads are stored in `folder`."""
    os.environ |= {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    with cli.configuring("demo"):
        import gradio
    from lfw_seq.evaluation.reading import draw

    def read_photo(path: str | None) -> tuple[list[Reading], str]:
        try:
            return read_all(Path(path)) if path else [], ""
        except UsageError as error:
            return [], str(error)

    def draw_stop(readings: list[Reading], rows: int) -> tuple[Any, str]:
        captions = "\n".join(reading.caption(rows) for reading in readings)
        return (next(draw(readings, [rows], PAGE_DPI)) if readings else None), captions

    def draw_next_photo(number: int) -> tuple[str, int]:
        return str(draw_photo(runs[0], number + 7, folder)), number + 7

    steps = runs[0].shape[0]
    with gradio.Blocks(title="Reading a face row by row", analytics_enabled=False) as page:
        readings, number = gradio.State([]), gradio.State(0)
        with gradio.Row():
            photo = gradio.Image(
                str(first), image_mode=None, type="filepath", sources=["upload", "webcam"], label="Photo"
            )
            with gradio.Column():
                rows = gradio.Slider(1, steps, steps, step=1, label="Rows read", elem_id="rows")
                captions = gradio.Textbox(label="Predicted", lines=len(runs), elem_id="names")
                button, problem = gradio.Button("Draw a face", elem_id="draw"), gradio.Markdown()
        plots = gradio.Image(show_label=False, buttons=["fullscreen"], interactive=False, format="png")
        button.click(draw_next_photo, number, [photo, number])
        for event in (page.load, photo.change):
            event(read_photo, photo, [readings, problem]).then(draw_stop, [readings, rows], [plots, captions])
        rows.change(draw_stop, [readings, rows], [plots, captions], trigger_mode="always_last")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # hide gradio's requests
    print(f"http://127.0.0.1:{port} until Ctrl-C", flush=True)
    theme = gradio.themes.Base(font="sans-serif", font_mono="monospace")  # gradio fetches its own fonts
    page.launch(server_name="127.0.0.1", server_port=port, share=False, quiet=True, theme=theme, footer_links=[])


if __name__ == "__main__":
    cli.start(main)
