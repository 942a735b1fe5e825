"""A whole epoch of `lfw_seq.train` against the shortest PyTorch loop and Keras, on the same images."""

import os
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch.callbacks import LambdaCallback
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.nn.functional import cross_entropy

from lfw_seq.benchmarks.timing import WARM_UP, Plan, Turn, Turns, unavailable
from lfw_seq.data.module import FaceRows
from lfw_seq.data.module import build as build_data
from lfw_seq.models.recurrent import bf16_error
from lfw_seq.parts import to_plain
from lfw_seq.runs.checkpoint import pick_device
from lfw_seq.training.build import build_classifier, build_trainer
from lfw_seq.training.classifier import Classifier
from lfw_seq.training.fit import prepare_process

OURS, OURS_BF16, BARE, BARE_BF16 = "ours", "ours in bf16", "shortest PyTorch loop", "that loop in bf16"
KERAS = {"Keras on TensorFlow": "tensorflow", "Keras on JAX": "jax"}


def plan(cfg: DictConfig) -> Plan:
    """Train and validate for an epoch per turn; ours also logs and saves all that a run does."""
    cfg.run_dir = str(cfg.run_dir)  # resolved, as new processes have no Hydra
    data, _ = build(cfg)
    arrays = [tensor.numpy() for stage in ("train", "val") for tensor in data.tensors[stage]]
    work: dict[str, tuple[Any, ...]] = {OURS: (ours, "32-true"), BARE: (bare_loop, False)}
    pairs, notes = [(OURS, BARE)], []
    if device_of(cfg).type == "cpu" and (error := bf16_error()):
        notes.append(f"bf16: skipped, {error}")
    else:
        work |= {OURS_BF16: (ours, "bf16-mixed"), BARE_BF16: (bare_loop, True)}
        pairs += [(OURS_BF16, BARE_BF16), (OURS_BF16, OURS), (BARE_BF16, BARE)]
    for name, backend in KERAS.items():
        missing = unavailable("peers", "keras", backend)
        if cfg.model.get("cell") != "lstm" or cfg.model.bidirectional or cfg.model.pooling != "last":
            missing = "skipped, only model=lstm has a counterpart in Keras"
        if missing:
            notes.append(f"{name}: {missing}")
        else:
            work[name] = (keras_fit, backend, *arrays)
            pairs += [(name, own) for own in (OURS, OURS_BF16) if own in work]
    contenders = {name: Turns(train, cfg.rounds, cfg, *args) for name, (train, *args) in work.items()}
    title = f"An epoch of {len(arrays[0]):,} images in batches of {cfg.data.batch_size}"
    return title, contenders, [(*pair, "seconds", "cpu_seconds") for pair in pairs], notes


def build(cfg: DictConfig) -> tuple[FaceRows, Classifier]:
    """Build the data and the classifier of a run."""
    prepare_process(cfg.threads, cfg.seed)
    data = build_data(to_plain(cfg.data), cfg.split_seed, cfg.seed)
    data.setup()
    return data, build_classifier(cfg, data)


def device_of(cfg: DictConfig) -> torch.device:
    """The device that Lightning trains on."""
    return pick_device("cpu" if cfg.trainer.accelerator == "cpu" else "auto")


def ours(turn: Turn, cfg: DictConfig, precision: str) -> None:
    """Train as `lfw_seq.train` does, with a run folder."""
    OmegaConf.set_struct(cfg, False)
    with TemporaryDirectory() as folder:
        trainer = {"precision": precision, "max_epochs": cfg.rounds + WARM_UP + 1}
        cfg.merge_with({"run_dir": folder, "trainer": trainer, "callbacks": {"early_stopping": None}})
        data, classifier = build(cfg)
        build_trainer(cfg, more=[LambdaCallback(on_train_epoch_start=turn)]).fit(classifier, data)


def bare_loop(turn: Turn, cfg: DictConfig, bf16: bool) -> None:
    """Train and validate the same net on the same images in the shortest loop."""
    data, classifier = build(cfg)
    device = device_of(cfg)
    predictor = classifier.predictor.to(device)
    optimizer = classifier.optimizer(predictor.net.parameters())
    train, val = ([tensor.to(device) for tensor in data.tensors[stage]] for stage in ("train", "val"))

    def loss(rows: Tensor, ids: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return cross_entropy(predictor(rows), ids)

    while True:
        turn()
        predictor.train()
        for batch in torch.randperm(len(train[1]), device=device).split(cfg.data.batch_size):
            optimizer.zero_grad()
            loss(train[0][batch], train[1][batch]).backward()
            optimizer.step()
        predictor.eval()
        with torch.no_grad():
            loss(*val).item()


def keras_fit(turn: Turn, cfg: DictConfig, backend: str, rows: Any, ids: Any, *val: Any) -> None:
    """Train the lab's net in Keras on rows (N, T, F) and ids (N,); validate on the two arrays `val`."""
    xla = f"--xla_cpu_multi_thread_eigen={str(cfg.threads > 1).lower()} intra_op_parallelism_threads={cfg.threads}"
    os.environ.update(KERAS_BACKEND=backend, CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3", XLA_FLAGS=xla)
    os.environ.update(TF_NUM_INTRAOP_THREADS=str(cfg.threads), TF_NUM_INTEROP_THREADS="1")
    import keras  # selects its backend at import

    layers: list[Any] = [keras.Input(rows.shape[1:])]
    for number in range(1, cfg.model.num_layers + 1):
        layers.append(keras.layers.LSTM(cfg.model.hidden_size, return_sequences=number < cfg.model.num_layers))
        layers.append(keras.layers.Dropout(cfg.model.dropout))
    model = keras.Sequential([*layers, keras.layers.Dense(int(ids.max()) + 1, activation="softmax")])
    model.compile(keras.optimizers.Adam(cfg.optimizer.lr), "sparse_categorical_crossentropy")
    clock = keras.callbacks.LambdaCallback(on_epoch_begin=turn)
    sizes = {"batch_size": cfg.data.batch_size, "validation_batch_size": len(val[0])}
    model.fit(rows, ids, validation_data=val, callbacks=[clock], verbose=0, epochs=cfg.rounds + WARM_UP + 1, **sizes)
