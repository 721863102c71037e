"""Encodes rows as the bytes of a Parquet or Arrow shard file and decodes them, with the hashes of both.

A shard carries its record (its spec, split, band and number, the candidates tried for it, the hash of its rows) in its
schema, so the file alone shows which dataset it belongs to and whether it is complete. Its footer has the hash of every
row group's bytes, so that a reader can fetch and check one without the others. Nothing in it depends on time, host or
path. `atomic_write` and `folder` write the bytes to disk. Only numpy and pyarrow are used.

`content_sha256` is over the values and is the same for both file formats and every toolchain; the bytes of a Parquet
file change with the version of zstd in pyarrow, those of an Arrow file have not changed so far.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.dataset import parquet_writer
from ncagen.errors import NcagenError
from ncagen.row_format import RowFormat, Rows, row_group_rows
from ncagen.spec import BuildSpec

FORMATS = ("parquet", "arrow")
SPLITS = ("train", "validation", "test")
RECORD_KEY = b"ncagen"
# The key, in a Parquet file's metadata and an Arrow file's schema, of its row groups' sizes and hashes: a JSON list.
GROUPS_KEY = b"ncagen_row_groups"

# Shard k takes its rows from the candidates k * 2**32, k * 2**32 + 1, ...
SHARD_CANDIDATES = 2**32

# No line of an error is longer: what it quotes may be its author's.
LINE = 300

_SHA256 = re.compile("[0-9a-f]{64}")

_ARROW = {"metadata_version": pa.ipc.MetadataVersion.V5, "compression": None}


class DamagedShard(NcagenError):
    """A file that is not the shard it should be."""


@dataclass(frozen=True)
class Record:
    """Describes a shard. `tried`, `below` and `above` count the candidates up to the last one kept."""

    spec_sha256: str
    split: str
    band: str
    shard: int
    rows: int
    tried: int
    below: int
    above: int
    content_sha256: str


@dataclass(frozen=True)
class File:
    """A shard's file: its size in bytes and the hash of them; size and hash of its footer, the last of these bytes.

    A file without the latter, as another program may have written it, is fetched whole.
    """

    bytes: int
    sha256: str
    footer_bytes: int | None = None
    footer_sha256: str | None = None

    @classmethod
    def of(cls, data: pa.Buffer, file_format: str) -> "File":
        """Describes a file as `shard.to_bytes` makes it."""
        size = footer_bytes(data, file_format)
        footer = hashlib.sha256(data[data.size - size :]).hexdigest()
        return cls(data.size, hashlib.sha256(data).hexdigest(), size, footer)

    def to_dict(self) -> dict:
        """Plain values, as in manifest.json: without a footer where none is known."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def is_valid(self) -> bool:
        """Whether these are sizes and hashes."""
        if type(self.bytes) is not int or not 0 <= self.bytes < 2**63 or not is_sha256(self.sha256):
            return False
        if self.footer_bytes is None and self.footer_sha256 is None:
            return True
        sized = type(self.footer_bytes) is int and 0 < self.footer_bytes <= self.bytes
        return sized and is_sha256(self.footer_sha256)


def relative_path(spec: BuildSpec, file_format: str, split: str, band: str, shard: int) -> str:
    """The path of a shard in its dataset's folder."""
    return f"data/{band}/{split}-{shard:05d}-of-{spec.shards(split):05d}.{file_format}"


def content_sha256(rows: Rows) -> str:
    """The hash of the values: for each column its name, dtype and shape, then its little-endian bytes."""
    digest = hashlib.sha256()
    for name, column in rows.columns.items():
        column = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
        digest.update(f"{name} {column.dtype.name} {column.shape}\n".encode())
        digest.update(column.data)
    return digest.hexdigest()


def to_bytes(rows: Rows, record: Record, file_format: str) -> pa.Buffer:
    """The file of a shard, in memory."""
    metadata, size = {RECORD_KEY: _compact(asdict(record)).encode()}, row_group_rows(rows.input_ids.shape[1])
    if file_format == "parquet":
        return parquet_writer.write(rows.columns, size, metadata, GROUPS_KEY)
    return _arrow(_table(rows, metadata), size)


