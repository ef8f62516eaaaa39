"""A NOR flash partition that loses power where a test says: before, in the middle of or after any operation."""

from __future__ import annotations

import random


class PowerCut(BaseException):
    """The power went: not an Exception, so that no handler of the firmware can carry on."""


class Nor:
    """Blocks behind the interface of esp32.Partition. Programming clears bits, an erase sets a block to ones.

    `cut_at` counts operations from 1. `how`: "before" and "after" the operation, "head"/"tail" (only the first or last
    half of the bytes took it), "bits" (a random half of the changing bits did).
    """

    def __init__(self, blocks: int, size: int, *, fill: bytes | None = None) -> None:
        self.blocks = blocks
        self.size = size
        self.data = bytearray(fill if fill is not None else b"\xff" * (blocks * size))
        assert len(self.data) == blocks * size
        self.ops = 0
        self.reads = 0
        self.erases = [0] * blocks
        self.cut_at = 0
        self.how = "before"
        self.seed = 0

    def _change(self, start: int, new: bytes) -> None:
        self.ops += 1
        old = bytes(self.data[start : start + len(new)])
        if self.ops != self.cut_at:
            self.data[start : start + len(new)] = new
            return
        half = len(new) // 2
        if self.how == "head":
            new = new[:half] + old[half:]
        elif self.how == "tail":
            new = old[:half] + new[half:]
        elif self.how == "bits":
            chance = random.Random(self.seed + self.ops)
            new = bytes(o ^ ((o ^ n) & chance.randrange(256)) for o, n in zip(old, new, strict=True))
        elif self.how == "before":
            new = old
        self.data[start : start + len(new)] = new
        raise PowerCut

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> None:
        assert 0 <= block < self.blocks
        assert offset >= 0
        assert offset + len(buf) <= self.size, "a read beyond its block"
        start = block * self.size + offset
        self.reads += 1
        buf[:] = self.data[start : start + len(buf)]

    def writeblocks(self, block: int, buf: bytes, offset: int) -> None:
        assert 0 <= block < self.blocks
        assert offset >= 0
        assert offset + len(buf) <= self.size, "a write beyond its block"
        start = block * self.size + offset
        self._change(start, bytes(o & n for o, n in zip(self.data[start : start + len(buf)], bytes(buf), strict=True)))

    def ioctl(self, request: int, argument: int) -> int:
        if request == 4:
            return self.blocks
        if request == 5:
            return self.size
        assert request == 6, "an unknown request"
        assert 0 <= argument < self.blocks
        self.erases[argument] += 1
        self._change(argument * self.size, b"\xff" * self.size)
        return 0
