"""The NVS partition of a flash: what ESP-IDF and its generator write there is read, and what the board's program stores goes back there.

Format: ESP-IDF Programming Guide, "Non-Volatile Storage Library", "Internals" (version 2: blobs in chunks with an index). Pages of 4096 bytes:
a header of 32, two bits of state for each of 126 entries in 32, the entries of 32 bytes each.
"""

from __future__ import annotations

import zlib
from struct import pack, unpack_from

from felinar_sim.errors import SimulatorError
from felinar_sim.flash import BLOCK, Nvs
from felinar_sim.vboard.nor import NorFlash

_ENTRY, _ENTRIES = 32, 126
_ACTIVE, _FULL, _FREEING = 0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8
_WRITTEN = 2
_U8, _I32, _STR, _BLOB, _CHUNK, _INDEX = 0x01, 0x14, 0x21, 0x41, 0x42, 0x48
_CHUNK_MOST = BLOCK - 32 - 32 - _ENTRY  # data of a chunk, on a page of its own
Values = dict[tuple[str, str], tuple[int, bytes]]
"""(namespace, key): (type as on flash, but for a blob of any version 0x42; value)."""


def _crc(data: bytes) -> int:
    return zlib.crc32(data, 0xFFFFFFFF)


def parse(data: bytes) -> Values:
    """All values of a partition; entries whose checksum is wrong are none."""
    pages = []
    for at in range(0, len(data) - BLOCK + 1, BLOCK):
        state, seq = unpack_from("<II", data, at)
        if state in (_ACTIVE, _FULL, _FREEING):
            pages.append((seq, data[at : at + BLOCK]))
    spaces: dict[int, str] = {}
    found: dict[tuple[int, str], tuple[int, bytes]] = {}
    chunks: dict[tuple[int, str, int], bytes] = {}
    for _, page in sorted(pages):
        for space, kind, chunk, key, value in _entries(page):
            if space == 0:
                spaces[value[0]] = key
            elif kind == _CHUNK:
                chunks[space, key, chunk] = value
            else:
                found[space, key] = kind, value
    out: Values = {}
    for (space, key), (kind, value) in found.items():
        if kind == _INDEX:
            size, count, start = unpack_from("<IBB", value)
            value = b"".join(chunks.get((space, key, start + i), b"") for i in range(count))
            if len(value) != size:
                continue
        out[spaces.get(space, ""), key] = _CHUNK if kind in (_INDEX, _BLOB) else kind, value
    return out


def _entries(page: bytes) -> list[tuple[int, int, int, str, bytes]]:
    out = []
    i = 0
    while i < _ENTRIES:
        at = 64 + i * _ENTRY
        entry = page[at : at + _ENTRY]
        state = page[32 + i // 4] >> i % 4 * 2 & 3
        i += 1
        if state != _WRITTEN or _crc(entry[:4] + entry[8:]) != int.from_bytes(entry[4:8], "little"):
            continue
        space, kind, span, chunk = entry[:4]
        key = entry[8:24].split(b"\0")[0].decode(errors="replace")
        value = entry[24:]
        if kind in (_STR, _BLOB, _CHUNK):
            size, crc = unpack_from("<HxxI", value)
            value = page[at + _ENTRY : at + _ENTRY + size]
            if _crc(value) != crc:
                continue
        elif kind != _INDEX:
            value = value[: kind & 15]
        out.append((space, kind, chunk, key, value))
        i += max(1, span) - 1
    return out


def build(values: Values, size: int) -> bytes:
    """A partition of so many bytes with these values. Raises SimulatorError when they do not fit; a page stays free, as NVS needs one."""
    spaces: dict[str, int] = {}
    pages: list[bytearray] = []
    used = _ENTRIES

    def put(space: int, kind: int, chunk: int, key: str, value: bytes, more: bytes = b"") -> None:
        nonlocal used
        span = 1 + -(-len(more) // _ENTRY)
        if used + span > _ENTRIES:
            pages.append(bytearray(pack("<II", _ACTIVE, len(pages)) + b"\xfe" + b"\xff" * (BLOCK - 9)))
            used = 0
        page = pages[-1]
        entry = bytearray(
            bytes((space, kind, span, chunk)) + bytes(4) + key.encode().ljust(16, b"\0") + value.ljust(8, b"\xff")
        )
        entry[4:8] = pack("<I", _crc(bytes(entry[:4] + entry[8:])))
        at = 64 + used * _ENTRY
        page[at : at + _ENTRY] = entry
        page[at + _ENTRY : at + _ENTRY + len(more)] = more
        for i in range(used, used + span):
            page[32 + i // 4] &= ~(1 << i % 4 * 2)
        used += span

    for (space, key), (kind, value) in values.items():
        if space not in spaces:
            spaces[space] = len(spaces) + 1
            put(0, _U8, 0xFF, space, bytes((spaces[space],)))
        number = spaces[space]
        if kind == _CHUNK:
            parts = [value[i : i + _CHUNK_MOST] for i in range(0, len(value), _CHUNK_MOST)]
            for i, part in enumerate(parts):
                put(number, _CHUNK, i, key, pack("<HHI", len(part), 0xFFFF, _crc(part)), part)
            put(number, _INDEX, 0xFF, key, pack("<IBBH", len(value), len(parts), 0, 0xFFFF))
        elif kind == _STR:
            put(number, _STR, 0xFF, key, pack("<HHI", len(value), 0xFFFF, _crc(value)), value)
        else:
            put(number, kind, 0xFF, key, value)
    if len(pages) > size // BLOCK - 1:
        raise SimulatorError("the NVS partition is full")
    for i, page in enumerate(pages):
        if i + 1 < len(pages):
            page[:4] = pack("<I", _FULL)
        page[28:32] = pack("<I", _crc(bytes(page[4:28])))
    return b"".join(bytes(page) for page in pages).ljust(size, b"\xff")


class FlashNvs(Nvs):
    """The board's NVS, kept in a partition of its flash. One write is one operation of the fuse; the pages behind it are made anew each time."""

    def __init__(self, flash: NorFlash, at: int, size: int) -> None:
        super().__init__(fuse=flash.fuse)
        self._flash, self._at, self._size = flash, at, size
        self._others: Values = {}
        for (space, key), (kind, value) in parse(flash.read(at, size)).items():
            if kind in (_I32, _CHUNK):
                self._values[f"{space}/{key}"] = 1 if kind == _I32 else 2, value
            else:
                self._others[space, key] = kind, value

    def _change(self, name: str, entry: tuple[int, bytes] | None) -> None:
        try:
            super()._change(name, entry)
        finally:
            values = dict(self._others)
            for key, (kind, value) in self._values.items():
                space, _, rest = key.partition("/")
                values[space, rest] = _I32 if kind == 1 else _CHUNK, value
            self._flash.place(self._at, build(values, self._size))
