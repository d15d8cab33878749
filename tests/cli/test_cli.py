"""cli: what people type, and what they get: pictures, exit statuses, and one line where something is wrong."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import raydream
from raydream import runtime
from raydream.cli.app import app, commands
from raydream.data import codec, provenance, storage
from raydream.data import plan as plans
from raydream.data.rows import Failure
from raydream.data.storage import Folder
from raydream.recipe import Recipe, presets
from tests.conftest import random_images
from tests.data.test_dataset import job_of, make

Cli = Callable[..., tuple[int, str, str]]
NOT_UTF8 = os.fsdecode(b"caf\xe9.png")


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command line in this process: (exit status, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            commands.run(app, "raydream", arguments)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert "\x1b" not in out + err
        assert isinstance(end.value.code, int)
        return end.value.code, out, err

    return run


def network(factor: float = 1.0) -> Any:
    """Two layers, `low` and `high`, which load faster than the tiny network of the other tests."""
    import keras

    image = keras.Input((None, None, 3))
    low = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="low")
    high = keras.layers.Conv2D(4, 3, padding="same", name="high")
    model = keras.Model(image, high(low(image)))
    random = np.random.default_rng(0)
    model.set_weights([factor * random.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """One octave of two steps on that network."""
    path = tmp_path_factory.mktemp("network") / "net.keras"
    network().save(path)
    return Recipe(backbone=str(path), objective="high", octaves=1, steps=2, tile=96, precision="float32")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> Path:
    """The current folder: photographs `cat.jpg` and `dog.png` (60 wide, 40 high), `broken.jpg`, recipe `tiny.yaml`."""
    monkeypatch.chdir(tmp_path)
    cat, dog = random_images(40, 60, batch=2)
    Path("cat.jpg").write_bytes(codec.encode(cat, "jpeg"))
    Path("dog.png").write_bytes(codec.encode(dog))
    Path("broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    Path("tiny.yaml").write_text(recipe.dump())
    return tmp_path


def wrong(result: tuple[int, str, str], status: int = commands.USAGE) -> str:
    """The one line on stderr of a command that wrote nothing to stdout."""
    code, out, err = result
    assert (code, out) == (status, "")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert err.startswith("raydream: ")
    return err


def listed(folder: Path) -> set[str]:
    return set(Folder(str(folder)).files())


# ---- looking


def test_version(cli: Cli) -> None:
    assert cli("--version") == (0, f"{raydream.__version__}\n", "")


def test_help_names_every_command_and_each_ends_with_an_example_that_parses(cli: Cli) -> None:
    _, out, _ = cli("--help")
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    assert set(names) == {"dream", "layers", "recipes", "inspect", "gallery", "replay", "scenery"}
    for name in names:
        assert name in out
        code, text, err = cli(name, "--help")
        assert (code, err) == (0, "")
        assert f"Example: raydream {name}" in text


def test_nothing_asked_is_answered_with_the_help_alone(cli: Cli) -> None:
    code, out, err = cli()
    assert code == 2
    assert "Usage: raydream" in out + err
    assert "raydream: " not in err


def test_recipes_lists_all_with_their_head_comments(cli: Cli) -> None:
    code, out, err = cli("recipes")
    assert (code, err) == (0, "")
    assert out.startswith(f"{presets()[0]}\n")
    words = " ".join(out.split())
    for name in presets():
        assert f"{name} " in words
    assert "the seed project's recipe to the letter" in words


def test_layers_lists_what_can_be_dreamed_of(cli: Cli, tiny_path: str) -> None:
    code, out, err = cli("layers", tiny_path)
    assert (code, err) == (0, "")
    cells = [re.split(r"\s*│\s*", line)[1:-1] for line in out.splitlines() if "│" in line]
    assert ["low", "8", "2 px", "7 px"] in cells
    assert {"low", "mix", "high"} <= {row[0] for row in cells}
    assert not {"input_layer", "conv2d"} & {row[0] for row in cells}


def test_layers_takes_urls_and_odd_names(
    cli: Cli, tiny_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYDREAM_CACHE", str(tmp_path / "cache"))
    data = Path(tiny_path).read_bytes()
    storage.write("[a/b] [bold]::#.keras", data)  # a [/b] would be an error in rich's markup
    storage.write("[a/[/b]/net.keras", data)
    storage.write("memory://cli-layers/net.keras", data)
    for url in ("[a/b] [bold]::#.keras", "[a/[/b]/net.keras", "memory://cli-layers/net.keras"):
        code, out, err = cli("layers", url)
        assert (code, err) == (0, "")
        assert url in out
        assert "high" in out


# ---- dreaming


def test_a_broken_photograph_is_said_and_costs_the_others_nothing(cli: Cli, here: Path, recipe: Recipe) -> None:
    code, out, err = cli("dream", "broken.jpg", "cat.jpg", "none.jpg", "dog.png", "-r", "tiny.yaml", "-o", "out")
    assert code == 1
    assert out == "out/cat-dream.png\nout/dog-dream.png\n"
    broken, missing = err.splitlines()
    assert broken.startswith("raydream: broken.jpg: ")
    assert missing == "raydream: none.jpg: image none.jpg does not exist"
    assert listed(here / "out") == {"cat-dream.png", "dog-dream.png"}

    data = Path("out/cat-dream.png").read_bytes()
    inside = provenance.found_inside(data, "cat")
    assert Recipe.parse(inside["recipe"]) == recipe.changed(weights_digest=inside["recipe"]["weights_digest"])
    recipe = Recipe.parse(inside["recipe"])
    assert inside["seed"] == recipe.seed_of("cat.jpg")
    assert inside["recipe_digest"] == recipe.digest
    before, after = codec.decode(Path("cat.jpg").read_bytes()), codec.decode(data)
    assert before.shape == after.shape
    backbone = raydream.load_for(recipe)
    dreamed = raydream.dream(before[None], recipe, backbone, [inside["seed"]])
    assert np.array_equal(codec.to_uint8(dreamed[0]), codec.to_uint8(after))
    assert np.abs(after - before).mean() > 0.005


def test_values_of_the_recipe_can_be_set_the_last_wins(cli: Cli, here: Path) -> None:
    assert (
        cli("dream", "cat.jpg", "-r", "tiny.yaml", "--set", "size=20", "--set", "steps=3", "--set", "steps=1")[0] == 0
    )
    recipe = provenance.found_inside(Path("cat-dream.png").read_bytes(), "")["recipe"]
    assert (recipe["size"], recipe["steps"]) == (20, 1)
    assert codec.decode(Path("cat-dream.png").read_bytes()).shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("output", "written", "format"),
    [
        ("x.png", "x.png", "PNG"),
        ("new/folder/X.JPG", "new/folder/X.JPG", "JPEG"),
        ("x.webp", "x.webp", "WEBP"),
        ("v1.0/", "v1.0/cat-dream.png", "PNG"),
        ("is.folder", "is.folder/cat-dream.png", "PNG"),
        (".", "cat-dream.png", "PNG"),
        ("#[x]*? 夢::", "#[x]*? 夢::/cat-dream.png", "PNG"),
    ],
)
def test_the_output_is_a_picture_or_a_folder(output: str, written: str, format: str, cli: Cli, here: Path) -> None:
    (here / "is.folder").mkdir()
    before = listed(here)
    assert cli("dream", "cat.jpg", "-r", "tiny.yaml", "-o", output) == (0, f"{written}\n", "")
    assert listed(here) - before == {written}
    with Image.open(written) as image:
        assert image.format == format
        assert image.size == (60, 40)
    assert provenance.found_inside(Path(written).read_bytes(), "")["id"] == "cat.jpg"


def test_the_output_may_be_a_url(cli: Cli, here: Path) -> None:
    assert cli("dream", "cat.jpg", "-r", "tiny.yaml", "-o", "memory://cli-dream")[:2] == (
        0,
        "memory://cli-dream/cat-dream.png\n",
    )
    assert (
        cli("dream", "memory://cli-dream/cat-dream.png", "-r", "tiny.yaml", "-o", "memory://cli-dream/x.webp")[0] == 0
    )
    assert set(Folder("memory://cli-dream").files()) == {"cat-dream.png", "x.webp"}
    assert not [name for name in listed(here) if "memory" in name]


def test_photographs_of_one_name_get_dreams_of_their_own_and_no_photograph_is_overwritten(cli: Cli, here: Path) -> None:
    for name in ("a/cat.jpg", "b/cat.jpg", "cat.png", "cat-dream.png"):
        storage.write(name, Path("dog.png").read_bytes())
    images = ["cat.jpg", "a/cat.jpg", "b/cat.jpg", "cat.png", "cat-dream.png", "cat.jpg"]
    code, out, err = cli("dream", *images, "-r", "tiny.yaml", "--set", "steps=1")
    assert (code, err) == (0, "")
    assert out.split() == [f"cat-dream-{n}.png" for n in (2, 3, 4, 5)] + ["cat-dream-dream.png"]
    assert Path("cat-dream.png").read_bytes() == Path("dog.png").read_bytes()
    inside = [provenance.found_inside(Path(name).read_bytes(), "") for name in out.split()]
    assert [i["id"] for i in inside] == ["cat.jpg", "cat.jpg", "cat.jpg", "cat.png", "cat-dream.png"]
    assert inside[0]["source_sha256"] != inside[1]["source_sha256"] == inside[4]["source_sha256"]


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_is_suggested_where_it_is_fast_and_no_precision_is_named(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr(runtime, "has_fast_bfloat16", lambda: fast)
    Path("open.yaml").write_text(Path("tiny.yaml").read_text().replace("precision: float32", "precision:"))
    code, _, err = cli("dream", "cat.jpg", "-r", "open.yaml")
    assert code == 0
    assert err.count("\n") == fast
    assert ("--set precision=bfloat16" in err) == fast
    for precision in ("float32", "bfloat16"):
        assert cli("dream", "cat.jpg", "-r", "open.yaml", "--set", f"precision={precision}")[2] == ""


def test_photographs_may_have_any_name(cli: Cli, here: Path) -> None:
    odd = ("sp ace", "#%20", "a::b", "[x]*?", "夢", "[bold]", "~x", "file:x", "new\nline", os.fsdecode(b"caf\xe9"))
    for name in odd:
        Path(f"{name}.png").write_bytes(Path("dog.png").read_bytes())
    images = [f"{name}.png" for name in odd]
    code, out, err = cli("dream", *images, "-r", "tiny.yaml", "--set", "steps=1", "-o", "out")
    assert (code, err) == (0, "")
    written = "".join(f"out/{name}-dream.png\n" for name in odd)
    assert out.encode("utf-8", "surrogateescape") == os.fsencode(written)
    assert listed(here / "out") == {f"{name}-dream.png" for name in odd}
    for name in odd:
        assert provenance.found_inside(Path("out", f"{name}-dream.png").read_bytes(), "")["id"] == f"{name}.png"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "clasic"], "unknown recipe 'clasic': did you mean 'classic'?"),
        (["-r", "none.yaml"], "recipe none.yaml does not exist"),
        (["-r", "."], "unknown recipe '.'"),
        (["-r", "zzz://x.yaml"], "recipe zzz://x.yaml cannot be read: Protocol not known: zzz"),
        (["-r", "cat.jpg.yaml"], "is not YAML"),
        (["--set", "stps=3"], "unknown key 'stps': did you mean 'steps'?"),
        (["--set", "steps"], "--set takes key=value"),
        (["--set", "steps=2020-13-45"], "is not YAML"),
        (["--set", "steps=-1"], "steps"),
        (["--set", "octaves=many"], "octaves"),
        (["--set", "objective=hihg"], "no layer 'hihg': did you mean 'high'? valid:"),
        (["--set", "objective={layer: low, channels: [8]}"], "layer 'low' has channels 0 to 7"),
        (["--set", "backbone=inception_v4"], "unknown backbone 'inception_v4': did you mean 'inception_v3'?"),
        (["--set", "backbone=none.keras"], "backbone file none.keras does not exist"),
        (["--set", "backbone=cat.jpg.keras"], "is not a .keras file"),
        (["--set", "backbone=zzz://net.keras"], "Protocol not known: zzz"),
        (["--set", "backbone=memory://none/net.keras"], "backbone memory://none/net.keras does not exist"),
        (["--set", "backbone=http://127.0.0.1:1/net.keras"], "cannot be read: Cannot connect"),
        (["--set", f"weights_digest={'f' * 64}"], "are not those of the recipe (ffffffffffff)"),
        (["--recipes", "classic"], "No such option"),
        (["-o", "x.gif"], "-o x.gif: pictures end in .png, .jpg, .jpeg, .webp"),
        (["-o", f"{'x' * 300}.png"], "File name too long"),
        (["-o", "cat.jpg"], "-o cat.jpg is the photograph itself"),
        (["-o", "../cat.jpg/../{here}/./cat.jpg"], "is the photograph itself"),
        (["dog.png", "-o", "x.png"], "-o x.png is one picture for 2 images: name a folder"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_is_asked_wrongly_is_one_line_and_nothing_is_written(
    arguments: list[str], said: str, cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYDREAM_CACHE", str(here / "cache"))
    for name in ("cat.jpg.yaml", "cat.jpg.keras"):
        (here / name).write_bytes((here / "cat.jpg").read_bytes())
    before = listed(here)
    arguments = [argument.replace("{here}", here.name) for argument in arguments]
    recipe = [] if {"-r", "--recipe"} & {*arguments} else ["-r", "tiny.yaml"]
    assert said in wrong(cli("dream", "cat.jpg", *recipe, *arguments))
    assert listed(here) == before


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["."], 2, "Is a directory"),
        (["zzz://x.jpg"], 2, "Protocol not known: zzz"),
        (["http://127.0.0.1:1/x.jpg"], 2, "Cannot connect"),
        (["new\nline.jpg"], 2, "new line.jpg does not exist"),
        (["dot.png"], 1, "image of 1x1 pixels is too small"),
        (["cat.jpg", "--set", "size=100000"], 1, "cannot resize 60x40 to 150000x100000 pixels"),
        (["long.png", "-o", "x.webp"], 1, "x.webp: cannot write 16500x4 webp"),
        (["cat.jpg", "-o", "broken.jpg/x.png"], 2, "broken.jpg/x.png cannot be written: "),
    ],
    ids=range(8),
)
def test_a_photograph_that_cannot_be_dreamed_is_one_line_and_nothing_is_written(
    arguments: list[str], status: int, said: str, cli: Cli, here: Path
) -> None:
    Image.new("RGB", (1, 1)).save("dot.png")
    Image.new("RGB", (16500, 4)).save("long.png")
    before = listed(here)
    result = cli("dream", *arguments, "-r", "tiny.yaml", "--set", "steps=1")
    assert said in wrong(result, status)
    assert listed(here) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["dream"], "Missing argument 'IMAGE...'"),
        (["--bogus"], "No such option: --bogus"),
        (["layers", "nothing"], "unknown backbone 'nothing'"),
        (["layers", "none.keras"], "backbone file none.keras does not exist"),
        (["scenery", "out", "--count", "0"], "--count"),
        (["scenery", "out", "--count", "many"], "--count"),
        (["gallery", "out", "--rows", "0"], "--rows"),
        (["replay", "none.png"], "dream none.png does not exist"),
    ],
)
def test_other_commands_asked_wrongly_are_one_line(arguments: list[str], said: str, cli: Cli) -> None:
    assert said in wrong(cli(*arguments))


# ---- replaying


@pytest.fixture
def dreamed(cli: Cli, here: Path) -> str:
    """`cat-dream.png`, beside its photograph."""
    assert cli("dream", "cat.jpg", "-r", "tiny.yaml")[0] == 0
    return "cat-dream.png"


@pytest.mark.parametrize("output", ["x.png", "x.jpg", "x.webp"])
def test_a_dream_made_again_is_identical_in_every_format(output: str, cli: Cli, here: Path) -> None:
    cli("dream", "cat.jpg", "-r", "tiny.yaml", "-o", output)
    assert cli("replay", output) == (0, "identical\n", "")


def test_the_photograph_may_be_named_or_its_folder_or_lie_beside(cli: Cli, here: Path, dreamed: str) -> None:
    assert cli("replay", dreamed) == (0, "identical\n", "")
    Path("far #").mkdir()
    Path("cat.jpg").rename("far #/cat.jpg")
    assert "photograph ./cat.jpg does not exist" in wrong(cli("replay", dreamed))
    assert cli("replay", dreamed, "--source", "far #") == (0, "identical\n", "")
    Path("far #/cat.jpg").rename("far #/renamed.jpg")
    assert cli("replay", dreamed, "--source", "far #/renamed.jpg") == (0, "identical\n", "")
    storage.write("memory://cli-replay/dream.png", Path(dreamed).read_bytes())
    storage.write("memory://cli-replay/cat.jpg", Path("far #/renamed.jpg").read_bytes())
    assert cli("replay", "memory://cli-replay/dream.png") == (0, "identical\n", "")
    assert cli("replay", dreamed, "--source", "memory://cli-replay/") == (0, "identical\n", "")


def test_another_photograph_is_refused(cli: Cli, here: Path, dreamed: str) -> None:
    with Path("cat.jpg").open("ab") as file:
        file.write(b"\0")
    said = wrong(cli("replay", dreamed))
    assert "./cat.jpg is not the photograph cat.jpg that was dreamed: its digest differs" in said
    assert "dog.png is not the photograph cat.jpg" in wrong(cli("replay", dreamed, "--source", "dog.png"))


def test_another_recipe_gives_another_picture_which_knows_its_own_recipe(cli: Cli, here: Path, dreamed: str) -> None:
    for change in ("steps=3", "seed=8"):
        code, out, err = cli("replay", dreamed, "--set", change, "-o", "other.png")
        assert (code, err) == (1, "")
        assert re.fullmatch(r"differs by \d+\.\d\d of 255, at most \d+\n", out)
        key, _, value = change.partition("=")
        assert provenance.found_inside(Path("other.png").read_bytes(), "")["recipe"][key] == int(value)
        assert cli("replay", "other.png") == (0, "identical\n", "")
    assert cli("replay", dreamed, "--set", "objective=low")[::2] == (1, "")  # fewer of the same weights
    assert cli("replay", dreamed, "--set", "size=20") == (1, "differs: 60x40 then, 30x20 now\n", "")


def test_a_picture_that_was_changed_differs(cli: Cli, here: Path, dreamed: str) -> None:
    data = Path(dreamed).read_bytes()
    pixels = codec.to_uint8(codec.decode(data))
    pixels[3, 4, 0] ^= 32
    Path(dreamed).write_bytes(codec.encode(pixels, metadata=codec.read_metadata(data)))
    assert cli("replay", dreamed) == (1, "differs by 0.00 of 255, at most 32\n", "")


def test_a_dream_made_again_can_be_kept_and_is_the_same_file(cli: Cli, here: Path, dreamed: str) -> None:
    assert cli("replay", dreamed, "-o", "kept/again.png") == (0, "identical\n", "")
    assert Path("kept/again.png").read_bytes() == Path(dreamed).read_bytes()


def test_another_network_under_the_same_name_is_refused(cli: Cli, here: Path) -> None:
    network().save("net.keras")
    cli("dream", "cat.jpg", "-r", "tiny.yaml", "--set", "backbone=net.keras")
    network(2.0).save("net.keras")
    assert "the weights of net.keras" in wrong(cli("replay", "cat-dream.png"))


def test_what_cannot_be_made_again_is_one_line(cli: Cli, here: Path, dreamed: str) -> None:
    assert "cat.jpg has no recipe inside" in wrong(cli("replay", "cat.jpg"))
    assert "broken.jpg has no recipe inside" in wrong(cli("replay", "broken.jpg"))
    data = Path(dreamed).read_bytes()
    Path("cut.png").write_bytes(data[:-500])
    assert "damaged image" in wrong(cli("replay", "cut.png"))
    inside: Any = codec.read_metadata(data)
    for change in ({"recipe": {"stps": 3}}, {"recipe": {"steps": []}}, {"recipe": {"objective": 5}}, {"seed": "x"}):
        Path("hostile.png").write_bytes(codec.encode(codec.decode(data), metadata=inside | change))
        wrong(cli("replay", "hostile.png"))
    assert "pictures end in" in wrong(cli("replay", dreamed, "-o", "x.gif"))
    assert "key=value" in wrong(cli("replay", dreamed, "--set", "steps"))
    assert "cannot be written" in wrong(cli("replay", dreamed, "-o", "broken.jpg/x.png"))


# ---- data sets


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
        assert "is no data set of raydream: it has no _raydream/plan.json" in wrong(cli(command, url))
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
    assert "0000000.parquet" in wrong(cli("gallery", out.url))


# ---- scenery


def test_scenery_paints_as_many_pictures_as_asked_in_class_folders_the_same_ones_each_time(
    cli: Cli, here: Path
) -> None:
    assert cli("scenery", "a", "--count", "2") == (0, "a\n", "")
    assert cli("scenery", "b", "--count", "1") == (0, "b\n", "")
    names = sorted(listed(here / "a"))
    assert len(names) == 2
    assert all(re.fullmatch(r"[^/]+/[^/]+\.png", name) for name in names)
    (name,) = listed(here / "b")
    assert (here / "a" / name).read_bytes() == (here / "b" / name).read_bytes()


def test_scenery_that_cannot_be_written_is_one_line(cli: Cli, here: Path) -> None:
    assert "cat.jpg" in wrong(cli("scenery", "cat.jpg/x", "--count", "1"))


# ---- in a process of its own


def started(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "raydream", *arguments]
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_libraries_add_nothing_to_what_is_printed(here: Path) -> None:
    Path("dog.png").rename(NOT_UTF8)
    arguments = ("dream", "broken.jpg", "cat.jpg", NOT_UTF8, "-r", "tiny.yaml", "-o", "out")
    with started(*arguments, PYTHONIOENCODING="utf-8") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == b"out/cat-dream.png\nout/caf\xe9-dream.png\n"
    assert err.count(b"\n") == 1
    assert err.startswith(b"raydream: broken.jpg: ")


def test_interrupting_ends_quietly_with_130_and_no_half_picture(here: Path) -> None:
    with started("scenery", "many", "--count", "100000") as process:
        deadline = time.monotonic() + 30
        while not listed(here / "many") and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == commands.INTERRUPTED
    assert b"Traceback" not in err
    for name in listed(here / "many"):
        codec.decode((here / "many" / name).read_bytes())


COLOURS = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")


def help_on_terminal(**environment: str) -> str:
    """What `--help` shows on a terminal."""
    main, sub = pty.openpty()
    command = [sys.executable, "-m", "raydream", "--help"]
    environment = {**os.environ, "TERM": "xterm-256color", **environment}
    with subprocess.Popen(command, env=environment, stdin=sub, stdout=sub, stderr=sub) as process:
        os.close(sub)
        seen = b""
        try:
            while piece := os.read(main, 65536):
                seen += piece
        except OSError:  # how a terminal ends on Linux
            pass
    os.close(main)
    assert process.returncode == 0
    return seen.decode()


def test_no_color_is_respected_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert COLOURS.search(help_on_terminal())
    plain = help_on_terminal(NO_COLOR="1")
    assert "dream" in plain
    assert not COLOURS.search(plain)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", [None, "1"])
def test_on_a_terminal_a_bar_moves_and_names_are_shown_as_they_are(
    no_color: str | None, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    Path("cat.jpg").rename("[bold]cat.jpg")
    with pytest.raises(SystemExit) as end:
        commands.run(app, "raydream", ["dream", "[bold]cat.jpg", "-r", "tiny.yaml"])
    assert end.value.code == 0
    assert "[bold]cat.jpg  octave 1/1 60x40" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()
    assert bool(COLOURS.search(terminal.getvalue())) == (no_color is None)
