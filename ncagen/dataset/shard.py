"""One shard: rows to the bytes of a Parquet or Arrow file and back, with the hashes of both.

A shard carries its own record (which spec, split, band and number it is, what was tried for it, the hash of its
rows) in its schema, so a file tells by itself whether it belongs and is whole. Nothing in it depends on time, host
or path. How the bytes get to their place stands in `files` and `folder`. Only numpy and pyarrow are used.

`content_sha256` is over the values and holds for both formats and every toolchain; the bytes of a Parquet file
change with the version of pyarrow, those of an Arrow file have not.
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from inspect import signature
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.errors import NcagenError
from ncagen.spec import Spec

FORMATS = ("parquet", "arrow")
RECORD_KEY = b"ncagen"

# Shard k takes its rows from the candidates k * 2**32, k * 2**32 + 1, ...
SHARD_CANDIDATES = 2**32

# No line of an error is longer: what it quotes may be its author's.
LINE = 300

# Small enough that reading one row decodes little (256 rows of 1026 tokens are half a megabyte).
ROW_GROUP_ROWS = 256

# Byte-stream split puts the tokens' high bytes, which hardly vary, side by side; measured in docs/log.md. The first six
# are pyarrow's defaults of today, named so that another default changes neither the bytes nor who can read them.
_PARQUET = {
    "version": "2.6",
    "data_page_version": "1.0",
    "data_page_size": 1 << 20,
    "write_batch_size": 1024,
    "use_compliant_nested_type": True,
    "store_schema": True,
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": False,
    "column_encoding": {
        "input_ids.list.element": "BYTE_STREAM_SPLIT",
        "candidate": "PLAIN",
        "gzip_bytes": "PLAIN",
        "gzip_ratio": "PLAIN",
    },
    "write_statistics": ["candidate", "gzip_bytes", "gzip_ratio"],
    "write_page_checksum": True,
    "write_page_index": True,
    "row_group_size": ROW_GROUP_ROWS,
}
# The same for options that came after the oldest pyarrow which is supported.
_NEWER = {"use_content_defined_chunking": False, "max_rows_per_page": ROW_GROUP_ROWS}
_PARQUET |= {name: value for name, value in _NEWER.items() if name in signature(pq.write_table).parameters}

_ARROW = {"metadata_version": pa.ipc.MetadataVersion.V5, "compression": None}


class DamagedShard(NcagenError):
    """A file that is not the shard it should be."""


class Rows(NamedTuple):
    """Rows of a shard.

    input_ids: uint16 or uint32 [row, token]. candidate: uint64[row]. gzip_bytes: int32[row].
    gzip_ratio: float32[row].
    """

    input_ids: np.ndarray
    candidate: np.ndarray
    gzip_bytes: np.ndarray
    gzip_ratio: np.ndarray


@dataclass(frozen=True)
class Record:
    """What a shard is. `tried`, `below` and `above` count the candidates up to the last one kept."""

    spec_sha256: str
    split: str
    band: str
    shard: int
    rows: int
    tried: int
    below: int
    above: int
    content_sha256: str


def empty_rows(spec: Spec, count: int) -> Rows:
    """Columns for this many rows, to be filled."""
    return Rows(
        np.empty((count, spec.row_tokens), spec.token_dtype),
        np.empty(count, np.uint64),
        np.empty(count, np.int32),
        np.empty(count, np.float32),
    )


def relative_path(spec: Spec, storage: str, split: str, band: str, shard: int) -> str:
    """Where a shard lies in its dataset's folder."""
    return f"data/{band}/{split}-{shard:05d}-of-{spec.shards(split):05d}.{storage}"


def content_sha256(rows: Rows) -> str:
    """The hash of the values: for each column its name, dtype and shape, then its little-endian bytes."""
    digest = hashlib.sha256()
    for name, column in rows._asdict().items():
        column = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
        digest.update(f"{name} {column.dtype.name} {column.shape}\n".encode())
        digest.update(column.data)
    return digest.hexdigest()


def to_bytes(rows: Rows, record: Record, storage: str) -> pa.Buffer:
    """The file of a shard, in memory."""
    table = _table(rows, record)
    sink = pa.BufferOutputStream()
    if storage == "parquet":
        pq.write_table(table, sink, **_PARQUET)
    else:
        with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(**_ARROW)) as writer:
            writer.write_table(table, max_chunksize=ROW_GROUP_ROWS)
    return sink.getvalue()


def from_bytes(data: pa.Buffer | bytes, storage: str) -> tuple[Rows, Record]:
    """Rows and record of a shard's file. Raises DamagedShard where they cannot be had or do not match."""
    with damage():
        table = _read(pa.BufferReader(data), storage)
        record = Record(**json.loads(table.schema.metadata[RECORD_KEY]))
        if table.num_rows == 0 or table.column_names != list(Rows._fields):
            raise ValueError("its columns are not a shard's")
        rows = columns(table)
    if record.rows != len(rows.candidate):
        raise DamagedShard(f"it holds {len(rows.candidate)} rows, its record says {record.rows}")
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


def one_line(error: Exception) -> str:
    """The first line of an error, which may quote a stranger's file: printable, and not too long."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    line = line if len(line) <= LINE else line[:LINE] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def columns(table: pa.Table | pa.RecordBatch) -> Rows:
    """The columns of a table that has a shard's. Raises ValueError where there are nulls."""
    arrays = []
    for column in table.columns:
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        arrays.append(whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole)
    ids, *others = arrays
    size = ids.type.list_size
    if ids.null_count:
        raise ValueError("there are nulls in it")
    tokens = _values(ids.values)[ids.offset * size : (ids.offset + len(ids)) * size]
    return Rows(tokens.reshape(-1, size), *map(_values, others))


def _values(array: pa.Array) -> np.ndarray:
    """A view of an array's values. pyarrow's own ways import pandas, or need it, depending on the version."""
    if array.null_count:
        raise ValueError("there are nulls in it")
    dtype = np.dtype({"float": "float32"}.get(str(array.type), str(array.type)))
    data = array.buffers()[1]
    return np.frombuffer(data, dtype, len(array), array.offset * dtype.itemsize) if data else np.empty(0, dtype)


def _table(rows: Rows, record: Record) -> pa.Table:
    ids = pa.array(np.ascontiguousarray(rows.input_ids).reshape(-1))
    columns = [pa.FixedSizeListArray.from_arrays(ids, rows.input_ids.shape[1])]
    columns += [pa.array(column) for column in rows[1:]]
    text = json.dumps(asdict(record), sort_keys=True, separators=(",", ":"))
    fields = [pa.field(name, column.type) for name, column in zip(Rows._fields, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata={RECORD_KEY: text}))


def _read(source: pa.NativeFile, storage: str) -> pa.Table:
    if storage == "parquet":
        return pq.ParquetFile(source, page_checksum_verification=True).read(use_threads=False)
    with pa.ipc.open_file(source) as reader:
        table = reader.read_all()
    table.validate(full=True)
    return table
