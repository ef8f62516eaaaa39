"""Sensirion SPS30 particulate matter sensor, on I2C.

Source: Sensirion SPS30 data sheet V1.0 (March 2020): section 1 (ranges, 1 s sampling interval, start-up time of 8, 16
or 30 s by concentration, mass precision of 5 ug/m3 plus 5 %), section 4 (idle, measurement and sleep mode, fan
cleaning for about 10 s, auto cleaning every 604,800 s, device status register), section 6 (I2C commands, their
execution times, CRC, two formats).
"""

from __future__ import annotations

import struct

from felinar_sim.chips.aerosol import disturbed, growth, warming
from felinar_sim.chips.base import Nack
from felinar_sim.chips.sensirion import SensirionChip, text_words
from felinar_sim.conditions import Surroundings

_SECOND_US = 1_000_000
_CLEANING_US = 10_000_000
_WAKE_WINDOW_US = 100_000
_FLOAT, _INTEGER = 0x03, 0x05
_SPEED_WARNING, _LASER_FAILURE, _FAN_FAILURE = 1 << 21, 1 << 5, 1 << 4
_ZEROS = (0.0,) * 10


class Sps30(SensirionChip):
    """Measures once a second while in measurement mode. Where the recorded PM2.5 has a gap the sensor never becomes
    ready, and `read measured values` keeps returning the last values.

    `gain` is this unit's constant error, drawn within the 5 % of the data sheet. `hygroscopic` is how much of the fog
    it takes for dust, 0.0 (the default) to 1.0. Further faults: `fan_failed`, `laser_failed`, `speed_warning` set
    their bits in the device status register; without fan or laser the values are zero.
    """

    ADDRESSES = (0x69,)

    def __init__(self, surroundings: Surroundings, address: int | None = None, seed: int | str = 0) -> None:
        self.fan_failed = False
        self.laser_failed = False
        self.speed_warning = False
        self.hygroscopic = 0.0
        self.auto_clean_s = 604_800  # kept in the sensor's own flash: a power-on does not change it
        self.serial = "5A1F3C7E90B2D486"
        super().__init__(surroundings, address, seed)
        self.gain = 1 + self.random.uniform(-0.05, 0.05)

    def _power_on(self, now_us: int) -> None:
        super()._power_on(now_us)
        self._asleep = False
        self._woken_us: int | None = None
        self._format: int | None = None  # None: idle
        self._started_us = 0
        self._done = 0  # measurements finished since the start
        self._clean_from_us: int | None = None
        self._auto_clean_us: int | None = None
        self._ready = False
        self._values: tuple[float, ...] = _ZEROS
        self._status = 0

    def _write(self, data: bytes, now_us: int) -> None:
        if self._asleep:
            self._wake(data, now_us)
            return
        super()._write(data, now_us)

    def _wake(self, data: bytes, now_us: int) -> None:
        """In sleep mode the interface is off. The first command only switches it on and is not acknowledged; the
        second, if it is the wake-up command and comes within 100 ms, ends the sleep (section 6.3.8)."""
        if self._woken_us is None or now_us - self._woken_us > _WAKE_WINDOW_US:
            self._woken_us = now_us
            raise Nack("asleep")
        if data != b"\x11\x03":
            raise Nack("asleep")
        self._asleep, self._woken_us = False, None
        self._busy(5, now_us)

    def _read(self, n: int, now_us: int) -> bytes:
        if self._asleep:
            raise Nack("asleep")
        return super()._read(n, now_us)

    def _command(self, command: int, arguments: list[int], now_us: int) -> None:
        self._settle(now_us)
        measuring = self._format is not None
        if command == 0x0010 and len(arguments) == 1 and not measuring:
            self._start(arguments[0] >> 8, now_us)
        elif command == 0x0104 and not arguments:
            self._format, self._clean_from_us = None, None
            self._busy(20, now_us)
        elif command == 0x0202 and not arguments:
            self._reply(int(self._ready))
        elif command == 0x0300 and not arguments and measuring:
            self._ready = False
            self._reply(*self._encode())
        elif command == 0x1001 and not arguments and not measuring:
            self._asleep = True
            self._busy(5, now_us)
        elif command == 0x1103 and not arguments:
            self._busy(5, now_us)
        elif command == 0x5607 and not arguments and measuring:
            self._clean_from_us = now_us
            self._busy(5, now_us)
        elif command == 0x8004 and len(arguments) == 2:
            self.auto_clean_s = arguments[0] << 16 | arguments[1]
            self._plan_cleaning(now_us)
            self._busy(20, now_us)
        elif command == 0x8004 and not arguments:
            self._reply(self.auto_clean_s >> 16, self.auto_clean_s & 0xFFFF)
            self._busy(5, now_us)
        elif not self._identity(command, arguments, now_us):
            raise Nack(f"command 0x{command:04x} is not accepted now")

    def _identity(self, command: int, arguments: list[int], now_us: int) -> bool:
        if arguments:
            return False
        if command == 0xD002:
            self._reply(*text_words("00080000", 8))
        elif command == 0xD033:
            self._reply(*text_words(self.serial, 32))
        elif command == 0xD100:
            self._reply(0x0202)  # firmware 2.2
        elif command == 0xD206:
            self._status |= self._faulty()
            self._reply(self._status >> 16, self._status & 0xFFFF)
        elif command == 0xD210:
            self._status = 0
            self._busy(5, now_us)
        elif command == 0xD304:
            self._power_on(now_us)
            self._busy(100, now_us)
        else:
            return False
        return True

    def _faulty(self) -> int:
        return (
            (_SPEED_WARNING if self.speed_warning else 0)
            | (_LASER_FAILURE if self.laser_failed else 0)
            | (_FAN_FAILURE if self.fan_failed else 0)
        )

    def _start(self, value_format: int, now_us: int) -> None:
        if value_format not in (_FLOAT, _INTEGER):
            raise Nack("unknown output format")
        self._format, self._started_us, self._done, self._ready = value_format, now_us, 0, False
        self._plan_cleaning(now_us)
        self._busy(20, now_us)

    def _plan_cleaning(self, now_us: int) -> None:
        self._auto_clean_us = now_us + self.auto_clean_s * _SECOND_US if self.auto_clean_s else None

    def _settle(self, now_us: int) -> None:
        """Take the measurement that ended last, unless the fan was cleaning or the world has a gap there."""
        if self._format is None:
            return
        while self._auto_clean_us is not None and now_us >= self._auto_clean_us:
            self._clean_from_us = self._auto_clean_us
            self._auto_clean_us += self.auto_clean_s * _SECOND_US
        done = (now_us - self._started_us - self._slow_us) // _SECOND_US
        if done <= self._done:
            return
        self._done = done
        at_us = self._started_us + done * _SECOND_US
        if self._clean_from_us is not None and self._clean_from_us <= at_us < self._clean_from_us + _CLEANING_US:
            return
        if self.surroundings(at_us).pm25 is None:
            return
        self._values = self._measure(at_us)
        self._ready = True

    def _sense(self, now_us: int) -> tuple[float, ...]:
        around = self.surroundings(now_us)
        if around.pm25 is None or self.fan_failed or self.laser_failed:
            return _ZEROS
        masses = [m if m is not None else around.pm25 for m in (around.pm1, around.pm25, around.pm4, around.pm10)]
        wet = 1 + self.hygroscopic * (growth(around.humidity_pct) - 1)
        factor = self.gain * wet * self._warming(now_us, around.pm25)
        disturbed_masses = disturbed(masses, factor, self.random, relative=0.02, absolute=0.15)
        pm1, pm25, pm4, pm10 = (min(mass, 1000.0) for mass in disturbed_masses)
        # Number concentrations and typical size of an urban aerosol, in the proportions that the sensor itself
        # assumes.
        n05, n1, n25, n4, n10 = 5.8 * pm1, 6.8 * pm1, 6.8 * pm1 + 0.35 * (pm25 - pm1), 0.0, 0.0
        n4 = n25 + 0.02 * (pm4 - pm25)
        n10 = n4 + 0.004 * (pm10 - pm4)
        size = 0.45 + 0.5 * (pm10 - pm1) / pm10 if pm10 > 0 else 0.0
        return pm1, pm25, pm4, pm10, n05, n1, n25, n4, n10, size

    def _warming(self, now_us: int, pm25: float) -> float:
        """From the start the values climb to their place; the time is that of section 1, table 1 (by number
        concentration)."""
        number = 7 * pm25
        needed_s = 8 if number >= 200 else 16 if number >= 100 else 30
        return warming(now_us - self._started_us, needed_s)

    def _encode(self) -> list[int]:
        if self._format == _INTEGER:
            whole = [round(value) for value in self._values[:9]] + [round(self._values[9] * 1000)]  # size in nm
            return [min(value, 0xFFFF) for value in whole]
        raw = struct.pack(">10f", *self._values)
        return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, 40, 2)]