def _arrow(table: pa.Table, size: int) -> pa.Buffer:
    """An Arrow file, with size and hash of each record batch's message in the schema, which the footer repeats.

    size: rows of a record batch.
    """
    groups = [_described(batch.serialize()) for batch in table.to_batches(max_chunksize=size)]
    table = table.replace_schema_metadata({**table.schema.metadata, GROUPS_KEY: _compact(groups)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(**_ARROW)) as writer:
        writer.write_table(table, max_chunksize=size)
    return sink.getvalue()


def _described(part: memoryview | pa.Buffer) -> tuple[int, str]:
    return len(part), hashlib.sha256(part).hexdigest()


def footer_bytes(data: pa.Buffer, file_format: str) -> int:
    """How many of a file's last bytes are its footer: what has to be known before a row group can be found.

    Its length comes before the final magic: four bytes and PAR1 in Parquet, four and ARROW1 in Arrow.
    """
    tail = 8 if file_format == "parquet" else 10
    return int.from_bytes(data[data.size - tail : data.size - tail + 4].to_pybytes(), "little") + tail


def from_bytes(data: pa.Buffer | bytes, file_format: str, row_format: RowFormat) -> tuple[Rows, Record]:
    """Rows and record of a shard's file. Raises DamagedShard if they cannot be decoded or do not match."""
    with damage():
        table = _read(pa.BufferReader(data), file_format)
        record = Record(**json.loads(table.schema.metadata[RECORD_KEY]))
        if table.num_rows == 0 or table.column_names != [column.name for column in row_format.columns]:
            raise ValueError("its columns are not a shard's")
        rows = columns(table)
    if record.rows != len(rows):
        raise DamagedShard(f"it holds {len(rows)} rows, its record has {record.rows}")
    if content_sha256(rows) != record.content_sha256:
        raise DamagedShard("its rows do not match their hash")
    return rows, record


@contextmanager
def damage() -> Iterator[None]:
    """Turns whatever a damaged file makes pyarrow say into DamagedShard, in one line."""
    try:
        yield
    except RecursionError:
        raise DamagedShard("it cannot be read: its record is nested too deeply") from None
    except (
        *(pa.ArrowException, OSError, LookupError, TypeError, ValueError, AttributeError, OverflowError),
        struct.error,
    ) as error:
        raise DamagedShard(f"it cannot be read: {one_line(error)}") from None


def is_sha256(value: object) -> bool:
    """Whether it is a hash as ncagen writes them: 64 hex digits."""
    return type(value) is str and _SHA256.fullmatch(value) is not None


def one_line(error: Exception) -> str:
    """The first line of an error, printable and of limited length: it may quote an untrusted file."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    line = line if len(line) <= LINE else line[:LINE] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def columns(table: pa.Table | pa.RecordBatch) -> Rows:
    """The columns of a table that has a shard's. Raises ValueError where there are nulls."""
    found = {}
    for name, column in zip(table.schema.names, table.columns, strict=True):
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        array = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
        found[name] = _lists(array) if name == "input_ids" else _values(array)
    return Rows(found)


def _lists(array: pa.FixedSizeListArray) -> np.ndarray:
    """A view of lists of one length: [row, value]."""
    size = array.type.list_size
    if array.null_count:
        raise ValueError("there are nulls in it")
    return _values(array.values)[array.offset * size : (array.offset + len(array)) * size].reshape(-1, size)


def _values(array: pa.Array) -> np.ndarray:
    """A view of an array's values. pyarrow's own ways import pandas, or need it, depending on the version."""
    if array.null_count:
        raise ValueError("there are nulls in it")
    dtype = np.dtype({"float": "float32"}.get(str(array.type), str(array.type)))
    data = array.buffers()[1]
    return np.frombuffer(data, dtype, len(array), array.offset * dtype.itemsize) if data else np.empty(0, dtype)


def _table(rows: Rows, metadata: dict[bytes, bytes]) -> pa.Table:
    columns = [_array(column) for column in rows.columns.values()]
    fields = [pa.field(name, column.type) for name, column in zip(rows.columns, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=metadata))


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _array(column: np.ndarray) -> pa.Array:
    """A column [row], or [row, value] as lists of one length."""
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(column).reshape(-1)), column.shape[1])


def _read(source: pa.NativeFile, file_format: str) -> pa.Table:
    if file_format == "parquet":
        return pq.ParquetFile(source, page_checksum_verification=True).read(use_threads=False)
    with pa.ipc.open_file(source) as reader:
        table = reader.read_all()
    table.validate(full=True)
    return table
