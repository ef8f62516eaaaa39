"""Time: uptime from the wrapping tick counter, and the wall clock once somebody trusted has set it."""

from time import ticks_diff

from micropython import const

_EARLIEST = const(63158400)  # 2026-01-01: an earlier time cannot be right
_DRIFT_AFTER = const(3600)  # s; a shorter interval says nothing about the crystal


class Clock:
    """Seconds since 2024-01-01 UTC on the wire's epoch. Ask it at least once in six days, or the ticks wrap unseen."""

    def __init__(self, ticks_ms) -> None:
        self._ticks_ms = ticks_ms
        self._then = ticks_ms()
        self._up = 0
        self._up_ms = 0
        self._start = 0  # wall clock at uptime 0, as s and ms
        self._start_ms = 0
        self._set_at = 0
        self.trusted = False
        self.drift = None  # how much too slow the last interval of an hour or more showed the crystal to be, 0.1 ppm

    def up(self) -> int:
        """Whole seconds since start."""
        now = self._ticks_ms()
        ms = self._up_ms + ticks_diff(now, self._then)
        self._then = now
        self._up += ms // 1000
        self._up_ms = ms % 1000
        return self._up

    def now(self):
        """Seconds since 2024-01-01 UTC, or None while nobody has set the clock."""
        if not self.trusted:
            return None
        return self.up() + self._start + (self._up_ms + self._start_ms) // 1000

    def ms(self) -> int:
        """Milliseconds into the current second of the wall clock, of the uptime while that is not set."""
        self.up()
        return (self._up_ms + self._start_ms) % 1000

    def set(self, time: int, ms: int):
        """Set the wall clock; returns the step in s, or None when such a time cannot be right."""
        if time < _EARLIEST:
            return None
        old = self.now()
        old_ms = self.ms()
        up = self._up
        whole = ms - self._up_ms
        self._start = time - up + whole // 1000
        self._start_ms = whole % 1000
        step = time - (old or 0)
        if old is not None and up - self._set_at >= _DRIFT_AFTER and -60 < step < 60:
            self.drift = (step * 1000 + ms - old_ms) * 10000 // (up - self._set_at)
        self._set_at = up
        self.trusted = True
        return step
