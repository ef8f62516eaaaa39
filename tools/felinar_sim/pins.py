"""The board's pins: levels, PWM, counters, the ADC, and which parts listen to or drive them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from felinar_sim.chips.base import PinListener, PulseSource, PwmListener
from felinar_sim.link import DONE, Answer, Frame

_OUT = 3
_OPEN_DRAIN = 7
_PULL_UP = 2
_UNCHANGED = 255


class Pins:
    """Pins by GPIO number, known to parts by the name in the board file (`gpio<n>` when it has none).

    A pin that is not driven reads 0 to listeners (the drivers of relay and dimmer have pull-downs), 1 where a part pulls it up.
    """

    def __init__(self, names: Mapping[str, int]) -> None:
        self.numbers = dict(names)
        self._names = {number: name for name, number in names.items()}
        self.listeners: list[PinListener] = []
        self.pwm_listeners: list[PwmListener] = []
        self.pulse_sources: list[PulseSource] = []
        self.inputs: dict[str, int | Callable[[int], int]] = {}
        """Levels that the outside puts on pins, by name: 0, 1, or a function of `now_us`."""
        self.volts: dict[str, float | Callable[[int], float]] = {}
        """Voltages for the ADC, by name, V."""
        self.pulled_up: set[str] = set()
        """Pins that a part pulls up: they read 1 to listeners while the board does not drive them."""
        self._mode: dict[int, int] = {}
        self._pull: dict[int, int] = {}
        self._latch: dict[int, int] = {}
        self._level: dict[int, int] = {}
        self._pwm: dict[int, tuple[int, int]] = {}
        self._counters: dict[int, str] = {}
        self._triggers: dict[int, int] = {}
        self._hits: list[int] = []
        self.on_irq: Callable[[], None] = lambda: None

    def name(self, number: int) -> str:
        """What the board file calls a GPIO."""
        return self._names.get(number) or f"gpio{number}"

    def level(self, name: str) -> int:
        """The level that the board drives on a pin, 0 when it drives none."""
        return self._level.get(self.numbers.get(name, -1), 0)

    def duty(self, name: str) -> tuple[int, int]:
        """Duty (0-65535) and frequency (Hz) of the PWM on a pin; (0, 0) when there is none."""
        return self._pwm.get(self.numbers.get(name, -1), (0, 0))

    def mode(self, f: Frame, now: int) -> Answer:
        """PIN_MODE: a = mode, b = pull | value << 8, each with a number for "as before"."""
        n, mode, pull, value = f.arg, f.a, f.b & 255, f.b >> 8
        if pull != _UNCHANGED:
            self._pull[n] = pull
        if value != 2:
            self._latch[n] = value
        if mode != _UNCHANGED:
            self._mode[n] = mode
            if n in self._pwm:
                self._drive_pwm(n, 0, 0, now)
        self._update(n, now)
        return DONE

    def write(self, f: Frame, now: int) -> Answer:
        """PIN_WRITE: a = level."""
        self.drive(f.arg, f.a, now)
        return DONE

    def drive(self, n: int, level: int, now: int) -> None:
        """The program has written a level to a pin."""
        self._latch[n] = level
        self._update(n, now)

    def read(self, f: Frame, now: int) -> Answer:
        """PIN_READ: the level is the status."""
        return Answer(self.reads(f.arg, now))

    def reads(self, n: int, now: int) -> int:
        """The level that the program reads from a pin."""
        if self._mode.get(n) == _OUT:
            return self._latch.get(n, 0)
        level = self._outside(self.name(n), now)
        if level is None:
            level = 1 if self._pull.get(n) == _PULL_UP else 0
        if self._mode.get(n) == _OPEN_DRAIN and not self._latch.get(n, 0):
            level = 0
        return level

    def irq(self, f: Frame, now: int) -> Answer:
        """PIN_IRQ: a = edges (1 rising, 2 falling, 0 none)."""
        self._triggers[f.arg] = f.a
        return DONE

    def irq_take(self, f: Frame, now: int) -> Answer:
        """IRQ_TAKE: the pins whose handlers are due."""
        return Answer(0, self.take_hits())

    def take_hits(self) -> bytes:
        """The pins whose handlers are due, 32 at most; each is told once."""
        hits, self._hits = bytes(self._hits[:32]), self._hits[32:]
        return hits

    @property
    def irq_pending(self) -> bool:
        return bool(self._hits)

    def put(self, name: str, level: int, now: int) -> None:
        """Put a level on an input pin from outside; fires the pin's handler on a matching edge."""
        before = self._outside(name, now) or 0
        self.inputs[name] = level
        number = self.numbers.get(name, int(name[4:]) if name.startswith("gpio") else -1)
        if level != before and self._triggers.get(number, 0) & (1 if level else 2):
            self._hits.append(number)
            self.on_irq()

    def pwm(self, f: Frame, now: int) -> Answer:
        """PWM: a = duty, b = Hz (0 ends it)."""
        self._drive_pwm(f.arg, f.a, f.b, now)
        return DONE

    def adc(self, f: Frame, now: int) -> Answer:
        """ADC: the voltage in µV."""
        volts = self.volts.get(self.name(f.arg), 0.0)
        value = volts(now) if callable(volts) else volts
        return Answer(0, max(0, int(value * 1_000_000)).to_bytes(4, "little"), 30)

    def counter_setup(self, f: Frame, now: int) -> Answer:
        """COUNTER_SETUP: a = pin, 255 ends it."""
        if f.a == 255:
            self._counters.pop(f.arg, None)
        else:
            self._counters[f.arg] = self.name(f.a)
        return DONE

    def counter_read(self, f: Frame, now: int) -> Answer:
        """COUNTER_READ: edges so far on the counter's pin."""
        name = self._counters.get(f.arg)
        total = sum(source.pulses(name, now) for source in self.pulse_sources) if name is not None else 0
        return Answer(0, total.to_bytes(8, "little"), 2)

    def release(self, now: int, *, hard: bool = True) -> None:
        """A reset: nothing is driven any more. A soft reset leaves levels and ends only PWM and handlers, as the chip does."""
        for number in list(self._pwm):
            self._drive_pwm(number, 0, 0, now)
        self._counters.clear()
        self._triggers.clear()
        self._hits.clear()
        if hard:
            self._mode.clear()
            self._pull.clear()
            self._latch.clear()
            for number in list(self._level):
                self._update(number, now)

    def _outside(self, name: str, now: int) -> int | None:
        level = self.inputs.get(name)
        return level(now) if callable(level) else level

    def _update(self, n: int, now: int) -> None:
        name = self.name(n)
        rest = 1 if name in self.pulled_up else 0
        level = self._latch.get(n, 0) if self._mode.get(n) in (_OUT, _OPEN_DRAIN) else rest
        if level == self._level.get(n, rest):
            return
        self._level[n] = level
        for listener in self.listeners:
            listener.pin(name, level, now)

    def _drive_pwm(self, n: int, duty: int, hz: int, now: int) -> None:
        if self._pwm.get(n, (0, 0)) == (duty, hz):
            return
        if hz:
            self._pwm[n] = (duty, hz)
        else:
            self._pwm.pop(n, None)
        name = self.name(n)
        for listener in self.pwm_listeners:
            listener.pwm(name, duty, hz, now)
