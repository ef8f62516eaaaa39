"""Frames on a serial line: COBS around the data and its CRC-32, a zero byte behind (Cheshire and Baker, 1999)."""

from binascii import crc32

from felinar_wire.errors import WireError

_CRC = 4


def encode(data: bytes) -> bytes:
    """The line's bytes for one frame: COBS(data + CRC-32, little-endian) and the zero that ends it."""
    out = bytearray()
    for run in (data + (crc32(data) & 0xFFFFFFFF).to_bytes(_CRC, "little")).split(b"\0"):
        at = 0
        while len(run) - at > 253:
            out.append(255)
            out += run[at : at + 254]
            at += 254
        out.append(len(run) - at + 1)
        out += run[at:]
    out.append(0)
    return bytes(out)


def decode(coded: bytes) -> bytes:
    """The data of one frame, given without the zero that ends it; WireError: "cobs", "short", "crc"."""
    out = bytearray()
    at = 0
    size = len(coded)
    while True:
        if at >= size:
            raise WireError("cobs")
        code = coded[at]
        end = at + code
        if not code or end > size:
            raise WireError("cobs")
        out += coded[at + 1 : end]
        at = end
        if at == size:
            break
        if code < 255:
            out.append(0)
    if len(out) < _CRC:
        raise WireError("short")
    data = bytes(out[:-_CRC])
    if crc32(data) & 0xFFFFFFFF != int.from_bytes(out[-_CRC:], "little"):
        raise WireError("crc")
    return data


def longest(limit: int) -> int:
    """The most bytes, without the ending zero, that a frame with `limit` bytes of data has on the line."""
    return limit + _CRC + 1 + (limit + _CRC) // 254


class Deframer:
    """Finds frames in a stream cut anywhere; what it can't use is dropped and counted in `bad` by reason.

    `limit` is the most bytes of data in a frame; a longer one is dropped ("long") without being held.
    """

    def __init__(self, limit: int = 512) -> None:
        self._longest = longest(limit)
        self._limit = limit
        self._held = b""
        self._skip = False
        self.bad: dict[str, int] = {}

    def _drop(self, reason: str) -> None:
        self.bad[reason] = self.bad.get(reason, 0) + 1

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take bytes as they come; returns the data of every frame that they complete, in order."""
        found = []
        parts = chunk.split(b"\0")
        last = len(parts) - 1
        for i in range(last + 1):
            part = parts[i]
            if not self._skip:
                if len(self._held) + len(part) > self._longest:
                    self._drop("long")
                    self._skip = True
                    self._held = b""
                else:
                    self._held += part
            if i == last:
                break
            if not self._skip and self._held:
                try:
                    data = decode(self._held)
                    if len(data) > self._limit:
                        raise WireError("long")
                    found.append(data)
                except WireError as error:
                    self._drop(error.reason)
            self._held = b""
            self._skip = False
        return found
