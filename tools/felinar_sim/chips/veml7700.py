"""Vishay VEML7700 ambient light sensor, on I2C.

Sources: Vishay VEML7700 data sheet rev. 1.4 (document 84286): "Command register format" (16-bit registers, low byte
first, read with a repeated start; gain in bits 12:11, integration time in 9:6, shut-down in bit 0, set after
power-on), power saving register, "resolution" (0.0036 lx a count at gain 2 and 800 ms); application note "Designing
the VEML7700 into an application" (document 84323): 2.5 ms to wake up, refresh time of integration time plus 500 to
4000 ms in power saving mode, non-linearity above 1 klx and the polynomial that corrects it.
"""

from __future__ import annotations

from felinar_sim.chips.base import I2cChip, Nack
from felinar_sim.conditions import Surroundings

_LUX_PER_COUNT = 0.0036
_GAIN = (1.0, 2.0, 0.125, 0.25)
_TIME_MS = {0b1100: 25, 0b1000: 50, 0b0000: 100, 0b0001: 200, 0b0010: 400, 0b0011: 800}
_SAVING_MS = (500, 1000, 2000, 4000)
_WAKE_US = 2_500
_CONF, _HIGH, _LOW, _SAVING, _ALS, _WHITE, _STATUS, _ID = range(8)
_WHITE_SHARE = 1.25  # of the wider channel, in daylight


def apparent_lux(lux: float) -> float:
    """What the linear formula makes of a true illuminance: the inverse of the application note's polynomial, by
    Newton's method."""
    x = lux
    for _ in range(30):
        value = x * (1.0023 + x * (8.1488e-5 + x * (-9.3924e-9 + x * 6.0135e-13)))
        slope = 1.0023 + x * (2 * 8.1488e-5 + x * (-3 * 9.3924e-9 + x * 4 * 6.0135e-13))
        step = (value - lux) / slope
        x -= step
        if abs(step) < 1e-6 * max(x, 1.0):
            break
    return x


class Veml7700(I2cChip):
    """`gain` is this unit's error of sensitivity against typical (0.9 to 1.1: tolerance of 10 %). The high and low
    thresholds set the bits of the status register, which a read clears."""

    ADDRESSES = (0x10,)

    def __init__(self, surroundings: Surroundings, address: int | None = None, seed: int | str = 0) -> None:
        self.gain = 1.0
        super().__init__(surroundings, address, seed)

    def _power_on(self, now_us: int) -> None:
        self._registers = [0x0001, 0, 0, 0, 0, 0, 0, 0xC481]
        self._pointer = 0
        self._since_us = now_us

    def _write(self, data: bytes, now_us: int) -> None:
        self._settle(now_us)
        if data[0] > _ID:
            raise Nack(f"there is no register 0x{data[0]:02x}")
        self._pointer = data[0]
        if len(data) >= 3 and self._pointer <= _SAVING:
            value = data[1] | data[2] << 8
            if self._pointer == _CONF:
                waking = self._registers[_CONF] & 1 and not value & 1
                self._since_us = now_us + (_WAKE_US if waking else 0)
            self._registers[self._pointer] = value

    def _read(self, n: int, now_us: int) -> bytes:
        self._settle(now_us)
        value = self._registers[self._pointer]
        if self._pointer == _STATUS:
            self._registers[_STATUS] = 0
        return value.to_bytes(2, "little")

    def _settle(self, now_us: int) -> None:
        """Refresh the results; shut down they stay what they were."""
        conf = self._registers[_CONF]
        if conf & 1 or conf >> 6 & 15 not in _TIME_MS:
            return
        milliseconds = _TIME_MS[conf >> 6 & 15]
        if self._registers[_SAVING] & 1:
            milliseconds += _SAVING_MS[self._registers[_SAVING] >> 1 & 3]
        each_us = milliseconds * 1000 + self._slow_us
        done = (now_us - self._since_us) // each_us
        if done < 1:
            return
        self._since_us += done * each_us
        als, white = self._measure(self._since_us)
        self._registers[_ALS], self._registers[_WHITE] = als, white
        if conf & 2:
            above, below = als > self._registers[_HIGH], als < self._registers[_LOW]
            self._registers[_STATUS] |= above << 14 | below << 15

    def _sense(self, now_us: int) -> tuple[int, int]:
        conf = self._registers[_CONF]
        resolution = _LUX_PER_COUNT * (800 / _TIME_MS[conf >> 6 & 15]) * (2 / _GAIN[conf >> 11 & 3])
        counts = apparent_lux(self.surroundings(now_us).lux * self.gain) / resolution
        return min(int(counts), 0xFFFF), min(int(counts * _WHITE_SHARE), 0xFFFF)
