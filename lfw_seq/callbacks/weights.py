"""Histograms of weights and of their gradients."""

from lightning import Trainer
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

from lfw_seq.callbacks.periodic import Periodic
from lfw_seq.classifier import Classifier
from lfw_seq.data.module import FaceRows


class Weights(Periodic):
    """Weights, and their gradients at the epoch's last step."""

    guess = 0.1

    def __init__(self, every_n_epochs: int, time_share: float) -> None:
        super().__init__(every_n_epochs, time_share)
        self.gradients: dict[str, Tensor] = {}

    def on_before_optimizer_step(  # type: ignore[override]
        self, trainer: Trainer, pl_module: Classifier, optimizer: Optimizer
    ) -> None:
        """Keep the gradients that are shown at the epoch's end: by then they are gone."""
        if trainer.is_last_batch and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            parts = pl_module.net.named_parameters()
            self.gradients = {name: part.grad.detach().clone() for name, part in parts if part.grad is not None}

    def show(self, writer: SummaryWriter, data: FaceRows, model: Classifier, stage: str, step: int) -> None:
        """Write them; at the end the best weights alone."""
        for name, part in model.net.named_parameters():
            writer.add_histogram(f"weights/{name}", part.detach().float().cpu().numpy(), step)
        for name, gradient in self.gradients.items():
            writer.add_histogram(f"gradients/{name}", gradient.float().cpu().numpy(), step)
        self.gradients = {}
