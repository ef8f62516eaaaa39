"""Writes and reads partition tables: ESP-IDF's "Partition Tables", binary form at 0x8000 of the flash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from struct import pack, unpack_from
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from felinar_build.board import Partition

AT = 0x8000
BLOCK = 4096
_TYPES = {"app": 0, "data": 1}
_SUBTYPES = {"factory": 0, "ota_0": 0x10, "ota_1": 0x11, "ota": 0, "phy": 1, "nvs": 2, "coredump": 3, "fat": 0x81, "spiffs": 0x82, "littlefs": 0x83}  # fmt: skip
_ENTRY, _SUM = b"\xaa\x50", b"\xeb\xeb"
_MOST = 95


class Found(msgspec.Struct, frozen=True):
    """An entry of a table that was read; `app` when a program lies there."""

    name: str
    app: bool
    offset: int
    size: int


def table(partitions: Sequence[Partition]) -> bytes:
    """The block of a partition table with its MD5. Raises ValueError for a type that is not known."""
    rows = b""
    for part in partitions:
        try:
            kind, sub = _TYPES[part.type], _SUBTYPES[part.subtype]
        except KeyError as error:
            raise ValueError(f"partition {part.name} is of an unknown type: {error.args[0]}") from None
        rows += _ENTRY + pack("<BBII16sI", kind, sub, part.offset, part.size, part.name.encode(), 0)
    rows += _SUM + b"\xff" * 14 + hashlib.md5(rows, usedforsecurity=False).digest()
    return rows.ljust(BLOCK, b"\xff")


def read(data: bytes) -> list[Found]:
    """The entries of a table; empty when there is none."""
    found = []
    for at in range(0, min(len(data), _MOST * 32), 32):
        if data[at : at + 2] != _ENTRY or len(data) < at + 32:
            break
        kind, _, offset, size, label = unpack_from("<BBII16s", data, at + 2)
        found.append(Found(label.rstrip(b"\0").decode("ascii", "replace"), kind == 0, offset, size))
    return found
