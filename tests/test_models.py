"""Models: parameter counts, equations of the LSTM, shapes."""

from typing import Any, Literal, get_args

import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lfw_seq.models.encoded import TwoReaders
from lfw_seq.models.encoders import Reorder, ResidualStack, RowConvolution, RowWindows, WindowConvolution
from lfw_seq.models.recurrent import CELLS, LSTM, Pooling, RecurrentReader, bf16_error
from lfw_seq.models.reference import Gates, ReferenceLSTM, read_cell, update_cell

from .conftest import Compose

SHAPE = {"num_features": 37, "num_rows": 50, "num_classes": 7}


def reader(**changes: Any) -> RecurrentReader:
    keys: dict[str, Any] = {"cell": "lstm", "hidden_size": 128, "num_layers": 2, "dropout": 0.3, "bidirectional": False}
    return RecurrentReader(**(SHAPE | keys | {"pooling": "last", "init": "torch"} | changes))


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_the_labs_network_has_its_parameters() -> None:
    net = reader()
    assert [parameters(layer) for layer in net.layers] == [85_504, 132_096]
    assert parameters(net.head) == 903
    assert parameters(net) == 218_503
    # Keras has one bias per gate, torch two; the count printed in the lab is for rows of 47 pixels
    assert parameters(net) - 2 * 4 * 128 == 217_479
    assert 4 * (128**2 + 128 * 47 + 128) == 90_112 == parameters(reader(num_features=47).layers[0]) - 4 * 128


def test_it_is_the_network_of_torchs_own_two_layers() -> None:
    net = reader().eval()
    whole = nn.LSTM(37, 128, num_layers=2, batch_first=True)
    whole.load_state_dict(
        {name.replace("l0", f"l{i}"): p for i, layer in enumerate(net.layers) for name, p in layer.state_dict().items()}
    )
    rows = torch.rand(4, 50, 37)
    assert torch.allclose(net(rows), net.head(whole(rows)[0][:, -1]), atol=1e-6)


@pytest.mark.skipif(bool(bf16_error()), reason="this processor trains no LSTM in bfloat16")
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("features", [37, 38, 47])
def test_a_layer_is_torchs_in_float32_and_pads_odd_rows_in_bfloat16(features: int, bidirectional: bool) -> None:
    torch.manual_seed(0)
    whole = nn.LSTM(features, 16, batch_first=True, bidirectional=bidirectional)
    layer = LSTM(features, 16, batch_first=True, bidirectional=bidirectional)
    layer.load_state_dict(whole.state_dict())
    rows = torch.rand(4, 50, features)
    expected = whole(rows)[0]
    assert torch.equal(layer(rows)[0], expected)
    expected.square().sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        states = layer(rows)[0]
    assert (states - expected).abs().max() < 0.02  # eight bits of mantissa
    states.float().square().sum().backward()
    for mine, theirs in zip(layer.parameters(), whole.parameters(), strict=True):
        assert mine.shape == theirs.shape
        assert mine.grad is not None
        assert theirs.grad is not None
        assert (mine.grad - theirs.grad).norm() < 0.03 * theirs.grad.norm()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pooling", get_args(Pooling))
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_option_gives_logits_and_gradients(cell: str, pooling: str, bidirectional: bool) -> None:
    net = reader(cell=cell, pooling=pooling, bidirectional=bidirectional, hidden_size=16, init="keras")
    logits = net(torch.rand(3, 50, 37))
    assert logits.shape == (3, 7)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_zero_layers_pool_the_rows_and_conv_covers_three() -> None:
    rows = torch.rand(3, 50, 37, requires_grad=True)
    for pooling, pooled in (("mean", rows.mean(dim=1)), ("last", rows[:, -1])):
        net = reader(num_layers=0, pooling=pooling, bidirectional=True).eval()
        assert parameters(net) == 38 * 7
        assert torch.equal(net(rows), net.head(pooled))
    net = reader(cell="conv", num_layers=1, pooling="last").eval()
    (gradient,) = torch.autograd.grad(net(rows).sum(), rows)
    assert gradient.abs().sum(dim=(0, 2)).nonzero().flatten().tolist() == [48, 49], "the last row and the one before"


