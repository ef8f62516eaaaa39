"""A street luminaire: mains, relay, dimmed LED driver, the power it draws and the light it gives.

Source: Inventronics LUD-040S data sheet Rev. E (40 W driver, 88 % efficient, power factor 0.96 at 220 V, dims to 5 %
by 0-10 V or PWM, dim-to-off with at most 0.5 W standby, an open dimming input means full output). Inrush into such a
driver passes a hundred times its running current for a fraction of a millisecond (reference:
esphome/feature-requests#2970). The warm-up constants are those of a passively cooled luminaire: light falls about 5 %
and power about 3 % while the LEDs heat up, with a time constant of ten minutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from felinar_sim.chips.relay import Relay

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class LampType:
    """Constants of a luminaire; powers in W at rated voltage and warm, light in lx at the pole's own light sensor."""

    rated_w: float = 40.0
    loss_w: float = 2.4  # what the driver takes for itself while it runs
    standby_w: float = 0.4  # dimmed to off, relay closed
    failed_w: float = 1.2  # driver alive, no LED current
    minimum: float = 0.05
    off_below: float = 0.03  # share of the dimming range under which the driver switches off
    start_us: int = 400_000  # mains to light
    hold_us: int = 20_000  # light after the mains has gone, from the driver's capacitor
    spill_lux: float = 2.5
    inrush_a: float = 40.0
    cold_extra_power: float = 0.03
    cold_extra_light: float = 0.05
    warm_up_s: float = 600.0


