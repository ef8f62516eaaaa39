"""PMS5003 and PMS7003 particulate matter. Plantower data manuals PMS5003 V2.3 and PMS7003 V2.5, appendix I.

The sensor is asked (passive mode), so that a reading is of this moment. Frames are 42 4D, a length, big-endian words and
the sum of all bytes before it. Of its two sets of values the "atmospheric" one is used. It counts water droplets as
dust: see to the humidity. About three years of life; the fan needs 30 s.
"""

from micropython import const

from drivers import CRC, FAULT, DriverError
from drivers.frames import Line

_WAKE = b"\x42\x4d\xe4\x00\x01\x01\x74"
_PASSIVE = b"\x42\x4d\xe1\x00\x00\x01\x70"
_READ = b"\x42\x4d\xe2\x00\x00\x01\x71"
_PASSIVE_DONE = b"\x42\x4d\x00\x04\xe1\x00"
_VALUES = b"\x42\x4d\x00\x1c"
_LENGTH = const(32)


class Pms5003:
    """Fills `pm1`, `pm25` and `pm10` in ug/m3."""

    FIELDS = ("pm1", "pm25", "pm10")
    PERIOD_MS = 10000
    WARM_UP_MS = 30000

    def __init__(self, b, entry, name: str = "pms5003"):
        self.NAME = name
        self._line = Line(b, entry)

    async def start(self) -> None:
        line = self._line
        line.write(_WAKE)
        await line.sleep_ms(100)
        line.flush()
        line.write(_PASSIVE)
        await line.wait(_PASSIVE_DONE, 8, 1000)

    async def read(self, out) -> None:
        """Raises DriverError: CRC for a wrong sum, FAULT when the sensor reports one."""
        line = self._line
        line.flush()
        line.write(_READ)
        # A sensor that has restarted sends by itself instead, every 2.3 s.
        frame = await line.wait(_VALUES, _LENGTH, 2500)
        if sum(frame[:30]) != frame[30] << 8 | frame[31]:
            raise DriverError(CRC)
        if frame[29]:
            raise DriverError(FAULT)
        for i in range(3):
            out[i] = frame[10 + 2 * i] << 8 | frame[11 + 2 * i]


def open(b, entry):
    return Pms5003(b, entry)
