"""VEML7700 ambient light. Vishay document 84286 rev. 1.4 (registers) and application note 84323 (resolution, correction).

lux = counts * 0.0036 * (800 / ms) * (2 / gain); above some hundred lux the sensor reads low, and the application note's
polynomial puts that right. The chip measures all the time; its configuration is read back each time, so that a chip
that has restarted (shut down, that is) cannot give its old value for ever.
"""

from micropython import const

from drivers import IDENTITY, NACK, RANGE, TIMEOUT, Chip, DriverError

_CONFIG = const(0)
_ALS = const(4)
_ID = const(7)
_SHUT_DOWN = const(1)
_FULL = const(65535)
_MOST = const(150000)  # lx; beyond it the polynomial is nobody's any more

# Range: (gain bits 12:11 and time bits 9:6, ms, lux per count, lux below which the range before is the right one)
_RANGES = (
    (1 << 11 | 3 << 6, 800, 0.0036, 0),  # gain 2: to 236 lx
    (1 << 11, 100, 0.0288, 150),  # gain 2: to 1.9 klx
    (2 << 11, 100, 0.4608, 1200),  # gain 1/8: to 30 klx before the correction, which makes that more than the sun
)


class Veml7700:
    """Fills `lux` in millilux. The time between readings must be longer than 1 s."""

    NAME = "veml7700"
    FIELDS = ("lux",)
    PERIOD_MS = 5000

    def __init__(self, b, entry):
        self._chip = Chip(b, entry, 0x10)
        self._range = 0
        self._data = bytearray(2)

    async def start(self) -> None:
        if self._register(_ID) & 0xFF != 0x81:
            raise DriverError(IDENTITY)
        await self._set(2)

    async def read(self, out) -> None:
        """Read, in the range that is the right one; raises DriverError(RANGE) above 150 klx."""
        for _ in range(5):
            at = self._range
            if self._register(_CONFIG) != _RANGES[at][0]:
                raise DriverError(NACK)  # it has been away
            count = self._register(_ALS)
            linear = count * _RANGES[at][2]
            if count == _FULL:
                if at == len(_RANGES) - 1:
                    raise DriverError(RANGE)
                at += 1
            else:
                while linear < _RANGES[at][3]:
                    at -= 1
            if at == self._range:
                x = linear
                lux = x * (1.0023 + x * (8.1488e-5 + x * (-9.3924e-9 + x * 6.0135e-13)))
                if lux > _MOST:
                    raise DriverError(RANGE)
                out[0] = int(lux * 1000 + 0.5)
                return
            await self._set(at)
        raise DriverError(TIMEOUT)  # light that changes faster than it can be measured

    async def _set(self, at: int) -> None:
        """Change the range and wait for its first measurement."""
        chip = self._chip
        chip.write(bytes((_CONFIG, _SHUT_DOWN, 0)))
        config, ms, _, _ = _RANGES[at]
        chip.write(bytes((_CONFIG, config & 0xFF, config >> 8)))
        self._range = at
        # 2.5 ms to wake up, and a quarter for the tolerance of the chip's clock
        await chip.sleep_ms(5 + ms * 5 // 4)

    def _register(self, register: int) -> int:
        data = self._data
        self._chip.read_register(register, data)
        return data[1] << 8 | data[0]


def open(b, entry):
    return Veml7700(b, entry)
