"""Writes an NVS partition with a few blobs: ESP-IDF's "Non-Volatile Storage Library", section Internals, page version 2."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from struct import pack

PAGE = 4096
_ENTRY = 32
_ACTIVE = 0xFFFFFFFE
_VERSION_2 = 0xFE
_U8, _BLOB_DATA, _BLOB_INDEX = 0x01, 0x42, 0x48
_ANY = 0xFF
_ROOM = 126  # entries of a page


def partition(size: int, namespace: str, blobs: Mapping[str, bytes]) -> bytes:
    """A partition of `size` bytes with these blobs in one namespace.

    Raises ValueError for a name of more than 15 bytes and for more than one page holds.
    """
    entries = [_entry(0, _U8, 1, _ANY, namespace, b"\x01")]
    for name, blob in blobs.items():
        rows = [blob[at : at + _ENTRY].ljust(_ENTRY, b"\xff") for at in range(0, len(blob), _ENTRY)]
        entries.append(_entry(1, _BLOB_DATA, 1 + len(rows), 0, name, pack("<HHI", len(blob), 0xFFFF, _crc(blob))))
        entries += rows
        entries.append(_entry(1, _BLOB_INDEX, 1, _ANY, name, pack("<IBBH", len(blob), 1, 0, 0xFFFF)))
    if len(entries) > _ROOM or size < 3 * PAGE:
        raise ValueError("that does not fit into one page of an NVS partition of at least three")
    front = pack("<IB19s", 0, _VERSION_2, b"\xff" * 19)  # sequence number 0
    written = (1 << 2 * len(entries)) - 1  # two bits an entry: 11 empty, 10 written
    bitmap = ((1 << 256) - 1) ^ (written // 3)
    page = pack("<I", _ACTIVE) + front + pack("<I", _crc(front)) + bitmap.to_bytes(32, "little") + b"".join(entries)
    return page.ljust(size, b"\xff")


def _entry(namespace: int, kind: int, span: int, chunk: int, name: str, data: bytes) -> bytes:
    key = name.encode()
    if len(key) > 15:
        raise ValueError(f"{name} is too long a name: 15 bytes at most")
    head = bytes((namespace, kind, span, chunk))
    tail = key.ljust(16, b"\0") + data.ljust(8, b"\xff")
    return head + pack("<I", _crc(head + tail)) + tail


def _crc(data: bytes) -> int:
    return zlib.crc32(data, 0xFFFFFFFF)
