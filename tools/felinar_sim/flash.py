"""Flash that can lose power in the middle of any operation: the NOR chip, the NVS store on it, and the fuse that both share.

Times: Winbond W25Q32JV data sheet, AC characteristics: page program 0.4 ms typical (256 bytes), sector erase 45 ms typical; reading
is bound by the bus (40 MHz, two bits a clock).
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

BLOCK = 4096
PAGE = 256
ERASE_US = 45_000
PROGRAM_PAGE_US = 400
_CALL_US = 20


class PowerLost(Exception):
    """The supply failed during a flash operation: the board's program never hears of its end."""


class Fuse:
    """Counts flash operations (programs, erases, NVS writes) and loses power at a chosen one."""

    def __init__(self) -> None:
        self.operations = 0
        self._left: int | None = None
        self._torn = 0.0

    def cut_after(self, operations: int, torn: float = 0.0) -> None:
        """Let so many more operations complete, then lose power in the next one.

        `torn` is how far that one gets: 0 nothing of it is done, 1 all of it is done but the program does not learn so, between: a part.
        """
        if operations < 0 or not 0 <= torn <= 1:
            raise ValueError("cut_after needs operations >= 0 and 0 <= torn <= 1")
        self._left, self._torn = operations, torn

    def never(self) -> None:
        """Take back a planned cut."""
        self._left = None

    @property
    def armed(self) -> bool:
        """Whether a cut is planned that has not happened."""
        return self._left is not None

    def blow(self) -> float | None:
        """Called at the start of an operation: None to complete it, else the share of it that happens before power is lost."""
        if self._left is None:
            self.operations += 1
            return None
        if self._left:
            self._left -= 1
            self.operations += 1
            return None
        self._left = None
        if self._torn == 1:
            self.operations += 1
        return self._torn


