"""From the contenders' raw figures to images a second, GFLOP/s, goals, and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tests.bench import common

Figures = dict[str, float]

WHAT = {
    "ours": "raydream.core.engine.dream, one image, all cores",
    "plain-keras": "Keras model as it is, TensorFlow's defaults",
    "plain-torch": "the same in eager PyTorch, NCHW",
    "best-torch": "PyTorch, folded, channels_last, bfloat16",
    "ours-bfloat16": "ours, precision: bfloat16",
    "job-bfloat16": "job, precision: bfloat16",
    "job": "dream_dataset.run, one actor a core, on Ray",
    "engine-loop": "the same images, one process a core, no Ray",
    "matmul": "float32 2048^3, NumPy's or TensorFlow's",
}
# What is divided by what, what is wanted of it, and whether more is better.
GOALS = (
    ("one image, against plain-keras", ("ours", "plain-keras"), 1.3),
    ("one image, against plain-torch", ("ours", "plain-torch"), 1.3),
    ("job's images/s, against plain-keras", ("job", "plain-keras"), 1.7),
    ("job's images/s, against plain-torch", ("job", "plain-torch"), 1.7),
    ("bfloat16 against float32, one image", ("ours-bfloat16", "ours"), 1.7),
    ("bfloat16 against float32, the job", ("job-bfloat16", "job"), 1.7),
    ("bfloat16, one image, against plain-keras", ("ours-bfloat16", "plain-keras"), 2.2),
    ("bfloat16, one image, against plain-torch", ("ours-bfloat16", "plain-torch"), 2.2),
    ("bfloat16, one image, against best-torch", ("ours-bfloat16", "best-torch"), 1.0),
    ("one image's GFLOP/s, of the matrix product's", ("ours", "matmul"), 0.85),
    ("job's GFLOP/s, of the matrix product's", ("job", "matmul"), 0.85),
    ("job's images/s, of the engine loop's (overhead <= 5 %)", ("job", "engine-loop"), 1 / 1.05),
)


def result(about: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All there is to say: the settings, each round raw, medians over the rounds, and the goals."""
    work = common.gflop(about["steps"])
    figures = [{name: _figures(name, raw, work, about["actors"]) for name, raw in r.items()} for r in rounds]
    medians = {name: _medians([f[name] for f in figures]) for name in figures[0]}
    goals = [_goal(*goal, figures, medians) for goal in GOALS if {*goal[1]} <= {*medians}]
    return {"about": dict(about), "gflop": work, "medians": medians, "goals": goals, "rounds": list(rounds)}


def _figures(name: str, raw: Mapping[str, Any], work: float, actors: int) -> Figures:
    if name == "matmul":
        return {"gflops": max(raw["numpy"], raw["tensorflow"])}
    if "finished" not in raw:
        rate = 1 / raw["seconds"]
        return {"rate": rate, "gflops": rate * work, "objective": raw["objective"]}
    finished = raw["finished"]
    # From when as many are finished as there are workers: their first images, with the tracing, do not count.
    rate = (len(finished) - actors) / (finished[-1] - finished[actors - 1])
    overall = len(finished) / (finished[-1] - raw["began"])
    figures = {"rate": rate, "gflops": rate * work, "overall": overall}
    if "called" in raw:
        figures["startup"] = raw["began"] - raw["called"]
        figures["closing"] = raw["ended"] - finished[-1]
        figures["busy"] = sum(raw["engine_seconds"]) / actors / (finished[-1] - raw["began"])
    return figures


def _medians(rounds: Sequence[Figures]) -> Figures:
    return {key: median(figures[key] for figures in rounds) for key in rounds[0]}


def _goal(
    text: str, pair: tuple[str, str], wanted: float, figures: Sequence[Mapping[str, Figures]], medians: Any
) -> dict[str, Any]:
    key = "gflops"  # the same as the images a second, for those that have them
    ratios = [f[pair[0]][key] / f[pair[1]][key] for f in figures]
    ratio = medians[pair[0]][key] / medians[pair[1]][key]
    return {"goal": text, "ratio": ratio, "rounds": ratios, "wanted": wanted, "met": ratio >= wanted}


def table(result: Mapping[str, Any]) -> str:
    """The result as plain text."""
    about, medians = result["about"], result["medians"]
    return "\n".join(
        [
            "",
            f"machine   {about['machine']}; {about['versions']}",
            f"recipe    natural-dreams, {common.SIZE}x{common.SIZE}, {about['steps']} steps an octave: "
            f"{result['gflop'] / 1000:.2f} TFLOP an image",
            f"images    {about['photos']} {about['source']}; medians of {about['rounds']} rounds",
            "",
            f"{'contender':13} {'what':45}  s/image  images/s  GFLOP/s  matmul  objective",
            *(_row(name, figures, medians) for name, figures in medians.items()),
            "",
            *_job_lines(medians),
            f"{'goal: ratio of the medians':56} {'wanted':>7} {'is':>6}  {'lowest .. highest':18}",
            *map(_goal_line, result["goals"]),
        ]
    )


def _row(name: str, figures: Figures, medians: Mapping[str, Figures]) -> str:
    rate, yardstick, gain = figures.get("rate"), medians.get("matmul"), figures.get("objective")
    cells = (
        f"{1 / rate:8.2f} {rate:9.4f}" if rate else " " * 18,
        f"{figures['gflops']:8.1f}",
        f"{figures['gflops'] / yardstick['gflops']:7.0%}" if yardstick else " " * 7,
        f"{gain:10.3f}" if gain else "",
    )
    return f"{name:13} {WHAT[name]:45} {' '.join(cells)}".rstrip()


def _job_lines(medians: Mapping[str, Figures]) -> list[str]:
    job, loop = medians.get("job"), medians.get("engine-loop")
    if not job:
        return []
    lines = [
        f"job: {job['startup']:.1f} s until the first dream began, {job['closing']:.1f} s after the last was on disk; "
        f"{job['overall']:.4f} images/s between the two, its actors dreaming {job['busy']:.0%} of that time"
    ]
    if loop:
        overhead = loop["rate"] / job["rate"] - 1
        lines.append(f"job: overhead {overhead:+.1%} against the engine loop ({loop['overall']:.4f} images/s over all)")
    return [*lines, ""]


def _goal_line(goal: Mapping[str, Any]) -> str:
    spread = f"{min(goal['rounds']):.2f} .. {max(goal['rounds']):.2f}"
    verdict = "met" if goal["met"] else "MISSED"
    return f"{goal['goal']:56} {goal['wanted']:7.2f} {goal['ratio']:6.2f}  {spread:18} {verdict}"
