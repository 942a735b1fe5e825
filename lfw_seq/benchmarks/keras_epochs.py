"""The process of `peers.Peer`: trains the lab's net with Keras, a turn of epochs for each line on stdin."""

import json
import os
import sys
import time
from typing import Any

import numpy as np


def main(sizes: dict[str, Any]) -> None:
    """Answer each line with the wall and CPU seconds of an epoch."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print must not be taken for an answer
    faces = np.load(sizes["path"])
    train = faces["train_rows"], faces["train_labels"]
    model = build(sizes, train[0].shape[1:], int(train[1].max()) + 1)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        model.fit(
            *train,
            batch_size=sizes["batch_size"],
            epochs=sizes["epochs"],
            validation_data=(faces["val_rows"], faces["val_labels"]),
            validation_batch_size=len(faces["val_labels"]),
            verbose=0,
        )
        took = [time.perf_counter() - wall, time.process_time() - cpu]
        print(json.dumps([seconds / sizes["epochs"] for seconds in took]), file=answers, flush=True)


def build(sizes: dict[str, Any], shape: tuple[int, ...], classes: int) -> Any:
    """Two LSTM layers with dropout, softmax, Adam: as the lab wrote it, threads as the environment says."""
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(int(os.environ["OMP_NUM_THREADS"]))
        tf.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    model = keras.Sequential([keras.Input(shape)])
    for index in range(layers := sizes["num_layers"]):
        model.add(keras.layers.LSTM(sizes["hidden_size"], return_sequences=index + 1 < layers))
        model.add(keras.layers.Dropout(sizes["dropout"]))
    model.add(keras.layers.Dense(classes, activation="softmax"))
    model.compile(keras.optimizers.Adam(sizes["lr"]), "sparse_categorical_crossentropy")
    return model


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
