"""Bits to bytes and back, most significant first, within 31-bit small integers."""

from felinar_wire.errors import WireError

ESCAPE = 8
"""A Rice code has at most this many ones in front; so many announce a plain number instead."""


def pack(codes: list[int]) -> bytes:
    """Join codes (value << 5 | width, width at most 22) to bytes; the last byte is filled up with zeros."""
    out = bytearray(len(codes) * 3)
    size = held = acc = 0
    for code in codes:
        width = code & 31
        acc = acc << width | code >> 5
        held += width
        while held > 7:
            held -= 8
            out[size] = acc >> held
            size += 1
            acc &= (1 << held) - 1
    if held:
        out[size] = acc << 8 - held
        size += 1
    return bytes(out[:size])


class Reader:
    """Takes numbers off the bits of `data` from byte `at` on; WireError("short") beyond the end."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at
        self._acc = 0
        self._held = 0

    def take(self, width: int) -> int:
        """The next `width` bits, at most 32, as a number."""
        if width > 16:
            high = self.take(width - 16)
            return high << 16 | self.take(16)
        held = self._held
        acc = self._acc
        while held < width:
            if self._at >= len(self._data):
                raise WireError("short")
            acc = acc << 8 | self._data[self._at]
            self._at += 1
            held += 8
        held -= width
        self._held = held
        self._acc = acc & (1 << held) - 1
        return acc >> held

    def rice(self, k: int) -> int:
        """The number of the next Rice code of parameter k, or -1 when it is an escape."""
        held = self._held
        acc = self._acc
        at = self._at
        data = self._data
        while held < ESCAPE and at < len(data):
            acc = acc << 8 | data[at]
            at += 1
            held += 8
        ones = 0
        while ones < ESCAPE:
            if not held:
                raise WireError("short")
            held -= 1
            if not acc >> held & 1:
                break
            ones += 1
        self._at = at
        self._held = held
        self._acc = acc & (1 << held) - 1
        if ones == ESCAPE:
            return -1
        return ones << k | self.take(k) if k else ones

    def end(self) -> int:
        """Skip to the next whole byte and return its place; WireError("coding") unless what is skipped is zero."""
        self._at -= self._held >> 3
        if self._acc >> (self._held & ~7):
            raise WireError("coding")
        self._held = self._acc = 0
        return self._at
