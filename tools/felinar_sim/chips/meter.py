"""Single-phase energy meters with pulse outputs: BL0937 and HLW8012.

Sources: Belling BL0937 data sheet V1.02, "Frequency output" (F_CF = 1721506 V(I) V(V) / Vref^2, F_CF1 = 94638 V(I) /
Vref with SEL low, 15397 V(V) / Vref with SEL high, Vref = 1.218 V); HLW8012 user manual REV 1.3, section 3 (F_CF = 48
V(I) V(V) fosc / (128 Vref^2), F_CF1 = 24 V(I) fosc / (512 Vref) with SEL low, 2 V(V) fosc / (512 Vref) with SEL high,
fosc = 3.579 MHz, Vref = 2.43 V). V(I) is the RMS voltage at the shunt, V(V) the one behind the divider.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from felinar_sim.chips.base import Chip
from felinar_sim.chips.lamp import Lamp
from felinar_sim.conditions import Surroundings


@dataclass(frozen=True, slots=True)
class MeterType:
    """Output frequency per volt (current and voltage channel) and per volt squared (power)."""

    power: float
    current: float
    voltage: float


BL0937 = MeterType(1_721_506 / 1.218**2, 94_638 / 1.218, 15_397 / 1.218)
HLW8012 = MeterType(48 * 3.579e6 / (128 * 2.43**2), 24 * 3.579e6 / (512 * 2.43), 2 * 3.579e6 / (512 * 2.43))


class Meter(Chip):
    """Counts what a lamp draws: pulses on `power_cf` for active energy, on `power_cf1` for RMS current or voltage as
    the pin `power_sel` is low or high. The pulses are the exact time integral of the lamp's draw, whenever they are
    looked at.

    `gain` is this unit's error of the power channel; `shunt_ohm` and `divider` are parts of the board. Stuck: the
    pulses go on at the frequencies they had. Gone or refusing (`nack`): no pulses. There is neither a conversion nor
    a checksum here, so `slow_ms` and `bad_crc` do nothing.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        lamp: Lamp,
        kind: MeterType = BL0937,
        *,
        shunt_ohm: float = 0.001,
        divider: float = 1961.0,
        seed: int | str = 0,
        prefix: str = "power_",
    ) -> None:
        self.lamp = lamp
        self.kind = kind
        self.shunt_ohm, self.divider = shunt_ohm, divider
        self.gain = 1.0
        self._cf, self._cf1, self._sel_pin = prefix + "cf", prefix + "cf1", prefix + "sel"
        self._sel = 0
        self._cycles = {self._cf: 0.0, self._cf1: 0.0}
        self._seen = (0.0, 0.0, 0.0)
        self._at_us: int | None = None
        self._held: tuple[float, float, float] | None = None
        super().__init__(surroundings, seed)

    def _power_on(self, now_us: int) -> None:
        """There are no registers; the counters of pulses belong to whoever counts."""

    def pin(self, name: str, level: int, now_us: int) -> None:
        """Hear the SEL pin; a change counts from its moment."""
        if name == self._sel_pin:
            self._advance(now_us)
            self._sel = int(bool(level))

    def pulses(self, name: str, now_us: int) -> int:
        """Pulses so far on the pin `power_cf` or `power_cf1`; 0 for a pin that is not the meter's."""
        if name not in self._cycles:
            return 0
        self._advance(now_us)
        return math.floor(self._cycles[name])

    def frequency(self, name: str, now_us: int) -> float:
        """Momentary output frequency in Hz, for tests."""
        if name == self._cf:
            return self._hz(self.lamp.power_w(now_us), 0.0, 0.0)[0]
        return self._hz(0.0, self.lamp.current_a(now_us), self.lamp.voltage_v(now_us))[1]

    def _hz(self, watt: float, ampere: float, volt: float) -> tuple[float, float]:
        """CF and CF1 for a power, current and voltage; linear, so it maps integrals to numbers of pulses as well."""
        power = self.gain * self.kind.power * watt * self.shunt_ohm / self.divider
        if self._sel:
            return power, self.kind.voltage * volt / self.divider
        return power, self.kind.current * ampere * self.shunt_ohm

    def _advance(self, now_us: int) -> None:
        totals = self.lamp.totals(now_us)
        flowed = (totals[0] - self._seen[0], totals[1] - self._seen[1], totals[2] - self._seen[2])
        seconds = 0.0 if self._at_us is None else (now_us - self._at_us) / 1e6
        self._seen, self._at_us = totals, now_us
        self._seen_us = max(self._seen_us, now_us)
        if not self.stuck:
            self._held = None
        elif self._held is None:
            self._held = (self.lamp.power_w(now_us), self.lamp.current_a(now_us), self.lamp.voltage_v(now_us))
        else:
            flowed = (self._held[0] * seconds, self._held[1] * seconds, self._held[2] * seconds)
        if self._gone or self.nack:
            return
        cf, cf1 = self._hz(*flowed)
        self._cycles[self._cf] += cf
        self._cycles[self._cf1] += cf1
