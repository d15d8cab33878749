"""The sweep job on a local Ray cluster, with the tiny network: what it finds, and what it survives."""

import io
import json
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from raydream.cli import commands
from raydream.cli.app import app as raydream
from raydream.core import canvas
from raydream.data import codec, spaces
from raydream.data.cells import best_of_cells
from raydream.data.job import Job
from raydream.data.storage import Folder
from raydream.data.trials import Trial, read_sweep, read_trials, write_sweep, write_trial
from raydream.errors import UsageError
from raydream.jobs import dream_dataset, sweep
from raydream.jobs.sweeping import trial as trials
from raydream.jobs.sweeping import tuning
from raydream.jobs.sweeping.finish import finish
from raydream.jobs.sweeping.job import Sweep
from raydream.jobs.sweeping.prepare import prepare
from raydream.jobs.sweeping.search import search_of
from raydream.recipe import Recipe
from tests.common import RAY, processes, wait_for

pytestmark = RAY
SPACE = {"step_size": "loguniform(0.005, 0.05)", "objective": {"choice": ["low", ["low", "high"]]}}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, in two folders."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed, name in enumerate(("a.png", "cats/b.png", "cats/c.png")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(codec.encode(canvas.noise((100 + seed, 120), 1, seed, contrast=10.0)[0]))
    return folder


@pytest.fixture
def asked(photographs: Path, tmp_path: Path, tiny_path: str) -> Any:
    """Makes the settings of a small sweep."""

    def make(space: Any = SPACE, name: str = "out", changes: Any = None, **options: Any) -> Sweep:
        base = Recipe(backbone=tiny_path, octaves=3, steps=2, tile=96).changed(
            **{"objective": "low", **(changes or {})}
        )
        known = {"input": str(photographs), "output": str(tmp_path / name), "trials": 4, "probes": 2}
        return Sweep(**{**known, **options}, base=base, space=spaces.parse(space))

    return make


def direction(channel: int) -> dict[str, Any]:
    return {"kind": "direction", "layer": "low", "channels": [channel], "values": [1]}


def files(folder: Path) -> dict[str, int]:
    """The files of the trials -> their times."""
    return {file.name: file.stat().st_mtime_ns for file in sorted((folder / "_raydream/trials").glob("*.json"))}


def stored(sweep: Sweep) -> list[Trial]:
    return read_trials(Folder(sweep.output))


# ---------------------------------------------------------------- what it makes


def test_a_sweep_from_the_trials_to_the_best_recipe(cluster: None, asked: Any, tmp_path: Path, capsys: Any) -> None:
    job = asked()
    found = sweep.run(job)
    out = tmp_path / "out"
    assert [trial.status for trial in found] == ["done"] * 4
    assert found == stored(job)
    rows = pq.read_table(io.BytesIO((out / "trials.parquet").read_bytes())).to_pylist()
    assert [row["parameter.step_size"] for row in rows] == [trial.parameters["step_size"] for trial in found]
    assert "<title>Sweep</title>" in (out / "sweep.html").read_text()
    # The trials are those of the space, and the best one has the largest metric.
    plan = prepare(job)
    assert [trial.parameters for trial in found] == [job.space.draw(0, number) for number in range(4)]
    best = max(found, key=lambda trial: plan.metric(trial.scores))
    recipe = Recipe.load(str(out / "best.yaml"))
    assert recipe.digest == best.digest
    assert list(best.pictures) == ["a.png", "cats/b.png"], "evenly spread"
    # Once more: nothing is done again.
    before = files(out)
    assert sweep.run(job) == found
    assert files(out) == before
    with pytest.raises(SystemExit) as ended:
        commands.run(raydream, "raydream", ["inspect", str(out)])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "trials     4 of 4: 4 done" in printed
    assert f"best       trial {best.number}" in printed


@pytest.mark.slow
def test_the_best_recipe_gives_the_same_pictures_in_a_data_set(
    cluster: None, asked: Any, photographs: Path, tmp_path: Path
) -> None:
    job = asked(trials=2)
    (best, *_) = prepare(job).swept.best(sweep.run(job))
    recipe = Recipe.load(str(tmp_path / "out/best.yaml"))
    dreams = tmp_path / "dreams"
    dream_dataset.run(Job(input=str(photographs), output=str(dreams), recipe=recipe, format="files"))
    assert json.loads((dreams / "manifest.json").read_text())["recipe"] == best.digest
    for id, name in best.pictures.items():
        assert (tmp_path / "out" / name).read_bytes() == (dreams / "data/dream" / id).read_bytes()


