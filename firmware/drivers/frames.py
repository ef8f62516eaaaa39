"""Frames of sensors that speak a serial line: found by their head, however the bytes come."""

from micropython import const

from drivers import TIMEOUT, DriverError

_STEP_MS = const(25)


class Line:
    """A serial line at 9600 baud to one sensor."""

    def __init__(self, b, entry):
        self._uart = b.uart(entry["bus"], 9600)
        self.sleep_ms = b.sleep_ms
        self._bytes = b""

    def flush(self) -> None:
        """Forget what has come."""
        self._bytes = b""
        self._uart.read()

    def write(self, data) -> None:
        self._uart.write(data)

    def next(self, head: bytes, length: int):
        """The next frame of that head and length among the bytes that have come, or None."""
        data = self._bytes + (self._uart.read() or b"")
        at = data.find(head)
        # Without a head, only the last bytes can still become one.
        data = data[at:] if at >= 0 else data[1 - len(head) :]
        found = at >= 0 and len(data) >= length
        self._bytes = data[length:] if found else data
        return data[:length] if found else None

    async def wait(self, head: bytes, length: int, wait_ms: int) -> bytes:
        """The next frame; raises DriverError(TIMEOUT) when none comes in time."""
        while True:
            frame = self.next(head, length)
            if frame:
                return frame
            if wait_ms <= 0:
                raise DriverError(TIMEOUT)
            wait_ms -= _STEP_MS
            await self.sleep_ms(_STEP_MS)
