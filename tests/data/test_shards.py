"""shards: what is written comes back, in each format, and others' tools can open it."""

import io
import json
import tarfile
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raydream.data import codec, layout, shards, webdataset
from raydream.data.job import Format
from raydream.data.layout import read_rows
from raydream.data.marks import Mark, marked, read_marks
from raydream.data.rows import Failure, Row, printable
from raydream.data.shards import Shard
from raydream.data.storage import Folder

FORMATS: tuple[Format, ...] = get_args(Format)
HOSTILE = 'zoo 夢/[x]*?::#%20 "it\'s"\n</script>\\udcff.tar'


def picture(level: int, format: codec.Format = "png") -> bytes:
    """8 wide, 6 high, all of one grey."""
    return codec.encode(np.full((6, 8, 3), level, np.uint8), format)


def row(id: str = "cats/tom.jpg", **fields: Any) -> Row:
    known: dict[str, Any] = {
        "id": id,
        "label": "cats",
        "name": f"{id}.png",
        "dream": picture(200),
        "source": picture(100),
        "width": 8,
        "height": 6,
        "seed": 2**63 - 1,
        "recipe": "0123abcd",
        "objective_before": 0.25,
        "objective_after": 1.5,
    }
    return Row(**{**known, **fields})


ROWS = {
    "with sources": [row("cats/tom.jpg"), row("dogs/rex.jpg", label="dogs", seed=0, dream=picture(7))],
    "without sources": [row("a.jpg", source=None), row("b.jpg", source=None)],
    "without labels": [row("a.jpg", label=None), row("b.jpg", label=None)],
    "some labels": [row("a.jpg", label=None), row("cats/b.jpg")],
    "by a dreamer": [row("a.jpg", objective_before=None, objective_after=None)],
    "odd names": [row(f"{HOSTILE}/{i}.jpg", label=HOSTILE.split("/")[0]) for i in range(3)],
    "jpeg": [row(name="cats/tom.jpg", dream=picture(9, "jpeg"), source=picture(3, "jpeg"))],
}


@pytest.fixture(params=["local", "memory://"])
def out(request: pytest.FixtureRequest, tmp_path: Any) -> Folder:
    return Folder(str(tmp_path) if request.param == "local" else f"memory://shards-tests{tmp_path}")


def write(out: Folder, number: int, rows: list[Row], format: Format, failures: tuple[Failure, ...] = ()) -> Mark:
    return shards.write(out, Shard(number=number, rows=rows, failures=failures, device="CPU", seconds=1.5), format)


def read(out: Folder, format: Format) -> list[Row]:
    found = read_marks(out, marked(out))
    return read_rows(out, format, found, range(sum(mark.images for mark in found)))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_rows_come_back_as_they_were(rows: list[Row], format: Format, out: Folder) -> None:
    write(out, 3, [row("other.jpg")], format)
    write(out, 12, rows, format)
    assert read(out, format) == [row("other.jpg"), *rows]


@pytest.mark.parametrize("format", FORMATS)
def test_a_shard_of_failures_only_has_a_mark_and_no_part(format: Format, out: Folder) -> None:
    write(out, 0, [], format, (Failure(id="x", stage="load", error="empty"),))
    assert set(out.files()) == {"_raydream/marks/0000000.json"}
    assert layout.done(out, format) == {0}


def test_files_have_their_places(out: Folder) -> None:
    for format in FORMATS:
        write(out, 7, [row()], format)
    assert set(out.files()) == {
        "_raydream/marks/0000007.json",
        "_raydream/parts/0000007.parquet",
        "_raydream/parts/0000007.tar",
        "_raydream/parts/0000007.jsonl",
        "data/dream/cats/tom.jpg.png",
        "data/source/cats/tom.jpg.png",
    }
    assert out.read("data/dream/cats/tom.jpg.png") == picture(200)
    assert out.read("data/source/cats/tom.jpg.png") == picture(100)


