"""What lies in a chip's flash and whether it starts: boot loader, partition table, choice of the slot, application image; and a firmware to flash.

Formats: ESP-IDF Programming Guide, "Application Image Format", "Partition Tables", "Over The Air Updates" (the choice by `otadata`).
"""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from felinar_sim.flash import TABLE_AT, partition_table
from felinar_sim.vboard.chips import Kind
from felinar_sim.vboard.nor import NorFlash

_MAGIC = 0xE9
_HEADER = 24
_APP, _DATA = 0, 1
_FACTORY, _OTA_FIRST, _OTA_LAST, _OTADATA = 0x00, 0x10, 0x1F, 0x00
_SEGMENTS_MOST = 16


class NotBootable(Exception):
    """The chip does not start; the argument is what it says on its line."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One entry of the partition table."""

    type: int
    subtype: int
    offset: int
    size: int
    name: str


def partitions(flash: NorFlash) -> list[Partition]:
    """The partition table at 0x8000. Raises NotBootable when there is none, or its MD5 is wrong."""
    raw = flash.read(TABLE_AT, 0xC00)
    found: list[Partition] = []
    for at in range(0, len(raw), 32):
        entry = raw[at : at + 32]
        if entry[:2] == b"\xeb\xeb":
            if hashlib.md5(raw[:at], usedforsecurity=False).digest() != entry[16:]:
                raise NotBootable("E (62) flash_parts: calculated md5 does not match stored md5")
            break
        if entry[:2] != b"\xaa\x50":
            break
        kind, sub, offset, size = struct.unpack_from("<BBII", entry, 2)
        found.append(Partition(kind, sub, offset, size, entry[12:28].split(b"\0")[0].decode(errors="replace")))
    if not found:
        magic = int.from_bytes(raw[:2], "little")
        raise NotBootable(
            f"E (58) flash_parts: partition 0 invalid magic number 0x{magic:x}\r\nE (62) boot: Failed to verify partition table"
        )
    return found


def find(table: Sequence[Partition], name: str) -> Partition | None:
    """The data partition of that name."""
    return next((p for p in table if p.type == _DATA and p.name == name), None)


def bootable(flash: NorFlash, kind: Kind) -> tuple[list[Partition], Partition]:
    """The partition table, and the application that the boot loader starts. Raises NotBootable."""
    if flash.read(kind.boot_offset, 1)[0] != _MAGIC:
        raise NotBootable(f"invalid header: 0x{int.from_bytes(flash.read(kind.boot_offset, 4), 'little'):08x}")
    _verify(flash, kind, kind.boot_offset, 0x8000 - kind.boot_offset)
    table = partitions(flash)
    for p in table:
        if p.offset + p.size > flash.size:
            raise NotBootable(
                f"E (62) flash_parts: partition {p.name} invalid - offset 0x{p.offset:x} size 0x{p.size:x} exceeds flash chip size 0x{flash.size:x}"
            )
    slots = sorted(
        (p for p in table if p.type == _APP and _OTA_FIRST <= p.subtype <= _OTA_LAST), key=lambda p: p.subtype
    )
    order = [p for p in table if p.type == _APP and p.subtype == _FACTORY] + slots
    chosen = _chosen(flash, table, len(slots))
    if chosen is not None:
        order.sort(key=lambda p: p is not slots[chosen])
    complaints = []
    for p in order:
        try:
            _verify(flash, kind, p.offset, p.size)
        except NotBootable as error:
            complaints.append(str(error))
        else:
            return table, p
    raise NotBootable("\r\n".join([*complaints, "E (84) boot: No bootable app partitions in the partition table"]))


def _chosen(flash: NorFlash, table: Sequence[Partition], slots: int) -> int | None:
    where = next((p for p in table if p.type == _DATA and p.subtype == _OTADATA), None)
    if where is None or not slots:
        return None
    best = 0
    for at in (where.offset, where.offset + 0x1000):
        raw = flash.read(at, 32)
        seq, crc = int.from_bytes(raw[:4], "little"), int.from_bytes(raw[28:32], "little")
        if seq not in (0, 0xFFFFFFFF) and crc == zlib.crc32(raw[:4], 0xFFFFFFFF):
            best = max(best, seq)
    return (best - 1) % slots if best else None


