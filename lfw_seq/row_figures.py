"""Pictures of what a net does over the steps it reads.

Shape legend: T steps, H image rows, W pixels a row.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lfw_seq.figures import axes, style


def by_step(
    title: str, y: str, series: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], logarithmic: bool = False
) -> Figure:
    """Curves over the steps.

    Args:
        title: of the figure.
        y: name of the vertical axis.
        series: steps from 1 and values, by name.
        logarithmic: vertical axis; what is 0 is left out.
    """
    figure, plot = axes(title, "step, in the order of reading", y)
    for index, (name, (steps, values)) in enumerate(series.items()):
        shown = np.where(values > 0, values, np.nan) if logarithmic else values
        plot.plot(steps, shown, label=name, **style(index))
    if logarithmic:
        plot.set_yscale("log")
    if len(series) > 1:
        plot.legend(fontsize=9)
    return figure


def gates(layers: Mapping[str, Mapping[str, NDArray[Any]]]) -> Figure:
    """The mean of each gate by step, one plot a layer."""
    figure = Figure(figsize=(4.2 * len(layers) + 1.2, 4.2), layout="constrained")
    for plot, (layer, means) in zip(
        np.atleast_1d(figure.subplots(1, len(layers), sharey=True)), layers.items(), strict=True
    ):
        for index, (gate, values) in enumerate(means.items()):
            plot.plot(np.arange(1, len(values) + 1), values, label=gate, **style(index))
        plot.set(title=layer, xlabel="step, in the order of reading", ylim=(0, 1))
        plot.grid(alpha=0.25)
    figure.axes[0].set_ylabel("mean gate: 0 closed, 1 open")
    figure.axes[0].legend(fontsize=9)
    return figure


def saliency(mean_face: NDArray[Any], strength: NDArray[Any]) -> Figure:
    """Which pixels an answer hangs on: the mean face, the strength at each pixel, and by row, (H, W) each."""
    figure = Figure(figsize=(8.6, 4.4), layout="constrained")
    face, pixel, row = figure.subplots(1, 3)
    face.imshow(mean_face, cmap="gray", vmin=0, vmax=1)
    face.set(title="mean face", xticks=[], yticks=[])
    image = pixel.imshow(strength, cmap="cividis")
    pixel.set(title="saliency", xticks=[], yticks=[])
    figure.colorbar(image, ax=pixel, shrink=0.7)
    row.plot(strength.mean(axis=1), np.arange(len(strength)), color="#0072b2")
    row.set(title="by image row", xlabel="mean |d logit / d pixel|", ylim=(len(strength) - 0.5, -0.5))
    row.grid(alpha=0.25)
    return figure
