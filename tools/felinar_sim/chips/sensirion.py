"""What Sensirion's I2C chips share: 16-bit commands, words with a CRC-8 each, busy while they execute.

Source: Sensirion SPS30 data sheet V1.0, section 6.2 (CRC: polynomial 0x31, initial value 0xFF, no reflection, no
final XOR; 0xBEEF gives 0x92); the SHT4x, SCD4x and SGP41 data sheets say the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from felinar_sim.chips.base import I2cChip, Nack


def _table() -> bytes:
    values = []
    for value in range(256):
        for _ in range(8):
            value = (value << 1 ^ 0x31 if value & 0x80 else value << 1) & 0xFF
        values.append(value)
    return bytes(values)


_TABLE = _table()


def crc8(data: bytes) -> int:
    """CRC-8 of Sensirion: polynomial 0x31, initial value 0xFF."""
    crc = 0xFF
    for byte in data:
        crc = _TABLE[crc ^ byte]
    return crc


def pack_words(words: Iterable[int], wrong: bool = False) -> bytes:
    """16-bit words, big-endian, each with its CRC; `wrong` spoils every CRC."""
    out = bytearray()
    for word in words:
        pair = word.to_bytes(2, "big")
        out += pair + bytes((crc8(pair) ^ (0x5A if wrong else 0),))
    return bytes(out)


def unpack_words(data: bytes) -> list[int]:
    """The words that a master sent with their CRCs; raises Nack at the first that is wrong or incomplete, as the
    chips do."""
    if len(data) % 3:
        raise Nack("a word is incomplete")
    words = []
    for i in range(0, len(data), 3):
        if crc8(data[i : i + 2]) != data[i + 2]:
            raise Nack("wrong CRC")
        words.append(int.from_bytes(data[i : i + 2], "big"))
    return words


def text_words(text: str, length: int) -> list[int]:
    """ASCII text padded with NUL to `length` bytes, two characters a word."""
    raw = text.encode("ascii").ljust(length, b"\0")
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, length, 2)]


class SensirionChip(I2cChip):
    """A chip with 16-bit commands. A subclass answers `_command` by calling `_reply` and `_busy`."""

    def _power_on(self, now_us: int) -> None:
        self._response: bytes | None = None
        self._busy_until_us = now_us

    def _write(self, data: bytes, now_us: int) -> None:
        if now_us < self._busy_until_us:
            raise Nack("busy")
        if len(data) < 2:
            raise Nack("a command has 16 bits")
        arguments = unpack_words(data[2:])
        self._response = None
        self._command(int.from_bytes(data[:2], "big"), arguments, now_us)

    def _read(self, n: int, now_us: int) -> bytes:
        if now_us < self._busy_until_us or self._response is None:
            raise Nack("nothing to read yet")
        response, self._response = self._response, None
        return response

    def _command(self, command: int, arguments: list[int], now_us: int) -> None:
        raise NotImplementedError

    def _reply(self, *words: int) -> None:
        """What the next read transfer gets."""
        self._response = pack_words(words, self.bad_crc)

    def _busy(self, milliseconds: float, now_us: int, *, slowed: bool = False) -> None:
        """Refuse every transfer for this time; `slowed` conversions take `slow_ms` longer."""
        self._busy_until_us = now_us + round(milliseconds * 1000) + (self._slow_us if slowed else 0)
