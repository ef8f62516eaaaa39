"""ROHM BH1750FVI ambient light sensor, on I2C.

Source: ROHM BH1750FVI Technical Note 2009.04 Rev. B: electrical characteristics (p. 2: 1.2 counts a lux, 120 ms
typical and 180 ms at most in the H modes, 16/24 ms in the L mode), instruction set (p. 5), measurement procedure (p.
7), slave address and read format (p. 10), measurement time register (p. 11: default 69, 31 to 254, sensitivity and
time in proportion).
"""

from __future__ import annotations

from felinar_sim.chips.base import I2cChip
from felinar_sim.conditions import Surroundings

_DEFAULT_MT = 69
_MIN_MT, _MAX_MT = 31, 254
_COUNTS_PER_LUX = 1.2
_TYPICAL_US = {"H": 120_000, "H2": 120_000, "L": 16_000}
_MAXIMUM_US = {"H": 180_000, "H2": 180_000, "L": 24_000}
_CONTINUOUS = {0x10: "H", 0x11: "H2", 0x13: "L"}
_ONE_TIME = {0x20: "H", 0x21: "H2", 0x23: "L"}


class Bh1750(I2cChip):
    """`tolerance` places the conversion time between typical (0.0) and the maximum of the data sheet (1.0, the
    default); `gain` is the unit's sensitivity against typical, 0.8 to 1.2 (0.96 to 1.44 counts a lux)."""

    ADDRESSES = (0x23, 0x5C)

    def __init__(self, surroundings: Surroundings, address: int | None = None, seed: int | str = 0) -> None:
        self.tolerance = 1.0
        self.gain = 1.0
        super().__init__(surroundings, address, seed)

    def _power_on(self, now_us: int) -> None:
        self._on = False
        self._data = 0
        self._mt = _DEFAULT_MT
        self._mode: str | None = None
        self._continuous = False
        self._since_us = 0
        self._conversion_us = 0
        self._time_factor = 1.0

    def _write(self, data: bytes, now_us: int) -> None:
        # Only one opcode before a stop condition is accepted (p. 10); further bytes are acknowledged and ignored.
        opcode = data[0]
        self._settle(now_us)
        if opcode == 0x00:
            self._on, self._mode = False, None
        elif opcode == 0x01:
            self._on, self._mode = True, None
        elif opcode == 0x07:
            if self._on:  # "reset command is not acceptable in power down mode" (p. 5)
                self._data = 0
        elif opcode in _CONTINUOUS:
            self._begin(_CONTINUOUS[opcode], True, now_us)
        elif opcode in _ONE_TIME:
            self._begin(_ONE_TIME[opcode], False, now_us)
        elif opcode & 0xF8 == 0x40:
            self._mt = (opcode & 0x07) << 5 | self._mt & 0x1F
        elif opcode & 0xE0 == 0x60:
            self._mt = self._mt & 0xE0 | opcode & 0x1F

    def _begin(self, mode: str, continuous: bool, now_us: int) -> None:
        self._on, self._mode, self._continuous, self._since_us = True, mode, continuous, now_us
        self._time_factor = min(max(self._mt, _MIN_MT), _MAX_MT) / _DEFAULT_MT
        nominal = _TYPICAL_US[mode] + self.tolerance * (_MAXIMUM_US[mode] - _TYPICAL_US[mode])
        self._conversion_us = round(nominal * self._time_factor)

    def _settle(self, now_us: int) -> None:
        """Bring the data register to where finished conversions have left it."""
        if self._mode is None:
            return
        each = self._conversion_us + self._slow_us
        done = (now_us - self._since_us) // each
        if done < 1:
            return
        if not self._continuous:
            self._data = self._measure(self._since_us + each)
            self._mode, self._on = None, False  # power-down follows a one-time measurement by itself (p. 5)
            return
        self._since_us += done * each
        self._data = self._measure(self._since_us)

    def _sense(self, now_us: int) -> int:
        lux = self.surroundings(now_us).lux * self.gain
        counts = lux * _COUNTS_PER_LUX * self._time_factor
        if self._mode == "H2":
            counts *= 2  # half a lux a step instead of one (p. 11)
        elif self._mode == "L":
            counts = int(counts / _COUNTS_PER_LUX / 4) * 4 * _COUNTS_PER_LUX
        return min(int(counts), 0xFFFF)

    def _read(self, n: int, now_us: int) -> bytes:
        self._settle(now_us)
        return self._data.to_bytes(2, "big")
