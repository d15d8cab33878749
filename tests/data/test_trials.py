"""trials and cells: the files of a sweep, its table, its front, its map."""

import io
import math
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from raydream.data.cells import AXES, CELLS, Cell, best_of_cells, cell_of
from raydream.data.storage import Folder
from raydream.data.trials import (
    TRIALS,
    Swept,
    Trial,
    front,
    read_sweep,
    read_trials,
    table,
    write_sweep,
    write_trial,
)
from raydream.errors import UsageError

SPACE = {"step_size": "uniform(0, 1)", "objective": {"choice": ["mixed3", ["mixed4", "mixed5"]]}}


def swept(**changes: Any) -> Swept:
    known: dict[str, Any] = {"input": "photographs", "probes": ("a.png",), "trials": 4, "search": "random"}
    return Swept(**{**known, "metric": "gain * ssim", "base": {"objective": "mixed3"}, "space": SPACE, **changes})


def trial(number: int = 0, **changes: Any) -> Trial:
    scores = {"gain": 1.0, "ssim": 0.5, "color_shift": 3.0, "motif": 9.0, "strength": 0.1, "seconds": 2.0, "seam": 1.0}
    known: dict[str, Any] = {
        "number": number,
        "parameters": {"step_size": 0.25, "objective": ["mixed4", "mixed5"]},
        "status": "done",
        "recipe": {"objective": ["mixed4", "mixed5"], "step_size": 0.25},
        "digest": "d" * 64,
        "scores": {**scores, **changes.pop("scores", {})},
        "gains": {"mixed4": 1.0},
        "reports": ((1, 0.4), (2, 0.5)),
        "pictures": {"a.png": f"pictures/{number:04d}/a.png"},
        "seconds": 4.0,
    }
    return Trial(**{**known, **changes})


def test_a_trial_is_read_as_it_was_written(tmp_path: Any) -> None:
    out = Folder(str(tmp_path))
    unknown = trial(2, scores={"motif": math.nan}, reports=((1, math.nan),))
    for one in (trial(11), trial(2), unknown):
        write_trial(out, one)
    found = read_trials(out)
    assert [one.number for one in found] == [2, 11]
    assert found[1] == trial(11)
    assert math.isnan(found[0].scores["motif"])
    assert math.isnan(found[0].reports[0][1])
    write_sweep(out, swept())
    assert read_sweep(out) == swept()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"number": "x"}', b'{"scores": [1]}'])
def test_a_damaged_file_is_one_line(tmp_path: Any, damage: bytes) -> None:
    out = Folder(str(tmp_path))
    out.write(f"{TRIALS}/0000003.json", damage)
    with pytest.raises(UsageError, match=r"0000003.json is damaged: delete it and run the sweep again"):
        read_trials(out)


def test_no_sweep(tmp_path: Any) -> None:
    with pytest.raises(UsageError, match="is not a sweep of raydream"):
        read_sweep(Folder(str(tmp_path)))


def test_the_best_trials_are_done_and_have_a_metric() -> None:
    found = [
        trial(0, scores={"gain": 2.0}),
        trial(1, scores={"gain": 3.0}),
        trial(2, scores={"gain": 9.0}, status="stopped"),
        trial(3, scores={"gain": math.nan}),
        trial(4, scores={}, status="failed"),
    ]
    assert [one.number for one in swept().best(found)] == [1, 0]


def test_the_front() -> None:
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 3.0), (3.0, 1.0), (0.0, 5.0), (math.nan, 9.0), (1.0, 5.0)]
    assert front(points) == [True, True, False, True, False, False, True]
    assert front([]) == []
    random = np.random.default_rng(0).random((60, 2)).tolist()
    points = [(a, b) for a, b in random]
    for point, is_on in zip(points, front(points), strict=True):
        assert is_on == (not any(a > point[0] and b > point[1] for a, b in points))


def test_the_table() -> None:
    failed = trial(1, status="failed", scores={}, error="worker died")
    failed = Trial(**{**vars(failed), "scores": {}, "gains": {}, "pictures": {}})
    rows = pq.read_table(io.BytesIO(table(swept(), [trial(0), failed]))).to_pylist()
    assert [row["number"] for row in rows] == [0, 1]
    assert rows[0]["metric"] == 0.5
    assert rows[0]["parameter.step_size"] == 0.25
    assert rows[0]["parameter.objective"] == '["mixed4", "mixed5"]'
    assert rows[0]["gain.mixed4"] == 1.0
    assert [row["pareto"] for row in rows] == [True, False]
    assert (rows[1]["status"], rows[1]["gain"], rows[1]["error"]) == ("failed", None, "worker died")


def test_cells() -> None:
    assert math.prod(len(borders) + 1 for borders in AXES.values()) == CELLS
    assert cell_of({"motif": 1, "color_shift": 0, "strength": 0}) == Cell(0, 0, 0)
    assert cell_of({"motif": 1000, "color_shift": 1000, "strength": 2}) == Cell(*map(len, AXES.values()))
    assert cell_of({"motif": AXES["motif"][0], "color_shift": 0, "strength": 0}) == Cell(1, 0, 0)
    assert cell_of({"motif": math.nan, "color_shift": 0, "strength": 0}) is None
    assert cell_of({}) is None
    assert len(list(Cell(0, 0, 0).neighbours)) == 3
    assert len(list(Cell(1, 1, 1).neighbours)) == 6


def test_the_best_trial_of_each_cell() -> None:
    low, high = trial(0, scores={"gain": 1.0}), trial(1, scores={"gain": 2.0})
    other = trial(2, scores={"gain": 0.1, "strength": 1.9})
    ignored = [trial(3, status="stopped", scores={"gain": 9.0}), trial(4, scores={"gain": math.nan})]
    found = best_of_cells([low, high, other, *ignored], swept().metric_of)
    assert sorted(one.number for one in found.values()) == [1, 2]
