"""The format `parquet`: rows that contain the pictures, as Hugging Face's `datasets` stores them.

`label` is text, so every Parquet reader shows it. The data set card lists the labels, and `datasets.load_dataset(OUT)`
uses this list to open the column as ClassLabel. Numbers in the files would change when a label is added.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from raydream.data.ranges import RangedFile
from raydream.data.rows import Row
from raydream.data.storage import Folder

ENDING = "parquet"
# Bytes of pictures in a row group. Reading one row means reading its row group.
_ROW_GROUP = 8_000_000
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_COLUMNS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "label": pa.string(),
    "dream": _IMAGE,
    "source": _IMAGE,
    "width": pa.int32(),
    "height": pa.int32(),
    "seed": pa.int64(),
    "recipe": pa.string(),
    "objective_before": pa.float64(),
    "objective_after": pa.float64(),
}


def features(keep_source: bool) -> dict[str, dict[str, str]]:
    """The columns, in order, as features of `datasets`."""
    return {
        name: {"_type": "Image"} if kind is _IMAGE else {"dtype": _dtype(kind), "_type": "Value"}
        for name, kind in _COLUMNS.items()
        if keep_source or name != "source"
    }


def _dtype(kind: pa.DataType) -> str:
    return {"double": "float64"}.get(str(kind), str(kind))


def _schema(keep_source: bool) -> pa.Schema:
    known = features(keep_source)
    metadata = {"huggingface": json.dumps({"info": {"features": known}})}
    return pa.schema([(name, _COLUMNS[name]) for name in known], metadata=metadata)


def encode(rows: Sequence[Row], shard: int) -> tuple[bytes, tuple[int, ...]]:
    """The file of a shard. The sizes stay empty: Parquet's own metadata locate the rows."""
    del shard
    schema = _schema(any(row.source is not None for row in rows))
    sink = io.BytesIO()
    with _writer(sink, schema) as writer:
        for group in _groups(rows):
            writer.write_table(pa.Table.from_pylist([_record(row) for row in group], schema))
    return sink.getvalue(), ()


def _writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    facts = [field.name for field in schema if field.type != _IMAGE]
    return pq.ParquetWriter(sink, schema, compression="none", write_statistics=facts)  # pictures are compressed already


def _groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    used = 0
    for row in rows:
        if group and used + row.size > _ROW_GROUP:
            yield group
            group, used = [], 0
        group.append(row)
        used += row.size
    yield group


def _record(row: Row) -> dict[str, Any]:
    return {**row.facts, **{column: {"bytes": data, "path": row.name} for column, data in row.pictures}}


def join(out: Folder, parts: Sequence[str], file: IO[bytes]) -> None:
    """Joins several files into one, row group by row group."""
    writer = None
    for part in parts:
        source = pq.ParquetFile(RangedFile(out, part))
        writer = writer or _writer(file, source.schema_arrow)
        for group in range(source.num_row_groups):
            writer.write_table(source.read_row_group(group))
    if writer:
        writer.close()


def read(out: Folder, name: str, sizes: Sequence[int], wanted: Sequence[int]) -> list[Row]:
    """Rows of a file; `wanted` holds their numbers, ascending. Only their row groups are read."""
    del sizes
    file = pq.ParquetFile(RangedFile(out, name))
    found: list[Row] = []
    first = 0
    for group in range(file.num_row_groups):
        after = first + file.metadata.row_group(group).num_rows
        here = [number - first for number in wanted if first <= number < after]
        if here:
            found += map(_row, file.read_row_group(group).take(here).to_pylist())
        first = after
    if len(found) != len(wanted):
        raise ValueError(f"{name} has only {first} rows")
    return found


def _row(record: dict[str, Any]) -> Row:
    source = record.pop("source", None)
    dream = record.pop("dream")
    return Row(**record, name=dream["path"], dream=dream["bytes"], source=source["bytes"] if source else None)
