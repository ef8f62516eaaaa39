"""Sensirion SHT4x humidity and temperature sensor (SHT40/41/45), on I2C.

Source: Sensirion SHT4x data sheet V6.6: tables 1 and 2 (repeatability), table 5 (durations: 8.3, 4.5 and 1.6 ms at
most, power-up and soft reset 1 ms, heater pulses 1.1 and 0.11 s at most), section 4.5 (commands), 4.6 (conversion: T
= -45 + 175 t/65535, RH = -6 + 125 h/65535), 4.7 (serial number), 4.8 (reset), 4.9 (heater).
"""

from __future__ import annotations

import math

from felinar_sim.chips.base import I2cChip, Nack
from felinar_sim.chips.sensirion import pack_words
from felinar_sim.conditions import Surroundings

# command: typical and longest duration in ms, repeatability (three standard deviations) of T in degrees C and of RH
# in %
_MEASURE = {0xFD: (6.9, 8.3, 0.04, 0.08), 0xF6: (3.7, 4.5, 0.07, 0.15), 0xE0: (1.3, 1.6, 0.1, 0.25)}
# command: heater power in mW, typical and longest duration in ms; a measurement of high precision ends the pulse
_HEAT = {0x39: (200, 1000, 1100), 0x32: (200, 100, 110), 0x2F: (110, 1000, 1100),
         0x24: (110, 100, 110), 0x1E: (20, 1000, 1100), 0x15: (20, 100, 110)}  # fmt: skip
_SERIAL, _RESET = 0x89, 0x94
_KELVIN_PER_MW = 0.3  # 60 K at 200 mW: figure 13
_HEATING_S = 0.35
_COOLING_S = 2.5


def saturation_hpa(celsius: float) -> float:
    """Saturation vapour pressure over water, hPa (Magnus form, WMO-No. 8, annex 4.B)."""
    return 6.112 * math.exp(17.62 * celsius / (243.12 + celsius))


class Sht4x(I2cChip):
    """`tolerance` places durations between typical (0.0) and longest (1.0, the default). `t_offset` (degrees C) and
    `rh_offset` (%) are this unit's constant error, drawn within the SHT40's typical accuracy of 0.2 degrees C and 1.8
    %.

    Where the recorded temperature has a gap a measurement never ends: the read is not acknowledged.
    """

    ADDRESSES = (0x44, 0x45, 0x46)

    def __init__(self, surroundings: Surroundings, address: int | None = None, seed: int | str = 0) -> None:
        self.tolerance = 1.0
        self.serial = 0x0F_3A_5C_71
        super().__init__(surroundings, address, seed)
        self.t_offset = self.random.uniform(-0.2, 0.2)
        self.rh_offset = self.random.uniform(-1.8, 1.8)

    def _power_on(self, now_us: int) -> None:
        self._busy_until_us = now_us + 1000
        self._result: tuple[int, int] | None = None
        self._measuring: int | None = None
        self._heat_k = 0.0  # above ambient, at the end of the last pulse
        self._heated_us = now_us

    def _write(self, data: bytes, now_us: int) -> None:
        command = data[0]
        if now_us < self._busy_until_us and command != _RESET:
            raise Nack("busy")
        self._result, self._measuring = None, None
        if command in _MEASURE:
            typical, longest, *_ = _MEASURE[command]
            self._begin(command, typical, longest, now_us)
        elif command in _HEAT:
            power, typical, longest = _HEAT[command]
            ends_us = self._begin(0xFD, typical, longest, now_us)
            before = self._heat(now_us)
            target = power * _KELVIN_PER_MW
            seconds = (ends_us - now_us) / 1e6
            self._heat_k = target + (before - target) * math.exp(-seconds / _HEATING_S)
            self._heated_us = ends_us
        elif command == _SERIAL:
            self._result = (self.serial >> 16, self.serial & 0xFFFF)
        elif command == _RESET:
            self._power_on(now_us)
        else:
            raise Nack(f"command 0x{command:02x} is unknown")

    def _begin(self, command: int, typical: float, longest: float, now_us: int) -> int:
        duration_ms = typical + self.tolerance * (longest - typical)
        self._busy_until_us = now_us + round(duration_ms * 1000) + self._slow_us
        self._measuring = command
        return self._busy_until_us

    def _read(self, n: int, now_us: int) -> bytes:
        if now_us < self._busy_until_us:
            raise Nack("busy")
        if self._measuring is not None and self.surroundings(self._busy_until_us).temperature_c is not None:
            self._result = self._measure(self._busy_until_us)
            self._measuring = None
        if self._result is None:
            raise Nack("nothing to read")
        words, self._result = self._result, None
        return pack_words(words, self.bad_crc)

    def _heat(self, now_us: int) -> float:
        return self._heat_k * math.exp(-max(now_us - self._heated_us, 0) / 1e6 / _COOLING_S)

    def _sense(self, now_us: int) -> tuple[int, int]:
        around = self.surroundings(now_us)
        assert around.temperature_c is not None
        _, _, t_spread, rh_spread = _MEASURE[self._measuring or 0xFD]
        die = around.temperature_c + self._heat(now_us)
        # The vapour pressure at the sensor is that of the air; a warmer die sees a lower relative humidity.
        humidity = around.humidity_pct * saturation_hpa(around.temperature_c) / saturation_hpa(die)
        celsius = die + self.t_offset + self.random.gauss(0, t_spread / 3)
        percent = humidity + self.rh_offset + self.random.gauss(0, rh_spread / 3)
        return _raw((celsius + 45) / 175), _raw((percent + 6) / 125)


def _raw(share: float) -> int:
    return min(max(round(share * 65_535), 0), 65_535)
