"""SPS30 particulate matter. Sensirion data sheet SPS30, version 1.0 (2020), sections 6.1 to 6.3.

Big-endian floats in ug/m3, a new measurement every second; the fan needs up to 30 s before low concentrations are
right. A fan cleaning runs by itself once a week of operation.
"""

import struct

from micropython import const

from drivers import FAULT, IDENTITY, TIMEOUT, DriverError
from drivers.sensirion import Sensirion

_START = const(0x0010)
_FLOATS = const(0x0300)
_READY = const(0x0202)
_VALUES = const(0x0300)
_STATUS = const(0xD206)  # since firmware 2.2
_VERSION = const(0xD100)
_TYPE = const(0xD002)
_RESET = const(0xD304)
_LASER_OR_FAN = const(0x30)  # bits 5 and 4 of the status register
_SPEED = const(0x20)  # its bit 21: the fan is too fast or too slow


class Sps30:
    """Fills `pm1`, `pm25` and `pm10` in ug/m3 (mass concentration). `unsure` while the fan is off its speed."""

    NAME = "sps30"
    FIELDS = ("pm1", "pm25", "pm10")
    PERIOD_MS = 5000
    WARM_UP_MS = 30000

    def __init__(self, b, entry):
        self._chip = Sensirion(b, entry, 0x69)
        self._status = False
        self.unsure = 0

    async def start(self) -> None:
        chip = self._chip
        chip.command(_RESET)
        await chip.sleep_ms(100)
        chip.command(_TYPE)
        if await chip.words(4, 1) != b"00080000":
            raise DriverError(IDENTITY)
        chip.command(_VERSION)
        self._status = await chip.words(1, 1) >= b"\x02\x02"
        chip.command(_START, _FLOATS)
        await chip.sleep_ms(20)

    async def read(self, out) -> None:
        """Wait up to 2 s for a new measurement; raises DriverError(FAULT) when laser or fan have failed."""
        chip = self._chip
        for _ in range(21):
            chip.command(_READY)
            if (await chip.words(1, 1))[1] & 1:
                break
            await chip.sleep_ms(100)
        else:
            raise DriverError(TIMEOUT)
        if self._status:
            chip.command(_STATUS)
            status = await chip.words(2, 1)
            if status[3] & _LASER_OR_FAN:
                raise DriverError(FAULT)
            self.unsure = status[1] & _SPEED
        chip.command(_VALUES)
        out[0], out[1], _, out[2] = struct.unpack(">ffff", await chip.words(8, 1))


def open(b, entry):
    return Sps30(b, entry)
