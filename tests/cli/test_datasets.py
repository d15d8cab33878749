"""datasets: inspect, gallery, and the job that makes a data set."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raydream.cli import commands
from raydream.data import plan as plans
from raydream.data.rows import Failure
from raydream.data.storage import Folder
from raydream.jobs import compress_backbone, dream_dataset
from tests.cli.conftest import NOT_UTF8, Cli, listed, wrong
from tests.data.test_dataset import job_of, make


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "dreams"))


def test_inspect_says_how_far_a_data_set_is_and_what_failed(cli: Cli, out: Folder) -> None:
    ids = [f"{i}.jpg" for i in range(1200)]
    failures = {id: Failure(id=id, stage="load", error="file is empty") for id in ids[:1150:2]}
    failures |= {"1.jpg": Failure(id="1.jpg", stage="dream", error="too small")}
    make(out, job_of(shard_size=1190), ids, failures, finish=False)
    Path(out.url, "_raydream", "marks", "0000001.json").unlink()
    code, text, err = cli("inspect", out.url)
    assert (code, err) == (0, "")
    lines = [re.sub(r" +", " ", line).strip() for line in text.splitlines()]
    assert lines[:3] == ["input /home/me/photos", "shards 1 of 2 done", "images 614 dreamed of 1,200"]
    assert '"format": "parquet"' in lines[3]
    assert lines[4:] == ["failures 576", "575 x load: file is empty", "1 x dream: too small"]


def test_gallery_writes_the_page_again_with_as_many_rows_as_asked(cli: Cli, out: Folder) -> None:
    make(out, job_of(format="webdataset"), [f"{i}.jpg" for i in range(5)])
    page = Path(out.url, "index.html")
    whole = page.read_bytes()
    page.unlink()
    assert cli("gallery", f"{out.url}/", "--rows", "2") == (0, f"{out.url}/index.html\n", "")
    assert "Showing 2 of 5 dreams" in page.read_text()
    assert cli("gallery", out.url)[0] == 0
    assert page.read_bytes() == whole


@pytest.mark.parametrize("command", ["inspect", "gallery"])
def test_a_folder_that_is_no_data_set_is_one_line_and_stays_as_it_is(command: str, cli: Cli, here: Path) -> None:
    before = listed(here)
    for url in (".", "none", "cat.jpg", "memory://cli-none", NOT_UTF8):
        assert "is not a data set of raydream: it has no _raydream/plan.json" in wrong(cli(command, url))
    assert "Protocol not known" in wrong(cli(command, "zzz://x"))
    assert listed(here) == before


@pytest.mark.parametrize("command", ["inspect", "gallery"])
def test_a_damaged_data_set_is_one_line(command: str, cli: Cli, out: Folder) -> None:
    make(out, job_of(), ["a.jpg"])
    out.write("_raydream/marks/0000000.json", b"{")
    assert "_raydream/marks/0000000.json is damaged" in wrong(cli(command, out.url))
    out.write(plans.PLAN, b"{")
    assert "_raydream/plan.json is damaged" in wrong(cli(command, out.url))


def test_a_data_set_whose_shard_is_gone_has_no_gallery(cli: Cli, out: Folder) -> None:
    make(out, job_of(), ["a.jpg"])
    Path(out.url, "data", "train-0000000-0000000.parquet").unlink()
    assert "0000000.parquet" in wrong(cli("gallery", out.url), commands.FAILED)


# ---- jobs


@pytest.mark.parametrize(("name", "module"), [("dataset", dream_dataset), ("compress", compress_backbone)])
def test_a_jobs_command_takes_in_and_out_and_its_other_options(
    name: str, module: Any, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def work(make: Any) -> int:
        """Notes what the job is asked."""
        given.update(vars(make(**({"recipe": None} if name == "dataset" else {}))))
        return 1

    monkeypatch.setattr(module, "main", work)
    assert cli(name, "--actors", "2", "photos", "dreams") == (1, "", "")
    assert (given["input"], given["output"]) == ("photos", "dreams")
    assert given["actors"] in (2, (2, 2))
    assert "Missing argument" in wrong(cli(name, "photos"))
    assert "No such option: --input" in wrong(cli(name, "--input", "photos", "dreams"))
    _, out, _ = cli(name, "--help")
    assert f"Usage: raydream {name} [OPTIONS] {{INPUT}} {{OUTPUT}}" in out


def test_dataset_runs_the_job(cli: Cli, here: Path) -> None:
    (here / "empty").mkdir()
    assert "input" in wrong(cli("dataset", "empty", "dreams"))


def test_the_help_imports_no_job() -> None:
    code = "import sys; from raydream.cli.app import app; import typer; sys.argv = ['raydream', '--help']\n"
    code += "try: app()\nexcept SystemExit: pass\nprint([m for m in sys.modules if m.startswith('raydream.jobs')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert "dataset" in done.stdout
