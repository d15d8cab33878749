"""pictures: dream, replay and scenery, and one line where something is wrong."""

import os
import re
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
from PIL import Image

import raydream
from raydream import assets, runtime
from raydream.api import Dream
from raydream.cli import commands, pictures
from raydream.cli.app import app
from raydream.core import engine
from raydream.data import codec, provenance, storage
from raydream.data.storage import Folder
from raydream.recipe import Recipe
from tests.cli.conftest import Cli, listed, network, wrong

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
    dreamed = engine.dream(before[None], recipe, backbone, [inside["seed"]])
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
def test_the_other_precision_is_suggested_where_it_is_much_faster(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr(runtime, "has_fast_bfloat16", lambda: fast)
    Path("open.yaml").write_text(Path("tiny.yaml").read_text().replace("precision: float32", "precision:"))
    code, _, err = cli("dream", "cat.jpg", "-r", "open.yaml")
    assert code == 0
    assert err.count("\n") == fast
    assert ("--set precision=bfloat16" in err) == fast
    assert cli("dream", "cat.jpg", "-r", "open.yaml", "--set", "precision=float32")[2] == ""
    said = cli("dream", "cat.jpg", "-r", "open.yaml", "--set", "precision=bfloat16")[2]
    assert said == ("" if fast else "this CPU has no bfloat16 instructions: float32 would be about ten times as fast\n")


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
        (["-o", "x.gif"], "x.gif: pictures end in .png, .jpg, .jpeg, .webp"),
        (["-o", f"{'x' * 300}.png"], "File name too long"),
        (["-o", "cat.jpg"], "-o cat.jpg is the photograph itself"),
        (["-o", "../cat.jpg/../{here}/./cat.jpg"], "is the photograph itself"),
        (["dog.png", "-o", "x.png"], "-o x.png is one picture, but there are 2 images: use a folder"),
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
        (["."], 2, "raydream: . is a folder: use `raydream dataset . OUT`"),
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


def test_a_dream_never_replaces_another_one_and_o_needs_force_to(cli: Cli, here: Path) -> None:
    for number in ("", "-2", "-3"):
        assert cli("dream", "cat.jpg", "-r", "tiny.yaml") == (0, f"cat-dream{number}.png\n", "")
    first = Path("cat-dream.png").read_bytes()
    said = wrong(cli("dream", "cat.jpg", "-r", "none.yaml", "-o", "cat-dream.png"))  # before the recipe is read
    assert said == "raydream: -o cat-dream.png exists: use another name, or --force to overwrite it\n"
    assert "exists" in wrong(cli("replay", "cat-dream-2.png", "-o", "cat-dream.png"))
    assert "-o cat-dream.png is the dream itself" in wrong(cli("replay", "cat-dream.png", "-o", "cat-dream.png"))
    assert Path("cat-dream.png").read_bytes() == first
    arguments = ("-r", "tiny.yaml", "--set", "seed=9", "-o", "cat-dream.png", "--force")
    assert cli("dream", "cat.jpg", *arguments) == (0, "cat-dream.png\n", "")
    assert Path("cat-dream.png").read_bytes() != first
    assert listed(here) >= {"cat-dream.png", "cat-dream-2.png", "cat-dream-3.png"}
    url = "memory://cli-numbers"
    for number in ("", "-2"):
        assert cli("dream", "cat.jpg", "-r", "tiny.yaml", "-o", url)[1] == f"{url}/cat-dream{number}.png\n"
    assert "exists" in wrong(cli("dream", "cat.jpg", "-r", "tiny.yaml", "-o", f"{url}/cat-dream.png"))


def test_a_folder_leads_to_the_data_set_command_before_anything_is_loaded(cli: Cli, here: Path) -> None:
    (here / "photos").mkdir()
    said = wrong(cli("dream", "cat.jpg", "photos", "-r", "none.yaml"))
    assert said == "raydream: photos is a folder: use `raydream dataset photos OUT`\n"


@pytest.mark.parametrize(
    ("image", "folder", "target"),
    [
        ("C:\\photos\\cat.jpg", ".", "cat-dream.png"),
        ("C:\\photos\\cat.jpg", "D:\\dreams", "D:\\dreams\\cat-dream.png"),
        ("\\\\nas\\photos\\cat.jpg", "dreams", "dreams\\cat-dream.png"),
        ("https://example.org/a/cat.jpg", "dreams", "dreams\\cat-dream.png"),
        ("C:\\photos\\cat.jpg", "gs://bucket/dreams", "gs://bucket/dreams/cat-dream.png"),
    ],
)
def test_on_windows_paths_have_backslashes(
    image: str, folder: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (pictures, storage):
        monkeypatch.setattr(module, "PurePath", PureWindowsPath)
    monkeypatch.setattr(storage, "write_first_free", lambda folder, names, data: next(names))
    dream = Dream(np.zeros((1, 1, 3), np.float32), Recipe.load("classic"), 0, storage.split(image)[1], "")
    assert pictures._save_numbered(dream, folder) == target


def test_no_other_spelling_of_its_name_overwrites_the_photograph(cli: Cli, here: Path) -> None:
    os.link("cat.jpg", "same.png")
    Path("link.png").symlink_to("cat.jpg")
    before = Path("cat.jpg").read_bytes()
    for image, output in (
        ("cat.jpg", (here / "cat.jpg").as_uri()),
        ((here / "cat.jpg").as_uri(), "cat.jpg"),
        ("cat.jpg", "same.png"),
        ("cat.jpg", "link.png"),
    ):
        said = wrong(cli("dream", image, "-r", "tiny.yaml", "-o", output, "--force"))
        assert said == f"raydream: -o {output} is the photograph itself\n"
    assert Path("cat.jpg").read_bytes() == before


def test_on_windows_a_picture_is_written_where_its_path_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PurePath", PureWindowsPath)
    written = []
    monkeypatch.setattr(Folder, "write", lambda folder, name, data: written.append((folder.url, name)))
    storage.write("C:\\dreams\\cat.png", b"")
    assert written == [("C:\\dreams", "cat.png")]


def test_a_single_photograph_is_fetched_once(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, read = [], storage.read
    monkeypatch.setattr(storage, "read", lambda url, what="file": (reads.append(url), read(url, what))[1])
    assert cli("dream", "cat.jpg", "-r", "tiny.yaml")[0] == 0
    assert reads.count("cat.jpg") == 1


def test_that_a_network_loads_is_said_the_first_time(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network().save("fresh.keras")
    for said in ("loading fresh.keras\n", ""):
        with pytest.raises(SystemExit):
            commands.run(app, "raydream", ["dream", "cat.jpg", "-r", "tiny.yaml", "--set", "backbone=fresh.keras"])
        assert capsys.readouterr().err == said


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


def test_a_dream_towards_a_class_knows_its_class(cli: Cli, here: Path, classifier: str) -> None:
    towards = ["--set", f"backbone={classifier}", "--set", "objective=[{class: fig, weight: 1}]", "--set", "size=96"]
    assert cli("dream", "cat.jpg", "-r", "tiny.yaml", *towards)[0] == 0
    inside = provenance.found_inside(Path("cat-dream.png").read_bytes(), "")
    assert inside["recipe"]["objective"] == [{"layer": "class_logits", "channels": [1], "class": "fig"}]
    assert cli("replay", "cat-dream.png") == (0, "identical\n", "")
    assert cli("replay", "cat-dream.png", "--set", "objective=[{class: banjo}]")[::2] == (1, "")
    said = wrong(cli("dream", "cat.jpg", "-r", "tiny.yaml", *towards, "--set", "objective=[{class: figs}]"))
    assert "has no class 'figs': did you mean 'fig'?" in said
    assert "has no classes" in wrong(cli("dream", "cat.jpg", "-r", "tiny.yaml", "--set", "objective=[{class: fig}]"))


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
        code, out, err = cli("replay", dreamed, "--set", change, "-o", "other.png", "--force")
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
    network(-1.0).save("net.keras")
    assert "names the backbone 'net.keras'" in wrong(cli("replay", "cat-dream.png"))
    code, out, _ = cli("replay", "cat-dream.png", "--set", "backbone=net.keras")
    assert (code, out[:7]) == (1, "differs")


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


def hostile(dream: str, **changes: Any) -> str:
    """A copy of a dream with other values inside."""
    data = Path(dream).read_bytes()
    inside: Any = codec.read_metadata(data)
    inside["recipe"] |= changes.pop("recipe", {})
    Path("hostile.png").write_bytes(codec.encode(codec.decode(data), metadata=inside | changes))
    return "hostile.png"


@pytest.mark.parametrize("id", ["../secret.jpg", "a/../../secret.jpg", "{here}/secret.jpg"])
def test_an_id_that_leads_out_of_the_folder_is_not_followed(id: str, cli: Cli, here: Path, dreamed: str) -> None:
    """Even to a photograph that has the right digest."""
    (here / "in" / "a").mkdir(parents=True)
    Path("cat.jpg").rename("secret.jpg")
    picture = hostile(dreamed, id=id.replace("{here}", str(here)))
    said = wrong(cli("replay", picture, "--source", "in"))
    assert "leads out of the folder: name the file with --source" in said
    assert "leads out of" in wrong(cli("replay", picture))
    assert cli("replay", picture, "--source", "secret.jpg") == (0, "identical\n", "")


def test_an_id_that_looks_like_a_home_folder_stays_below_the_folder(
    cli: Cli, here: Path, dreamed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "home").mkdir()
    monkeypatch.setenv("HOME", str(here / "home"))
    Path("cat.jpg").rename("home/secret.jpg")
    assert "./~/secret.jpg does not exist" in wrong(cli("replay", hostile(dreamed, id="~/secret.jpg")))


def test_an_id_below_a_url_is_no_url_of_its_own(cli: Cli, here: Path, dreamed: str) -> None:
    storage.write("memory://cli-secret/cat.jpg", Path("cat.jpg").read_bytes())
    picture = hostile(dreamed, id="x::memory://cli-secret/cat.jpg")
    assert "leads out of" in wrong(cli("replay", picture, "--source", "memory://cli-replay"))


def test_on_windows_backslashes_and_drives_lead_out_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance._is_below("a\\..\\b.jpg", ".")
    monkeypatch.setattr(provenance, "PurePath", PureWindowsPath)
    assert provenance._is_below("a\\b.jpg", ".")
    for id in ("..\\b.jpg", "a\\..\\..\\b.jpg", "C:\\b.jpg", "C:b.jpg", "\\\\nas\\b.jpg", "\\b.jpg"):
        assert not provenance._is_below(id, ".")
    assert provenance.is_remote("\\\\nas\\net.keras")


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("backbone", {"backbone": "{url}", "weights": None}),
        ("weights", {"backbone": "inception_v3", "weights": "{url}"}),
        ("backbone", {"backbone": "other.keras"}),
        ("backbone", {"backbone": "none.keras"}),
    ],
)
def test_a_network_that_only_the_picture_names_is_neither_fetched_nor_loaded(
    key: str, names: dict[str, Any], cli: Cli, here: Path, dreamed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "memory://cli-hostile/net.keras"
    network(2.0).save("other.keras")
    storage.write(url, Path("other.keras").read_bytes())
    names = {name: value and value.replace("{url}", url) for name, value in names.items()}
    touched: list[str] = []
    monkeypatch.setattr(assets, "fetch", lambda *given: touched.append("fetched"))
    monkeypatch.setattr(assets, "load", lambda *given: touched.append("loaded"))
    said = wrong(cli("replay", hostile(dreamed, recipe=names)))
    assert f"names the {key} '{names[key]}'" in said
    assert f"use --set {key}=..." in said
    assert touched == []


def test_a_network_behind_a_url_is_used_if_it_is_named_or_kept_here_with_its_digest(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    url = "memory://cli-named/net.keras"
    storage.write(url, Path(recipe.backbone).read_bytes())
    monkeypatch.setenv("RAYDREAM_CACHE", str(here / "cache"))
    assert cli("dream", "cat.jpg", "-r", "tiny.yaml", "--set", f"backbone={url}")[0] == 0
    asked: list[str] = []
    version = assets._version
    monkeypatch.setattr(assets, "_version", lambda url: (asked.append(url), version(url))[1])
    assert cli("replay", "cat-dream.png", "-o", "again.png") == (0, "identical\n", "")
    assert asked == []
    assert Path("again.png").read_bytes() == Path("cat-dream.png").read_bytes()
    monkeypatch.setenv("RAYDREAM_CACHE", str(here / "empty"))
    assert "names the backbone" in wrong(cli("replay", "cat-dream.png"))
    assert cli("replay", "cat-dream.png", "--set", f"backbone={url}") == (0, "identical\n", "")
    assert asked == [url]


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
    assert "cat.jpg" in wrong(cli("scenery", "cat.jpg/x", "--count", "1"), commands.FAILED)
