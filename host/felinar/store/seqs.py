"""Which sequence numbers of one boot are stored: sorted disjoint ranges, small however long the boot lasts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

SPAN = 32
"""Sequence numbers that one ACK speaks of."""


class SeqSet:
    """A set of sequence numbers (30 bits, in practice a few ranges)."""

    __slots__ = ("_ends", "_starts", "count")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """`ranges`: sorted, disjoint, not touching, both ends included."""
        pairs = list(ranges)
        self._starts = [low for low, _ in pairs]
        self._ends = [high for _, high in pairs]
        self.count = sum(high - low + 1 for low, high in pairs)

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._starts, seq) - 1
        return at >= 0 and seq <= self._ends[at]

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def highest(self) -> int:
        """The highest number stored, -1 when there is none."""
        return self._ends[-1] if self._ends else -1

    @property
    def missing(self) -> int:
        """How many numbers between the lowest and the highest stored are not stored."""
        return self._ends[-1] - self._starts[0] + 1 - self.count if self._ends else 0

    def add(self, seq: int) -> bool:
        """Add a number; False when it was there."""
        starts, ends = self._starts, self._ends
        at = bisect_right(starts, seq)
        if at and seq <= ends[at - 1]:
            return False
        self.count += 1
        joins_left = at > 0 and ends[at - 1] == seq - 1
        joins_right = at < len(starts) and starts[at] == seq + 1
        if joins_left and joins_right:
            ends[at - 1] = ends[at]
            del starts[at], ends[at]
        elif joins_left:
            ends[at - 1] = seq
        elif joins_right:
            starts[at] = seq
        else:
            starts.insert(at, seq)
            ends.insert(at, seq)
        return True

    def acknowledgement(self, seq: int) -> tuple[int, int]:
        """Base and bitmap of the ACK that speaks of `seq`: of 32 numbers, from a multiple of 32 on, those stored."""
        base = seq - seq % SPAN
        return base, sum(1 << i for i in range(SPAN) if base + i in self)

    def ranges(self) -> list[tuple[int, int]]:
        """The ranges, both ends included, in order."""
        return list(zip(self._starts, self._ends, strict=True))

    def copy(self) -> SeqSet:
        """An independent copy."""
        return SeqSet(self.ranges())

    def to_bytes(self) -> bytes:
        """The set for the database: alternating gap and length, each as an LEB128 number."""
        out = bytearray()
        last = 0
        for low, high in zip(self._starts, self._ends, strict=True):
            for number in (low - last, high - low):
                while number > 0x7F:
                    out.append(number & 0x7F | 0x80)
                    number >>= 7
                out.append(number)
            last = high
        return bytes(out)

    @classmethod
    def from_bytes(cls, data: bytes) -> SeqSet:
        """The set that `to_bytes` wrote. Raises ValueError for anything else."""
        numbers: list[int] = []
        number = shift = 0
        for byte in data:
            number |= (byte & 0x7F) << shift
            if byte & 0x80:
                shift += 7
                continue
            numbers.append(number)
            number = shift = 0
        if shift or len(numbers) % 2:
            raise ValueError("cut short")
        ranges = []
        last = 0
        for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
            low = last + gap
            last = low + length
            ranges.append((low, last))
        return cls(ranges)
