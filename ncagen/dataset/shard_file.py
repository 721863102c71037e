"""Opens a shard's file for random access: one row group at a time, as NumPy arrays.

The file's structure is checked against the spec before anything is decoded, so a file that claims more rows, wider
rows, other types or far more bytes than its shard can have is refused before memory is allocated for it. `reader`
compares the bytes with their hash; these checks are for files with a valid hash from an untrusted author. Parquet pages
are decoded again on each read, with their checksums verified; Arrow batches are views of the mapped file.

A file is opened from all of its bytes, or from its footer alone, which names the place and the hash of every row group;
then `fetch` gets the bytes of row groups when they are read, and compares them.

Parquet files that were rewritten with other options (encodings, codecs, pages, row groups) are read by pyarrow, some
times slower, after their hash was checked and their page headers are within bounds.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.dataset.parquet_bounds import check_pages
from ncagen.dataset.parquet_footer import RowGroup, read_footer
from ncagen.dataset.parquet_pages import OtherLayout, read_group
from ncagen.dataset.shard import (
    GROUPS_KEY,
    RECORD_KEY,
    DamagedShard,
    Record,
    columns,
    damage,
    is_sha256,
)
from ncagen.row_format import Column, RowFormat, Rows

# Bytes of a row group, packed or unpacked, at most, by those of its tokens. Parquet stores uint16 as 32 bits and adds
# levels.
LARGEST_PAGES = 4
SMALL_PAGES = 1 << 20

# Rows of a row group, on average, below which a file's footer is larger than is read.
FEWEST_ROWS = 32

CHECKED = "use verify='first-use'"
OTHER_ROWS = "a row group does not hold the rows that it names"
WHOLE = "are read only from a whole file: leave footer_bytes and footer_sha256 out of its manifest"

ARROW_MAGIC = b"ARROW1\0\0"


def check_size(size: int, row_format: RowFormat, record: Record) -> None:
    """Raises DamagedShard for a file of more bytes than its rows can take, before it is opened."""
    groups = -(-record.rows // row_format.group_rows)
    if size > (most := _most(record.rows, row_format) + (groups - 1) * SMALL_PAGES):
        raise DamagedShard(f"it has {size} bytes, and {record.rows} rows take {most} at most")


class Span(NamedTuple):
    """A row group's place in its file, in bytes, and the sha256 of these bytes, as 64 hex digits."""

    start: int
    size: int
    sha256: str


Fetch = Callable[[Sequence[int]], Sequence[pa.Buffer]]
"""Row groups' numbers, rising, to their bytes, whose hashes were compared. Raises DamagedShard, OSError."""


class ShardFile:
    """An open shard, read in row groups. groups: how many. spans: theirs, from a footer."""

    def __init__(
        self,
        data: pa.Buffer,
        file_format: str,
        row_format: RowFormat,
        record: Record,
        hash_checked: bool = False,
        fetch: Fetch | None = None,
        checksums: bool = True,
    ):
        """data: the file's bytes or, with `fetch`, those of its footer.

        hash_checked: whether they are those of the manifest, so that pyarrow may read them. checksums: whether the
        checksums of pages are compared, which finds nothing where the hash of these very bytes was; what is fetched was
        compared. Raises DamagedShard for a file that is not built as this shard's must be.
        """
        self.record, self.groups = record, -(-record.rows // row_format.group_rows)
        self.hash_checked, self.checksums = hash_checked, checksums and fetch is None
        self.spans: list[Span] = []
        self._row_format, self._fetch = row_format, fetch
        opened = _open_parquet if file_format == "parquet" else _open_arrow if fetch is None else _open_arrow_footer
        with damage():
            self._read = opened(data, row_format, self)

    @property
    def has_footer_alone(self) -> bool:
        """Whether row groups' bytes are fetched when they are read."""
        return self._fetch is not None

    def group(self, number: int) -> Rows:
        """The rows of one row group. Raises DamagedShard, OSError."""
        return self._rows([number])[0]

    def rows(self) -> Rows:
        """All rows of the shard. Raises DamagedShard, OSError."""
        return Rows.concatenate(self._rows(range(self.groups)))

    def copy_group(self, number: int, into: dict[str, np.ndarray]) -> None:
        """Fills arrays with columns of one row group, without an array between. Raises DamagedShard, OSError.

        into: for each column wanted an array, [row] or [row, token], in one piece. Rows beyond the group's are left.
        """
        into = {name: column[: self.group_rows(number)] for name, column in into.items()}
        (part,) = self._parts([number])
        with damage():
            for name, column in self._read(number, list(into), part, into).items():
                if column.shape != into[name].shape:
                    raise DamagedShard(OTHER_ROWS)
                if column is not into[name]:
                    into[name][:] = column

    def columns(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Some columns of all rows, the others not decoded. Raises DamagedShard, OSError."""
        parts = self._parts(range(self.groups))
        with damage():
            groups = [self._read(number, names, part, None) for number, part in enumerate(parts)]
            found = {name: np.concatenate([group[name] for group in groups]) for name in names}
            if any(len(column) != self.record.rows for column in found.values()):
                raise DamagedShard("it does not hold the rows that it names")
            return found

    def _rows(self, numbers: Sequence[int]) -> list[Rows]:
        names = [column.name for column in self._row_format.columns]
        found = []
        for number, part in zip(numbers, self._parts(numbers), strict=True):
            with damage():
                rows = Rows(self._read(number, names, part, None))
                if len(rows) != self.group_rows(number) or rows.input_ids.shape[1] != self._row_format.row_tokens:
                    raise DamagedShard(OTHER_ROWS)
            found.append(rows)
        return found

    def _parts(self, numbers: Sequence[int]) -> Sequence[pa.Buffer | None]:
        """The bytes of row groups, in one call so that neighbours are one request; None where all bytes are here."""
        return [None] * len(numbers) if self._fetch is None else self._fetch(numbers)

    def set_spans(self, start: int, groups: bytes | None) -> None:
        """Sets `spans`. start: of the first row group. groups: size and hash of each, as the file has them, in JSON.

        Raises DamagedShard, ValueError.
        """
        if groups is None:
            raise DamagedShard("its footer has no hashes of its row groups, which the manifest promises")
        found = json.loads(groups)
        if type(found) is not list or len(found) != self.groups or not all(map(_is_described, found)):
            raise DamagedShard("its footer has not one size and hash for each row group")
        for number, (size, sha256) in enumerate(found):
            if size > _most(self.group_rows(number), self._row_format):
                raise DamagedShard("a row group is larger than its rows can be")
            self.spans.append(Span(start, size, sha256))
            start += size

    def group_rows(self, number: int) -> int:
        """How many rows a row group has."""
        size = self._row_format.group_rows
        return min(size, self.record.rows - number * size)

    def check_schema(self, schema: pa.Schema) -> None:
        """Raises DamagedShard unless the columns and the record are this shard's."""
        tokens, *others = self._row_format.columns
        types = [pa.list_(_arrow_type(tokens), self._row_format.row_tokens), *map(_arrow_type, others)]
        if schema.names != [column.name for column in self._row_format.columns] or schema.types != types:
            raise DamagedShard("its columns are not those of its manifest's spec")
        if json.loads((schema.metadata or {}).get(RECORD_KEY, b"null")) != asdict(self.record):
            raise DamagedShard("its record is not the manifest's")


def _is_described(group: object) -> bool:
    """Whether it is a size and a hash."""
    return type(group) is list and len(group) == 2 and type(group[0]) is int and group[0] > 0 and is_sha256(group[1])


def _arrow_type(column: Column) -> pa.DataType:
    return pa.from_numpy_dtype(np.dtype(column.dtype))


Into = Mapping[str, np.ndarray] | None
Read = Callable[[int, Sequence[str], pa.Buffer | None, Into], dict[str, np.ndarray]]
"""Columns of a row group: its number, their names, its bytes where only the footer is here, and arrays to use where
that saves a copy; to arrays [row] or [row, token]."""


def _open_parquet(data: pa.Buffer, row_format: RowFormat, shard: ShardFile) -> Read:
    groups = read_footer(data, row_format, max(shard.groups, shard.record.rows // FEWEST_ROWS))
    sizes = [group.rows for group in groups]
    if sum(sizes) != shard.record.rows or any(size < 1 for size in sizes):
        raise DamagedShard("its row groups are not those of its rows")
    file = pq.ParquetFile(pa.BufferReader(data))
    shard.check_schema(file.schema_arrow)
    widths = [row_format.row_tokens] + [1] * (len(row_format.columns) - 1)
    if any([chunk.values for chunk in group.chunks] != [group.rows * n for n in widths] for group in groups):
        raise DamagedShard("a row group has other values than its rows")
    ours = sizes == [shard.group_rows(number) for number in range(shard.groups)]
    if shard.has_footer_alone:
        shard.set_spans(min(chunk.start for chunk in groups[0].chunks), (file.metadata.metadata or {}).get(GROUPS_KEY))
        if ours and not all(map(_is_within, groups, shard.spans)):
            raise DamagedShard("its footer names other places for its row groups than its pages")

    def read(number: int, names: Sequence[str], part: pa.Buffer | None, into: Into) -> dict[str, np.ndarray]:
        try:
            if not ours:
                raise OtherLayout("its row groups are not as ncagen writes them")
            found = row_format.empty(groups[number].rows).columns if into is None else into
            found = {name: found[name] for name in names}
            group = groups[number] if part is None else _moved(groups[number], -shard.spans[number].start)
            read_group(data if part is None else part, group, row_format, found, shard.checksums)
            return found
        except OtherLayout as error:
            if part is not None:
                raise DamagedShard(f"{error}, and {WHOLE}") from None
            if not shard.hash_checked:
                raise DamagedShard(f"{error}, and are read only where its hash is checked: {CHECKED}") from None
        first = number * row_format.group_rows
        rows = _read_others(data, groups, row_format, range(first, first + shard.group_rows(number)))
        return {name: rows[name] for name in names}

    return read


def _is_within(group: RowGroup, span: Span) -> bool:
    """Whether all pages of a row group are in a span of the file."""
    end = span.start + span.size
    return all(span.start <= chunk.start <= chunk.start + chunk.packed <= end for chunk in group.chunks)


def _moved(group: RowGroup, by: int) -> RowGroup:
    """A row group whose pages are elsewhere by so many bytes."""
    return group._replace(chunks=[chunk._replace(start=chunk.start + by) for chunk in group.chunks])


def _read_others(data: pa.Buffer, groups: list[RowGroup], row_format: RowFormat, wanted: range) -> Rows:
    """Some rows of the file, decoded by pyarrow from the row groups that have them. Raises DamagedShard."""
    ends = np.cumsum([group.rows for group in groups])
    first, last = np.searchsorted(ends, (wanted.start, wanted.stop - 1), side="right").tolist()
    for group in groups[first : last + 1]:
        for chunk in group.chunks:
            check_pages(data, chunk, _most(group.rows, row_format))
    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)  # one for each thread
    table = file.read_row_groups(list(range(first, last + 1)), use_threads=False)
    table.validate(full=True)
    before = int(ends[first]) - groups[first].rows
    return columns(table.slice(wanted.start - before, len(wanted)))


def _most(rows: int, row_format: RowFormat) -> int:
    """Bytes of a row group's pages, at most."""
    return LARGEST_PAGES * rows * row_format.row_bytes + SMALL_PAGES


def _open_arrow(data: pa.Buffer, row_format: RowFormat, shard: ShardFile) -> Read:
    # The file is read as the stream it contains, so that the messages that are looked at are those that are decoded.
    schema_message, *batches = pa.ipc.MessageReader.open_stream(data[len(ARROW_MAGIC) :])
    if data[: len(ARROW_MAGIC)].to_pybytes() != ARROW_MAGIC or len(batches) != shard.groups:
        raise DamagedShard("its record batches are not those of its rows")
    if any(message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()) for message in batches):
        raise DamagedShard("its record batches are not plain ones")
    if schema_message.type != "schema":  # pyarrow would take it for one, and the process end
        raise DamagedShard("its schema does not come first")
    schema = pa.ipc.read_schema(schema_message)
    shard.check_schema(schema)
    if _footer(data) != [
        (message.metadata.address - data.address - 8, message.metadata.size + 8, message.body.size)
        for message in batches
    ]:
        raise DamagedShard("its footer names other record batches")

    def read(number: int, names: Sequence[str], part: pa.Buffer | None, into: Into) -> dict[str, np.ndarray]:
        return _batch(batches[number], schema, names)

    return read


def _open_arrow_footer(data: pa.Buffer, row_format: RowFormat, shard: ShardFile) -> Read:
    # pyarrow wants room for the magic at the file's start before the footer.
    data = pa.py_buffer(ARROW_MAGIC + data.to_pybytes())
    schema = pa.ipc.open_file(data).schema
    shard.check_schema(schema)
    blocks = _footer(data)
    shard.set_spans(blocks[0][0] if blocks else 0, schema.metadata.get(GROUPS_KEY))
    if [span[:2] for span in shard.spans] != [(start, size + body) for start, size, body in blocks]:
        raise DamagedShard("its footer names other record batches")

    def read(number: int, names: Sequence[str], part: pa.Buffer | None, into: Into) -> dict[str, np.ndarray]:
        message = pa.ipc.read_message(part)
        if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
            raise DamagedShard("its record batches are not plain ones")
        if (message.metadata.size + 8, message.body.size) != blocks[number][1:]:
            raise DamagedShard("its footer names other record batches")
        return _batch(message, schema, names)

    return read


def _batch(message: pa.Message, schema: pa.Schema, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of a record batch, checked."""
    batch = pa.ipc.read_record_batch(message, schema)
    batch.validate(full=True)
    rows = columns(batch)
    return {name: rows[name] for name in names}


def _footer(data: pa.Buffer) -> list[tuple[int, int, int]]:
    """Where other readers of an Arrow file look for its record batches: offset, bytes before the body, of the body."""
    pa.ipc.open_file(data)  # has the flatbuffer verified
    (size,) = struct.unpack("<i", data[-10:-6].to_pybytes())
    footer = data[data.size - 10 - size : data.size - 10].to_pybytes()
    blocks = _follow(footer, _field(footer, _follow(footer, 0), 3))
    (count,) = struct.unpack_from("<I", footer, blocks)
    return [struct.unpack_from("<qi4xq", footer, blocks + 4 + 24 * block) for block in range(count)]


def _is_compressed(metadata: bytes) -> bool:
    """Whether a record batch names a compression, which lets a small file claim any size.

    pyarrow decompresses without asking and does not tell, so this reads the flatbuffer: Message.header (field 2) is a
    RecordBatch, whose field 3 is the compression (Arrow's format/Message.fbs).
    """
    batch = _follow(metadata, _field(metadata, _follow(metadata, 0), 2))
    return bool(_field(metadata, batch, 3))


def _field(flatbuffer: bytes, table: int, number: int) -> int:
    """The offset of a field of a flatbuffer's table, 0 if it is left out."""
    vtable = table - struct.unpack_from("<i", flatbuffer, table)[0]
    at = 4 + 2 * number
    (size,) = struct.unpack_from("<H", flatbuffer, vtable)
    offset = struct.unpack_from("<H", flatbuffer, vtable + at)[0] if at < size else 0
    return table + offset if offset else 0


def _follow(flatbuffer: bytes, at: int) -> int:
    """The target of the offset at a position of a flatbuffer."""
    return at + struct.unpack_from("<I", flatbuffer, at)[0]
