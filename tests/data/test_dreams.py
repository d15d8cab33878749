"""Dreams to learn from: found in data sets of each format, and in folders of pictures."""

import tarfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raydream.data import codec
from raydream.data.dreams import find_dreams, find_recipe
from raydream.data.files import picture
from raydream.data.formats import BY_NAME
from raydream.data.job import Format
from raydream.data.rows import Row
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import Recipe

RECIPE = Recipe.load("quick", {"steps": 3})


def encoded(level: float, inside: dict[str, Any] | None = None) -> bytes:
    return codec.encode(np.full((8, 9, 3), level, np.float32), metadata=inside)


def data_set(folder: Path, format: Format, count: int = 3) -> None:
    """A finished data set of some dreams, with their photographs."""
    rows = [
        Row(
            id=f"a/{n}.jpg",
            label="a",
            name=f"a/{n}.png",
            dream=encoded(n / 10),
            source=encoded(-0.9),
            width=9,
            height=8,
            seed=n,
            recipe="ab",
            objective_before=1.0,
            objective_after=2.0,
        )
        for n in range(count)
    ]
    out = Folder(str(folder))
    out.write(f"data/train-0000000-0000000.{BY_NAME[format].ENDING}", BY_NAME[format].encode(rows, 0)[0])
    if format == "files":
        for row in rows:
            for column, data in row.pictures:
                out.write(picture(column, row), data)
    out.write("recipe.yaml", RECIPE.dump().encode())
    out.write("_raydream/plan/0000000.json", b"{}")


def levels(folder: str, names: list[str]) -> list[float]:
    return [round(float(codec.decode(Folder(folder).read(name)).mean()), 1) for name in names]


@pytest.mark.parametrize("format", get_args(Format))
def test_each_format_gives_its_dreams_and_not_its_photographs(format: Format, tmp_path: Path) -> None:
    data_set(tmp_path / "dreams", format)
    said: list[str] = []
    found = find_dreams(str(tmp_path / "dreams"), Folder(str(tmp_path / "out")), said.append)
    assert levels(found.folder, found.names) == [0.0, 0.1, 0.2]
    assert find_recipe(str(tmp_path / "dreams"), found, found.names[0]) == RECIPE
    assert len(said) == (format != "files"), "packed images are unpacked, and that is said"
    again = find_dreams(str(tmp_path / "dreams"), Folder(str(tmp_path / "out")), said.append)
    assert again == found
    assert len(said) == (format != "files"), "only once"


def test_a_folder_of_dreams_gives_all_of_them_and_the_recipe_inside(tmp_path: Path) -> None:
    for n in range(2):
        inside = {"recipe": RECIPE.as_dict()}
        (tmp_path / f"{n}.png").write_bytes(encoded(n / 10, inside))
    (tmp_path / "notes.txt").write_text("no picture")
    found = find_dreams(str(tmp_path), Folder(str(tmp_path / "out")), print)
    assert found.names == ["0.png", "1.png"]
    assert find_recipe(str(tmp_path), found, "0.png") == RECIPE
    (tmp_path / "0.png").write_bytes(encoded(0))
    assert find_recipe(str(tmp_path), found, "0.png") is None
    (tmp_path / "0.png").write_bytes(b"no picture")
    assert find_recipe(str(tmp_path), found, "0.png") is None


def test_a_recipe_in_a_picture_starts_no_download(tmp_path: Path) -> None:
    recipe = RECIPE.changed(backbone="http://127.0.0.1:9/network.keras", weights=None).as_dict()
    (tmp_path / "0.png").write_bytes(encoded(0, {"recipe": recipe}))
    found = find_dreams(str(tmp_path), Folder(str(tmp_path / "out")), print)
    with pytest.raises(UsageError, match=r"0\.png names the backbone .* a picture may not start a download"):
        find_recipe(str(tmp_path), found, "0.png")


def test_a_data_set_that_has_changed_is_unpacked_anew(tmp_path: Path) -> None:
    for count in (1, 2):
        data_set(tmp_path / "dreams", "parquet", count)
        found = find_dreams(str(tmp_path / "dreams"), Folder(str(tmp_path / "out")), lambda _: None)
        assert len(found.names) == count


def test_damage_inside_a_tar_file_is_named(tmp_path: Path) -> None:
    """Python's `tarfile` takes a damaged header, or a missing end, for the end of the file."""
    data_set(tmp_path / "dreams", "webdataset")
    (file,) = (tmp_path / "dreams/data").iterdir()
    whole = file.read_bytes()
    with tarfile.open(file) as tar:
        second = tar.getmembers()[-1].offset
    damaged = whole[:second] + b"x" * 512 + whole[second + 512 :]
    for data in (damaged, whole[:second]):
        file.write_bytes(data)
        with pytest.raises(UsageError, match=r"\.tar is not an uncompressed tar file, or is incomplete"):
            find_dreams(str(tmp_path / "dreams"), Folder(str(tmp_path / "out")), lambda _: None)


def test_images_of_other_data_sets_are_found_in_their_first_column(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    images = [{"bytes": encoded(n / 10), "path": None} for n in range(2)]
    pq.write_table(pa.table({"image": images, "text": ["a", "b"]}), tmp_path / "data/train-00000.parquet")
    found = find_dreams(str(tmp_path), Folder(str(tmp_path / "out")), print)
    assert levels(found.folder, found.names) == [0.0, 0.1]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (None, "data {} is empty, or not a folder"),
        ("notes.txt", "data {} holds no dreams"),
        ("_raydream/plan/0000000.json", "data {} is an unfinished data set: finish it first"),
        ("data/0.parquet", "{}/data/0.parquet is not a Parquet file, or is incomplete"),
        ("data/0.tar", "{}/data/0.tar is not an uncompressed tar file, or is incomplete"),
    ],
)
def test_what_cannot_be_used_is_one_line(file: str | None, said: str, tmp_path: Path) -> None:
    source = tmp_path / "dreams"
    source.mkdir()
    if file:
        Folder(str(source)).write(file, b"nothing of this kind")
    with pytest.raises(UsageError) as error:
        find_dreams(str(source), Folder(str(tmp_path / "out")), print)
    assert str(error.value) == said.format(source)
