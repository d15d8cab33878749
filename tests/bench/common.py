"""What the benchmark's processes share. It must not import raydream: the plain baselines run without it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
KFLOP_PER_PIXEL = 161  # of InceptionV3 to mixed5, forward and input gradient, for one step
CORES = len(os.sched_getaffinity(0))
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

# natural-dreams, as the baselines have it; `Task.recipe` checks that the preset says the same.
SIZE, RESCALE, BLEND, OCTAVES, STEP_SIZE, TILE = 299, 0.85, 0.15, 3, 0.02, 512
LAYERS = ("mixed3", "mixed5")


@dataclass(frozen=True, kw_only=True)
class Task:
    """The input of a contender: it reads `folder`, and prints one line of JSON.

    `folder` holds photos/ (image files), images.npy (the same, decoded: float32 (n, 299, 299, 3) in [-1, 1]),
    network.keras and network.pickle (InceptionV3 to mixed5, see export.py).
    """

    folder: str
    weights: str  # a file, or `compact`
    steps: int
    actors: int
    precision: str = "float32"  # of raydream's networks
    round: int = 0
    part: int = 0

    @property
    def place(self) -> Path:
        return Path(self.folder)

    def recipe(self) -> Any:
        """natural-dreams with the task's weights and steps; for processes that may import raydream."""
        from raydream.recipe import Recipe

        changes = {"weights": self.weights, "steps": self.steps, "precision": self.precision}
        recipe = Recipe.load("natural-dreams", changes)
        octaves = [round(SIZE / recipe.octave_scale**i) for i in reversed(range(recipe.octaves))]
        ours = (recipe.size, octaves, recipe.blend, recipe.step_size, recipe.tile, recipe.objective.layers)
        assert ours == ((SIZE, SIZE), sizes(), BLEND, STEP_SIZE, TILE, LAYERS), "the baselines dream another recipe"
        return recipe

    def image(self) -> Any:
        """The image of this round: (299, 299, 3)."""
        import numpy as np

        images = np.load(self.place / "images.npy", mmap_mode="r")
        return np.array(images[self.round % len(images)])


@dataclass(frozen=True)
class Node:
    """One layer of the Keras graph, for PyTorch; `inputs` are positions of the nodes it reads."""

    name: str
    kind: str
    inputs: tuple[int, ...]
    config: dict[str, Any]
    weights: list[Any]


def sizes() -> list[int]:
    """Sides of the octaves, smallest first: 216, 254, 299."""
    sides = [SIZE]
    while len(sides) < OCTAVES:
        sides.insert(0, round(sides[0] * RESCALE))
    return sides


def gflop(steps: int) -> float:
    """Work of one dream with this number of steps per octave."""
    return sum(side * side for side in sizes()) * steps * KFLOP_PER_PIXEL / 1e6


def timed(dream: Callable[[int], Any], steps: int) -> tuple[float, Any]:
    """Seconds of `dream(steps)`, median of three, and its result; one step of each octave before is not counted."""
    dream(1)  # tracing, first call
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        dreamed = dream(steps)
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[1], dreamed


def main(contender: Callable[[Task], Mapping[str, Any]]) -> None:
    """A contender's process: the task comes as its argument, the figures go to stdout."""
    print(json.dumps(contender(Task(**json.loads(sys.argv[1])))))


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what tunes a network library, and with `extra`."""
    tuning = ("TF_", "KERAS_", "OMP_", "MKL_", "OPENBLAS_", "GOTO_", "RAY_", "KMP_", "DNNL_", "ONEDNN_", "XLA_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(tuning)}
    return {**kept, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "", **extra}


def finished(module: str, arguments: Iterable[Mapping[str, Any]], extra: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Figures of `python -m tests.bench.MODULE`, one fresh process for each argument, all at once."""
    with tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", f"tests.bench.{module}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": errors, "text": True, "cwd": ROOT, "env": environment(extra)}
        processes = [subprocess.Popen([*command, json.dumps(argument)], **pipes) for argument in arguments]
        said = [process.communicate()[0] for process in processes]
        if any(process.returncode for process in processes):
            errors.seek(0)
            sys.exit(f"{module} failed:\n{errors.read()[-3000:]}")
    for text in said:
        yield json.loads(text.strip().splitlines()[-1])


def play(module: str, task: Task, extra: Mapping[str, str]) -> dict[str, Any]:
    """One turn of a contender, in a fresh process."""
    (figures,) = finished(module, [asdict(task)], extra)
    return figures


def weights_file() -> Path | None:
    """The full ImageNet weights of InceptionV3, where there are any."""
    given = os.environ.get("RAYDREAM_WEIGHTS")
    path = Path(given) if given else SHARED / "weights" / "inception_v3_imagenet_mixed8.weights.h5"
    return path.resolve() if path.is_file() else None


def weights() -> str:
    """Those, or else the ones that ship, which have no batch norm."""
    return str(weights_file() or "compact")


def has_fast_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpuinfo.read_text().split())


def machine() -> str:
    """One line on what the figures were taken on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {CORES} cores, load {os.getloadavg()[0]:.1f} at the start"
