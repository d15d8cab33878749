"""The files at the top level that programs read: they must be what those programs take."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.filterwarnings("ignore")  # Ray's autoscaler warns of its own dependencies
def test_cluster_yaml_fits_rays_schema() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    validate_config(prepare_config(config))
    with pytest.raises(Exception, match="head_node_typ"):
        validate_config({**config, "head_node_typ": "head"})


def test_a_cluster_installs_the_lock_and_asks_for_a_token() -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert any("--require-hashes" in c and "requirements.lock" in c for c in config["setup_commands"])
    assert "/home/ubuntu/.ray/auth_token" in config["file_mounts"]
    assert "chmod 600 ~/.ray/auth_token" in config["setup_commands"]
    for which in ("head", "worker"):
        starts = [c for c in config[f"{which}_start_ray_commands"] if "ray start" in c]
        assert starts
        assert all("RAY_AUTH_MODE=token ray start" in c for c in starts)


@pytest.mark.parametrize("file", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda file: file.stem)
def test_each_entry_point_takes_its_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    job = importlib.import_module(f"raydream.jobs.{file.stem}")
    asked: list[Any] = []

    def run(options: Any) -> None:
        asked.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "run", run)
    with contextlib.suppress(KeyboardInterrupt):
        source = "--data" if file.stem in ("retrain", "train_gan") else "--input"
        job.app(["--config", str(file), source, "here", "--output", "there"], standalone_mode=False)
    for key, value in yaml.safe_load(file.read_text()).items():
        if key not in ("recipe", "set", "space", "actors"):  # which become other things
            found = getattr(asked[0], key)
            assert (list(found) if isinstance(found, tuple) else found) == value, key


def test_each_entry_point_has_a_file() -> None:
    """A job's module is one that can be run: it says `commands.run(...)`."""
    modules = {file.stem for file in (ROOT / "raydream/jobs").glob("*.py") if "__main__" in file.read_text()}
    assert {file.stem for file in (ROOT / "jobs").glob("*.yaml")} == modules


def test_the_data_set_jobs_recipe_loads() -> None:
    from raydream.cli import commands
    from raydream.recipe import Recipe

    values = yaml.safe_load((ROOT / "jobs/dream_dataset.yaml").read_text())
    recipe = Recipe.load(values["recipe"], commands.changes(values["set"]))
    assert (recipe.backbone, recipe.weights) == ("inception_v3", "compact")


def test_the_sweeps_space_fits_its_recipe() -> None:
    from raydream.cli import commands
    from raydream.data import spaces
    from raydream.recipe import Recipe

    values = yaml.safe_load((ROOT / "jobs/sweep.yaml").read_text())
    base = Recipe.load(values["recipe"], values["set"])
    assert base == Recipe.load(values["recipe"], commands.changes([f"{k}={v}" for k, v in values["set"].items()]))
    for parameters in spaces.parse(values["space"]).examples():
        assert spaces.recipe_with(base, parameters) != base


def test_the_lock_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock
