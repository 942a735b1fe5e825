"""What a net does row by row, and the figures of it."""

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from lfw_seq.data.sequences import Layout, Standardize
from lfw_seq.evaluation import biometrics as bio
from lfw_seq.evaluation import drawing, figures
from lfw_seq.evaluation.rows import accuracy_by_step, mean_gates, record_inputs, row_gradients, saliency
from lfw_seq.models.predictor import Predictor
from lfw_seq.models.recurrent import Cell, RecurrentReader


def reader(cell: Cell) -> RecurrentReader:
    torch.manual_seed(0)
    return RecurrentReader(5, 9, 3, cell, 6, 2, 0.3, False, "last", "torch").eval()


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_by_row_are_those_of_single_images(cell: Cell) -> None:
    net, rows, labels = reader(cell), torch.rand(4, 9, 5), torch.tensor([0, 1, 2, 0])
    found = row_gradients(net, rows, labels)
    assert list(found) == ["pixels", "input of layer 2"]
    norms = []
    for row, label in zip(rows, labels, strict=True):
        pixels = row[None].clone().requires_grad_()
        functional.cross_entropy(net(pixels), label[None]).backward()
        assert pixels.grad is not None
        norms.append(pixels.grad[0].norm(dim=1))
    assert np.allclose(list(found["pixels"].values()), torch.stack(norms).mean(dim=0).numpy(), atol=1e-7)
    strength = saliency(net, rows, labels)
    step = torch.zeros_like(rows)
    step[:, 2, 3] = 1e-3
    with torch.no_grad():
        slope = (net(rows + step) - net(rows - step)).gather(1, labels[:, None]) / 2e-3
    assert strength[2, 3] == pytest.approx(slope.abs().mean().item(), rel=1e-2)


def test_gates_follow_the_equations() -> None:
    layer, rows = nn.LSTM(5, 6, batch_first=True), torch.rand(4, 9, 5)
    means = mean_gates(layer, rows)
    weight, _, *biases = layer.all_weights[0]
    first = torch.sigmoid(rows[:, 0] @ weight.T + sum(biases)).chunk(4, dim=1)
    for part, name in ((0, "input"), (1, "forget"), (3, "output")):
        assert list(means[name]) == list(range(1, 10))
        assert means[name][1] == pytest.approx(first[part].mean().item(), abs=1e-6)


def test_reading_stops_only_where_the_net_can_and_errors_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    net, rows = reader("lstm"), torch.rand(6, 9, 5)
    predictor = Predictor(net, Standardize("none", 9, 5), 1.0, None).eval()
    labels = predictor(rows).argmax(dim=1)
    found = accuracy_by_step(predictor, rows, labels, points=3)
    assert list(found) == [4, 6, 9]
    assert found[9] == 1.0
    (features,) = [x for layer, x in record_inputs(net, nn.Linear, rows)[1].items() if layer is net.head]
    assert torch.allclose(net.head(features), net(rows))
    monkeypatch.setattr(net, "forward", lambda rows: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    with pytest.raises(torch.OutOfMemoryError):
        accuracy_by_step(predictor, rows, labels)
    needs_all = nn.Sequential(nn.Flatten(), nn.Linear(45, 2))
    assert accuracy_by_step(Predictor(needs_all, Standardize("none", 9, 5), 1.0, Layout(False, 1)), rows, labels) == {}


def contrast(colour: Any, ground: Any) -> float:
    """The ratio of WCAG 2.2, from 1 to 21."""
    both: NDArray[np.float64] = np.array([to_rgb(colour), to_rgb(ground)])
    linear = np.where(both <= 0.04045, both / 12.92, ((both + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return float((high + 0.05) / (low + 0.05))


def test_lines_and_text_have_contrast() -> None:
    assert all(contrast(colour, "white") >= 4.5 for colour in (*drawing.COLOURS, drawing.REFERENCE["color"]))
    for share in np.linspace(0, 1, 201):
        text = "white" if share > figures.WHITE_FROM else "black"
        assert contrast(text, colormaps["Blues"](share)[:3]) >= 4.5, share


@pytest.mark.parametrize("people", [2, 30])
def test_figures_hold_few_images_and_many_people(people: int) -> None:
    chance, names = np.random.default_rng(0), [f"Person {index} {'of a long name' * 3}" for index in range(people)]
    truth = np.array([0, 0, 1])  # most people have no image
    scores = chance.dirichlet(np.ones(people), 3)
    drawn = {
        "confusion": figures.confusion(scores.argmax(axis=1), truth, names),
        "curves": figures.per_person(scores, truth, names),
        "reliability": figures.reliability({"one": (scores, truth), "other": (scores**2, truth)}),
        "det": figures.det({"": bio.det(*bio.verification_scores(scores, truth))}),
        "cmc": figures.cmc({"one": bio.cmc(scores, truth)}, truth),
        "faces": figures.faces(chance.random((7, 5, 4, 3)), names[:1] * 7, "seven"),
    }
    for name, figure in drawn.items():
        assert isinstance(figure, Figure), name
        figure.draw_without_rendering()
    legend = drawn["curves"].axes[0].get_legend()
    assert legend is not None
    assert [text.get_text().partition(" (")[0] for text in legend.get_texts()] == list(map(drawing.short, names[:2]))
