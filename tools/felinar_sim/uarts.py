"""The board's serial ports 1 and 2 and the chips on them."""

from __future__ import annotations

from collections.abc import Mapping

from felinar_sim.chips.base import UartChip
from felinar_sim.link import DONE, Answer, Frame

POLL_US = 10_000
"""How often a waiting port is looked at: a chip sends by itself."""


class Uart:
    """One port. `dropped` counts bytes that found the receive buffer full."""

    def __init__(self) -> None:
        self.chip: UartChip | None = None
        self.dropped = 0
        self._buffer = bytearray()
        self._size = 256
        self._baud = 115200
        self._connected = False

    def setup(self, f: Frame, now: int, tx: int | None, rx: int | None) -> Answer:
        """UART_SETUP: a = tx | rx << 8 | buffer << 16, b = baud (0 ends it); connected when the pins are the board file's."""
        self._connected = f.b > 0 and rx == (f.a >> 8 & 255) and (tx is None or tx == f.a & 255)
        self._baud, self._size = f.b or 115200, f.a >> 16
        if self.chip is not None:
            self.chip.take(now)
        self._buffer.clear()
        return DONE

    @property
    def used(self) -> bool:
        """Whether bytes can come, or have come."""
        return self._connected or bool(self._buffer)

    def release(self) -> None:
        """A reset: the port is closed."""
        self._connected = False
        self._buffer.clear()

    def ready(self, now: int) -> bool:
        """Whether bytes can be read."""
        if self._connected and self.chip is not None:
            data = self.chip.take(now)
            if self._baud != self.chip.BAUD:
                data = bytes((b * 37 + 11) & 0xFF for b in data)  # the wrong rate reads other bytes
            room = self._size - len(self._buffer)
            self.dropped += max(0, len(data) - room)
            self._buffer += data[:room]
        return bool(self._buffer)

    def read(self, f: Frame, now: int) -> Answer:
        """UART_READ: b = bytes; a = 1 asks only how many there are (the status)."""
        self.ready(now)
        if f.a:
            return Answer(min(len(self._buffer), 65535))
        data = bytes(self._buffer[: f.b])
        del self._buffer[: f.b]
        return Answer(0, data, 5)

    def write(self, f: Frame, now: int) -> Answer:
        """UART_WRITE: the bytes take their time on the line."""
        took = len(f.data) * 10_000_000 // self._baud
        if self._connected and self.chip is not None and self._baud == self.chip.BAUD:
            self.chip.feed(f.data, now + took)
        return Answer(0, b"", took)


class Uarts:
    """The ports by number; `set_up` are those that the program has set up, which alone need to be looked at."""

    def __init__(self, pins: Mapping[str, int]) -> None:
        self.ports = {1: Uart(), 2: Uart()}
        self.set_up: dict[int, Uart] = {}
        self._pins = pins

    def setup(self, f: Frame, now: int) -> Answer:
        """UART_SETUP, see `Uart.setup`."""
        port = self.set_up[f.arg] = self.ports[f.arg]
        return port.setup(f, now, self._pins.get(f"uart{f.arg}_tx"), self._pins.get(f"uart{f.arg}_rx"))

    def read(self, f: Frame, now: int) -> Answer:
        """UART_READ, see `Uart.read`."""
        return self.ports[f.arg].read(f, now)

    def write(self, f: Frame, now: int) -> Answer:
        """UART_WRITE, see `Uart.write`."""
        return self.ports[f.arg].write(f, now)

    def release(self) -> None:
        """A reset: all ports are closed."""
        for port in self.ports.values():
            port.release()
        self.set_up.clear()
