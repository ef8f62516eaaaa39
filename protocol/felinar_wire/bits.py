"""Bits to bytes and back, most significant first, within 31-bit small integers."""

from felinar_wire.errors import WireError

PLAIN = 31
"""Parameter of a number that is written in plain binary, in the bits that its span needs."""
ESCAPE = 8
"""A Rice code has fewer ones than this in front; so many announce a plain number instead."""


def put(codes: "list[int]", value: int, width: int) -> None:
    """Append a number of `width` bits, at most 32, to codes (value << 5 | width, width at most 22)."""
    if width > 16:
        codes.append((value >> 16) << 5 | width - 16)
        value &= 0xFFFF
        width = 16
    codes.append(value << 5 | width)


def put_number(codes: "list[int]", value: int, k: int, span: int) -> None:
    """Append a number from 0 to `span`: the Rice code of parameter k, escaped where that would be long, or plain."""
    if k < PLAIN:
        ones = value >> k
        if ones < ESCAPE:
            put(codes, (2 << ones) - 2, ones + 1)
            put(codes, value & (1 << k) - 1, k)
            return
        put(codes, 255, ESCAPE)
    put(codes, value, width(span))


def pack(codes: "list[int]") -> bytes:
    """Join codes to bytes; the last byte is filled up with zeros."""
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


def width(span: int) -> int:
    """Bits of a plain number from 0 to `span`."""
    n = 0
    while span >> n:
        n += 1
    return n


class Reader:
    """Takes numbers off the bits of `data` from byte `at` on; WireError("short") beyond the end.

    `acc` has the `held` bits that were loaded and not taken yet, 28 at most; who takes some by himself puts them back.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at
        self.acc = 0
        self.held = 0

    def take(self, width: int) -> int:
        """The next `width` bits, at most 32, as a number."""
        if width > 16:
            high = self.take(width - 16)
            return high << 16 | self.take(16)
        while self.held < width:
            if self.at >= len(self.data):
                raise WireError("short")
            self.acc = self.acc << 8 | self.data[self.at]
            self.at += 1
            self.held += 8
        self.held -= width
        value = self.acc >> self.held
        self.acc &= (1 << self.held) - 1
        return value

    def end(self) -> int:
        """The place of the next whole byte; WireError("coding") unless the bits before it are zero."""
        if self.acc >> (self.held & ~7):
            raise WireError("coding")
        return self.at - (self.held >> 3)
