"""Levels of a period from mean squares of 125 ms: LAeq, LAmax (Fast), L10, L50, L90, in a histogram.

LAeq sums with a correction term (Kahan): a 32-bit float alone would lose the quiet blocks beside a loud one. LN is
the Fast level exceeded in N % of the time (ISO 1996-1), straight within its bin of 0.25 dB.
"""

import math
from array import array

from micropython import const

_LOW = const(20)  # dB; what is lower counts in the first bin
_BINS = const(440)  # of 0.25 dB
_MOST = const(65535)  # a bin stops counting after 2 h 16 min

_SUM = const(0)
_LOST = const(1)
_MAX = const(2)
_FAST = const(3)
_FULL = 16.0  # no signal has a larger mean square after the weighting
_BLOCK_SHARE = 0.6321206  # 1 - 1/e: Fast weighting of a source that gives only mean squares


class Levels:
    """`count` blocks came in this period, `missed` did not or were no sound (zero, infinite, not a number)."""

    def __init__(self, sensitivity_db: float):
        self._db = sensitivity_db
        # In an array, because its floats have 32 bits on every machine.
        self._acc = array("f", (0, 0, 0, 0))
        self._bins = array("H", bytes(2 * _BINS))
        self._seen = 0
        self.reset()

    def reset(self) -> None:
        """Begin a period. The Fast weighting goes on."""
        acc = self._acc
        acc[_SUM] = acc[_LOST] = acc[_MAX] = 0
        bins = self._bins
        for i in range(_BINS):
            bins[i] = 0
        self.count = self.missed = 0

    async def listen(self, source) -> None:
        """Wait for the next levels of a sound source and add them with what it has missed."""
        squares = await source.levels()
        missed = getattr(source, "missed", 0)
        self.missed += missed - self._seen
        self._seen = missed
        self.add(squares, getattr(source, "fast", None))

    def add(self, squares, fast=None) -> None:
        """Add mean squares (full scale = 1.0), one per 125 ms.

        `fast` has two values a block: the Fast-weighted mean square at its end and the largest within it.
        """
        acc = self._acc
        bins = self._bins
        for i in range(len(squares)):
            square = squares[i]
            if not 0 < square < _FULL:
                self.missed += 1
                continue
            self.count += 1
            term = square - acc[_LOST]
            old = acc[_SUM]
            acc[_SUM] = old + term
            acc[_LOST] = (acc[_SUM] - old) - term
            if fast is not None:
                acc[_FAST] = fast[2 * i]
                most = fast[2 * i + 1]
            else:
                most = acc[_FAST]
                acc[_FAST] = most = most + (square - most) * _BLOCK_SHARE if most else square
            if most > acc[_MAX]:
                acc[_MAX] = most
            n = min(max(int((self._level(acc[_FAST]) - _LOW) * 4), 0), _BINS - 1)
            if bins[n] < _MOST:
                bins[n] += 1

    def summary(self, out, at: int = 0) -> None:
        """out[at:at+5] = LAeq, LAmax, L10, L50, L90 in dB re 20 uPa; None where nothing came."""
        if not self.count:
            for i in range(5):
                out[at + i] = None
            return
        acc = self._acc
        out[at] = self._level(acc[_SUM] / self.count)
        out[at + 1] = self._level(acc[_MAX])
        bins = self._bins
        total = sum(bins)
        above = 0
        n = _BINS
        for percent in (10, 50, 90):
            at += 1
            wanted = total * percent / 100
            while above < wanted:
                n -= 1
                above += bins[n]
            # The level lies in bin n, where the count from above passes what is wanted.
            out[at + 1] = _LOW + (n + (above - wanted) / bins[n]) / 4

    def _level(self, square: float) -> float:
        return self._db + 10 * math.log10(square)