class Flash:
    """A NOR flash: programming only clears bits, erasing sets the bits of a 4096-byte block; erases are counted per block.

    A torn program leaves the first part of the bytes programmed and some bits of the next; a torn erase leaves each bit of the block
    either old or set, and some of them unstable: they read differently from time to time until the block is erased again.
    With a path, content lives in a sparse file too (inverted, so that a hole is erased flash).
    """

    def __init__(self, size: int, *, path: Path | None = None, fuse: Fuse | None = None, seed: int | str = 0) -> None:
        self.size = size
        self.fuse = fuse or Fuse()
        self.erases = [0] * (size // BLOCK)
        self.programmed = 0
        """Bytes programmed so far."""
        self.overwrites = 0
        """Bytes whose programming asked for a bit to be set, which programming cannot do."""
        self._random = random.Random(f"flash/{seed}")
        self._blocks: dict[int, bytearray] = {}
        self._unstable: dict[int, bytearray] = {}
        self._fd = -1
        if path is not None:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._fd, size)

    def cut_after(self, operations: int, torn: float = 0.0) -> None:
        """See `Fuse.cut_after`."""
        self.fuse.cut_after(operations, torn)

    def read(self, at: int, n: int) -> bytes:
        """n bytes from an address."""
        self._check(at, n)
        out = bytearray()
        while n:
            index, offset = divmod(at, BLOCK)
            take = min(n, BLOCK - offset)
            out += self._block(index)[offset : offset + take]
            unstable = self._unstable.get(index)
            if unstable is not None:
                for i, mask in enumerate(unstable[offset : offset + take], len(out) - take):
                    if mask:
                        out[i] ^= mask & self._random.getrandbits(8)
            at += take
            n -= take
        return bytes(out)

    def program(self, at: int, data: bytes) -> None:
        """Clear the bits that are 0 in data. Raises PowerLost when the fuse blows."""
        self._check(at, len(data))
        torn = self.fuse.blow()
        if torn is None:
            self._clear(at, data)
            return
        whole = int(len(data) * torn)
        self._clear(at, data[:whole])
        if 0 < torn < 1 and whole < len(data):
            self._clear(at + whole, bytes([data[whole] | self._random.getrandbits(8)]))
        raise PowerLost

    def erase(self, at: int) -> None:
        """Set all bits of the block at an address. Raises PowerLost when the fuse blows."""
        if at % BLOCK:
            raise ValueError(f"erase at 0x{at:x}, which is not the start of a block")
        self._check(at, BLOCK)
        index = at // BLOCK
        torn = self.fuse.blow()
        if torn == 0:
            raise PowerLost
        self.erases[index] += 1
        if torn is None or torn == 1:
            self._unstable.pop(index, None)
            self._block(index)[:] = b"\xff" * BLOCK
        else:
            self._half_erase(index, torn)
        self._store(index, 0, BLOCK)
        if torn is not None:
            raise PowerLost

    @staticmethod
    def program_us(n: int) -> int:
        """How long programming n bytes takes, µs."""
        return _CALL_US + PROGRAM_PAGE_US * -(-n // PAGE)

    @staticmethod
    def read_us(n: int) -> int:
        """How long reading n bytes takes, µs."""
        return _CALL_US + n // 10

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _check(self, at: int, n: int) -> None:
        if at < 0 or n < 0 or at + n > self.size:
            raise ValueError(f"0x{at:x}+{n} is outside of the flash")

    def _block(self, index: int) -> bytearray:
        block = self._blocks.get(index)
        if block is None:
            stored = os.pread(self._fd, BLOCK, index * BLOCK) if self._fd >= 0 else b""
            block = bytearray(b ^ 0xFF for b in stored) if any(stored) else bytearray(b"\xff" * BLOCK)
            self._blocks[index] = block
        return block

    def _clear(self, at: int, data: bytes) -> None:
        self.programmed += len(data)
        while data:
            index, offset = divmod(at, BLOCK)
            part = data[: BLOCK - offset]
            block = self._block(index)
            old = int.from_bytes(block[offset : offset + len(part)], "little")
            new = int.from_bytes(part, "little")
            lost = new & ~old
            if lost:
                self.overwrites += sum(1 for b in lost.to_bytes(len(part), "little") if b)
            block[offset : offset + len(part)] = (old & new).to_bytes(len(part), "little")
            unstable = self._unstable.get(index)
            if unstable is not None:
                for i, byte in enumerate(part, offset):
                    unstable[i] &= byte  # a programmed 0 is a firm 0
            self._store(index, offset, len(part))
            at += len(part)
            data = data[len(part) :]

    def _half_erase(self, index: int, torn: float) -> None:
        block = self._block(index)
        unstable = self._unstable.setdefault(index, bytearray(BLOCK))
        rnd = self._random.random
        for i, byte in enumerate(block):
            if byte == 0xFF:
                continue
            for bit in range(8):
                mask = 1 << bit
                if not byte & mask and rnd() < torn:
                    block[i] |= mask
                    if rnd() < 0.1:
                        unstable[i] |= mask

    def _store(self, index: int, offset: int, n: int) -> None:
        if self._fd >= 0:
            data = self._blocks[index][offset : offset + n]
            os.pwrite(
                self._fd,
                (int.from_bytes(data, "little") ^ ((1 << 8 * n) - 1)).to_bytes(n, "little"),
                index * BLOCK + offset,
            )


class Nvs:
    """Key-value store as ESP-IDF's NVS: a write is durable when it returns, and is either the old value or the new after a cut."""

    def __init__(self, *, path: Path | None = None, fuse: Fuse | None = None) -> None:
        self.fuse = fuse or Fuse()
        self.writes: dict[str, int] = {}
        """How often each key ("namespace/key") was written or erased."""
        self._path = path
        self._values: dict[str, tuple[int, bytes]] = {}
        if path is not None and path.exists():
            stored = json.loads(path.read_text())
            self._values = {key: (kind, bytes.fromhex(value)) for key, (kind, value) in stored.items()}

    def get(self, namespace: str, key: str, kind: int) -> bytes | None:
        """The value of that kind (1 i32, 2 blob), or None."""
        found = self._values.get(f"{namespace}/{key}")
        return found[1] if found is not None and found[0] == kind else None

    def set(self, namespace: str, key: str, kind: int, value: bytes) -> None:
        """Store a value; an equal one costs no write, as on the chip. Raises PowerLost when the fuse blows."""
        name = f"{namespace}/{key}"
        if self._values.get(name) != (kind, value):
            self._change(name, (kind, value))

    def erase(self, namespace: str, key: str) -> bool:
        """Remove a key; False when there is none. Raises PowerLost when the fuse blows."""
        name = f"{namespace}/{key}"
        if name not in self._values:
            return False
        self._change(name, None)
        return True

    def items(self) -> dict[str, bytes]:
        """Everything that is stored, by "namespace/key"."""
        return {key: value for key, (_, value) in self._values.items()}

    def _change(self, name: str, entry: tuple[int, bytes] | None) -> None:
        torn = self.fuse.blow()
        if torn is None or torn >= 0.5:
            self.writes[name] = self.writes.get(name, 0) + 1
            if entry is None:
                del self._values[name]
            else:
                self._values[name] = entry
            if self._path is not None:
                self._path.write_text(
                    json.dumps({key: (kind, value.hex()) for key, (kind, value) in self._values.items()})
                )
        if torn is not None:
            raise PowerLost


def partition_table(partitions: list[dict[str, object]]) -> bytes:
    """The partition table as it lies at 0x8000: entries of 32 bytes (ESP-IDF, "Partition Tables")."""
    types = {"app": 0, "data": 1}
    subtypes = {"factory": 0, "ota_0": 0x10, "ota_1": 0x11, "ota": 0, "phy": 1, "nvs": 2, "coredump": 3, "fat": 0x81, "spiffs": 0x82,
                "littlefs": 0x83}  # fmt: skip
    table = b""
    for p in partitions:
        kind, sub = p["type"], p["subtype"]
        table += b"\xaa\x50" + bytes([types[kind] if isinstance(kind, str) else int(str(kind))])
        table += bytes([subtypes[sub] if isinstance(sub, str) else int(str(sub))])
        table += int(str(p["offset"])).to_bytes(4, "little") + int(str(p["size"])).to_bytes(4, "little")
        table += str(p["name"]).encode().ljust(16, b"\0") + bytes(4)
    return table


TABLE_AT = 0x8000
DEFAULT_PARTITIONS: list[dict[str, object]] = [
    {"name": "nvs", "type": "data", "subtype": "nvs", "offset": 0x9000, "size": 0x4000},
    {"name": "otadata", "type": "data", "subtype": "ota", "offset": 0xD000, "size": 0x2000},
    {"name": "phy_init", "type": "data", "subtype": "phy", "offset": 0xF000, "size": 0x1000},
    {"name": "ota_0", "type": "app", "subtype": "ota_0", "offset": 0x10000, "size": 0x1A0000},
    {"name": "ota_1", "type": "app", "subtype": "ota_1", "offset": 0x1B0000, "size": 0x1A0000},
    {"name": "outbox", "type": "data", "subtype": "fat", "offset": 0x350000, "size": 0x20000},
    {"name": "config", "type": "data", "subtype": "fat", "offset": 0x370000, "size": 0x2000},
    {"name": "vfs", "type": "data", "subtype": "fat", "offset": 0x372000, "size": 0x8E000},
]