def _verify(flash: NorFlash, kind: Kind, at: int, room: int) -> None:
    """Header, chip, length, checksum and hash of an image, as the boot loader looks at them."""
    header = flash.read(at, _HEADER)
    if header[0] != _MAGIC:
        raise NotBootable(f"E (71) esp_image: image at 0x{at:x} has invalid magic byte (nothing flashed here?)")
    chip = int.from_bytes(header[12:14], "little")
    if chip != kind.image_id:
        raise NotBootable(f"E (71) boot_comm: mismatch chip ID, expected {kind.image_id}, found {chip}")
    end, checksum = at + _HEADER, 0xEF
    if not 0 < header[1] <= _SEGMENTS_MOST:
        raise NotBootable(f"E (71) esp_image: image at 0x{at:x} segment count {header[1]} is invalid")
    for number in range(header[1]):
        length = int.from_bytes(flash.read(end + 4, 4), "little")
        if end + 8 + length > at + room:
            raise NotBootable(f"E (71) esp_image: Segment {number} end address out of range")
        data = np.frombuffer(flash.read(end + 8, length), np.uint8)
        checksum ^= int(np.bitwise_xor.reduce(data, initial=0))
        end += 8 + length
    end = at + (end - at) // 16 * 16 + 15  # the checksum is the last byte of a line of 16
    if flash.read(end, 1)[0] != checksum:
        raise NotBootable(
            f"E (71) esp_image: Checksum failed. Calculated 0x{checksum:x} read 0x{flash.read(end, 1)[0]:x}"
        )
    end += 1
    if header[23]:
        digest = hashlib.sha256(flash.read(at, end - at)).digest()
        if flash.read(end, 32) != digest:
            raise NotBootable("E (71) esp_image: Image hash failed - image is corrupt")


# A firmware to flash


def app_image(kind: Kind, payload: bytes) -> bytes:
    """An image that the boot loader takes, with the payload (padded to words) as its only segment."""
    payload += bytes(-len(payload) % 4)
    header = (
        bytes((_MAGIC, 1, 2, 0x20))
        + struct.pack("<I", 0x40080000)
        + bytes((0xEE, 0, 0, 0))
        + struct.pack("<H", kind.image_id)
    )
    image = header.ljust(_HEADER - 1, b"\0") + b"\1" + struct.pack("<II", 0x3F400020, len(payload)) + payload
    image += bytes(15 - len(image) % 16)
    checksum = int(np.bitwise_xor.reduce(np.frombuffer(payload, np.uint8), initial=0xEF))
    image += bytes((checksum,))
    return image + hashlib.sha256(image).digest()


def stock_partitions(flash_mb: int) -> list[dict[str, object]]:
    """The layout of MicroPython's stock builds, without slots for updates: files have all above 2 MB."""
    return [
        {"name": "nvs", "type": "data", "subtype": "nvs", "offset": 0x9000, "size": 0x6000},
        {"name": "phy_init", "type": "data", "subtype": "phy", "offset": 0xF000, "size": 0x1000},
        {"name": "factory", "type": "app", "subtype": "factory", "offset": 0x10000, "size": 0x1F0000},
        {"name": "vfs", "type": "data", "subtype": "fat", "offset": 0x200000, "size": (flash_mb << 20) - 0x200000},
    ]  # fmt: skip


def firmware(kind: Kind, flash_mb: int, *, app_bytes: int = 1_640_000, seed: int | str = 0) -> bytes:
    """What a download of MicroPython is for such a chip, to be written at `kind.boot_offset`: boot loader, partition table, application.

    The virtual chip's MicroPython is the desktop's, so the code inside is a filling; it is as long as the real one and takes about as well to
    compression (two thirds).
    """
    rnd = random.Random(f"firmware/{kind.name}/{seed}")
    word = rnd.randbytes(24)
    filling = b"".join(rnd.randbytes(40) + word for _ in range(-(-app_bytes // 64)))[:app_bytes]
    out = bytearray(app_image(kind, filling[:20_000]))
    for at, part in ((TABLE_AT, partition_table(stock_partitions(flash_mb))), (0x10000, app_image(kind, filling))):
        out += b"\xff" * (at - kind.boot_offset - len(out)) + part
    return bytes(out)