def test_last_of_both_directions_depends_on_every_row() -> None:
    net = reader(bidirectional=True, num_layers=1, dropout=0.0, hidden_size=8)
    rows = torch.rand(1, 50, 37, requires_grad=True)
    features = net._pool(net.layers[0](rows)[0])
    for half in (features[:, :8], features[:, 8:]):
        (gradient,) = torch.autograd.grad(half.sum(), rows, retain_graph=True)
        assert (gradient.abs().sum(dim=2) > 0).all()


def test_keras_initialisation() -> None:
    torch.manual_seed(0)
    net = reader(init="keras")
    lstm = net.layers[0]
    assert isinstance(lstm, nn.LSTM)
    limit = (6 / (37 + 4 * 128)) ** 0.5
    weight, recurrent, bias_in, bias_hidden = lstm.all_weights[0]
    assert 0.95 * limit < weight.abs().max() <= limit
    assert torch.allclose(recurrent.T @ recurrent, torch.eye(128), atol=1e-5)
    bias = bias_in + bias_hidden
    assert bias.view(4, 128).unique(dim=1).flatten().tolist() == [0, 1, 0, 0]
    assert net.head.bias.abs().max() == 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), features=st.integers(1, 12), hidden=st.integers(1, 12), steps=st.integers(1, 20))
def test_the_equations_agree_with_torch(seed: int, features: int, hidden: int, steps: int) -> None:
    torch.manual_seed(seed)
    exact = torch.float64  # in float32, the sums over steps differ by more on some processors
    lstm = nn.LSTM(features, hidden, batch_first=True, dtype=exact)
    rows = torch.randn(3, steps, features, dtype=exact)

    def gradients(states: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad((states**2).sum(), list(lstm.parameters())))

    theirs, (_, their_cell) = lstm(rows)
    theirs_grad = gradients(theirs)
    ours, our_cell = ReferenceLSTM(lstm)(rows)
    assert torch.allclose(ours, theirs, atol=1e-12, rtol=1e-9)
    assert torch.allclose(our_cell, their_cell[0], atol=1e-12, rtol=1e-9)
    for a, b in zip(gradients(ours), theirs_grad, strict=True):
        assert torch.allclose(a, b, atol=1e-12, rtol=1e-9)


def test_the_labs_worked_example() -> None:
    cell = torch.tensor([1.0, -0.5, 0.8])
    gates = Gates(
        input=torch.tensor([0.8, 0.2, 0.9]),
        forget=torch.tensor([0.9, 0.1, 0.7]),
        candidate=torch.tensor([0.5, -0.3, 0.7]),
        output=torch.tensor([0.9, 0.5, 0.8]),
    )
    cell = update_cell(gates, cell)
    assert cell.tolist() == pytest.approx([1.3, -0.11, 1.19])
    # the lab rounds tanh on the way: .86 x .9 = .77, -.11 x .5 = -.06, .83 x .8 = .66
    assert read_cell(gates, cell).tolist() == pytest.approx([0.77, -0.06, 0.66], abs=0.01)


def composed(config: Compose, name: str, **shape: int) -> nn.Module:
    net: nn.Module = instantiate(config(f"model={name}").model, **(SHAPE | shape), _convert_="all")
    return net


D, L = 256, 2 * 4 * 128  # both directions of 128: states, and gates
HEAD = D + 1 + 7 * (D + 1)  # attention and the linear layer
COUNTS = {
    "lstm": 218_503,
    "mlp": (50 * 37 + 1) * 128 + 129 * 128 + 129 * 7,
    "windows": L * (5 * 37 + 128 + 2) + L * (D + 128 + 2) + HEAD,
    "row_conv": 16 * 5 + 2 * 16 + 32 * 16 * 5 + 2 * 32 + L * (32 * 10 + 128 + 2) + L * (D + 128 + 2) + HEAD,
    "window_conv": 32 * 25 + 2 * 32 + L * (32 * 19 + 128 + 2) + L * (D + 128 + 2) + HEAD,
    "residual": 38 * D + 2 * (2 * D + L * (D + 128 + 2)) + 2 * D + L * (D + 128 + 2) + HEAD,
    "two_readers": L * (37 + 50 + 2 * 130) + 2 * (L * (D + 128 + 2) + HEAD),
    "cnn": 9 * (32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128) + 7 * (128 * 7 * 5 + 1),
}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_readers_have_their_parameters_and_read_any_size(config: Compose, name: str, count: int) -> None:
    net = composed(config, name)
    assert parameters(net) == count
    logits = net(torch.rand(3, 50, 37))
    assert logits.shape == (3, 7)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert composed(config, name, num_features=47, num_rows=62, num_classes=3)(torch.rand(2, 62, 47)).shape == (2, 3)


