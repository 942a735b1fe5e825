"""TensorBoard's HPARAMS: what was chosen beside what came out, comparable over a sweep."""

from collections.abc import Mapping
from typing import Any

from lightning import Callback, Trainer
from torch.utils.tensorboard.summary import hparams

from lfw_seq.callbacks.card import Card
from lfw_seq.classifier import Classifier
from lfw_seq.tensorboard import writer_of

METRICS = {
    f"hp/{stage}_{name}": f"{stage}/{name}"
    for stage in ("val", "test")
    for name in ("loss", "accuracy", "macro_f1", "auroc")
}
ABSENT = "none"  # of a key another model has: a column must not depend on the run TensorBoard reads first


class HParams(Callback):
    """Writes hyperparameters when training starts, and the best epoch's metrics as `hp/*` when it ended.

    Attributes:
        keys: of the config, dotted; of a `_target_` the class is shown.
    """

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys

    def on_train_start(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Write what was chosen, so that a run that never ends is there as well."""
        self._write(trainer, end=False)

    def on_test_end(self, trainer: Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Write what came out."""
        writer = writer_of(trainer)
        if writer is not None:
            for tag, name in METRICS.items():
                if name in pl_module.values:  # without validation images, those of the test alone
                    writer.add_scalar(tag, float(pl_module.values[name]), 0)
            self._write(trainer, end=True)

    def _write(self, trainer: Trainer, end: bool) -> None:
        writer = writer_of(trainer)
        cards = [callback for callback in trainer.callbacks if isinstance(callback, Card)]  # type: ignore[attr-defined]
        if writer is None or not cards:
            return
        card = cards[0].card
        values = {key.replace("._target_", ""): chosen(card["config"], key) for key in self.keys}
        experiment, start, finish = hparams(values, dict.fromkeys(METRICS, 0.0))
        for summary in [finish] if end else [experiment, start]:
            writer._get_file_writer().add_summary(summary)  # add_hparams would make a run of its own


def chosen(config: Mapping[str, Any], key: str) -> float | str:
    """A config's value at a dotted key, as a number or a word; a reader behind an encoder is asked too."""
    node = found(config, key)
    if node is None and key.startswith("model."):
        node = found(config, key.replace("model.", "model.reader.", 1))
    if node is None:
        return ABSENT
    if key.endswith("_target_"):
        return str(node).rpartition(".")[2]
    return node if isinstance(node, int | float) and not isinstance(node, bool) else str(node)


def found(config: Mapping[str, Any], key: str) -> Any:
    """A config's value at a dotted key; None where there is none."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node
