"""images: fetch, split and stats on the command line."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from raydream.cli import commands
from raydream.data import fetching
from tests.cli.conftest import Cli, wrong
from tests.data.web import Web, jpeg, serving


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server; the current folder is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetching, "_DELAYS", (0.0,))
    monkeypatch.delenv("http_proxy", raising=False)
    with serving() as web:
        yield web


def test_help_of_the_group_and_of_each_command_ends_with_an_example(cli: Cli) -> None:
    code, out, err = cli("images", "--help")
    assert (code, err) == (0, "")
    for name in ("fetch", "split", "stats"):
        assert name in out
        assert f"Example: raydream images {name}" in cli("images", name, "--help")[1]


def test_fetch_a_list_says_what_it_did(web: Web, cli: Cli) -> None:
    lines = [f"cat {web.image('/1', jpeg(1))}", f"dog {web.image('/2', jpeg(2))}", f"dog {web.status('/3', 503)}"]
    Path("urls.txt").write_text("\n".join([*lines, f"dog {web.url}/none"]))
    code, out, err = cli("images", "fetch", "urls.txt", "out", "--private", "--size", "16")
    assert code == 0
    assert out.splitlines() == [
        "images     2, of which 2 are new",
        "classes    2",
        "failures   2, of which 1 may succeed later: run the same command again",
    ]
    assert "4 of 4 images, 2 failed" in err
    assert cli("images", "fetch", "urls.txt", "out", "--private", "--size", "16")[1].startswith(
        "images     2, of which 0 are new\n"
    )


def test_fetch_fails_if_a_class_has_no_image(web: Web, cli: Cli) -> None:
    Path("urls.txt").write_text(f"cat {web.image('/1', jpeg(1))}\ndog {web.url}/none\n")
    code, _, err = cli("images", "fetch", "urls.txt", "out", "--private")
    assert code == commands.FAILED
    assert err.splitlines()[-1] == "raydream: no image of 1 of 2 classes: dog; out/failures.csv has the reasons"


@pytest.mark.parametrize("words", [["--categories", "banjo,tiger"], ["seed"]])
def test_fetch_categories_from_imagenets_list(words: list[str], web: Web, cli: Cli) -> None:
    ids = {"n02787622": "banjo", "n02129604": "tiger", "n02701002": "ambulance", "n00000001": "thing"}
    lines = []
    for number, (wnid, label) in enumerate(ids.items()):
        urls = [web.image(f"/{label}{n}", jpeg(10 * number + n)) for n in (1, 2)]
        lines += [f"{wnid}_{n}\t{url}" for n, url in enumerate(urls)]
    Path("fall11_urls.txt").write_text("\n".join(lines))
    code, out, err = cli("images", "fetch", *words, "out", "--urls", "fall11_urls.txt", "--private")
    folders = {path.name for path in Path("out").iterdir() if path.is_dir()}
    if words == ["seed"]:
        assert (code, folders) == (commands.FAILED, {"ambulance"})
        assert "no image of 24 of 25 classes: altar, viaduct" in err
    else:
        assert (code, folders) == (0, {"banjo", "tiger"})
        assert "images     4" in out
    assert not web.asked["/thing1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["out"], "takes a list and a folder"),
        (["a", "b", "c"], "takes a list and a folder"),
        (["none.txt", "out"], "list none.txt does not exist"),
        (["--categories", "banjo", "out"], "--categories needs --urls"),
        (["seed", "out"], "--categories needs --urls"),
        (["--categories", "banjo", "a", "out", "--urls", "x"], "takes one folder"),
        (["a.txt", "out", "--urls", "x"], "--urls belongs to --categories"),
        (["--categories", "baanjo", "out", "--urls", "x"], "unknown category"),
        (["--categories", "banjo", "out", "--urls", "none"], "list none does not exist"),
        (["a.txt", "out", "--parallel", "0"], "--parallel"),
        (["a.txt", "out", "--bogus"], "No such option"),
    ],
)
def test_fetch_asked_wrongly_is_one_line(words: list[str], said: str, web: Web, cli: Cli) -> None:
    code, out, err = cli("images", "fetch", *words)
    assert (code, out) == (commands.USAGE, "")
    assert said in err.removeprefix(f"reading {words[0]}\n")
    assert not Path("out").exists()


def fill(folder: str) -> None:
    for number, label in enumerate(("cat", "dog")):
        Path(folder, label).mkdir(parents=True)
        for n in range(10):
            Path(folder, label, f"{n}.jpg").write_bytes(jpeg(100 * number + n))


def test_split_and_stats(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill("in")
    Path("in/cat/broken.jpg").write_bytes(b"\xff\xd8\xff")
    code, out, _ = cli("images", "split", "in", "out", "--shares", "0.6,0.2,0.2")
    assert code == 0
    assert out.splitlines()[:5] == [
        "train      12",
        "validation 4",
        "test       4",
        "copied     20",
        "unreadable 1",
    ]
    assert "  cat/broken.jpg: " in out
    code, out, _ = cli("images", "stats", "out")
    assert code == 0
    assert re.search(r"cat +│ +6 │ +2 │ +2 │ +32x24 │ +32x24 │ +0.0 │ +0 │ +0 ", out)
    assert re.search(r"total +│ +12 │ +4 │ +4 ", out)
    assert "warning" not in out
    code, out, _ = cli("images", "stats", "in")
    assert re.search(r"cat +│ +11 ", out)
    assert "warning: unreadable images (1): cat/broken.jpg" in out


def test_long_names_of_classes_are_whole_in_a_pipe(cli: Cli, tmp_path: Path) -> None:
    fill(str(tmp_path))
    name = "a class of a name that is " + "very " * 12 + "long"
    (tmp_path / "cat").rename(tmp_path / name)
    assert f" {name} " in cli("images", "stats", str(tmp_path))[1]


def test_split_and_stats_asked_wrongly_are_one_line(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill("in")
    assert "lies in the input" in wrong(cli("images", "split", "in", "in/out"))
    assert "--shares '1,2'" in wrong(cli("images", "split", "in", "out", "--shares", "1,2"))
    assert "holds no images" in wrong(cli("images", "split", "none", "out"))
    assert "holds no images" in wrong(cli("images", "stats", "none"))
    assert not Path("out").exists()
