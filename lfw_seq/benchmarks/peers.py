"""Keras as a contender: a process of its own, since a backend is chosen once a process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from lfw_seq.benchmarks.turns import Cost, threads_env
from lfw_seq.data.module import FaceRows

BACKENDS = {"Keras on TensorFlow": "tensorflow", "Keras on JAX": "jax"}


def missing(backend: str) -> str | None:
    """What a backend lacks here, in words; None when it can run."""
    lacking = [name for name in ("keras", backend) if importlib.util.find_spec(name) is None]
    return f"no {' and no '.join(lacking)}: pip install 'lfw_seq[peers]'" if lacking else None


class Peer:
    """Keras with the config's sizes in a child process, on our images; a call trains a turn's epochs."""

    def __init__(self, cfg: DictConfig, data: FaceRows, backend: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "faces.npz"
        arrays = {
            f"{stage}_{what}": tensor.numpy()
            for stage in ("train", "val")
            for what, tensor in zip(("rows", "labels"), data.tensors[stage], strict=True)
        }
        np.savez(path, **arrays)  # type: ignore[arg-type]
        sizes = {
            "path": str(path),
            "epochs": cfg.epochs,
            "batch_size": cfg.data.batch_size,
            "hidden_size": cfg.model.hidden_size,
            "num_layers": cfg.model.num_layers,
            "dropout": cfg.model.dropout,
            "lr": cfg.optimizer.lr,
        }
        self.log = (Path(self.folder.name) / "stderr").open("w+")
        env = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lfw_seq.benchmarks.keras_epochs", json.dumps(sizes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **env, **threads_env(cfg.threads)},
        )

    def __call__(self) -> Cost:
        """What an epoch of a turn took.

        Raises:
            RuntimeError: the process has died; with the end of what it said.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            return Cost(*json.loads(self.process.stdout.readline()))
        except (OSError, ValueError) as error:
            self.log.seek(0)
            raise RuntimeError(f"the Keras process died: {self.log.read()[-2000:]}") from error

    def stop(self) -> None:
        """End the process."""
        self.process.communicate()  # closes its stdin
        self.log.close()
        self.folder.cleanup()
