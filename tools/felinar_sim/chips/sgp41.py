"""Sensirion SGP41 VOC and NOx sensor, on I2C.

Source: Sensirion SGP41 data sheet V1.0 (2021): section 3.2 and 3.3 (commands: conditioning 0x2612 and raw signals
0x2619 with humidity and temperature in ticks, 50 ms; self test 0x280E, 320 ms; heater off 0x3615, 1 ms; serial number
0x3682, 1 ms), section 3.1 (conditioning for at most 10 s, or the sensing material may be damaged), section 1 (raw
signals of about 30,000 (VOC) and 15,000 (NOx) ticks in clean air).
"""

from __future__ import annotations

import math

from felinar_sim.chips.base import Nack
from felinar_sim.chips.sensirion import SensirionChip
from felinar_sim.conditions import Surroundings

_TICKS_PER_RH = 22.0  # of the VOC signal, when the humidity that the master told is wrong
_HEAT_S = 6.0
_CONDITIONED_S = 8.0


class Sgp41(SensirionChip):
    """Raw signals settle over some seconds after the heater came on; NOx only after conditioning. `conditioned_s`
    counts the seconds of conditioning since the heater came on, and `damaged` says that they passed 10.
    `self_test_fails` is a fault.

    A gap of the record does not touch it: its gases come from the generator.
    """

    ADDRESSES = (0x59,)

    def __init__(self, surroundings: Surroundings, address: int | None = None, seed: int | str = 0) -> None:
        self.serial = (0x0000, 0x0712, 0x8A3C)
        self.self_test_fails = False
        self.damaged = False
        super().__init__(surroundings, address, seed)

    def _power_on(self, now_us: int) -> None:
        super()._power_on(now_us)
        self._heater_us: int | None = None
        self._conditioning_us: int | None = None
        self.conditioned_s = 0.0
        self._pending: tuple[int, bool, float] | None = None  # when done, with NOx, humidity told
        self._told_rh = 50.0

    def _command(self, command: int, arguments: list[int], now_us: int) -> None:
        self._pending = None
        if command in (0x2612, 0x2619) and len(arguments) == 2:
            self._heat(command == 0x2612, now_us)
            self._told_rh = arguments[0] * 100 / 65535
            self._busy(50, now_us, slowed=True)
            self._pending = (self._busy_until_us, command == 0x2619, self._told_rh)
        elif command == 0x280E and not arguments:
            self._reply(0xD403 if self.self_test_fails else 0xD400)
            self._heater_us = None
            self._busy(320, now_us)
        elif command == 0x3615 and not arguments:
            self._heater_us, self._conditioning_us, self.conditioned_s = None, None, 0.0
            self._busy(1, now_us)
        elif command == 0x3682 and not arguments:
            self._reply(*self.serial)
            self._busy(1, now_us)
        else:
            raise Nack(f"command 0x{command:04x} is unknown")

    def _heat(self, conditioning: bool, now_us: int) -> None:
        """The heater is on from the first measuring command; in conditioning it stays hotter until another command
        comes."""
        if self._heater_us is None:
            self._heater_us = now_us
        if self._conditioning_us is not None:
            self.conditioned_s += (now_us - self._conditioning_us) / 1e6
        self._conditioning_us = now_us if conditioning else None
        if self.conditioned_s > 10.0:
            self.damaged = True

    def _read(self, n: int, now_us: int) -> bytes:
        if self._pending is not None and now_us >= self._busy_until_us:
            at_us, with_nox, _ = self._pending
            voc, nox = self._measure(at_us)
            self._reply(*((voc, nox) if with_nox else (voc,)))
            self._pending = None
        return super()._read(n, now_us)

    def _sense(self, now_us: int) -> tuple[int, int]:
        around = self.surroundings(now_us)
        on_us = now_us if self._heater_us is None else self._heater_us
        warm = 1 - math.exp(-(now_us - on_us) / 1e6 / _HEAT_S)
        voc = around.voc_ticks * (0.85 + 0.15 * warm) + _TICKS_PER_RH * (self._told_rh - around.humidity_pct)
        ready = 1.0 if self.conditioned_s >= _CONDITIONED_S else 0.9
        nox = around.nox_ticks * (0.7 + 0.3 * warm) * ready
        signals = voc + self.random.gauss(0, 6), nox + self.random.gauss(0, 4)
        low, high = (min(max(round(signal), 0), 0xFFFF) for signal in signals)
        return low, high
