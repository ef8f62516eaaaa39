"""Sensirion SCD41 CO2, humidity and temperature sensor, on I2C.

Source: Sensirion SCD4x data sheet V1.3 (2022): section 1 (accuracy 40 ppm plus 5 %, repeatability 10 ppm, 60 s
response), section 3.4 (table 9: commands, execution times, what is allowed during a measurement), 3.5 (periodic
measurement every 5 s; a measurement can be read once, reading an empty buffer is not acknowledged), 3.6 (temperature
offset of 4 degrees C, altitude, ambient pressure), 3.7 (calibration), 3.8 (low power: every 30 s, data-ready bits),
3.9 (persist, serial number, self test), 3.10 (single shot, power down, wake up).
"""

from __future__ import annotations

import math

from felinar_sim.chips.base import Nack
from felinar_sim.chips.sensirion import SensirionChip
from felinar_sim.chips.sht4x import saturation_hpa
from felinar_sim.conditions import Surroundings

_POWER_UP_MS = 1000
_PERIODIC_US, _LOW_POWER_US, _SINGLE_MS = 5_000_000, 30_000_000, 5000
_SELF_HEATING = 4.0
_WHILE_MEASURING = (0xEC05, 0x3F86, 0xE000, 0xE4B8)
_DEFAULTS = (round(4.0 * 65536 / 175), 0, 1)  # temperature offset, altitude in m, self-calibration


