"""Keeps messages in memory on a board without an outbox partition; loaded only there."""

from micropython import const

_RAM_BLOCK = const(1024)
_RAM_BLOCKS = const(8)


class Ram:
    """Stands in for a board without an outbox partition: what it holds is gone with the power."""

    def __init__(self) -> None:
        self._data = memoryview(bytearray(_RAM_BLOCK * _RAM_BLOCKS))

    def readblocks(self, block: int, buf, offset: int = 0) -> None:
        at = block * _RAM_BLOCK + offset
        buf[:] = self._data[at : at + len(buf)]

    def writeblocks(self, block: int, buf, offset: int = 0) -> None:
        at = block * _RAM_BLOCK + offset
        self._data[at : at + len(buf)] = buf

    def ioctl(self, request: int, argument: int) -> int:
        if request == 6:
            self.writeblocks(argument, b"\xff" * _RAM_BLOCK)
        return _RAM_BLOCKS if request == 4 else _RAM_BLOCK
