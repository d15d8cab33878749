"""unpacking: the images of a data set as single files in class folders."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raydream.data import codec
from raydream.data.labelled import list_labelled
from raydream.data.unpacking import check_parquet, parquet_files, unpack
from raydream.errors import UsageError


def picture(level: float) -> bytes:
    return codec.encode(np.full((8, 9, 3), level, np.float32))


def dataset(folder: Path, labels: list[object], name: str = "00000") -> list[bytes]:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    images = [picture(n / 10) for n in range(len(labels))]
    table = pa.table(
        {
            "label": labels,
            "dream": [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(images)],
            "source": [{"bytes": picture(-0.5), "path": f"{n}.png"} for n in range(len(images))],
        }
    )
    pq.write_table(table, folder / f"data/{name}.parquet", row_group_size=2)
    return images


def test_each_image_becomes_a_file_of_its_class(tmp_path: Path) -> None:
    images = dataset(tmp_path / "in", ["cat", "dog", "cat", "dog", "cat", "dog"])
    assert parquet_files(str(tmp_path / "in")) == ["data/00000.parquet"]
    unpack(str(tmp_path / "in"), str(tmp_path / "out"), (None, "label"))
    assert (tmp_path / "out/cat/00000-000004.png").read_bytes() == images[4]
    found = list_labelled(str(tmp_path / "out"))
    assert found.classes == ("cat", "dog")
    assert len(found.names) == 6
    unpack(str(tmp_path / "in"), str(tmp_path / "sources"), ("source", "label"))
    assert (tmp_path / "sources/dog/00000-000001.png").read_bytes() == picture(-0.5)


def test_files_of_one_name_in_several_folders_stay_apart(tmp_path: Path) -> None:
    for part in ("a", "b"):
        (tmp_path / "in/data" / part).mkdir(parents=True)
        dataset(tmp_path / "in", ["cat", "dog"], name=f"{part}/00000")
    unpack(str(tmp_path / "in"), str(tmp_path / "out"), (None, "label"))
    assert sorted(path.name for path in (tmp_path / "out/cat").iterdir()) == [
        "a-00000-000000.png",
        "b-00000-000000.png",
    ]


def test_a_table_is_no_data_set_and_a_broken_file_is_named(tmp_path: Path) -> None:
    assert parquet_files(str(tmp_path / "t.csv")) == []
    (tmp_path / "data").mkdir()
    (tmp_path / "data/0.parquet").write_bytes(b"no parquet")
    with pytest.raises(UsageError, match=r"data/0\.parquet is not a Parquet file, or is incomplete"):
        parquet_files(str(tmp_path))


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    dataset(tmp_path / "in", [1, 2, 1])
    for _ in range(2):
        unpack(str(tmp_path / "in"), str(tmp_path / "out"), (None, "label"))
        file = tmp_path / "out/1/00000-000000.png"
        before = file.stat().st_mtime_ns
    assert file.stat().st_mtime_ns == before


def test_folders_of_images_are_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.png").write_bytes(picture(0))
    pq.write_table(pa.table({"label": ["a"], "path": ["a.png"]}), tmp_path / "data/paths.parquet")
    assert parquet_files(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("labels", "columns", "said"),
    [
        (["a", None], (None, "label"), "label of row 1 of data/00000.parquet is None: it must be a class"),
        ([0.5, 1.5], (None, "label"), "is 0.5: it must be a class"),
        (["a", "../b"], (None, "label"), "cannot be a class"),
        (["a", "b"], (None, "labels"), "has no column 'labels': did you mean 'label'"),
        (["a", "b"], ("sauce", "label"), "has no images in a column 'sauce': did you mean 'source'"),
    ],
)
def test_wrong_columns_are_one_line(
    tmp_path: Path, labels: list[object], columns: tuple[str | None, str], said: str
) -> None:
    dataset(tmp_path / "in", labels)
    with pytest.raises(UsageError) as error:
        unpack(str(tmp_path / "in"), str(tmp_path / "out"), columns)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a", "a", "a", "b", "b", None], "label of row 5 of {}/data/00000.parquet is None: it must be a class"),
        (["Cat", "Cat", "Cat", "cat", "cat", "cat"], "{}: the classes 'Cat' and 'cat' differ only by case"),
        (["a", "a", "a", "b"], "{}: class 'b' has 1 image: at least 3 are needed"),
        (["a"] * 6, "{} has 1 class: at least 2 are needed"),
    ],
)
def test_labels_are_checked_before_anything_is_written(tmp_path: Path, labels: list[object], said: str) -> None:
    source = str(tmp_path / "in")
    dataset(tmp_path / "in", labels)
    with pytest.raises(UsageError) as error:
        check_parquet(source, (None, "label"))
    assert str(error.value).startswith(said.format(source))


def test_good_labels_pass_the_check(tmp_path: Path) -> None:
    dataset(tmp_path / "in", [1, 2, 1, 2, 1, 2])
    check_parquet(str(tmp_path / "in"), (None, "label"))


def test_damage_inside_a_file_is_one_line(tmp_path: Path) -> None:
    dataset(tmp_path / "in", ["a", "b"] * 30)
    file = tmp_path / "in/data/00000.parquet"
    data = bytearray(file.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    file.write_bytes(data)
    with pytest.raises(UsageError, match=r"in/data/00000\.parquet is damaged") as error:
        unpack(str(tmp_path / "in"), str(tmp_path / "out"), (None, None))
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="is damaged"):
        check_parquet(str(tmp_path / "in"), (None, "label"))


def test_a_row_without_an_image_costs_only_itself(tmp_path: Path) -> None:
    images = [
        {"bytes": picture(0.1), "path": None},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"no", "path": None},
    ]
    (tmp_path / "in/data").mkdir(parents=True)
    pq.write_table(pa.table({"image": images}), tmp_path / "in/data/0.parquet")
    unpack(str(tmp_path / "in"), str(tmp_path / "out"), (None, None))
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {"0-000000.png": picture(0.1), "0-000001.png": b"", "0-000002.png": b"", "0-000003.png": b"no"}
