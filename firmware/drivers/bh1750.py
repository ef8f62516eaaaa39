"""BH1750FVI ambient light. ROHM Technical Note 2009.04 Rev. B.

lux = counts / 1.2 * 69 / MT, half of that in H2 mode (p. 11); a conversion takes 120 ms, at most 180 ms, in
proportion to MT / 69 (p. 2, p. 11). The chip has no identity and no ready flag: each measurement begins with an
emptied data register, so that an early reading cannot pass for the last value.
"""

from micropython import const

from drivers import RANGE, TIMEOUT, Chip, DriverError

_POWER_ON = b"\x01"
_RESET = b"\x07"  # empties the data register
_FULL = const(65535)

# Range: (one-time mode opcode, MT, millilux per count times MT / 230, counts that call for the next, millilux that
# call for the last)
_RANGES = (
    (b"\x21", 254, 125, 60000, 0),  # H2: 0.11 lx a count, to 7.4 klx: night, dusk, dull days
    (b"\x20", 69, 250, 60000, 5000000),  # to 54 klx
    (b"\x20", 31, 250, _FULL, 40000000),  # to 121 klx: full sun
)


class Bh1750:
    """Fills `lux` in millilux. A count of 0 gets a second conversion time, lest slow pass for dark."""

    NAME = "bh1750"
    FIELDS = ("lux",)
    PERIOD_MS = 5000

    def __init__(self, b, entry):
        self._chip = Chip(b, entry, 0x23)
        self._range = 0
        self._data = bytearray(2)

    async def start(self) -> None:
        self._range = 0
        self._chip.write(_POWER_ON)
        self._chip.write(_RESET)

    async def read(self, out) -> None:
        """Measure, again when another range is the right one; raises DriverError(RANGE) above 121 klx."""
        at = self._range
        for _ in range(4):
            mode, mt, factor, full, below = _RANGES[at]
            count = await self._measure(mode, mt)
            # counts * 230 * factor / MT, split so that every step stays a small integer
            millilux = count * 230 // mt * factor + count * 230 % mt * factor // mt
            if count >= _FULL:
                if at == len(_RANGES) - 1:
                    raise DriverError(RANGE)
                at += 1
            elif millilux < below:
                while millilux < _RANGES[at][4]:
                    at -= 1
            else:
                self._range = at + 1 if count >= full else at
                out[0] = millilux
                return
        raise DriverError(TIMEOUT)  # light that changes faster than it can be measured

    async def _measure(self, mode: bytes, mt: int) -> int:
        chip = self._chip
        wait = 180 * mt // 69 + 2
        data = self._data
        # Every step needs the chip awake; it sleeps again by itself after a one-time measurement (p. 5).
        chip.write(_POWER_ON)
        chip.write(_RESET)
        data[0] = 0x40 | mt >> 5
        chip.write(data[:1])
        data[0] = 0x60 | mt & 0x1F
        chip.write(data[:1])
        chip.write(mode)
        for _ in range(2):
            await chip.sleep_ms(wait)
            chip.read(data)
            if data[0] or data[1]:
                break
        return data[0] << 8 | data[1]


def open(b, entry):
    return Bh1750(b, entry)