class Lamp:
    """The luminaire on a board: listens to the pins `relay` and `dim`, and answers what it draws and whether it is
    lit.

    Driven with nothing at all (board in reset or dead), the coil is released and the dimming input floats: a normally
    closed relay then lights the lamp at full level.

    Faults: `failed` (driver alive, LEDs dark), `dead` (draws nothing), `dim_ignored` (always full), `share` (of the
    LEDs still working, 0-1), `cycling_s` (goes out and comes back in this period, as an overheated driver does; 0
    never), and those of `relay`. A fault takes effect from the moment the model was last looked at. `voltage` is that
    of the mains while it is present, V.
    """

    def __init__(
        self,
        *,
        normally_closed: bool = True,
        kind: LampType | None = None,
        seed: int | str = 0,
        start_us: int = 0,
        relay_pin: str = "relay",
        dim_pin: str = "dim",
    ) -> None:
        self.kind = kind or LampType()
        self.relay = Relay(normally_closed=normally_closed, seed=seed, on_contact=self._contact)
        self.voltage = 230.0
        self.failed = False
        self.dead = False
        self.dim_ignored = False
        self.share = 1.0
        self.cycling_s = 0.0
        self.inrushes = 0
        self.inrush_peak_a = 0.0
        self.history: list[tuple[int, bool]] = []  # (time, lit from then on)
        self.mains_history: list[tuple[int, bool]] = [(start_us, True)]
        self._relay_pin, self._dim_pin = relay_pin, dim_pin
        self._mains = True
        self._driven_duty: float | None = None
        self._now_us = start_us
        self._fed_since_us: int | None = None  # since when the driver has had mains
        self._dark_from_us: int | None = None  # end of the hold-up after the mains went
        self._warmth = 0.0
        self._energy_j = 0.0
        self._current_as = 0.0
        self._voltage_vs = 0.0
        self._cycle_from_us = start_us
        self._lit = False
        self._feed_changed(start_us)
        # A street that starts with its lamps burning: the driver has been running for long.
        if self._fed_since_us is not None:
            self._fed_since_us = start_us - self.kind.start_us
            self._warmth = 1.0
        self._note(start_us)

    # What the board does

    def pin(self, name: str, level: int, now_us: int) -> None:
        if name == self._relay_pin:
            self._advance(now_us)
            self.relay.coil(level, now_us)

    def pwm(self, name: str, duty_u16: int, hz: int, now_us: int) -> None:
        if name == self._dim_pin:
            self._advance(now_us)
            self._driven_duty = min(max(duty_u16, 0), 65_535) / 65_535 if hz else None
            self._note(now_us)

    def mains(self, present: bool, now_us: int) -> None:
        """Take the mains away from the pole, or bring it back."""
        self._advance(now_us)
        if present != self._mains:
            self._mains = present
            self.mains_history.append((now_us, present))
            self._feed_changed(now_us)
            self._note(now_us)

    # What can be seen and measured

    def lit(self, now_us: int) -> bool:
        """Whether the lamp gives light."""
        self._advance(now_us)
        return self._lit

    def level(self, now_us: int) -> float:
        """Light as a share of the rated, warm output: 0.0 dark, 1.0 full, a little more while cold."""
        self._advance(now_us)
        return self._light()

    def lux(self, now_us: int) -> float:
        """The lamp's own light at the pole's light sensor, lx."""
        return self.level(now_us) * self.kind.spill_lux

    def power_w(self, now_us: int) -> float:
        """Active power drawn from the mains, W."""
        self._advance(now_us)
        steady, extra = self._power()
        return steady + extra * (1 - self._warmth)

    def current_a(self, now_us: int) -> float:
        """RMS current, A."""
        return self.power_w(now_us) / (self.voltage * self._power_factor()) if self._mains else 0.0

    def voltage_v(self, now_us: int) -> float:
        """RMS voltage behind the pole's fuse, V."""
        self._advance(now_us)
        return self.voltage if self._mains else 0.0

    def totals(self, now_us: int) -> tuple[float, float, float]:
        """Exact time integrals since the start: energy in J, current in A·s, voltage in V·s."""
        self._advance(now_us)
        return self._energy_j, self._current_as, self._voltage_vs

    def lit_spans(self, since_us: int, until_us: int) -> list[Span]:
        """When the lamp was lit in [since, until), as half-open spans in µs."""
        self._advance(until_us)
        return _spans(self.history, since_us, until_us)

    def dark_while_powered(self, since_us: int, until_us: int) -> list[Span]:
        """When the mains was there and the lamp nevertheless dark in [since, until); includes the driver's start-up
        time."""
        self._advance(until_us)
        dark = _spans([(at, not lit) for at, lit in self.history], since_us, until_us)
        powered = _spans(self.mains_history, since_us, until_us)
        both = [(max(a, c), min(b, d)) for a, b in dark for c, d in powered]
        return [(a, b) for a, b in both if a < b]

    # How it works

    def _contact(self, closed: bool, at_us: int) -> None:
        self._integrate(at_us)
        if closed and self._mains and not self.dead:
            self.inrushes += 1  # every touch of a bouncing contact hits the driver's input capacitor
            self.inrush_peak_a = self.kind.inrush_a
        self._feed_changed(at_us)
        self._note(at_us)

    def _feed_changed(self, at_us: int) -> None:
        fed = self._mains and self.relay_closed
        if fed and self._fed_since_us is None:
            # Within the hold-up time the driver has not noticed the gap and goes on without a new start.
            going_on = self._dark_from_us is not None and at_us < self._dark_from_us and self._lit
            self._fed_since_us = at_us - (self.kind.start_us if going_on else 0)
            self._dark_from_us = None
        elif not fed and self._fed_since_us is not None:
            self._fed_since_us = None
            self._dark_from_us = at_us + self.kind.hold_us

    @property
    def relay_closed(self) -> bool:
        """The contact's state at the moment the model was last looked at."""
        return self.relay.closed_now

    def _dimmed(self) -> float:
        """The driver's output current as a share: what the dimming input asks for, 0 for dim-to-off."""
        if self.dim_ignored or self._driven_duty is None:
            return 1.0
        if self._driven_duty < self.kind.off_below:
            return 0.0
        return max(self._driven_duty, self.kind.minimum)

    def _running(self) -> bool:
        """Mains present for long enough, and not in the off half of a cycling fault."""
        if self._fed_since_us is None or self._now_us < self._fed_since_us + self.kind.start_us:
            return False
        return not self._cycled_off()

    def _cycled_off(self) -> bool:
        if self.cycling_s <= 0:
            return False
        half_us = max(int(self.cycling_s * 500_000), 1)
        return (self._now_us - self._cycle_from_us) // half_us % 2 == 1

    def _power(self) -> tuple[float, float]:
        """Power when warm, and what the cold lamp draws on top of it."""
        if self._fed_since_us is None or self.dead:
            return 0.0, 0.0
        output = self._dimmed() * self.share
        if not self._running() or output == 0.0:
            return self.kind.standby_w, 0.0
        if self.failed:
            return self.kind.failed_w, 0.0
        useful = (self.kind.rated_w - self.kind.loss_w) * output
        return self.kind.loss_w + useful, useful * self.kind.cold_extra_power

    def _light(self) -> float:
        if self.dead or self.failed:
            return 0.0
        held_up = self._dark_from_us is not None and self._now_us < self._dark_from_us and self._lit
        if not (self._running() or held_up):
            return 0.0
        return self._dimmed() * self.share * (1 + self.kind.cold_extra_light * (1 - self._warmth))

    def _power_factor(self) -> float:
        """0.96 at full load, falling as the input filter's current comes to dominate."""
        steady, _ = self._power()
        share = min(steady / self.kind.rated_w, 1.0)
        return 0.96 * (0.35 + 0.65 * min(1.0, share / 0.6)) if share else 0.96

    def _advance(self, now_us: int) -> None:
        """Bring the model up to `now_us` through every event on the way, so that the history and the integrals are
        exact."""
        self.relay.follow(self._now_us)
        while True:
            events = [at for at in (self.relay.next_us(), self._next_own_us()) if at is not None and at <= now_us]
            if not events:
                break
            at_us = max(min(events), self._now_us)
            self._integrate(at_us)
            self.relay.advance(at_us)
            self._note(at_us)
        self._integrate(now_us)
        self._note(now_us)

    def _next_own_us(self) -> int | None:
        moments = []
        if self._fed_since_us is not None and self._now_us < self._fed_since_us + self.kind.start_us:
            moments.append(self._fed_since_us + self.kind.start_us)
        if self._dark_from_us is not None and self._now_us < self._dark_from_us:
            moments.append(self._dark_from_us)
        if self.cycling_s > 0 and self._fed_since_us is not None:
            half_us = max(int(self.cycling_s * 500_000), 1)
            moments.append(self._cycle_from_us + ((self._now_us - self._cycle_from_us) // half_us + 1) * half_us)
        return min(moments, default=None)

    def _integrate(self, to_us: int) -> None:
        """Add what flows until `to_us`; in between nothing changes but the warmth, which has a closed form."""
        seconds = (to_us - self._now_us) / 1e6
        if seconds <= 0:
            return
        steady, extra = self._power()
        target = 1.0 if self._light() > 0 else 0.0
        tau = self.kind.warm_up_s
        decay = math.exp(-seconds / tau)
        # warmth(t) = target + (w0 - target) e^(-t/tau), so its integral is target t + (w0 - target) tau (1 -
        # e^(-t/tau))
        warm_seconds = target * seconds + (self._warmth - target) * tau * (1 - decay)
        energy = steady * seconds + extra * (seconds - warm_seconds)
        self._energy_j += energy
        if self._mains:
            self._voltage_vs += self.voltage * seconds
            self._current_as += energy / (self.voltage * self._power_factor())
        self._warmth = target + (self._warmth - target) * decay
        self._now_us = to_us

    def _note(self, at_us: int) -> None:
        """Record a change between lit and dark."""
        if self._dark_from_us is not None and at_us >= self._dark_from_us:
            self._dark_from_us = None
        lit = self._light() > 0
        if lit != self._lit or not self.history:
            self._lit = lit
            self.history.append((at_us, lit))


def _spans(history: list[tuple[int, bool]], since_us: int, until_us: int) -> list[Span]:
    """The stretches of [since, until) in which the last entry of a history of changes was True."""
    ends: list[int] = [at for at, _ in history[1:]] + [until_us]
    spans = [(max(at, since_us), min(end, until_us)) for (at, on), end in zip(history, ends, strict=True) if on]
    return [(a, b) for a, b in spans if a < b]
