"""Files stored by Xet, whose client is sent to a folder on this machine instead of a storage server.

hf_xet takes `local://FOLDER` as the address of a server and keeps its blocks and shards there. Which file is which is
read from the shards: a header of 48 bytes, then for each file a header (hash, flags, segments), its segments and,
where the flags say so, verification entries and the file's sha256.
"""

import struct
from pathlib import Path

HEADER = RECORD = 48
VERIFIED, EXTENDED = 31, 30  # bits of a file's flags
END = b"\xff" * 32


def index(cas: Path) -> dict[str, tuple[str, int]]:
    """Xet hash and size of every file, by sha256."""
    found = {}
    for shard in (cas / "xet" / "xorbs" / "shards").glob("*.mdb"):
        found |= _files(shard.read_bytes())
    return found


def _files(data: bytes) -> dict[str, tuple[str, int]]:
    found, at = {}, HEADER
    while at + RECORD <= len(data) and (name := data[at : at + 32]) != END:
        flags, segments = struct.unpack_from("<II", data, at + 32)
        at += RECORD
        size = sum(struct.unpack_from("<I", data, at + RECORD * i + 36)[0] for i in range(segments))
        at += RECORD * segments * (1 + (flags >> VERIFIED & 1))
        if flags >> EXTENDED & 1:
            found[_name(data[at : at + 32])] = (_name(name), size)
            at += RECORD
    return found


def _name(value: bytes) -> str:
    """A hash as Xet writes it: four little-endian numbers."""
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", value))


def fetch(cas: Path, xet: str, size: int, target: Path) -> None:
    """Puts a file together for a client that asks over plain HTTP."""
    import hf_xet

    group = hf_xet.XetSession().new_file_download_group(endpoint=f"local://{cas}")
    group.start_download_file(hf_xet.XetFileInfo(xet, size), str(target))
    group.wait_to_finish()