def dreamed_here(plan: Any, earlier: Any, todo: Any, lease: Any) -> None:
    """The trials without Ray, in this process; instead of `sweep._tune`."""
    search, probes, out = search_of(plan), trials.read_probes(plan), Folder(plan.sweep.output)
    for number in todo:
        parameters = search.ask(number)
        recipe = plan.recipe_of(parameters).as_dict()
        found = list(trials.reports(plan, probes, number, recipe, lease.token))
        write_trial(out, tuning.trial_of({"number": number, "parameters": parameters}, "done", found))


def test_more_trials_continue_the_list_and_other_settings_are_refused(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_tune", dreamed_here)
    sweep.run(asked(trials=2))
    before = files(Path(asked().output))
    found = sweep.run(asked(trials=3, metric="ssim"))
    assert [trial.parameters for trial in found] == [asked().space.draw(0, number) for number in range(3)]
    after = files(Path(asked().output))
    assert {name: after[name] for name in before} == before
    assert read_sweep(Folder(asked().output)).metric == "ssim"
    assert len(sweep.run(asked(trials=1))) == 3
    assert read_sweep(Folder(asked().output)).trials == 3, "fewer trials forget none"
    for other in (
        {"seed": 1},
        {"asha": True},
        {"probes": 1},
        {"changes": {"steps": 3}},
        {"space": {"steps": "randint(1, 2)"}},
        {"space": dict(reversed(SPACE.items()))},
    ):
        with pytest.raises(UsageError, match="holds a run with"):
            sweep.run(asked(**other))


def test_asha_stops_trials(cluster: None, asked: Any) -> None:
    space = {"step_size": {"grid": [0.05, 0.04, 0.03, 0.02, 0.01, 0.005]}}
    options = {"space": space, "search": "grid", "asha": True, "metric": "gain", "probes": 1, "cpus_per_trial": 2.0}
    found = sweep.run(asked(**options, trials=6))
    counts = Counter(trial.status for trial in found)
    assert counts["done"] >= 1
    assert counts["stopped"] >= 3
    assert counts["done"] + counts["stopped"] == 6
    assert found[0].status == "done"
    assert found[5].status == "stopped", "it is worse than all others"
    assert [octave for octave, _ in found[0].reports] == [1, 2, 3]
    assert len(found[5].reports) == 1
    for trial in found:
        (name,) = trial.pictures.values()
        picture = codec.decode((Path(asked().output) / name).read_bytes())
        assert (picture.shape[0] == 100) == (trial.status == "done"), "a stopped trial has the picture of its octave"


def test_asha_knows_the_earlier_trials(asked: Any) -> None:
    plan = prepare(asked(asha=True, metric="gain"))
    earlier = [replace(finished(number, {}), reports=((1, float(number)),)) for number in range(3)]
    scheduler = tuning._scheduler(plan, earlier)
    for metric, decision in ((0.5, "STOP"), (5.0, "CONTINUE"), (float("nan"), "STOP")):
        trial: Any = tuning._Earlier(f"new-{metric}")
        scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
        assert scheduler.on_trial_result(None, trial, trials.comparable(plan, 1, metric)) == decision  # type: ignore[arg-type]


# ---------------------------------------------------------------- what it survives


def killing(number: int, marker: Path) -> Any:
    """The reports of trials; the worker dies in the middle of a trial, once if the marker is a file."""
    reports = trials.reports

    def dying(plan: Any, probes: Any, trial: int, recipe: Any, lease: Any = None) -> Any:
        for report in reports(plan, probes, trial, recipe, lease):
            if trial == number and report.octave == 2 and not marker.exists():
                if marker.parent.name == "once":
                    marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield report

    return dying


class DyingWorker(trials.Worker):
    """A worker that dies in trial 1."""

    marker = Path()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """See `Worker`."""
        super().reset_config(new_config)
        self._reports = killing(1, self.marker)(
            self._plan, self._probes, self._number, new_config["recipe"], self._lease
        )
        return True


@pytest.mark.parametrize("often", ["once", pytest.param("always", marks=pytest.mark.slow)])
def test_a_worker_that_dies(
    cluster: None, asked: Any, often: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / often).mkdir()
    monkeypatch.setattr(DyingWorker, "marker", tmp_path / often / "marker")
    monkeypatch.setattr(tuning, "Worker", DyingWorker)
    found = sweep.run(asked(trials=3, probes=1, retries=1, cpus_per_trial=2.0))
    if often == "once":
        assert [trial.status for trial in found] == ["done"] * 3
        assert [octave for octave, _ in found[1].reports] == [1, 2, 3]
        return
    assert [trial.status for trial in found] == ["done", "failed", "done"]
    assert "died" in found[1].error
    assert "\n" not in found[1].error
    monkeypatch.undo()
    before = files(Path(asked().output))
    again = sweep.run(asked(trials=3, probes=1, retries=1, cpus_per_trial=2.0))
    assert [trial.status for trial in again] == ["done"] * 3, "the same command tries failed trials again"
    after = files(Path(asked().output))
    assert [after[name] == before[name] for name in before] == [True, False, True]


@pytest.mark.slow
def test_a_recipe_that_cannot_be_used_is_refused_and_not_tried_again(
    cluster: None, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of trial 1 is known to be too small for the network only when it is dreamed."""
    found = sweep.run(asked(space={"size": {"grid": [100, 2]}}, search="grid", trials=None, probes=1))
    assert [trial.status for trial in found] == ["done", "refused"]
    assert "too small" in found[1].error
    before = files(Path(asked().output))
    sweep.run(asked(space={"size": {"grid": [100, 2]}}, search="grid", trials=None, probes=1))
    assert files(Path(asked().output)) == before


@pytest.mark.slow
def test_an_error_of_the_output_ends_the_sweep(cluster: None, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "out/_raydream/trials/0000000.json")

    monkeypatch.setattr(tuning, "write_trial", full)
    with pytest.raises(OSError, match="No space left on device"):
        sweep.run(asked(trials=2, probes=1))


def test_more_cores_than_there_are(cluster: None, asked: Any) -> None:
    with pytest.raises(UsageError, match=r"--cpus-per-trial 64: this machine has 2 cores: use at most that many"):
        sweep.run(asked(cpus_per_trial=64.0))


def command(job: Sweep, *more: str) -> list[str]:
    base = Path(job.output).parent / "base.yaml"
    base.write_text(job.base.dump())
    space = [word for key, v in job.space.plain().items() for word in ("--space", f"{key}={json.dumps(v)}")]
    places = ["--input", job.input, "--output", job.output, "--recipe", str(base)]
    return [sys.executable, "-m", "raydream.jobs.sweep", *places, *space, "--trials", str(job.trials), *more]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_and_run_again_no_trial_is_lost_and_none_is_done_twice(
    asked: Any, how: signal.Signals, environment: dict[str, str], ray_folder: str, tmp_path: Path
) -> None:
    job = asked(trials=8, changes={"steps": 40})
    process = subprocess.Popen(command(job), env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(files(tmp_path / "out")) >= 2)
    process.send_signal(how)
    process.wait(60)
    before = files(tmp_path / "out")
    assert len(before) < 8
    if how != signal.SIGKILL:
        assert process.returncode == commands.INTERRUPTED
        assert process.stderr
        assert process.stderr.read().endswith("interrupted: finished trials are kept, the same command continues\n")
    wait_for(lambda: not processes("raylet", environment["RAY_TMPDIR"]), 60)
    environment = {**environment, "RAY_TMPDIR": f"{environment['RAY_TMPDIR']}2"}
    os.mkdir(environment["RAY_TMPDIR"])
    done = subprocess.run(command(job), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} of 8 trials are already done" in done.stderr
    assert json.loads(done.stdout) == {"trials": 8, "done": 8, "stopped": 0, "failed": 0, "refused": 0}
    after = files(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert [trial.parameters for trial in stored(job)] == [job.space.draw(0, number) for number in range(8)]


# ---------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": {"step_siz": "uniform(0, 1)"}}, r"space: unknown key 'step_siz': did you mean 'step_size'\?"),
        ({"space": {"objective": {"choice": ["low", "hihg"]}}}, r"has no layer 'hihg': did you mean 'high'\?"),
        ({"space": {"objective.0.layer": {"choice": ["nowhere"]}}}, "has no layer 'nowhere'"),
        (
            {"space": {"blend": "uniform(0, 2)"}},
            r"space: blend: must be at most 1, not 2.0 \(in the space, with blend=2",
        ),
        ({"space": {"steps": {"choice": [[1, 2]]}}}, "a list of 2, but octaves is 3"),
        ({"space": {"objective": {"choice": [direction(1), direction(999)]}}}, "has channels 0 to 7"),
        ({"space": {"objective.0.channels": {"choice": [[999]]}}}, "has channels 0 to 7"),
        ({"search": "grid"}, r"space: step_size is a range, which a grid cannot have"),
        ({"metric": "gian"}, "unknown name 'gian'"),
        ({"metric": "transfer"}, "unknown name 'transfer'"),
        ({"probes": 9}, "has 3 images, fewer than --probes 9"),
        ({"transfer": "nothing"}, "must be NETWORK:LAYERS"),
        ({"transfer": "nothing:low"}, "nothing"),
        ({"search": "atlas", "asha": True}, "stops trials that an atlas needs"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_starts(
    asked: Any, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_make", lambda *_: pytest.fail("it has started"))
    with pytest.raises(UsageError, match=message) as error:
        sweep.run(asked(**options))
    assert "\n" not in str(error.value)
    assert not Path(asked().output).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--space", "step_size=loguniform(0.05, 0.005)"], "is upside down"),
        (["--space", "objective=choice: []"], "must be a list of at least one value"),
        ([], "no key to vary"),
        (["--space", "step_size"], "--space takes key=value, not 'step_size'"),
        (["--space", "step_size=choice: ["], "--space step_size: 'choice: [' is not YAML"),
        (["--around", "nowhere:x"], "must be OUT:NUMBER of another sweep"),
        (["--around", "nowhere:1"], "is not a sweep of raydream"),
        (["--space", "steps=randint(1, 2)", "--search", "rnadom"], "rnadom"),
    ],
)
def test_the_command_refuses_in_one_line(
    words: list[str], message: str, photographs: Path, tmp_path: Path, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.run(raydream, "raydream", ["sweep", str(photographs), str(tmp_path / "out"), *words])
    error = capsys.readouterr().err
    assert ended.value.code == commands.USAGE
    assert message in error
    assert error.count("\n") == 1


def test_the_space_names_the_guide_that_the_base_lacks(asked: Any, photographs: Path) -> None:
    guide = {"kind": "guide", "layer": "low"}
    with pytest.raises(UsageError, match="guide is missing"):
        prepare(asked(changes={"objective": [guide]}, space={"steps": "randint(1, 2)"}))
    images = [str(photographs / name) for name in ("a.png", "cats/b.png")]
    plan = prepare(asked(changes={"objective": [guide]}, space={"objective.0.guide": {"choice": images}}))
    assert list(plan.recipe_of({"objective.0.guide": images[1]}).pictures) == images[1:]


def test_no_trial_has_a_metric(asked: Any, capsys: Any) -> None:
    trial = finished(0, {"step_size": 0.02}, gain=-3.0)
    assert sweep._report(asked(metric="log(gain)"), [trial]) == commands.FAILED
    assert "no trial has a value of --metric 'log(gain)'" in capsys.readouterr().err
    assert sweep._report(asked(metric="gain"), [trial]) == commands.OK


def test_a_broken_probe_image_is_one_line(asked: Any, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"the probe image x.png cannot be used: not an image"):
        prepare(asked(input=str(tmp_path / "broken"), probes=1))


# ---------------------------------------------------------------- the searches


def finished(number: int, parameters: Any, **scores: float) -> Trial:
    known = {"gain": 1.0, "ssim": 0.5, "motif": 7.0, "color_shift": 3.0, "strength": 0.1, **scores}
    recipe = {"number": number, "parameters": parameters, "recipe": {}, "scores": known, "gains": {}, "pictures": {}}
    return Trial(status="done", **recipe)


def test_a_metric_that_no_trial_has_leaves_no_best_recipe(asked: Any, tmp_path: Path) -> None:
    swept, out = prepare(asked()).swept, Folder(str(tmp_path / "finished"))
    trial = replace(finished(0, {}), recipe={"objective": "mixed3"})
    assert finish(out, swept, [trial]) == trial
    assert out.exists("best.yaml")
    assert finish(out, swept, [replace(trial, scores={"ssim": math.nan, "gain": 1.0})]) is None
    assert not out.exists("best.yaml")


def test_the_atlas_fills_more_cells_than_random_search(asked: Any) -> None:
    """In a world where large steps are strong, and blending in the photograph weakens what is strong."""
    space = {"step_size": "loguniform(0.005, 0.05)", "blend": "uniform(0, 1)", "chroma": "uniform(0, 1)"}

    def cells(search: str, seed: int) -> int:
        plan = prepare(asked(space=space, search=search, trials=40, seed=seed))
        choice, found = search_of(plan), []
        for number in range(40):
            parameters = choice.ask(number)
            assert parameters == choice.ask(number), "it depends on the number and the earlier trials alone"
            size, blend, chroma = parameters.values()
            strength = 10 * size * (1 - blend) ** 2
            scores = {"strength": strength, "color_shift": 60 * chroma**2 * strength, "motif": 5 + 15 * blend * chroma}
            found.append(finished(number, parameters, **scores))
            choice.tell(found[-1])
        return len(best_of_cells(found, plan.swept.metric_of))

    found = [(cells("random", seed), cells("atlas", seed)) for seed in range(3)]
    assert all(atlas > random for random, atlas in found), found


def test_optuna_learns_and_continues(asked: Any) -> None:
    pytest.importorskip("optuna")
    plan = prepare(asked(search="optuna", trials=60, metric="gain"))
    known: list[Trial] = []
    for _ in range(2):  # a run, and one that continues it
        search = search_of(plan)
        for trial in known:
            search.tell(trial)
        for number in range(len(known), len(known) + 25):
            parameters = search.ask(number)
            off = abs(np.log(parameters["step_size"] / 0.02)) + (parameters["objective"] != "low")
            known.append(finished(number, parameters, gain=float(-off)))
            search.tell(known[-1])
    early, late = (np.mean([trial.scores["gain"] for trial in part]) for part in (known[:10], known[-10:]))
    assert late > early + 0.3
    search.tell(Trial(**{**vars(finished(50, search.ask(50))), "status": "failed", "scores": {}}))
    search.tell(Trial(**{**vars(finished(51, search.ask(51))), "status": "stopped"}))


def test_a_sweep_around_a_trial(asked: Any, tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, near = Folder(str(tmp_path / "out")), []
    write_sweep(out, prepare(asked()).swept)
    write_trial(out, finished(7, {"step_size": 0.02, "objective": "low"}))
    monkeypatch.setattr(sweep, "run", lambda job: near.append(job) or [])
    words = ["sweep", str(photographs), str(tmp_path / "near"), "--around", f"{out.url}:7", "--set", "steps=5"]
    with pytest.raises(SystemExit):
        commands.run(raydream, "raydream", words)
    (job,) = near
    assert job.base.as_dict() == asked(changes={"steps": 5}).base.as_dict()
    (_, sizes), (_, objectives) = job.space.keys
    assert 0.012 < sizes.low < 0.02 < sizes.high < 0.03
    assert objectives.values == ("low",)
    words[4] = f"{out.url}:8"
    with pytest.raises(SystemExit) as ended:
        commands.run(raydream, "raydream", words)
    assert ended.value.code == commands.USAGE


# ---------------------------------------------------------------- one trial


def test_trials_with_the_same_layers_are_traced_once(asked: Any) -> None:
    from raydream.core import gradients

    space = {"step_size": "uniform(0.01, 0.02)", "objective.0.weight": "uniform(0.5, 1)", "steps": "randint(1, 2)"}
    plan = prepare(asked(space=space, changes={"objective": ["low", "high"]}))
    probes = trials.read_probes(plan)
    gradients.forget()
    counts = []
    for number in range(3):
        recipe = plan.recipe_of(plan.sweep.space.draw(0, number))
        list(trials.reports(plan, probes, number, recipe.as_dict()))
        context = gradients.contexts.plain(recipe.objective, "float32")
        backbone = trials.assets.load_for(recipe)
        traced = gradients.traced(backbone, recipe.objective, context)
        counts.append([function.experimental_get_tracing_count() for function in traced])
    assert counts[0] == counts[1] == counts[2]
    assert gradients._traced.cache_info().misses == 1


def test_a_worker_reports_why_a_recipe_cannot_be_used(asked: Any) -> None:
    plan = prepare(asked(space={"size": {"grid": [100, 2]}}, search="grid"))
    worker = trials.Worker.__new__(trials.Worker)  # without Ray
    worker._plan, worker._probes, worker._lease = plan, trials.read_probes(plan), ""
    worker.reset_config({"number": 1, "recipe": plan.recipe_of({"size": 2}).as_dict()})
    result = worker.step()
    assert result["done"]
    assert "too small" in result[trials.REPORT].refused


def test_another_network_measures(asked: Any, classifier: str) -> None:
    plan = prepare(asked(transfer=f"{classifier}:low+high", metric="transfer"))
    recipe = plan.recipe_of({"step_size": 0.03})
    *_, report = trials.reports(plan, trials.read_probes(plan), 0, recipe.as_dict())
    assert report.score is not None
    assert report.metric == report.score.transfer
    assert report.score.transfer != report.score.gain


def test_a_small_octave_is_left_out_for_all_probe_images(asked: Any) -> None:
    plan = prepare(asked(changes={"octaves": 5, "octave_scale": 3.0}))
    recipe = plan.recipe_of({"step_size": 0.01})
    found = list(trials.reports(plan, trials.read_probes(plan), 0, recipe.as_dict()))
    assert [report.octave for report in found] == list(range(6 - len(found), 6))
    assert 1 < len(found) < 5
    assert found[-1].last
    assert found[-1].score is not None
    assert np.isfinite(found[-1].metric)
