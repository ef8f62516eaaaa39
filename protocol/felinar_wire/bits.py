"""Bits to bytes and back, most significant first, within 31-bit small integers."""

from felinar_wire.errors import WireError


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
    """Takes numbers of a given width off a body; WireError("short") beyond its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._acc = 0
        self._held = 0

    def take(self, width: int) -> int:
        """The next `width` bits (at most 22)."""
        held = self._held
        acc = self._acc
        while held < width:
            if self._at == len(self._data):
                raise WireError("short")
            acc = acc << 8 | self._data[self._at]
            self._at += 1
            held += 8
        held -= width
        self._held = held
        self._acc = acc & (1 << held) - 1
        return acc >> held

    def ones(self, limit: int) -> int:
        """Length of the run of one bits before a zero, or `limit` of them without one."""
        n = 0
        while n < limit and self.take(1):
            n += 1
        return n

    def end(self) -> None:
        """WireError("trailing") unless less than a byte is left and all of it zero."""
        if self._acc or self._at != len(self._data):
            raise WireError("trailing")
