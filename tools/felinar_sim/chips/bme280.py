"""Bosch BME280 pressure, humidity and temperature sensor, on I2C.

Source: Bosch BME280 data sheet BST-BME280-DS001 rev. 1.23: section 1 (start-up 2 ms, noise), 3.3 (modes), 3.4 (IIR
filter), 4.2.2 (trim registers), 4.2.3 (compensation), 5 (register map, values of skipped measurements), 6.2 (several
register writes in one transfer), 9.1 (measurement time, here the maximum). The raw values are the inverse of the data
sheet's floating-point compensation (section 8.1).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

from felinar_sim.chips.base import I2cChip, Nack
from felinar_sim.conditions import Surroundings

_ID, _RESET, _CTRL_HUM, _STATUS, _CTRL_MEAS, _CONFIG, _DATA = 0xD0, 0xE0, 0xF2, 0xF3, 0xF4, 0xF5, 0xF7
_SKIPPED_20, _SKIPPED_16 = 0x80000, 0x8000
_OVERSAMPLING = (0, 1, 2, 4, 8, 16, 16, 16)
_STANDBY_MS = (0.5, 62.5, 125, 250, 500, 1000, 10, 20)
_FILTER = (1, 2, 4, 8, 16, 16, 16, 16)


@dataclass(frozen=True, slots=True)
class Trim:
    """The trim values of one unit (section 4.2.2); those of the defaults are the worked example of the BMP280 data
    sheet, section 3.12."""

    t: tuple[int, int, int] = (27504, 26435, -1000)
    p: tuple[int, ...] = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
    h: tuple[int, int, int, int, int, int] = (75, 362, 0, 324, 50, 30)

    def t_fine(self, raw: float) -> float:
        """The carrier of temperature, 5120 a degree."""
        first = (raw / 16384 - self.t[0] / 1024) * self.t[1]
        second = (raw / 131072 - self.t[0] / 8192) ** 2 * self.t[2]
        return first + second

    def pascal(self, raw: float, t_fine: float) -> float:
        """Pressure in Pa."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self.p
        a = t_fine / 2 - 64000
        b = a * a * p6 / 32768 + a * p5 * 2
        b = b / 4 + p4 * 65536
        a = (p3 * a * a / 524288 + p2 * a) / 524288
        a = (1 + a / 32768) * p1
        p = (1048576 - raw - b / 4096) * 6250 / a
        return p + (p9 * p * p / 2147483648 + p * p8 / 32768 + p7) / 16

    def percent(self, raw: float, t_fine: float) -> float:
        """Relative humidity in %, before clamping to 0 to 100."""
        h1, h2, h3, h4, h5, h6 = self.h
        h = t_fine - 76800
        h = (raw - (h4 * 64 + h5 / 16384 * h)) * (h2 / 65536 * (1 + h6 / 67108864 * h * (1 + h3 / 67108864 * h)))
        return h * (1 - h1 * h / 524288)

    def registers(self) -> dict[int, int]:
        """The bytes at 0x88 to 0xA1 and 0xE1 to 0xE7."""
        h1, h2, h3, h4, h5, h6 = self.h
        low = struct.pack("<HhhHhhhhhhhhBB", *self.t, *self.p, 0, h1)
        packed = bytes((h4 >> 4 & 0xFF, h4 & 15 | (h5 & 15) << 4, h5 >> 4 & 0xFF))
        high = struct.pack("<hB", h2, h3) + packed + struct.pack("<b", h6)
        return dict(enumerate(low, 0x88)) | dict(enumerate(high, 0xE1))


def _inverse(function: Callable[[float], float], target: float, top: int) -> int:
    """The raw value for which a monotonic compensation gives the target, within 0 and top."""
    low, high = 0.0, float(top)
    rising = function(high) > function(low)
    for _ in range(40):
        middle = (low + high) / 2
        if (function(middle) < target) == rising:
            low = middle
        else:
            high = middle
    return round((low + high) / 2)


