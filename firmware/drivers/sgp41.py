"""SGP41 VOC and NOx. Sensirion data sheet SGP41, version 1.0 (2021), section 3.

The hot plate is conditioned for 9 s after the start, never longer than 10 s; then one measurement a second, which the
gas index needs. Temperature and humidity correct the signal: they come from another sensor on the board, where there
is one.
"""

from micropython import const

from drivers import DriverError
from drivers.gas_index import GasIndex
from drivers.sensirion import Sensirion

_SERIAL = const(0x3682)
_CONDITION = const(0x2612)
_MEASURE = const(0x2619)
_HEATER_OFF = const(0x3615)


class Sgp41:
    """Fills `voc` and `nox`, relative indices from 1 to 500 (100 and 1 are the usual air); None in the first minute."""

    NAME = "sgp41"
    FIELDS = ("voc", "nox")
    PERIOD_MS = 1000

    def __init__(self, b, entry):
        self._chip = Sensirion(b, entry, 0x59)
        self._latest = getattr(b, "latest", None)
        self._voc = GasIndex(False)
        self._nox = GasIndex(True)

    async def start(self) -> None:
        chip = self._chip
        chip.command(_SERIAL)
        await chip.words(3, 1)
        # From a plate that is off: a start after a start must not add up to more than 10 s.
        chip.command(_HEATER_OFF)
        await chip.sleep_ms(2)
        try:
            for _ in range(9):
                chip.command(_CONDITION, 0x8000, 0x6666)
                await chip.words(1, 51)
                await chip.sleep_ms(945)
            # Conditioning goes on until another command comes: this one, whoever reads next and when.
            await self._measure()
        except BaseException:
            try:
                chip.command(_HEATER_OFF)
            except DriverError:
                pass  # then it is away, and its plate without power
            raise

    async def read(self, out) -> None:
        data = await self._measure()
        out[0] = self._voc.process(data[0] << 8 | data[1])
        out[1] = self._nox.process(data[2] << 8 | data[3])

    async def _measure(self):
        rh = t = None
        if self._latest:
            rh = self._latest("rh")
            t = self._latest("temp")
        # 50 % and 25 degrees C where nobody knows better
        rh = 0x8000 if rh is None else int(rh * 65535 / 100)
        t = 0x6666 if t is None else int((t + 45) * 65535 / 175)
        self._chip.command(_MEASURE, min(max(rh, 0), 65535), min(max(t, 0), 65535))
        return await self._chip.words(2, 51)


def open(b, entry):
    return Sgp41(b, entry)
