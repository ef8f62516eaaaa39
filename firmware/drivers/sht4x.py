"""SHT40/SHT41/SHT45 temperature and humidity. Sensirion data sheet SHT4x, version 6.6 (2024).

T = -45 + 175 S / 65535 degrees C, RH = -6 + 125 S / 65535 %, cropped to 0..100 (section 4.6); high precision takes up
to 8.3 ms (table 4); the chip refuses a read while it measures.
"""

from drivers import IDENTITY, DriverError
from drivers.sensirion import Sensirion

_RESET = b"\x94"
_SERIAL = b"\x89"
_MEASURE = b"\xfd"  # high precision


class Sht4x:
    """Fills `temp` in degrees C and `rh` in %."""

    NAME = "sht4x"
    FIELDS = ("temp", "rh")
    PERIOD_MS = 5000

    def __init__(self, b, entry):
        self._chip = Sensirion(b, entry, 0x44)

    async def start(self) -> None:
        chip = self._chip
        chip.write(_RESET)
        await chip.sleep_ms(2)
        chip.write(_SERIAL)
        serial = await chip.words(2, 1)
        if serial in (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff"):
            raise DriverError(IDENTITY)

    async def read(self, out) -> None:
        self._chip.write(_MEASURE)
        data = await self._chip.words(2, 9)
        out[0] = (data[0] << 8 | data[1]) * 175 / 65535 - 45
        out[1] = min(100, max(0, (data[2] << 8 | data[3]) * 125 / 65535 - 6))


def open(b, entry):
    return Sht4x(b, entry)
