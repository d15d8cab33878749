"""The files at the top level that programs read: they must be what those programs take."""

from pathlib import Path

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


def test_the_jobs_options_exist_and_its_recipe_loads() -> None:
    from raydream import commands
    from raydream.jobs import dream_dataset
    from raydream.recipe import Recipe

    values = yaml.safe_load((ROOT / "jobs/dream_dataset.yaml").read_text())
    known = {info.replace("-", "_") for info in dream_dataset.main.__annotations__}
    assert set(values) <= known
    assert Recipe.load(values["recipe"], commands.changes(values["set"])).weights == "imagenet"


def test_the_lock_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock
