"""Opens a shard's file for random access: one row group at a time, as NumPy arrays.

The file's structure is checked against the spec before anything is decoded, so a file that claims more rows, wider
rows, other types or far more bytes than its shard can have is refused before memory is allocated for it. `reader`
compares the bytes with their hash; these checks are for files with a valid hash from an untrusted author. Parquet pages
are decoded again on each read, with their checksums verified; Arrow batches are views of the mapped file.

Parquet files that were rewritten with other options (encodings, codecs, pages, row groups) are read by pyarrow, some
times slower, after their hash was checked and their page headers are within bounds.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.dataset.parquet_bounds import check_pages
from ncagen.dataset.parquet_footer import RowGroup, read_footer
from ncagen.dataset.parquet_pages import OtherLayout, read_group
from ncagen.dataset.shard import RECORD_KEY, ROW_GROUP_ROWS, DamagedShard, Record, columns, damage
from ncagen.row_format import Column, RowFormat, Rows

# Bytes of a row group, packed or unpacked, at most, by those of its tokens. Parquet stores uint16 as 32 bits and adds
# levels.
LARGEST_PAGES = 4
SMALL_PAGES = 1 << 20

# Rows of a row group, on average, below which a file's footer is larger than is read.
FEWEST_ROWS = 32

CHECKED = "use verify='first-use'"
OTHER_ROWS = "a row group does not hold the rows that it names"

ARROW_MAGIC = b"ARROW1\0\0"


def check_size(size: int, row_format: RowFormat, record: Record) -> None:
    """Raises DamagedShard for a file of more bytes than its rows can take, before it is opened."""
    groups = -(-record.rows // ROW_GROUP_ROWS)
    if size > (most := _most(record.rows, row_format) + (groups - 1) * SMALL_PAGES):
        raise DamagedShard(f"it has {size} bytes, and {record.rows} rows take {most} at most")


class ShardFile:
    """An open shard, read in groups of 256 rows, the last of fewer. groups: how many."""

    def __init__(
        self,
        data: pa.Buffer,
        file_format: str,
        row_format: RowFormat,
        record: Record,
        hash_checked: bool = False,
        checksums: bool = True,
    ):
        """data: the file's bytes. hash_checked: whether they are those of the manifest, so that pyarrow may read them.

        checksums: whether the checksums of pages are compared, which is of no use if `data` itself matched the hash.
        Raises DamagedShard for a file that is not built as this shard's must be.
        """
        self.record, self.groups = record, -(-record.rows // ROW_GROUP_ROWS)
        self.hash_checked, self.checksums = hash_checked, checksums
        self._row_format = row_format
        opened = _open_parquet if file_format == "parquet" else _open_arrow
        with damage():
            self._read = opened(data, row_format, self)

    def group(self, number: int) -> Rows:
        """The rows of one row group; of an Arrow file views. Raises DamagedShard."""
        with damage():
            rows = Rows(self._read(number, [column.name for column in self._row_format.columns], None))
            if len(rows) != self.group_rows(number) or rows.input_ids.shape[1] != self._row_format.row_tokens:
                raise DamagedShard(OTHER_ROWS)
            return rows

    def copy_group(self, number: int, into: dict[str, np.ndarray]) -> None:
        """Fills arrays with columns of one row group, without an array between. Raises DamagedShard.

        into: for each column wanted an array, [row] or [row, token], in one piece. Rows beyond the group's are left.
        """
        into = {name: column[: self.group_rows(number)] for name, column in into.items()}
        with damage():
            for name, column in self._read(number, list(into), into).items():
                if column.shape != into[name].shape:
                    raise DamagedShard(OTHER_ROWS)
                if column is not into[name]:
                    into[name][:] = column

    def columns(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Some columns of all rows, the others not decoded. Raises DamagedShard."""
        with damage():
            groups = [self._read(number, names, None) for number in range(self.groups)]
            found = {name: np.concatenate([group[name] for group in groups]) for name in names}
            if any(len(column) != self.record.rows for column in found.values()):
                raise DamagedShard("it does not hold the rows that it names")
            return found

    def rows(self) -> Rows:
        """All rows of the shard. Raises DamagedShard."""
        return Rows.concatenate(self.group(number) for number in range(self.groups))

    def group_rows(self, number: int) -> int:
        """How many rows a row group has."""
        return min(ROW_GROUP_ROWS, self.record.rows - number * ROW_GROUP_ROWS)

    def check_schema(self, schema: pa.Schema) -> None:
        """Raises DamagedShard unless the columns and the record are this shard's."""
        tokens, *others = self._row_format.columns
        types = [pa.list_(_arrow_type(tokens), self._row_format.row_tokens), *map(_arrow_type, others)]
        if schema.names != [column.name for column in self._row_format.columns] or schema.types != types:
            raise DamagedShard("its columns are not those of its manifest's spec")
        if json.loads((schema.metadata or {}).get(RECORD_KEY, b"null")) != asdict(self.record):
            raise DamagedShard("its record is not the manifest's")


def _arrow_type(column: Column) -> pa.DataType:
    return pa.from_numpy_dtype(np.dtype(column.dtype))


Into = Mapping[str, np.ndarray] | None
Read = Callable[[int, Sequence[str], Into], dict[str, np.ndarray]]
"""Columns of a row group: its number, their names and arrays to use where that saves a copy, to arrays."""


def _open_parquet(data: pa.Buffer, row_format: RowFormat, shard: ShardFile) -> Read:
    groups = read_footer(data, row_format, max(shard.groups, shard.record.rows // FEWEST_ROWS))
    sizes = [group.rows for group in groups]
    if sum(sizes) != shard.record.rows or any(size < 1 for size in sizes):
        raise DamagedShard("its row groups are not those of its rows")
    shard.check_schema(pq.ParquetFile(pa.BufferReader(data)).schema_arrow)
    widths = [row_format.row_tokens] + [1] * (len(row_format.columns) - 1)
    if any([chunk.values for chunk in group.chunks] != [group.rows * n for n in widths] for group in groups):
        raise DamagedShard("a row group has other values than its rows")
    ours = sizes == [shard.group_rows(number) for number in range(shard.groups)]

    def read(number: int, names: Sequence[str], into: Into) -> dict[str, np.ndarray]:
        try:
            if not ours:
                raise OtherLayout("its row groups are not as ncagen writes them")
            found = row_format.empty(groups[number].rows).columns if into is None else into
            found = {name: found[name] for name in names}
            read_group(data, groups[number], row_format, found, shard.checksums)
            return found
        except OtherLayout as error:
            if not shard.hash_checked:
                raise DamagedShard(f"{error}, and are read only where its hash is checked: {CHECKED}") from None
        first = number * ROW_GROUP_ROWS
        rows = _read_others(data, groups, row_format, range(first, first + shard.group_rows(number)))
        return {name: rows[name] for name in names}

    return read


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

    def read(number: int, names: Sequence[str], into: Into) -> dict[str, np.ndarray]:
        batch = pa.ipc.read_record_batch(batches[number], schema)
        batch.validate(full=True)
        rows = columns(batch)
        return {name: rows[name] for name in names}

    return read


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
