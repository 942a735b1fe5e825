"""What our epoch is compared with inside this process.

Shape legend: B batch, T rows, F features a row, H hidden size.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from lfw_seq.benchmarks.turns import Contender, Cost, now
from lfw_seq.classifier import Batch
from lfw_seq.data.batches import shuffled
from lfw_seq.data.module import FaceRows
from lfw_seq.metrics import classification_metrics
from lfw_seq.models.recurrent import RecurrentReader


def clocked(epoch: Callable[[int], None], epochs: int, device: torch.device) -> Contender:
    """A contender that runs `epochs` epochs a turn, and says what one took."""
    number = 0

    def turn() -> Cost:
        nonlocal number
        started = now(device)
        for _ in range(epochs):
            epoch(number)
            number += 1
        return now(device).since(started).of(epochs)

    return turn


def epoch_batches(data: FaceRows, number: int, device: torch.device) -> tuple[Tensor, ...]:
    """Which images each training batch of an epoch holds, (B,) each."""
    order = shuffled(len(data.tensors["train"][1]), data.seed, number)
    return tuple(order.to(device).split(data.batch_sizes["train"]))


def bare_loop(
    net: nn.Module,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    data: FaceRows,
    device: torch.device,
) -> Callable[[int], None]:
    """The shortest loop that trains and validates a net on our batches."""
    rows, labels = (tensor.to(device) for tensor in data.tensors["train"])
    val_rows, val_labels = (tensor.to(device) for tensor in data.tensors["val"])
    steps = optimizer(net.parameters())

    def epoch(number: int) -> None:
        net.train()
        for part in epoch_batches(data, number, device):
            steps.zero_grad()
            cross_entropy(net(rows[part]), labels[part]).backward()
            steps.step()
        net.eval()
        with torch.no_grad():
            cross_entropy(net(val_rows), val_labels).item()

    return epoch


def keeping_loop(
    net: nn.Module,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    data: FaceRows,
    device: torch.device,
    folder: Path,
) -> Callable[[int], None]:
    """The shortest loop that also does what our epochs are for: all metrics, metrics.csv, last and best checkpoint."""
    rows, labels = (tensor.to(device) for tensor in data.tensors["train"])
    val_rows, val_labels = (tensor.to(device) for tensor in data.tensors["val"])
    steps = optimizer(net.parameters())
    metrics = {stage: classification_metrics(len(data.faces.names)).to(device) for stage in ("train", "val")}
    least = math.inf

    def measured(stage: str, logits: Tensor, truth: Tensor) -> dict[str, float]:
        metrics[stage].update(logits.softmax(dim=1), truth)
        values = {"loss": cross_entropy(logits, truth), **metrics[stage].compute()}
        metrics[stage].reset()
        return {f"{stage}/{name}": value.item() for name, value in values.items() if value.ndim == 0}

    def epoch(number: int) -> None:
        nonlocal least
        net.train()
        parts = epoch_batches(data, number, device)
        seen = []
        for part in parts:
            steps.zero_grad()
            logits = net(rows[part])
            cross_entropy(logits, labels[part]).backward()
            steps.step()
            seen.append(logits.detach())
        net.eval()
        with torch.no_grad():
            values = measured("train", torch.cat(seen), labels[torch.cat(parts)])
            values |= measured("val", net(val_rows), val_labels)
        with (folder / "metrics.csv").open("a") as file:
            file.write(",".join(map(str, values.values())) + "\n")
        checkpoint = {"epoch": number, "net": net.state_dict(), "optimizer": steps.state_dict()}
        torch.save(checkpoint, folder / "last.ckpt")
        if values["val/loss"] < least:
            least = values["val/loss"]
            torch.save(checkpoint, folder / "best.ckpt")

    return epoch


def augmentation(
    augment: Callable[[Tensor, Tensor], Batch], data: FaceRows, device: torch.device
) -> Callable[[int], None]:
    """The augmentation of an epoch's batches, and nothing else."""
    rows, labels = (tensor.to(device) for tensor in data.tensors["train"])

    def epoch(number: int) -> None:
        for part in epoch_batches(data, number, device):
            augment(rows[part], labels[part])

    return epoch


def matrix_products(net: RecurrentReader, data: FaceRows, device: torch.device) -> Callable[[int], None]:
    """The matrix products of an epoch's training steps, forward and backward, and nothing else.

    Whatever is the same for all T steps of a layer is one product; what waits for the step before it is T of them.
    """
    images, steps = len(data.tensors["train"][1]), data.shape[0]
    sizes = [len(part) for part in torch.arange(images).split(data.batch_sizes["train"])]
    layers = [dict(layer.named_parameters()) for layer in net.layers]
    weights = [(layer["weight_ih_l0"].detach(), layer["weight_hh_l0"].detach()) for layer in layers]  # (4H, F), (4H, H)
    head = net.head.weight.detach()
    buffers = {size: [layer_buffers(size, steps, ih, hh) for ih, hh in weights] for size in set(sizes)}
    tops = {size: (head.new_ones(size, head.shape[1]), head.new_ones(size, head.shape[0])) for size in set(sizes)}

    def epoch(number: int) -> None:
        for size in sizes:
            for index, ((ih, hh), (rows, state, gates, all_states, all_gates)) in enumerate(
                zip(weights, buffers[size], strict=True)
            ):
                torch.mm(rows, ih.t())
                for _ in range(steps):
                    torch.mm(state, hh.t())
                for _ in range(steps):
                    torch.mm(gates, hh)
                torch.mm(all_gates.t(), rows)
                torch.mm(all_gates.t(), all_states)
                if index:  # nobody asks for the gradient of the pixels
                    torch.mm(all_gates, ih)
            state, logits = tops[size]
            torch.mm(state, head.t())
            torch.mm(logits.t(), state)
            torch.mm(logits, head)

    return epoch


def layer_buffers(size: int, steps: int, ih: Tensor, hh: Tensor) -> tuple[Tensor, ...]:
    """What a layer multiplies its weights with: (TB, F), (B, H), (B, 4H), (TB, H), (TB, 4H)."""
    gates, features = ih.shape
    hidden = hh.shape[1]
    shapes = ((steps * size, features), (size, hidden), (size, gates), (steps * size, hidden), (steps * size, gates))
    return tuple(torch.rand(shape, device=ih.device) for shape in shapes)
