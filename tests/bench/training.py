"""The retraining job measured: its speed beside `model.fit`, and whether another network sees the class in its dreams.

    python -m tests.bench.training speed DATA             # images/s: one worker, two workers, model.fit; ten minutes
    python -m tests.bench.training scratch DATA           # accuracy of a small network without trained weights
    python -m tests.bench.training classes OUT OTHER      # dreams towards classes, seen by a network of another split

DATA is a folder of class folders. OUT and OTHER are outputs of `raydream retrain` on the same classes, with another
`--seed`. `speed` trains the same layers of the same network on the same images and batches, with shear, zoom and
mirroring; the second epoch counts, with its validation.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDE, BATCH = 128, 32


def main() -> None:
    """Runs one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "fit", "scratch", "classes"])
    parser.add_argument("places", nargs="+")
    chosen = parser.parse_args()
    {"speed": speed, "fit": fit, "scratch": scratch, "classes": classes}[chosen.what](*chosen.places)


def speed(data: str) -> None:
    """Prints the images/s of the second epoch, of each contender in turn."""
    for workers in (1, 2):
        print(f"raydream, {workers} worker{'s' * (workers > 1)}: {ours(data, workers):.2f} images/s", flush=True)
    subprocess.run([sys.executable, "-m", "tests.bench.training", "fit", data], check=True)


def ours(data: str, workers: int) -> float:
    """Images/s of the job."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--size", SIDE, "--batch-size", BATCH, "--epochs", 2, "--head-epochs", 1, "--dreams", 0]
        places = ["--data", data, "--output", folder, "--workers", workers]
        command = [sys.executable, "-m", "raydream.jobs.retrain", *map(str, places + words)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
        split = json.loads((Path(folder) / "evaluation.json").read_text())["split"]
    return float(split["train"] // BATCH * BATCH / lines[-1]["seconds"])


def datasets(data: str) -> tuple[Any, Any, int]:
    """Training and validation images of `keras.utils.image_dataset_from_directory`, and the number of classes."""
    import keras

    share = {"image_size": (SIDE, SIDE), "batch_size": BATCH, "validation_split": 0.2, "seed": 0}
    train, validation = keras.utils.image_dataset_from_directory(data, subset="both", label_mode="int", **share)
    return train, validation, len(train.class_names)


def augmentation() -> Any:
    """Keras' layers for the same changes."""
    import keras

    layers = keras.layers
    changes = [layers.RandomFlip("horizontal"), layers.RandomZoom(0.2), layers.RandomShear(0.2, 0.0)]
    return keras.Sequential([*changes, layers.Rescaling(1 / 127.5, -1)])


def fit(data: str) -> None:
    """Trains with `model.fit`, as in Keras' guides; prints the images/s of the second epoch."""
    import keras

    from raydream.core.networks import compression, loading
    from raydream.training import classifier

    train, validation, classes = datasets(data)
    base = compression.plain(loading.load("inception_v3", "compact").model, "mixed8")
    network = classifier.classifier(base, classes)
    classifier.unfreeze(network, "mixed4")
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), augmentation(), network])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.005, momentum=0.9), loss, metrics=["accuracy"])
    model.fit(train, validation_data=validation, epochs=1, verbose=0)
    began = time.monotonic()
    model.fit(train, validation_data=validation, epochs=1, verbose=0)
    print(f"model.fit: {len(train) * BATCH / (time.monotonic() - began):.2f} images/s", flush=True)


def scratch(data: str, epochs: str = "20") -> None:
    """Trains a small network without trained weights; prints its validation accuracy."""
    import keras

    train, validation, classes = datasets(data)
    layers: list[Any] = [keras.Input((SIDE, SIDE, 3)), augmentation()]
    for filters in (32, 64, 128, 192):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        ]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.2), keras.layers.Dense(classes)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    history = model.fit(train, validation_data=validation, epochs=int(epochs), verbose=2).history
    print(f"from scratch: accuracy {max(history['val_accuracy']):.3f}", flush=True)


def classes(trained: str, other: str, photographs: str, number: str = "4") -> None:
    """Dreams photographs towards classes; prints the logit that both networks give the photograph and the dream."""
    import raydream
    from raydream.core.networks.backbones import load_backbone
    from raydream.core.networks.classes import classes_of
    from raydream.data import codec

    files = [f"{place}/classifier.keras" for place in (trained, other)]
    names = classes_of(files[0]) or ()
    networks = [load_backbone(file, ["class_logits"]) for file in files]
    change = []
    for photograph in sorted(Path(photographs).iterdir())[: int(number)]:
        for label in names[:: max(1, len(names) // 4)]:
            objective = [{"class": label}]
            dream = raydream.dream(photograph, "quick", backbone=files[0], objective=objective, progress=False)
            image = codec.fit(codec.decode(photograph.read_bytes()), 320)
            logits = [[_logits(network, x)[names.index(label)] for x in (image, dream.array)] for network in networks]
            change.append([after - before for before, after in logits])
            dream.save(Path(trained) / f"{photograph.stem}-{label}.png")
            print(photograph.name, label, np.round(logits, 2).tolist(), flush=True)
    rises = np.array(change)
    print("mean rise of the logit:", np.round(rises.mean(axis=0), 2), "share that rises:", (rises > 0).mean(axis=0))


def _logits(network: Any, image: Any) -> Any:
    (feature_map,) = network.activations(image[None])
    return np.asarray(feature_map).mean(axis=(0, 1, 2))


if __name__ == "__main__":
    main()
