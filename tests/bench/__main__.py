"""Speed, side by side: `python -m tests.bench [--steps N] [--images N] [--rounds N] [--json FILE]`.

Every contender runs in a process of its own, started anew for each round (their environments differ), and they take
turns, so that a machine that slows down slows all of them. README.md here says what they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.bench import common, report
from tests.bench.common import CORES, ONE_THREAD, Task


def main() -> None:
    arguments = _arguments()
    weights = common.weights()
    chosen = [name for name in CONTENDERS if name in (arguments.only or CONTENDERS)]
    if {"plain-torch", "best-torch"} & {*chosen} and not find_spec("torch"):
        print("bench: PyTorch is left out: it is not installed (pip install torch)", file=sys.stderr)
        chosen = [name for name in chosen if "torch" not in name]
    if not common.has_fast_bfloat16():
        print("bench: bfloat16 is left out: this CPU has no instructions for it", file=sys.stderr)
        chosen = [name for name in chosen if "bfloat16" not in name]
    about = {"machine": common.machine(), "versions": _versions(), **vars(arguments), "weights": Path(weights).name}
    with tempfile.TemporaryDirectory(prefix="raydream-bench-") as folder:
        task = Task(folder=folder, weights=weights, steps=arguments.steps, actors=arguments.actors)
        about |= common.play("export", replace(task, round=arguments.images), {})
        rounds = [_round(replace(task, round=number), chosen) for number in range(arguments.rounds)]
    result = report.result(about, rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1, default=str))
    print(report.table(result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Speed of raydream, side by side.")
    parser.add_argument("--steps", type=int, default=20, help="steps an octave; default: %(default)s")
    parser.add_argument("--images", type=int, default=8, help="photographs for the job; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender; default: %(default)s")
    parser.add_argument("--actors", type=int, default=CORES, help="of the job; default: one a core, %(default)s")
    parser.add_argument("--only", nargs="+", choices=[*CONTENDERS], metavar="NAME", help=f"some of {list(CONTENDERS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    arguments = parser.parse_args()
    if arguments.images < 2 * arguments.actors:
        parser.error(f"--images must be at least two for each of the {arguments.actors} actors")
    if min(arguments.steps, arguments.rounds, arguments.actors) < 1:
        parser.error("--steps, --rounds and --actors must be at least 1")
    return arguments


def _alone(module: str, precision: str = "float32") -> Callable[[Task], Any]:
    return lambda task: common.play(module, replace(task, precision=precision), {})


def _together(task: Task) -> dict[str, Any]:
    """The engine loops of all parts at once."""
    parts = [asdict(replace(task, part=part)) for part in range(task.actors)]
    loops = list(common.finished("engine_loop", parts, ONE_THREAD))
    finished = sorted(when for loop in loops for when in loop["finished"])
    return {"began": min(loop["began"] for loop in loops), "finished": finished}


CONTENDERS: dict[str, Callable[[Task], Any]] = {
    "ours": _alone("ours"),
    "ours-bfloat16": _alone("ours", "bfloat16"),
    "plain-keras": _alone("plain_keras"),
    "plain-torch": _alone("plain_torch"),
    "best-torch": _alone("best_torch"),
    "job": _alone("job"),
    "job-bfloat16": _alone("job", "bfloat16"),
    "engine-loop": _together,
    "matmul": _alone("matmul"),
}


def _round(task: Task, chosen: Sequence[str]) -> dict[str, Any]:
    figures = {}
    for name in chosen:
        figures[name] = CONTENDERS[name](task)
        print(f"round {task.round + 1}: {name} done", file=sys.stderr, flush=True)
    return figures


def _versions() -> str:
    names = ("tensorflow", "keras", "torch", "numpy", "ray")
    return ", ".join(f"{name} {version(name)}" for name in names if find_spec(name))


if __name__ == "__main__":
    main()
