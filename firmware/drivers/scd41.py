"""SCD40/SCD41 CO2. Sensirion data sheet SCD4x, version 1.3 (2022), sections 3.5 to 3.9.

A measurement every 5 s. The self-calibration takes the lowest value of a week for fresh air, which the street has. The
reading goes with the air pressure: it is taken from a barometer on the board, else from `altitude_m` of the board file.
"""

from micropython import const

from drivers import FAULT, TIMEOUT, DriverError
from drivers.sensirion import Sensirion

_STOP = const(0x3F86)
_SERIAL = const(0x3682)
_ALTITUDE = const(0x2427)
_START = const(0x21B1)
_READY = const(0xE4B8)
_READ = const(0xEC05)
_PRESSURE = const(0xE000)


class Scd41:
    """Fills `co2` in ppm. A response takes a minute, and the first value after power-on is not to be used."""

    NAME = "scd41"
    FIELDS = ("co2",)
    PERIOD_MS = 15000
    WARM_UP_MS = 60000

    def __init__(self, b, entry):
        self._chip = Sensirion(b, entry, 0x62)
        self._latest = getattr(b, "latest", None)
        self._altitude = entry.get("altitude_m", 0)

    async def start(self) -> None:
        chip = self._chip
        await chip.sleep_ms(1000)  # so long it takes from power-on until it listens (section 2.1)
        chip.command(_STOP)  # the only command that it takes whether it measures or not
        await chip.sleep_ms(500)
        chip.command(_SERIAL)
        await chip.words(3, 1)
        if self._altitude:
            chip.command(_ALTITUDE, self._altitude)
            await chip.sleep_ms(2)
        chip.command(_START)

    async def read(self, out) -> None:
        """Wait up to 6 s for a measurement; raises DriverError(FAULT) when that is 0, which no air has."""
        chip = self._chip
        pressure = self._latest("p") if self._latest else None
        if pressure:
            chip.command(_PRESSURE, int(pressure + 0.5))  # hPa
            await chip.sleep_ms(2)
        for _ in range(25):
            chip.command(_READY)
            ready = await chip.words(1, 2)
            if ready[0] & 7 or ready[1]:
                break
            await chip.sleep_ms(250)
        else:
            raise DriverError(TIMEOUT)
        chip.command(_READ)
        data = await chip.words(3, 2)
        ppm = data[0] << 8 | data[1]
        if not ppm:
            raise DriverError(FAULT)
        out[0] = ppm


def open(b, entry):
    return Scd41(b, entry)
