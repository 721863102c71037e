"""A shard's file opened for random access: one row group at a time, as NumPy arrays.

The file's own structure is held against the spec before anything is decoded, so that a file that claims more rows,
wider rows, other types or far more bytes than its shard can have is refused while it is still small. Whether the
bytes are the right ones is told by their hash, which `reader` checks; this is for the files whose hash is right
because their author wanted it so. Parquet pages are decoded anew each time, with their checksums verified; Arrow
batches are views of the mapped file.
"""

import json
import struct
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.dataset.shard import RECORD_KEY, ROW_GROUP_ROWS, DamagedShard, Record, Rows, columns, damage
from ncagen.spec import Spec

# Uncompressed bytes of a row group, at most, by those of its tokens. Parquet stores uint16 as 32 bits and adds levels;
# a page's uncompressed size is its author's claim, and this bounds what all pages may claim.
LARGEST_PAGES = 4
SMALL_PAGES = 1 << 20

ARROW_MAGIC = b"ARROW1\0\0"


class ShardFile:
    """An open shard. groups: how many row groups it has, each of 256 rows but the last."""

    def __init__(self, data: pa.Buffer, storage: str, spec: Spec, record: Record):
        """data: the file's bytes. Raises DamagedShard for a file that is not built as this shard's must be."""
        self.record, self.groups = record, -(-record.rows // ROW_GROUP_ROWS)
        self._spec = spec
        opened = _open_parquet if storage == "parquet" else _open_arrow
        with damage():
            self._read = opened(data, spec, self)

    def group(self, number: int) -> Rows:
        """The rows of one row group. Raises DamagedShard."""
        with damage():
            rows = columns(self._read(number))
            if len(rows.candidate) != self.group_rows(number) or rows.input_ids.shape[1] != self._spec.row_tokens:
                raise DamagedShard("a row group does not hold the rows that it names")
            return rows

    def rows(self) -> Rows:
        """All rows of the shard. Raises DamagedShard."""
        groups = [self.group(number) for number in range(self.groups)]
        return Rows(*(np.concatenate(parts) for parts in zip(*groups, strict=True)))

    def group_rows(self, number: int) -> int:
        """How many rows a row group has."""
        return min(ROW_GROUP_ROWS, self.record.rows - number * ROW_GROUP_ROWS)

    def check_schema(self, schema: pa.Schema) -> None:
        """Raises DamagedShard unless the columns and the record are this shard's."""
        tokens = pa.from_numpy_dtype(np.dtype(self._spec.token_dtype))
        types = [pa.list_(tokens, self._spec.row_tokens), pa.uint64(), pa.int32(), pa.float32()]
        if schema.names != list(Rows._fields) or schema.types != types:
            raise DamagedShard("its columns are not those of its manifest's spec")
        if json.loads((schema.metadata or {})[RECORD_KEY]) != asdict(self.record):
            raise DamagedShard("its record is not the manifest's")


def _open_parquet(data: pa.Buffer, spec: Spec, shard: ShardFile):
    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    metadata = file.metadata
    groups = [metadata.row_group(g) for g in range(min(metadata.num_row_groups, shard.groups + 1))]
    if [group.num_rows for group in groups] != [shard.group_rows(g) for g in range(shard.groups)]:
        raise DamagedShard("its row groups are not those of its rows")
    shard.check_schema(file.schema_arrow)
    for group in groups:
        chunks = [group.column(c) for c in range(group.num_columns)]
        if sum(chunk.total_uncompressed_size for chunk in chunks) > (
            LARGEST_PAGES * group.num_rows * spec.row_bytes + SMALL_PAGES
        ):
            raise DamagedShard("a row group is larger than its rows can be")
        if [chunk.num_values for chunk in chunks] != [group.num_rows * n for n in (spec.row_tokens, 1, 1, 1)]:
            raise DamagedShard("a row group has more values than its rows")
    return lambda number: file.read_row_group(number, use_threads=False)


def _open_arrow(data: pa.Buffer, spec: Spec, shard: ShardFile):
    # The file is read as the stream it contains, so that the messages that are looked at are those that are decoded.
    schema_message, *batches = pa.ipc.MessageReader.open_stream(data[len(ARROW_MAGIC) :])
    if data[: len(ARROW_MAGIC)].to_pybytes() != ARROW_MAGIC or len(batches) != shard.groups:
        raise DamagedShard("its record batches are not those of its rows")
    if any(message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()) for message in batches):
        raise DamagedShard("its record batches are not plain ones")
    schema = pa.ipc.read_schema(schema_message)
    shard.check_schema(schema)

    def read(number: int) -> pa.RecordBatch:
        batch = pa.ipc.read_record_batch(batches[number], schema)
        batch.validate(full=True)
        return batch

    return read


def _is_compressed(metadata: bytes) -> bool:
    """Whether a record batch names a compression, which lets a small file claim any size.

    pyarrow decompresses without asking and does not tell, so this reads the flatbuffer: Message.header (field 2) is a
    RecordBatch, whose field 3 is the compression (Arrow's format/Message.fbs).
    """

    def field(table: int, number: int) -> int:
        vtable = table - struct.unpack_from("<i", metadata, table)[0]
        at = 4 + 2 * number
        offset = struct.unpack_from("<H", metadata, vtable + at)[0] if at < _u16(vtable) else 0
        return table + offset if offset else 0

    def _u16(at: int) -> int:
        return struct.unpack_from("<H", metadata, at)[0]

    def follow(at: int) -> int:
        return at + struct.unpack_from("<I", metadata, at)[0]

    return bool(field(follow(field(follow(0), 2)), 3))
