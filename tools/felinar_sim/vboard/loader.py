"""The serial protocol of a chip's boot ROM and of esptool's flasher stub, from the chip's side: bytes in, bytes out, no I/O.

Written from Espressif's "Serial Protocol" pages and from what esptool 5.6 sends and expects. The stub is uploaded as it comes and checked
byte by byte; it is not executed (it is code for the chip), the commands it would obey are obeyed here.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable

import numpy as np

from felinar_sim.flash import BLOCK
from felinar_sim.vboard.chips import Registers
from felinar_sim.vboard.nor import NorFlash

FLASH_BEGIN, FLASH_DATA, FLASH_END, MEM_BEGIN, MEM_END, MEM_DATA, SYNC, WRITE_REG, READ_REG = range(0x02, 0x0B)
SPI_SET_PARAMS, SPI_ATTACH, READ_FLASH_SLOW, CHANGE_BAUDRATE = 0x0B, 0x0D, 0x0E, 0x0F
DEFL_BEGIN, DEFL_DATA, DEFL_END, FLASH_MD5, SECURITY_INFO = range(0x10, 0x15)
ERASE_FLASH, ERASE_REGION, READ_FLASH, RUN_USER_CODE = range(0xD0, 0xD4)

# what is wrong, in the words of ROM and stub; esptool names them all
_ROM_ERRORS = {
    "format": 0x05,
    "checksum": 0x07,
    "write": 0x08,
    "read": 0x09,
    "length": 0x0A,
    "inflate": 0x0B,
    "params": 0x01,
    "command": 0x05,
}
_STUB_ERRORS = {
    "format": 0xC0, "checksum": 0xC1, "write": 0xC4, "read": 0xC4, "params": 0xC2, "command": 0xFF, "mode": 0xC6, "inflate": 0xC7,
    "length": 0xC8, "much": 0xC9,
}  # fmt: skip
_FRAME_MOST = 0x10000  # a longer frame is noise
_SYNC_VALUE = 0x20120707  # what the ROM answers; the stub answers 0


class Refused(Exception):
    """A command fails; the argument is a key of the error tables."""


class _Writing:
    """One download to flash that is under way."""

    def __init__(self, at: int, size: int, erased_to: int, *, deflated: bool) -> None:
        self.at, self.left, self.erased_to = at, size, erased_to
        self.end = at + size
        self.inflater = zlib.decompressobj() if deflated else None


class Loader:
    """Boot ROM, and after an upload to memory the stub.

    `send` takes what goes out; `on_baud` hears of a new rate once the answer at the old one is out; `on_boot` is "run what is in flash",
    `on_restart` a restart of the ROM.
    """

    def __init__(self, registers: Registers, flash: NorFlash, send: Callable[[bytes], None]) -> None:
        self.registers, self.flash = registers, flash
        self.on_baud: Callable[[int], None] = lambda baud: None
        self.on_boot: Callable[[], None] = lambda: None
        self.on_restart: Callable[[], None] = lambda: None
        self.deaf = False
        """Hears everything and answers nothing."""
        self.commands = 0
        self.noise = 0
        """Bytes that belonged to no frame."""
        self._send = send
        self._handlers: dict[int, Callable[[bytes], tuple[int, bytes]]] = {
            SYNC: self._sync, READ_REG: self._read_reg, WRITE_REG: self._write_reg, SPI_ATTACH: self._fine, SPI_SET_PARAMS: self._fine,
            MEM_BEGIN: self._mem_begin, MEM_DATA: self._mem_data, MEM_END: self._mem_end, FLASH_BEGIN: self._flash_begin,
            FLASH_DATA: self._flash_data, FLASH_END: self._flash_end, DEFL_BEGIN: self._defl_begin, DEFL_DATA: self._flash_data,
            DEFL_END: self._flash_end, FLASH_MD5: self._md5, CHANGE_BAUDRATE: self._change_baud,
        }  # fmt: skip
        if registers.kind.security_info:
            self._handlers[SECURITY_INFO] = self._security_info
        self.reset()

    def reset(self) -> None:
        """The ROM waits for a first command."""
        self.stub = False
        self._buffer = b""
        self._after: Callable[[], None] | None = None
        self._memory: dict[int, bytes] = {}
        self._loading: tuple[int, int, int] | None = None  # address, bytes left, next sequence number
        self._writing: _Writing | None = None
        self._reading: _Reading | None = None
        self.registers.reset()

    def feed(self, data: bytes) -> None:
        """Bytes from the line. Raises PowerLost when the supply fails during a flash operation."""
        self._buffer += data
        while True:
            start = self._buffer.find(0xC0)
            if start < 0:
                self.noise += len(self._buffer)
                self._buffer = b""
                return
            self.noise += start
            end = self._buffer.find(0xC0, start + 1)
            if end < 0:
                self._buffer = self._buffer[start:]
                if len(self._buffer) > _FRAME_MOST:
                    self.noise += len(self._buffer)
                    self._buffer = b""
                return
            frame = self._buffer[start + 1 : end]
            if not frame:  # two ends in a row: the second begins a frame
                self._buffer = self._buffer[end:]
                continue
            self._buffer = self._buffer[end + 1 :]
            if not self.deaf:
                self._frame(frame.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb"))

    # Frames

    def _frame(self, frame: bytes) -> None:
        if self._reading is not None:
            if len(frame) == 4:
                self._read_on(int.from_bytes(frame, "little"))
                return
            self._reading = None
        if len(frame) < 8 or frame[0] != 0:
            self.noise += len(frame)
            return
        _, op, length, checksum = struct.unpack_from("<BBHI", frame)
        data = frame[8:]
        self.commands += 1
        try:
            if length != len(data):
                raise Refused("format")
            if op in (FLASH_DATA, DEFL_DATA, MEM_DATA):
                data = self._checked(data, checksum)
            value, body = self._handler(op)(data)
        except Refused as why:
            self._refuse(op, str(why))
            return
        self._answer(op, value, body)
        if op == SYNC:
            for _ in range(7):
                self._answer(op, value, body)
        after, self._after = self._after, None
        if after is not None:
            after()

    def _handler(self, op: int) -> Callable[[bytes], tuple[int, bytes]]:
        only = {READ_FLASH_SLOW: self._read_slow}
        if self.stub:
            only = {
                ERASE_FLASH: self._erase_flash, ERASE_REGION: self._erase_region, READ_FLASH: self._read_flash, RUN_USER_CODE: self._run,
            }  # fmt: skip
        handler = self._handlers.get(op) or only.get(op)
        if handler is None:
            raise Refused("command")
        return handler

    def _answer(self, op: int, value: int, body: bytes, status: bytes = b"") -> None:
        body += status or bytes(2 if self.stub else 4)
        self._send_frame(struct.pack("<BBHI", 1, op, len(body), value) + body)

    def _refuse(self, op: int, why: str) -> None:
        if self.stub:
            self._answer(op, 0, b"", bytes((_STUB_ERRORS[why], 0)))
        else:
            self._answer(op, 0, b"", bytes((1, _ROM_ERRORS[why], 0, 0)))

    def _send_frame(self, frame: bytes) -> None:
        self._send(b"\xc0" + frame.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0")

    @staticmethod
    def _checked(data: bytes, checksum: int) -> bytes:
        if len(data) < 16 or int.from_bytes(data[:4], "little") != len(data) - 16:
            raise Refused("format")
        block = np.frombuffer(data, np.uint8, offset=16)
        if int(np.bitwise_xor.reduce(block, initial=0xEF)) != checksum & 0xFF:
            raise Refused("checksum")
        return data

    @staticmethod
    def _words(data: bytes, n: int) -> tuple[int, ...]:
        if len(data) < 4 * n:
            raise Refused("format")
        return struct.unpack_from(f"<{n}I", data)

    # Identity and registers

    def _fine(self, data: bytes) -> tuple[int, bytes]:
        return 0, b""

    def _sync(self, data: bytes) -> tuple[int, bytes]:
        if data[:4] != b"\x07\x07\x12\x20":
            raise Refused("format")
        return 0 if self.stub else _SYNC_VALUE, b""

    def _read_reg(self, data: bytes) -> tuple[int, bytes]:
        return self.registers.read(self._words(data, 1)[0]), b""

    def _write_reg(self, data: bytes) -> tuple[int, bytes]:
        for at in range(0, len(data) - 15, 16):
            address, value, mask, _ = struct.unpack_from("<4I", data, at)
            self.registers.write(address, value, mask)
        return 0, b""

    def _security_info(self, data: bytes) -> tuple[int, bytes]:
        return 0, struct.pack("<I8BII", 0, *bytes(8), self.registers.kind.image_id, 0)

    def _change_baud(self, data: bytes) -> tuple[int, bytes]:
        new, _ = self._words(data, 2)
        self._after = lambda: self.on_baud(new)
        return 0, b""

    # Memory

    def _mem_begin(self, data: bytes) -> tuple[int, bytes]:
        size, _, _, at = self._words(data, 4)
        self._loading = at, size, 0
        self._memory[at] = b""
        return 0, b""

    def _mem_data(self, data: bytes) -> tuple[int, bytes]:
        if self._loading is None:
            raise Refused("params")
        at, left, expected = self._loading
        seq = self._words(data, 2)[1]
        block = data[16:]
        if seq != expected or len(block) > left:
            raise Refused("params")
        self._memory[at] += block
        self._loading = at, left - len(block), seq + 1
        return 0, b""

    def _mem_end(self, data: bytes) -> tuple[int, bytes]:
        stay, entry = self._words(data, 2)
        if self._loading is not None and self._loading[1]:
            raise Refused("length" if not self.stub else "mode")
        self._loading = None
        if not stay:
            if not any(at <= entry < at + len(code) for at, code in self._memory.items()):
                raise Refused("params")
            self._after = self._enter_stub
        return 0, b""

    def _enter_stub(self) -> None:
        self.stub = True
        self._memory.clear()
        self._send_frame(b"OHAI")

    # Flash

    def _region(self, at: int, size: int, why: str = "write") -> None:
        if at + size > self.flash.size:
            raise Refused(why)

    def _flash_begin(self, data: bytes, *, deflated: bool = False) -> tuple[int, bytes]:
        size, blocks, block, at = self._words(data, 4)
        if not deflated:
            size = min(size, blocks * block) if self.stub else size
        self._region(at, size)
        first = at // BLOCK * BLOCK
        end = -(-(at + size) // BLOCK) * BLOCK
        if not self.stub:  # the ROM erases at once, the stub as it writes
            for sector in range(first, end if size else first, BLOCK):
                self.flash.erase(sector)
            first = end
        self._writing = _Writing(at, size, first, deflated=deflated)
        return 0, b""

    def _defl_begin(self, data: bytes) -> tuple[int, bytes]:
        return self._flash_begin(data, deflated=True)

    def _flash_data(self, data: bytes) -> tuple[int, bytes]:
        writing = self._writing
        if writing is None:
            raise Refused("mode" if self.stub else "params")
        block = data[16:]
        if writing.inflater is None:
            self._program(writing, block[: writing.left])  # the last block is padded
            return 0, b""
        try:
            plain = writing.inflater.decompress(block)
        except zlib.error:
            raise Refused("inflate") from None
        if len(plain) > writing.left and self.stub:
            raise Refused("much")
        self._program(writing, plain[: writing.left])
        return 0, b""

    def _program(self, writing: _Writing, data: bytes) -> None:
        while writing.erased_to < writing.at + len(data):
            self.flash.erase(writing.erased_to)
            writing.erased_to += BLOCK
        for i in range(0, len(data), BLOCK):
            self.flash.program(writing.at + i, data[i : i + BLOCK])
        writing.at += len(data)
        writing.left -= len(data)

    def _flash_end(self, data: bytes) -> tuple[int, bytes]:
        stay = self._words(data, 1)[0]
        writing, self._writing = self._writing, None
        if writing is None:
            raise Refused("mode" if self.stub else "params")
        if writing.left and self.stub:
            raise Refused("length")
        if self.stub:
            if not stay:
                self._after = self.on_restart
        else:  # the ROM leaves in either case: a restart, or straight into what is in flash
            self._after = self.on_boot if stay else self.on_restart
        return 0, b""

    def _md5(self, data: bytes) -> tuple[int, bytes]:
        at, size = self._words(data, 2)
        self._region(at, size, "read")
        digest = hashlib.md5(self.flash.read(at, size), usedforsecurity=False)
        return 0, digest.digest() if self.stub else digest.hexdigest().encode()

    def _read_slow(self, data: bytes) -> tuple[int, bytes]:
        at, n = self._words(data, 2)
        if n > 64:
            raise Refused("params")
        self._region(at, n, "read")
        return 0, self.flash.read(at, n).ljust(64, b"\0")

    def _erase_flash(self, data: bytes) -> tuple[int, bytes]:
        for sector in range(0, self.flash.size, BLOCK):
            self.flash.erase(sector)
        return 0, b""

    def _erase_region(self, data: bytes) -> tuple[int, bytes]:
        at, size = self._words(data, 2)
        if at % BLOCK or size % BLOCK:
            raise Refused("params")
        self._region(at, size)
        for sector in range(at, at + size, BLOCK):
            self.flash.erase(sector)
        return 0, b""

    def _read_flash(self, data: bytes) -> tuple[int, bytes]:
        at, size, block, most = self._words(data, 4)
        self._region(at, size, "read")
        self._reading = _Reading(self.flash.read(at, size), block, most)
        self._after = lambda: self._read_on(0)
        return 0, b""

    def _read_on(self, acknowledged: int) -> None:
        reading = self._reading
        assert reading is not None
        for block in reading.blocks(acknowledged):
            self._send_frame(block)
        if acknowledged >= len(reading.data):
            self._reading = None
            self._send_frame(hashlib.md5(reading.data, usedforsecurity=False).digest())

    def _run(self, data: bytes) -> tuple[int, bytes]:
        self._after = self.on_boot
        return 0, b""


class _Reading:
    """A region on its way to the host: so many blocks of it may be unacknowledged."""

    def __init__(self, data: bytes, block: int, most: int) -> None:
        self.data = data
        self._block, self._ahead, self._sent = max(1, block), max(1, block) * max(1, most), 0

    def blocks(self, acknowledged: int) -> list[bytes]:
        """What may be sent now that so many bytes have come."""
        out = []
        while self._sent < len(self.data) and self._sent - acknowledged < self._ahead:
            out.append(self.data[self._sent : self._sent + self._block])
            self._sent += len(out[-1])
        return out