def test_a_window_is_a_row_with_its_neighbours() -> None:
    rows = torch.arange(1.0, 7.0).view(1, 6, 1).expand(1, 6, 2)
    encoder = RowWindows(num_features=2, num_rows=6, window=3, stride=2)
    steps = encoder(rows)
    assert steps.shape == (1, encoder.num_rows, encoder.num_features) == (1, 3, 6)
    assert steps[0].tolist() == [[0, 0, 1, 1, 2, 2], [2, 2, 3, 3, 4, 4], [4, 4, 5, 5, 6, 6]]


def reach(encoder: nn.Module, step: int) -> list[int]:
    """Rows with a gradient from a step."""
    rows = torch.rand(2, 50, 37, requires_grad=True)
    (gradient,) = torch.autograd.grad(encoder.eval()(rows)[0, step].sum(), rows)
    return sorted(gradient[0].abs().sum(dim=1).nonzero().flatten().tolist())


def test_receptive_fields_of_steps() -> None:
    along = RowConvolution(37, 50, channels=[4, 8], kernel=5, dropout=0.5)
    assert (along.num_rows, along.num_features) == (50, 80)
    assert along(torch.rand(2, 50, 37)).shape == (2, 50, 80)
    assert reach(along, 20) == [20], "a convolution along the row does not mix rows"
    window = WindowConvolution(37, 50, channels=[64], kernel=5, dropout=0.5)
    assert (window.num_rows, window.num_features) == (25, 64 * 19)
    assert window(torch.rand(2, 50, 37)).shape == (2, 25, 64 * 19)
    assert reach(window, 10) == list(range(18, 24)), "five rows around each of two pooled ones"
    assert reach(RowWindows(37, 50, window=5, stride=2), 10) == list(range(18, 23))


def test_the_residual_stack_adds_to_what_it_reads() -> None:
    stack = ResidualStack(37, 50, hidden_size=8, num_layers=2, dropout=0.0, bidirectional=True)
    for layer in stack.layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)  # a layer with output 0
    rows = torch.rand(2, 50, 37)
    assert torch.allclose(stack(rows), stack.leave(stack.enter(rows)))
    assert stack(rows).mean(dim=2).abs().max() < 1e-5


def test_two_readers_read_rows_and_columns(config: Compose) -> None:
    net = composed(config, "two_readers").eval()
    assert isinstance(net, TwoReaders)
    rows = torch.rand(2, 50, 37)
    assert torch.equal(net(rows), net.rows(rows) + net.columns(rows.transpose(1, 2)))


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("pixels", ["kept", "alike", "each"])
def test_reordering_keeps_every_pixel(rows: bool, pixels: Literal["kept", "alike", "each"]) -> None:
    image = torch.arange(50 * 37.0).reshape(1, 50, 37)
    reordered = Reorder(37, 50, rows=rows, pixels=pixels, seed=0)(image)
    assert torch.equal(reordered, Reorder(37, 50, rows=rows, pixels=pixels, seed=0)(image))
    assert torch.equal(reordered.sort(dim=2).values.sort(dim=1).values, image)
    row, column = (reordered // 37)[0], (reordered % 37)[0]
    assert (row == row[:, :1]).all(), "a row keeps its pixels"
    assert torch.equal(row[:, 0], torch.arange(50.0)) == (not rows)
    assert (column == column[:1]).all() == (pixels != "each")
    assert torch.equal(column[0], torch.arange(37.0)) == (pixels == "kept")