def test_a_table_of_contents_names_the_pictures_from_the_data_folder(out: Folder) -> None:
    write(out, 0, [row(), row("b.jpg", source=None)], "files")
    first, second = map(json.loads, out.read("_raydream/parts/0000000.jsonl").splitlines())
    assert first["dream_file_name"] == "dream/cats/tom.jpg.png"
    assert first["source_file_name"] == "source/cats/tom.jpg.png"
    assert "source_file_name" not in second
    assert out.exists(f"data/{first['dream_file_name']}")


# ---- parquet


def parquet(rows: list[Row]) -> pq.ParquetFile:
    out = Folder("memory://shards-parquet")
    write(out, 0, rows, "parquet")
    return pq.ParquetFile(io.BytesIO(out.read("_raydream/parts/0000000.parquet")))


def test_parquet_has_the_columns_of_the_readme_in_order_and_tells_datasets_which_are_pictures() -> None:
    schema = parquet([row()]).schema_arrow
    columns = "id label dream source width height seed recipe objective_before objective_after"
    assert schema.names == columns.split()
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["dream"] == features["source"] == {"_type": "Image"}
    assert features["objective_after"] == {"dtype": "float64", "_type": "Value"}
    assert features["seed"] == {"dtype": "int64", "_type": "Value"}
    assert features["width"] == {"dtype": "int32", "_type": "Value"}
    assert schema.field("dream").type == pa.struct({"bytes": pa.binary(), "path": pa.string()})


def test_parquet_without_sources_has_no_such_column() -> None:
    schema = parquet([row(source=None)]).schema_arrow
    assert "source" not in schema.names
    assert "source" not in json.loads(schema.metadata[b"huggingface"])["info"]["features"]


def test_parquet_holds_the_bytes_and_names_of_the_pictures() -> None:
    (record,) = parquet([row()]).read().to_pylist()
    assert record["dream"] == {"bytes": picture(200), "path": "cats/tom.jpg.png"}
    assert record["source"] == {"bytes": picture(100), "path": "cats/tom.jpg.png"}
    assert record["seed"] == 2**63 - 1


# ---- WebDataset


def members(rows: list[Row], shard: int = 0) -> dict[str, bytes]:
    data, sizes = webdataset.encode(rows, shard)
    assert len(sizes) == len(rows)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def test_tar_has_a_picture_of_each_kind_and_facts_for_every_key() -> None:
    found = members([row(HOSTILE), row("b.jpg", source=None, name="b.webp", dream=picture(1, "webp"))], 12)
    assert list(found) == [
        "0000012-000000.dream.png",
        "0000012-000000.source.png",
        "0000012-000000.json",
        "0000012-000001.dream.webp",
        "0000012-000001.json",
    ]
    assert found["0000012-000000.dream.png"] == picture(200)
    facts = json.loads(found["0000012-000000.json"])
    assert facts["id"] == HOSTILE
    assert facts["seed"] == 2**63 - 1
    assert facts.keys() == row().facts.keys()


def test_tar_has_text_for_a_label_that_is_missing_so_that_all_rows_have_the_same_types() -> None:
    kinds = {type(json.loads(members([r])["0000000-000000.json"])["label"]) for r in (row(), row(label=None))}
    assert kinds == {str}


# ---- marks


def test_a_mark_comes_back_as_it_was_and_has_sums_not_rows(out: Folder) -> None:
    failures = (Failure(id=HOSTILE, stage="load", error='broken: "x"\n'),)
    mark = write(out, 41, [row(), row(label=None, objective_before=None)], "webdataset", failures)
    assert Mark.parse(mark.dump()) == mark == read_marks(out, [41])[0]
    assert (mark.images, mark.measured, mark.objective_before, mark.objective_after) == (2, 1, 0.25, 1.5)
    assert (mark.seconds, mark.device, mark.failures) == (1.5, "CPU", failures)
    assert b"tom.jpg" not in mark.dump()


def test_printable_shows_bytes_that_are_no_text_and_leaves_all_else() -> None:
    assert printable("夢 #%\n[x]") == "夢 #%\n[x]"
    shown = printable("caf\udce9.jpg")
    assert shown == "caf\\udce9.jpg"
    assert shown.encode("utf-8")