class Scd41(SensirionChip):
    """The CO2 reading goes with the air pressure unless the master says what it is. `offset_ppm` is this unit's
    constant error, drawn within the data sheet's accuracy. Where the recorded temperature has a gap no measurement
    becomes ready. `self_test_fails` is a fault."""

    ADDRESSES = (0x62,)

    def __init__(self, surroundings: Surroundings, address: int | None = None, seed: int | str = 0) -> None:
        self._stored = _DEFAULTS
        self.self_test_fails = False
        self.serial = (0xF896, 0x9F07, 0x3BBE)
        super().__init__(surroundings, address, seed)
        self.offset_ppm = self.random.uniform(-40, 40)
        self._settings_from_store()

    def _power_on(self, now_us: int) -> None:
        super()._power_on(now_us)
        self._asleep = False
        self._busy(_POWER_UP_MS, now_us)
        self._interval_us = 0  # 0: idle
        self._since_us = now_us
        self._single_us: int | None = None
        self._single_rht = False
        self._ready: tuple[int, int, int] | None = None
        self._fresh = True  # the first reading after a power cycle is to be discarded
        self._pressure_hpa: float | None = None
        self._settings_from_store()

    def _settings_from_store(self) -> None:
        self._t_offset, self._altitude, self._calibrating = self._stored

    def _write(self, data: bytes, now_us: int) -> None:
        if self._asleep:
            if data == b"\x36\xf6":
                self._asleep = False
                self._busy(20, now_us)
            raise Nack("asleep; the wake-up itself is not acknowledged either")
        super()._write(data, now_us)

    def _command(self, command: int, arguments: list[int], now_us: int) -> None:
        self._settle(now_us)
        if self._interval_us and command not in _WHILE_MEASURING:
            raise Nack(f"command 0x{command:04x} is not allowed while measuring")
        if command in (0x21B1, 0x21AC) and not arguments:
            self._interval_us = _PERIODIC_US if command == 0x21B1 else _LOW_POWER_US
            self._since_us, self._ready = now_us, None
        elif command == 0x3F86:
            self._interval_us = 0
            self._busy(500, now_us)
        elif command == 0xEC05:
            if self._ready is None:
                raise Nack("no measurement to read")
            self._reply(*self._ready)
            self._ready = None
            self._busy(1, now_us)
        elif command == 0xE4B8:
            self._reply(0x8000 if self._ready is None else 0x8006)
            self._busy(1, now_us)
        elif command in (0x219D, 0x2196):
            milliseconds = _SINGLE_MS if command == 0x219D else 50
            self._busy(milliseconds, now_us, slowed=True)
            self._single_us, self._single_rht = self._busy_until_us, command == 0x2196
        elif not (self._setting(command, arguments, now_us) or self._service(command, arguments, now_us)):
            raise Nack(f"command 0x{command:04x} is unknown")

    def _setting(self, command: int, arguments: list[int], now_us: int) -> bool:
        value = arguments[0] if len(arguments) == 1 else None
        if command == 0x241D and value is not None:
            self._t_offset = value
        elif command == 0x2318:
            self._reply(self._t_offset)
        elif command == 0x2427 and value is not None:
            self._altitude = value
        elif command == 0x2322:
            self._reply(self._altitude)
        elif command == 0xE000 and value is not None:
            self._pressure_hpa = float(value)
        elif command == 0x2416 and value is not None:
            self._calibrating = int(bool(value))
        elif command == 0x2313:
            self._reply(self._calibrating)
        else:
            return False
        self._busy(1, now_us)
        return True

    def _service(self, command: int, arguments: list[int], now_us: int) -> bool:
        if command == 0x3682:
            self._reply(*self.serial)
            self._busy(1, now_us)
        elif command == 0x3639:
            self._reply(int(self.self_test_fails))
            self._busy(10_000, now_us)
        elif command == 0x3615:
            self._stored = (self._t_offset, self._altitude, self._calibrating)
            self._busy(800, now_us)
        elif command == 0x3632:
            self._stored = _DEFAULTS
            self._settings_from_store()
            self._busy(1200, now_us)
        elif command == 0x3646:
            self._settings_from_store()
            self._busy(20, now_us)
        elif command == 0x362F and len(arguments) == 1:
            correction = arguments[0] - (self.surroundings(now_us).co2_ppm + self.offset_ppm)
            self.offset_ppm += correction
            self._reply(round(correction + 0x8000) & 0xFFFF)
            self._busy(400, now_us)
        elif command == 0x36E0:
            self._asleep = True
        else:
            return False
        return True

    def _settle(self, now_us: int) -> None:
        """Put the last finished measurement into the buffer."""
        if self._single_us is not None and now_us >= self._single_us:
            at_us, self._single_us = self._single_us, None
            self._take(at_us, self._single_rht)
        if self._interval_us:
            done = (now_us - self._since_us - self._slow_us) // self._interval_us
            if done > 0:
                self._since_us += done * self._interval_us
                self._take(self._since_us, False)

    def _take(self, at_us: int, rht_only: bool) -> None:
        if self.surroundings(at_us).temperature_c is None:
            return
        co2, t, rh = self._measure(at_us)
        self._ready = (0 if rht_only else co2, t, rh)
        self._fresh = False

    def _sense(self, now_us: int) -> tuple[int, int, int]:
        around = self.surroundings(now_us)
        assert around.temperature_c is not None
        assumed = self._pressure_hpa or 1013.25 * math.exp(-self._altitude / 8435)
        ppm = around.co2_ppm * around.pressure_hpa / assumed + self.offset_ppm + self.random.gauss(0, 3.3)
        if self._fresh:
            ppm *= 0.85
        # The sensor takes off the offset that it was told; the humidity goes with the temperature that it believes.
        warmer = _SELF_HEATING - self._t_offset * 175 / 65536
        celsius = around.temperature_c + warmer + self.random.gauss(0, 0.05)
        vapour = around.humidity_pct * saturation_hpa(around.temperature_c)
        percent = vapour / saturation_hpa(around.temperature_c + warmer) + self.random.gauss(0, 0.2)
        words = round((celsius + 45) / 175 * 65535), round(percent / 100 * 65535)
        return min(max(round(ppm), 0), 40_000), *(min(max(word, 0), 0xFFFF) for word in words)  # type: ignore[return-value]
