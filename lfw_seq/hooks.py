"""What Lightning does around each step of a run whose step takes milliseconds: as little as it lets us ask for."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning import Callback, LightningModule
from lightning.pytorch.profilers import Profiler

# Called in each step, and skipped by Lightning where the attribute is not callable.
STEP_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)


def skip_empty(owner: Callback | LightningModule) -> None:
    """Take away the step hooks that a callback or a module inherits empty.

    Lightning would build a label and enter a profiler for each, in each step.
    """
    base = Callback if isinstance(owner, Callback) else LightningModule
    for name in STEP_HOOKS:
        if getattr(type(owner), name) is getattr(base, name):
            setattr(owner, name, None)


class NoProfiler(Profiler):
    """Records nothing, as Lightning's own default, but enters no generator to do so: some 150 times a step."""

    nothing = nullcontext()

    def start(self, action_name: str) -> None:
        """Record nothing."""

    def stop(self, action_name: str) -> None:
        """Record nothing."""

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]  # a generator's there
        """The same empty context each time."""
        return self.nothing
