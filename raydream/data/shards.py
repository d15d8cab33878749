"""The shard: the unit of distributed work, some images in, one file and one completion mark out."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from raydream.data.job import Format as Format
from raydream.data.storage import Folder
from raydream.errors import UsageError

FORMATS: tuple[Format, ...] = get_args(Format)
MARKS = "_raydream/marks"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One dream of a data set.

    Attributes:
        id: path of the photograph below the input folder.
        label: its class folder, if it has one.
        name: path of the dream, unique in the data set.
        dream, source: encoded pictures; the source if it is kept.
        width, height: of both, in pixels.
        seed: of the image's random stream.
        recipe: digest of the recipe.
        objective_before, objective_after: of the photograph and of the dream, at full size.
        seconds: spent dreaming it.
    """

    id: str
    label: str | None
    name: str
    dream: bytes
    source: bytes | None
    width: int
    height: int
    seed: int
    recipe: str
    objective_before: float | None
    objective_after: float | None
    seconds: float

    @property
    def facts(self) -> dict[str, Any]:
        """All but the pictures."""
        return {k: v for k, v in self.__dict__.items() if k not in ("dream", "source")}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An image that could not be dreamed: at which stage (`list`, `load`, `dream`, `write`), and why."""

    id: str
    stage: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The sign that a shard is done; what the data set's summary needs to know of it."""

    shard: int
    rows: tuple[dict[str, Any], ...]
    failures: tuple[Failure, ...]
    device: str

    def dump(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Mark:
        """From `dump`'s JSON."""
        values = json.loads(data)
        failures = tuple(Failure(**failure) for failure in values["failures"])
        if not all(isinstance(row, dict) for row in values["rows"]):
            raise ValueError("its rows are no mappings")
        return cls(**{**values, "rows": tuple(values["rows"]), "failures": failures})


def printable(text: str) -> str:
    """Text that can be stored as UTF-8: bytes of a file name that are no text are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def data_name(shard: int, format: Format) -> str:
    """Name of a shard's file in the data set; for `files`, of its table of contents."""
    ending = {"parquet": "parquet", "webdataset": "tar", "files": "jsonl"}[format]
    folder = "_raydream/contents" if format == "files" else "data"
    return f"{folder}/{shard:05d}.{ending}"


def write(out: Folder, shard: int, rows: Sequence[Row], format: Format) -> None:
    """Writes the rows of a shard; a shard without rows has no file."""
    if not rows:
        return
    if format == "files":
        for row in rows:
            for column, picture in _pictures(row):
                out.write(f"data/{column}/{row.name}", picture)
    encode = {"parquet": _parquet, "webdataset": _tar, "files": _contents}[format]
    out.write(data_name(shard, format), encode(rows))


def read(out: Folder, shard: int, format: Format) -> list[Row]:
    """The rows of a shard as `write` took them; UsageError if its file is damaged."""
    name = data_name(shard, format)
    data = out.read(name)
    try:
        if format == "parquet":
            return list(_from_parquet(data))
        return list(_from_tar(data) if format == "webdataset" else _from_contents(data, out))
    except (ValueError, TypeError, KeyError, IndexError, tarfile.TarError) as error:
        again = f"delete it and {MARKS}/{shard:05d}.json, and run the job again"
        raise UsageError(f"{out.url}: {name} is damaged: {again}") from error


def _pictures(row: Row) -> Iterator[tuple[str, bytes]]:
    yield "dream", row.dream
    if row.source is not None:
        yield "source", row.source


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
    "seconds": pa.float64(),
}


def _schema(keep_source: bool) -> pa.Schema:
    """The columns, and what Hugging Face's `datasets` needs to open the pictures as images."""
    columns = {k: v for k, v in _COLUMNS.items() if keep_source or k != "source"}
    features = {
        name: {"_type": "Image"} if type_ is _IMAGE else {"dtype": _hf_type(type_), "_type": "Value"}
        for name, type_ in columns.items()
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(list(columns.items()), metadata=metadata)


def _hf_type(type_: pa.DataType) -> str:
    return {"double": "float64"}.get(str(type_), str(type_))


def _parquet(rows: Sequence[Row]) -> bytes:
    schema = _schema(any(row.source is not None for row in rows))
    table = pa.Table.from_pylist([_record(row) for row in rows], schema)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")  # the pictures are compressed already
    return sink.getvalue()


def _record(row: Row) -> dict[str, Any]:
    pictures = {column: {"bytes": data, "path": row.name} for column, data in _pictures(row)}
    return {**row.facts, **pictures}


def _from_parquet(data: bytes) -> Iterator[Row]:
    for record in pq.read_table(io.BytesIO(data)).to_pylist():
        source = record.pop("source", None)
        dream = record.pop("dream")
        picture = source["bytes"] if source else None
        yield Row(**record, name=dream["path"], dream=dream["bytes"], source=picture)


def _tar(rows: Sequence[Row]) -> bytes:
    """A WebDataset shard: for each row KEY.dream.png, KEY.source.png and KEY.json.

    No label is "", not null: `datasets` takes the types of a whole data set from its first rows.
    """
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for key, row in enumerate(rows):
            ending = PurePosixPath(row.name).suffix
            members = [(f"{column}{ending}", data) for column, data in _pictures(row)]
            facts = json.dumps({**row.facts, "label": row.label or ""}).encode()
            for extension, data in [*members, ("json", facts)]:
                info = tarfile.TarInfo(f"{key:06d}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def _from_tar(data: bytes) -> Iterator[Row]:
    pictures: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            member = tar.extractfile(info)
            content = member.read() if member else b""
            kind = info.name.split(".")[1]
            if kind != "json":
                pictures[kind] = content
                continue
            facts = json.loads(content)
            facts["label"] = facts["label"] or None
            yield Row(**facts, dream=pictures["dream"], source=pictures.get("source"))
            pictures = {}


def _contents(rows: Sequence[Row]) -> bytes:
    lines = []
    for row in rows:
        names = {f"{column}_file_name": f"{column}/{row.name}" for column, _ in _pictures(row)}
        lines.append(json.dumps({**names, **row.facts}))
    return "".join(f"{line}\n" for line in lines).encode()


def _from_contents(data: bytes, out: Folder) -> Iterator[Row]:
    for line in data.decode().splitlines():
        facts = json.loads(line)
        dream = facts.pop("dream_file_name")
        source = facts.pop("source_file_name", None)
        kept = out.read(f"data/{source}") if source else None
        yield Row(**facts, dream=out.read(f"data/{dream}"), source=kept)
