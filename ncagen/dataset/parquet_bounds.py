"""Adds up the sizes that the pages of a Parquet column claim, before pyarrow decodes them.

`parquet_pages` decodes a shard as ncagen writes it. A shard that was rewritten with other valid options (another
encoding or codec, dictionaries, pages of version 2, other row groups) is decoded by pyarrow, which allocates what a
page's header claims, without a limit. So the headers are read here first, in the order in which pyarrow reads them:
their sizes together must not exceed what the column's values can need, and their kinds, encodings and codec must be
known for numbers. Source: parquet-format's parquet.thrift.

Not covered: whether the bytes of the pages are valid. pyarrow raises an error where they are not.
"""

import pyarrow as pa

from ncagen.dataset.parquet_footer import Chunk
from ncagen.dataset.parquet_thrift import read_struct
from ncagen.dataset.shard import DamagedShard

# parquet.thrift: CompressionCodec, PageType, Encoding. Brotli and the older LZ4 are left out, as some pyarrows do.
CODECS = {0: "none", 1: "snappy", 2: "gzip", 6: "zstd", 7: "lz4"}
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3
PLAIN, PLAIN_DICTIONARY, RLE, BIT_PACKED, DELTA, RLE_DICTIONARY, BYTE_STREAM_SPLIT = 0, 2, 3, 4, 5, 8, 9
DICTIONARY_ENCODINGS = {PLAIN, PLAIN_DICTIONARY}
VALUE_ENCODINGS = {PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY, DELTA, BYTE_STREAM_SPLIT}
LEVEL_ENCODINGS = {RLE, BIT_PACKED}

SMALLEST_VALUE = 4  # bytes of an INT32 or FLOAT


def check_pages(data: pa.Buffer, chunk: Chunk, max_bytes: int) -> None:
    """Raises DamagedShard unless the pages of a column in a row group stay within their file and their bounds.

    data: the file's bytes. max_bytes: of all pages together, unpacked.
    """
    if chunk.codec not in CODECS:
        raise DamagedShard("its pages are compressed by a codec that ncagen does not read")
    view, at, end = memoryview(data).cast("B"), chunk.start, chunk.start + chunk.packed
    left, unpacked = chunk.values, 0
    if not 4 <= at < end <= len(view):
        raise DamagedShard("its pages are outside the file")
    try:
        while left:
            # PageHeader: 1 type, 2 bytes unpacked, 3 packed, 5 data page, 7 dictionary, 8 data page of version 2.
            header, at = read_struct(view, at)
            size, packed, values = header[2], header[3], _values(header, first=left == chunk.values)
            unpacked, left, at = unpacked + size, left - values, at + packed
            if size < 0 or packed < 0 or at > end:
                raise ValueError
            if left < 0:
                raise DamagedShard("a page has more values than its rows")
            if unpacked > max_bytes:
                raise DamagedShard("its pages are larger than their values can be")
    except (LookupError, TypeError, ValueError):
        raise DamagedShard("its pages cannot be read") from None


def _values(header: dict, first: bool) -> int:
    """How many of the column's values a page holds. Raises LookupError, ValueError for a page that is not known."""
    kind = header[1]
    if kind == DICTIONARY_PAGE and first:  # DictionaryPageHeader: 1 values, 2 encoding
        # pyarrow makes room for as many as the header says.
        if not 0 <= SMALLEST_VALUE * header[7][1] <= header[2] or header[7][2] not in DICTIONARY_ENCODINGS:
            raise ValueError
        return 0
    if kind == DATA_PAGE:  # DataPageHeader: 1 values, 2 encoding, 3 and 4 of the levels
        values, encoding, *levels = (header[5][n] for n in (1, 2, 3, 4))
        if not set(levels) <= LEVEL_ENCODINGS:
            raise ValueError
    elif kind == DATA_PAGE_V2:  # DataPageHeaderV2: 1 values, 2 nulls, 3 rows, 4 encoding, 5 and 6 bytes of the levels
        values, encoding, *levels = (header[8][n] for n in (1, 4, 5, 6))
        if min(levels) < 0 or sum(levels) > header[2]:
            raise ValueError
    else:
        raise ValueError
    if values < 1 or encoding not in VALUE_ENCODINGS:
        raise ValueError
    return values
