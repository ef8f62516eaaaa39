"""BME280 pressure, temperature and humidity. Bosch BST-BME280-DS001 rev. 1.23.

One forced measurement a reading, with the oversampling that section 3.5.1 gives for weather (but four times for the
pressure); the compensation is the one in integers of section 4.2.3, the pressure in 64 bits.
"""

import struct

from micropython import const

from drivers import IDENTITY, TIMEOUT, Chip, DriverError

_ID = const(0xD0)
_RESET = b"\xe0\xb6"
_STATUS = const(0xF3)
_HUMIDITY_X1 = b"\xf2\x01"
_FORCED = b"\xf4\x2d"  # temperature once, pressure four times
_DATA = const(0xF7)
_MEASURING = const(8)
_COPYING = const(1)
_WAIT_MS = const(17)  # at most 1.25 + 2.3 + 2.3 * 4 + 0.575 + 2.3 + 0.575 (section 9.1)
_SKIPPED = const(0x80000)


class Bme280:
    """Fills `temp` in degrees C, `rh` in % and `p` in hPa, or those of them that `fields` of the board file names."""

    NAME = "bme280"
    PERIOD_MS = 5000

    def __init__(self, b, entry):
        self.FIELDS = tuple(entry.get("fields", ("temp", "rh", "p")))
        self._chip = Chip(b, entry, 0x76)

    async def start(self) -> None:
        chip = self._chip
        byte = bytearray(1)
        chip.read_register(_ID, byte)
        if byte[0] != 0x60:
            raise DriverError(IDENTITY)
        chip.write(_RESET)
        await chip.sleep_ms(5)
        await self._until_not(_COPYING)
        trim = bytearray(26)
        chip.read_register(0x88, trim)
        more = bytearray(7)
        chip.read_register(0xE1, more)
        t = struct.unpack_from("<Hhh", trim)
        p = struct.unpack_from("<Hhhhhhhhh", trim, 6)
        h2, h3, a, b, c, h6 = struct.unpack("<hBbBbb", more)
        # Two values of 12 bits share three bytes.
        self._trim = t, p, (trim[25], h2, h3, a << 4 | b & 15, c << 4 | b >> 4, h6)

    async def read(self, out) -> None:
        chip = self._chip
        chip.write(_HUMIDITY_X1)  # takes effect with the next
        chip.write(_FORCED)
        await chip.sleep_ms(_WAIT_MS)
        await self._until_not(_MEASURING)
        d = bytearray(8)
        chip.read_register(_DATA, d)
        pressure = d[0] << 12 | d[1] << 4 | d[2] >> 4
        temperature = d[3] << 12 | d[4] << 4 | d[5] >> 4
        if _SKIPPED in (pressure, temperature):
            raise DriverError(TIMEOUT)
        fine = self._fine(temperature)
        for i, field in enumerate(self.FIELDS):
            if field == "temp":
                out[i] = (fine * 5 + 128 >> 8) / 100
            elif field == "rh":
                out[i] = self._humidity(d[6] << 8 | d[7], fine)
            else:
                out[i] = self._pressure(pressure, fine)

    async def _until_not(self, bit: int) -> None:
        byte = bytearray(1)
        for _ in range(10):
            self._chip.read_register(_STATUS, byte)
            if not byte[0] & bit:
                return
            await self._chip.sleep_ms(5)
        raise DriverError(TIMEOUT)

    def _fine(self, raw: int) -> int:
        """Temperature in 1/5120 degree C."""
        t1, t2, t3 = self._trim[0]
        half = (raw >> 4) - t1
        return (((raw >> 3) - (t1 << 1)) * t2 >> 11) + ((half * half >> 12) * t3 >> 14)

    def _pressure(self, raw: int, fine: int):
        """Pressure in hPa, None where a trim value would divide by zero."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self._trim[1]
        a = fine - 128000
        b = a * a * p6 + (a * p5 << 17) + (p4 << 35)
        a = (a * a * p3 >> 8) + (a * p2 << 12)
        a = ((1 << 47) + a) * p1 >> 33
        if not a:
            return None
        p = (((1048576 - raw) << 31) - b) * 3125 // a
        b = p9 * (p >> 13) * (p >> 13) >> 25
        p = ((p + b + (p8 * p >> 19)) >> 8) + (p7 << 4)
        return p / 25600

    def _humidity(self, raw: int, fine: int) -> float:
        """Relative humidity in %."""
        h1, h2, h3, h4, h5, h6 = self._trim[2]
        v = fine - 76800
        scale = (((v * h6 >> 10) * ((v * h3 >> 11) + 32768) >> 10) + 2097152) * h2 + 8192 >> 14
        v = ((raw << 14) - (h4 << 20) - h5 * v + 16384 >> 15) * scale
        v -= ((v >> 15) * (v >> 15) >> 7) * h1 >> 4
        return min(max(v, 0), 419430400) / 4194304


def open(b, entry):
    return Bme280(b, entry)
