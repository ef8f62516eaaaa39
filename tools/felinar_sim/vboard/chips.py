"""What a chip's registers answer to its boot loader's questions: identity, fuses, and the SPI controller with the flash behind it.

Addresses and meanings: ESP32 Technical Reference Manual and ESP32-S3 Technical Reference Manual, chapters "eFuse Controller" and
"SPI Controller"; which of them are asked for: esptool 5.6.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from felinar_sim.errors import SimulatorError

_USR = 1 << 18  # SPI_CMD_REG: run the command that the other registers describe
_WINBOND = 0xEF
_XTAL_HZ = 40_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of chip."""

    name: str
    image_id: int
    """The chip id of application images (and of GET_SECURITY_INFO, where there is that command)."""
    boot_offset: int
    """Where the second stage boot loader lies in flash."""
    security_info: bool
    uart_divider: int
    strap: int
    spi: int
    spi_usr: int
    """Offset of SPI_USER_REG; SPI_USER1, SPI_USER2, MOSI and MISO length follow it."""
    spi_w0: int
    spi_address_msb: bool
    greeting: bytes
    """What the boot ROM says when it waits for a download."""
    boot_mode: int
    """The strapping value that the boot ROM prints when it starts from flash."""
    flash_mb: int


ESP32 = Kind(
    "esp32", 0, 0x1000, False, 0x3FF40014, 0x3FF44038, 0x3FF42000, 0x1C, 0x80, True,
    b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\r\n"
    b"waiting for download\r\n", 0x13, 4,
)  # fmt: skip
ESP32S3 = Kind(
    "esp32s3", 9, 0x0, True, 0x60000014, 0x60004038, 0x60002000, 0x18, 0x58, False,
    b"ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021\r\nrst:0x1 (POWERON),boot:0x0 (DOWNLOAD(USB/UART0))\r\n"
    b"waiting for download\r\n", 0x8, 8,
)  # fmt: skip
KINDS = {kind.name: kind for kind in (ESP32, ESP32S3)}
_WATCHDOG = 0x60008098  # ESP32-S3, RTC_CNTL_WDTCONFIG0_REG; bit 31 enables


def kind(name: str) -> Kind:
    """The kind of chip of that name, as esptool calls it. Raises SimulatorError for another one."""
    found = KINDS.get(name)
    if found is None:
        raise SimulatorError(f"no virtual {name!r}; there are {' and '.join(KINDS)}")
    return found


def mac_bytes(text: str) -> bytes:
    """A MAC address such as "02:00:00:00:00:01" as its six bytes."""
    try:
        mac = bytes(int(part, 16) for part in text.split(":"))
    except ValueError:
        mac = b""
    if len(mac) != 6:
        raise SimulatorError(f"{text!r} is no MAC address: six bytes in hexadecimal with colons are")
    return mac


def _crc8(data: bytes) -> int:
    """The CRC beside an ESP32's MAC: polynomial 0x31, least bit first (ESP-IDF, eFuse manager)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def _fuses(kind: Kind, mac: bytes) -> dict[int, int]:
    high, low = int.from_bytes(mac[:2], "big"), int.from_bytes(mac[2:], "big")
    if kind is ESP32:
        base = 0x3FF5A000
        return {
            0x40001000: 0x00F01D83,  # the value in the ROM by which an ESP32 is told
            base + 4: low,
            base + 8: high | _crc8(mac) << 16,
            base + 12: 1 << 15 | 1 << 13 | 1 << 9,  # D0WD package, rated for 240 MHz, revision bit 0
            base + 16: 50,  # the 8 MHz oscillator's calibration: with the one below it makes a crystal of 40 MHz
            base + 20: 1 << 20,  # revision bit 1
            0x3FF6607C: 0x96042000,  # its bit 31 is revision bit 2: all three are revision 3
            0x3FF5F06C: 2048 << 7,
        }
    base = 0x60007000
    return {
        base + 0x44: low,
        base + 0x48: high,
        base + 0x50: 2 << 18,  # revision 0.2, QFN56 package
        base + 0x6C: 1,  # version 1 of fuse block 2
    }


class Store(Protocol):
    """The flash as its chip's registers need it."""

    size: int

    def read(self, at: int, n: int) -> bytes:
        """n bytes from an address."""


class Registers:
    """The memory of a chip as its boot loader reads and writes it; what is not modelled keeps what was written, at first 0."""

    def __init__(self, kind: Kind, mac: bytes, flash: Store) -> None:
        self.kind = kind
        self.baud = 115_200
        """What the chip's UART is set to, which its divider register tells."""
        self.on_watchdog: Callable[[], None] = lambda: None
        self._fuses = _fuses(kind, mac)
        self._flash = flash
        self._words: dict[int, int] = {}
        self._status = bytearray((0, 2, 0x60))  # of a W25Q: not busy, quad lines enabled

    def reset(self) -> None:
        """As after power-on."""
        self._words.clear()
        self._words[self.kind.strap] = 0

    def read(self, at: int) -> int:
        """The word at an address."""
        if at == self.kind.uart_divider:
            whole, rest = divmod(_XTAL_HZ * 16 // max(1, self.baud), 16)
            return whole | rest << 20
        fuse = self._fuses.get(at)
        return self._words.get(at, 0) if fuse is None else fuse

    def write(self, at: int, value: int, mask: int = 0xFFFFFFFF) -> None:
        """Set the masked bits of the word at an address; fuses keep what they have."""
        if at in self._fuses:
            return
        value = self._words.get(at, 0) & ~mask | value & mask
        self._words[at] = value
        if at == self.kind.spi and value & _USR:
            self._spi()
            self._words[at] = value & ~_USR
        elif at == _WATCHDOG and self.kind is ESP32S3 and value >> 31:
            self.on_watchdog()

    # The flash behind the SPI controller: a Winbond W25Q (data sheet W25Q64JV, "Instruction Set")

    def _spi(self) -> None:
        kind, word = self.kind, self._words.get
        user = kind.spi + kind.spi_usr
        command = word(user + 8, 0) & 0xFF
        bits = (word(user + 4, 0) >> 26) + 1
        address = word(kind.spi + 4, 0)
        if kind.spi_address_msb:
            address >>= 32 - bits
        n = word(user + 16, 0) // 8 + 1
        w0 = kind.spi + kind.spi_w0
        given = word(w0, 0)
        if command == 0x9F:
            answer = struct.pack("<I", _WINBOND | 0x40 << 8 | (self._flash.size.bit_length() - 1) << 16)
        elif command == 0x5A:
            answer = _sfdp()[address : address + 4]
        elif command == 0x03:
            answer = self._flash.read(address % self._flash.size, min(n, 4))
        elif command in (0x05, 0x35, 0x15):
            answer = bytes((self._status[(0x05, 0x35, 0x15).index(command)],))
        else:
            if command in (0x01, 0x31, 0x11):
                self._status[(0x01, 0x31, 0x11).index(command)] = given & 0xFF
            return
        self._words[w0] = int.from_bytes(answer[:n].ljust(4, b"\0"), "little")


def _sfdp() -> bytes:
    """The head of the flash's parameter table (JEDEC JESD216): signature, version 1.5, one header."""
    return b"SFDP\x05\x01\x00\xff\x00\x05\x01\x10\x80\x00\x00\xff" + bytes((_WINBOND, 0, 1, 2)) + b"\xff" * 236
