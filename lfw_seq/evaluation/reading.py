"""A net reading one face row by row: pixels read, saliency, probabilities and gates, as frames and as a GIF.

Shape legend: T rows, F pixels a row, S stops (numbers of rows read), H and W of a face, C people.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from lfw_seq.data.sequences import Preprocessing, pictures
from lfw_seq.data.synthetic import Synthetic
from lfw_seq.evaluation import rows as by_row
from lfw_seq.evaluation.drawing import REFERENCE, ignoring_glyphs, plots, short
from lfw_seq.models.predictor import Predictor
from lfw_seq.runs.record import UNKNOWN

UNREAD = (0.55, 0.65, 0.8)  # colour of pixels not yet read
COLOURS, DPI = 192, 72  # of a GIF
MAX_PEOPLE = 7  # whose probabilities are drawn


class Reading(NamedTuple):
    """Predictions for one face after some of its rows, or of its columns with data.order=columns."""

    names: Sequence[str]  # of the C people
    face: NDArray[np.float32]  # the input in [0, 1], (H, W, 3)
    row: NDArray[np.float32]  # index of each pixel's row, (H, W)
    saliency: NDArray[np.float32]  # of each pixel for the person predicted at the end, (H, W)
    stops: NDArray[np.int64]  # numbers of rows read, (S,), the last being T
    probabilities: NDArray[np.float32]  # after each stop, (S, C); constant for a net that needs the whole image
    gates: dict[str, NDArray[np.float64]]  # by name, rows and mean activations, (2, T); empty without an LSTM
    threshold: float  # the probability below which a person is unknown

    def caption(self, rows: int) -> str:
        """The person predicted after some rows, with the probability."""
        last = np.searchsorted(self.stops, rows, "right") - 1
        scores = self.probabilities[last]
        name = self.names[scores.argmax()] if scores.max() >= self.threshold else UNKNOWN
        return f"after {self.stops[last]} of {self.stops[-1]} rows: {name}, {scores.max():.2f}"


def draw_face(prepare: Preprocessing, people: int, seed: int, number: int = 0) -> NDArray[np.float32]:
    """The synthetic face of an index, modulo their number: (H, W), or (H, W, 3) in color, in [0, 1]."""
    people = min(max(people, 2), MAX_PEOPLE)
    faces = Synthetic(people, 10 * people, prepare.height, prepare.width, seed).load().images
    face: NDArray[np.float32] = faces[number % len(faces)]
    return np.repeat(face[:, :, None], 3, axis=2) if prepare.color else face


def read(
    predictor: Predictor,
    prepare: Preprocessing,
    names: Sequence[str],
    face: NDArray[Any],
    threshold: float = 0.0,
    most: int = 64,
) -> Reading:
    """Predict a face (H, W[, 3]) in [0, 1] after each of its rows, or after `most` of them, evenly spaced."""
    rows = torch.from_numpy(prepare.rows(face[None])).to(next(predictor.parameters()))  # (1, T, F)
    steps, fewer = rows.shape[1], getattr(predictor.net, "accepts_fewer_rows", False)
    stops = np.linspace(1, steps, min(steps, most)).round().astype(int)
    with by_row.inspecting(predictor):
        with torch.no_grad():
            prepared = predictor.prepare(rows)
            logits = [predictor.logits(prepared[:, : stop if fewer else steps]) for stop in stops.tolist()]
            scores = torch.cat(logits).float().softmax(dim=1)
            layers = by_row.record_inputs(predictor.net, nn.LSTM, prepared)[1]
        strength = by_row.saliency(predictor, rows, scores[-1:].argmax(dim=1))
    strength = strength.reshape(steps, -1, prepare.layout.colours).mean(axis=2)
    parts = (np.indices(strength.shape, np.float32)[0], strength)
    row, strength = (pictures(part[None], prepare.order, color=False)[0] for part in parts)
    gates = next((by_row.mean_gates(layer, inputs) for layer, inputs in layers.items()), {})
    scaled = {name: np.array([*means.items()]).T * [[steps / len(means)], [1]] for name, means in gates.items()}
    seen = np.broadcast_to(face.reshape(*row.shape, -1), (*row.shape, 3))
    return Reading(names, seen, row, strength, stops, scores.cpu().numpy(), scaled, threshold)


def draw(readings: Sequence[Reading], stops: Sequence[int], dpi: int) -> Iterator[NDArray[np.uint8]]:
    """Yield an RGB frame for each number of rows, with one line of plots per net; static parts are drawn once."""
    figure, axes = plots(9, 2.7 * len(readings), len(readings), 4, width_ratios=[2, 2, 6, 4])
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    updates = [lay_out(reading, *axes[4 * line : 4 * line + 4]) for line, reading in enumerate(readings)]
    with ignoring_glyphs():
        canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    for stop in stops:
        canvas.restore_region(still)
        with ignoring_glyphs():
            for artist in (artist for update in updates for artist in update(stop)):
                artist.axes.draw_artist(artist)  # type: ignore[union-attr]
        yield np.array(canvas.buffer_rgba())[:, :, :3]


def lay_out(reading: Reading, seen: Axes, strong: Axes, people: Axes, gates: Axes) -> Callable[[int], list[Artist]]:
    """Draw axes and legends; the function returned sets face, saliency, curves and title to a number of rows."""
    face = seen.imshow(reading.face, animated=True)
    strength = strong.imshow(reading.saliency, vmin=0, vmax=reading.saliency.max(), cmap="magma", animated=True)
    for plot, label in ((seen, "read"), (strong, "saliency")):
        plot.set(xticks=[], yticks=[], xlabel=label)
    likely = np.argsort(-reading.probabilities.max(axis=0), kind="stable")[:MAX_PEOPLE]
    curves = [(people, short(reading.names[who]), reading.stops, reading.probabilities[:, who]) for who in likely]
    curves += [(gates, gate, x, mean) for gate, (x, mean) in reading.gates.items()]
    lines = [(plot.plot([], label=label, animated=True)[0], x, y) for plot, label, x, y in curves]
    if reading.threshold > 0:
        people.axhline(reading.threshold, label=f"{UNKNOWN} below", **REFERENCE)
    for plot in (people, gates):
        plot.set(xlim=(1, reading.stops[-1]), ylim=(0, 1), xlabel="rows read")
    people.set_ylabel("probability")
    people.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    gates.set_title("mean of the gates" if reading.gates else "no gates: not an LSTM", fontsize=10)
    gates.legend(fontsize=7, loc="lower right") if reading.gates else gates.set_axis_off()
    caption = people.set_title("", fontsize=10, animated=True)

    def update(rows: int) -> list[Artist]:
        face.set_data(np.where(reading.row[:, :, None] < rows, reading.face, UNREAD))
        strength.set_data(np.where(reading.row < rows, reading.saliency, np.nan))
        for line, x, y in lines:
            line.set_data(x[x <= rows], y[x <= rows])
        caption.set_text(reading.caption(rows))
        return [face, strength, *(line for line, _, _ in lines), caption]

    return update


def animate(readings: Sequence[Reading]) -> bytes:
    """The frames of all stops as an animated GIF."""
    stops, file = readings[0].stops.tolist(), io.BytesIO()
    drawn = draw(readings, [stops[len(stops) // 2], *stops], DPI)  # one at a time: all would take 20 MB
    half_read = Image.fromarray(next(drawn))  # has the colours of all frames
    colours = half_read.quantize(COLOURS, Image.Quantize.MAXCOVERAGE)  # keeps those of thin lines apart
    start, *frames = (Image.fromarray(frame).quantize(palette=colours, dither=Image.Dither.NONE) for frame in drawn)
    start.save(file, "GIF", save_all=True, append_images=frames, duration=[120] * len(frames) + [3000], loop=0)  # ms
    return file.getvalue()
