"""networks: layers and recipes."""

import re
from pathlib import Path

import pytest

from raydream.core.networks.classes import with_classes
from raydream.data import storage
from raydream.recipe import presets
from tests.cli.conftest import Cli


def test_recipes_lists_all_with_their_head_comments(cli: Cli) -> None:
    code, out, err = cli("recipes")
    assert (code, err) == (0, "")
    assert out.startswith(f"{presets()[0]}\n")
    words = " ".join(out.split())
    for name in presets():
        assert f"{name} " in words
    assert "exactly the seed project's recipe" in words


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


def test_layers_lists_the_classes_of_a_classifier(cli: Cli, tiny_path: str, tmp_path: Path) -> None:
    path = tmp_path / "classifier.keras"
    path.write_bytes(with_classes(Path(tiny_path).read_bytes(), ["banjo", "[b]fig"]))
    code, out, err = cli("layers", str(path))
    assert (code, err) == (0, "")
    assert out.endswith("\n2 classes: banjo, [b]fig\n")
    assert "classes" not in cli("layers", tiny_path)[1]


def test_layers_names_the_page_of_the_channels(cli: Cli, tiny_path: str) -> None:
    code, out, err = cli("layers", "inception_v3")
    assert (code, err) == (0, "")
    page = Path(out.strip().splitlines()[-1].partition(", see ")[2])
    listed = re.findall(r"│ (mixed\d+) ", out)
    assert len(listed) == 9
    assert re.findall("<h2>(.*)</h2>", page.read_text()) == listed
    assert f"use raydream visualize {tiny_path} LAYER" in cli("layers", tiny_path)[1]


def test_every_key_of_a_recipe_and_of_a_term_is_explained_in_the_help_and_in_the_docs(cli: Cli) -> None:
    from dataclasses import fields
    from pathlib import Path

    from raydream.core.objectives import KINDS
    from raydream.recipe import KEYS, Recipe

    code, out, _ = cli("recipes", "--keys")
    assert code == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    explained = {cell for row in rows for cell in row[:2]}
    page = (Path(__file__).resolve().parents[2] / "docs/recipes.md").read_text()
    for described in (Recipe, *KINDS.values()):
        for field in fields(described):
            if not field.name.endswith("_digest"):
                key = KEYS.get(field.name, field.name)
                assert key in explained or key == "kind", key
                assert re.search(rf"\b{key}\b", page), f"docs/recipes.md does not have {key}"
    for kind in KINDS:
        assert kind in explained
        assert f"| `{kind}` |" in page
    assert ["mask", "where the picture may change"] in [[row[0], row[1][:28]] for row in rows]
    assert "None" not in out
    assert "see `" not in out