class Bme280(I2cChip):
    """`trim` is this unit's set of constants. Where the recorded temperature has a gap the results read as skipped
    (0x80000, 0x8000)."""

    ADDRESSES = (0x76, 0x77)

    def __init__(
        self,
        surroundings: Surroundings,
        address: int | None = None,
        seed: int | str = 0,
        trim: Trim | None = None,
    ) -> None:
        self.trim = trim or Trim()
        super().__init__(surroundings, address, seed)

    def _power_on(self, now_us: int) -> None:
        self._ready_us = now_us + 2_000
        self._pointer = 0
        self._ctrl_hum_set = 0
        self._ctrl_hum, self._ctrl_meas, self._config = 0, 0, 0
        self._until_us: int | None = None  # end of the measurement under way
        self._shown = (_SKIPPED_20, _SKIPPED_20, _SKIPPED_16)
        self._filtered: tuple[float, float] | None = None

    def _duration_us(self) -> int:
        t, p, h = (_OVERSAMPLING[i] for i in (self._ctrl_meas >> 5, self._ctrl_meas >> 2 & 7, self._ctrl_hum & 7))
        milliseconds = 1.25 + 2.3 * t + (2.3 * p + 0.575 if p else 0) + (2.3 * h + 0.575 if h else 0)
        return round(milliseconds * 1000) + self._slow_us

    def _write(self, data: bytes, now_us: int) -> None:
        self._refuse_early(now_us)
        self._settle(now_us)
        self._pointer = data[0]
        # Pairs of address and value; a lone address sets where the next read begins.
        for i in range(0, len(data) - 1, 2):
            self._set(data[i], data[i + 1], now_us)

    def _set(self, register: int, value: int, now_us: int) -> None:
        if register == _RESET and value == 0xB6:
            self._power_on(now_us)
        elif register == _CTRL_HUM:
            self._ctrl_hum_set = value & 7  # takes effect with the next write to ctrl_meas (section 5.4.3)
        elif register == _CONFIG:
            self._config = value & 0xFD
        elif register == _CTRL_MEAS:
            self._ctrl_meas, self._ctrl_hum = value, self._ctrl_hum_set
            if value & 3:
                self._until_us = now_us + self._duration_us()
            else:
                self._until_us = None

    def _read(self, n: int, now_us: int) -> bytes:
        self._refuse_early(now_us)
        self._settle(now_us)
        return bytes(self._byte((self._pointer + i) & 0xFF, now_us) for i in range(n))

    def _refuse_early(self, now_us: int) -> None:
        if now_us < self._ready_us:
            raise Nack("starting up")

    def _byte(self, register: int, now_us: int) -> int:
        p, t, h = self._shown
        data = (p << 4).to_bytes(3, "big") + (t << 4).to_bytes(3, "big") + h.to_bytes(2, "big")
        if _DATA <= register < _DATA + 8:
            return data[register - _DATA]
        fixed = {_ID: 0x60, _CTRL_HUM: self._ctrl_hum_set, _CTRL_MEAS: self._ctrl_meas, _CONFIG: self._config,
                 _STATUS: 0x08 if self._measuring(now_us) else 0}  # fmt: skip
        if register in fixed:
            return fixed[register]
        return self.trim.registers().get(register, 0)

    def _measuring(self, now_us: int) -> bool:
        return self._until_us is not None and self._until_us - self._duration_us() <= now_us < self._until_us

    def _settle(self, now_us: int) -> None:
        """Finish the measurements that have ended: one in forced mode, many in normal mode."""
        if self._until_us is None or now_us < self._until_us:
            return
        if self._ctrl_meas & 3 != 3:
            at_us, self._until_us = self._until_us, None
            self._ctrl_meas &= ~3
            self._finish(at_us)
            return
        each_us = self._duration_us() + round(_STANDBY_MS[self._config >> 5] * 1000)
        done = (now_us - self._until_us) // each_us + 1
        # The filter remembers some measurements, not all since the start.
        remembered = min(done, 5 * _FILTER[self._config >> 2 & 7])
        for k in range(done - remembered, done):
            self._finish(self._until_us + k * each_us)
        self._until_us += done * each_us

    def _finish(self, at_us: int) -> None:
        if self.surroundings(at_us).temperature_c is None:
            self._shown = (_SKIPPED_20, _SKIPPED_20, _SKIPPED_16)
            return
        p, t, h = self._measure(at_us)
        k = _FILTER[self._config >> 2 & 7]
        if self._filtered is None or k == 1:
            self._filtered = float(p), float(t)
        else:
            self._filtered = (self._filtered[0] * (k - 1) + p) / k, (self._filtered[1] * (k - 1) + t) / k
        self._shown = (
            round(self._filtered[0]) if self._ctrl_meas >> 2 & 7 else _SKIPPED_20,
            round(self._filtered[1]) if self._ctrl_meas >> 5 else _SKIPPED_20,
            h if self._ctrl_hum & 7 else _SKIPPED_16,
        )

    def _sense(self, now_us: int) -> tuple[int, int, int]:
        around = self.surroundings(now_us)
        assert around.temperature_c is not None
        celsius = around.temperature_c + self.random.gauss(0, 0.005)
        spread = 1.3 / math.sqrt(_OVERSAMPLING[self._ctrl_meas >> 2 & 7 or 1])
        pascal = around.pressure_hpa * 100 + self.random.gauss(0, spread)
        percent = around.humidity_pct + self.random.gauss(0, 0.02)
        t = _inverse(lambda raw: self.trim.t_fine(raw) / 5120, celsius, 0xFFFFF)
        t_fine = self.trim.t_fine(t)
        p = _inverse(lambda raw: self.trim.pascal(raw, t_fine), pascal, 0xFFFFF)
        h = _inverse(lambda raw: self.trim.percent(raw, t_fine), min(max(percent, 0.0), 100.0), 0xFFFF)
        return p, t, h
