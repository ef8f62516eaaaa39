"""SDS011 particulate matter. Nova Fitness specification V1.3 and control protocol V1.3.

Its laser lasts 8000 h: it works for 30 s in each `period_min` minutes (5 by default, so for nine years; 0 is always on)
and reports at the end of them. Up to 70 % of humidity it measures dust, above it also fog.
"""

from time import ticks_diff

from micropython import const

from drivers import CRC, TIMEOUT, DriverError
from drivers.frames import Line

_COMMAND = const(0xB4)
_ANSWER = b"\xaa\xc5"
_REPORT = b"\xaa\xc0"
_LENGTH = const(10)
_MODE = const(2)
_SLEEP = const(6)
_PERIOD = const(8)


class Sds011:
    """Fills `pm25` and `pm10` in ug/m3 when there is a new report, else None."""

    NAME = "sds011"
    FIELDS = ("pm25", "pm10")
    PERIOD_MS = 10000

    def __init__(self, b, entry):
        self._line = Line(b, entry)
        self._ticks_ms = b.ticks_ms
        self._period = entry.get("period_min", 5)

    async def start(self) -> None:
        line = self._line
        # Awake, reporting by itself, in this period: each is answered, a sensor that sleeps only wakes at the first.
        for command, value in ((_SLEEP, 1), (_MODE, 0), (_PERIOD, self._period)):
            for attempt in range(3):
                line.flush()
                body = bytes((command, 1, value)) + bytes(10) + b"\xff\xff"
                line.write(b"\xaa\xb4" + body + bytes((sum(body) & 0xFF, 0xAB)))
                try:
                    answer = await line.wait(_ANSWER, _LENGTH, 500)
                except DriverError:
                    if attempt == 2:
                        raise
                    continue
                _check(answer)
                break
        self._last = self._ticks_ms()

    async def read(self, out) -> None:
        """Raises DriverError: CRC for a wrong sum, TIMEOUT when there was no report for a period and a minute."""
        frame = self._line.next(_REPORT, _LENGTH)
        while frame:
            _check(frame)
            self._last = self._ticks_ms()
            out[0] = (frame[3] << 8 | frame[2]) / 10
            out[1] = (frame[5] << 8 | frame[4]) / 10
            frame = self._line.next(_REPORT, _LENGTH)
        if ticks_diff(self._ticks_ms(), self._last) > (self._period * 60 + 60) * 1000:
            raise DriverError(TIMEOUT)


def _check(frame) -> None:
    if sum(frame[2:8]) & 0xFF != frame[8] or frame[9] != 0xAB:
        raise DriverError(CRC)


def open(b, entry):
    return Sds011(b, entry)
