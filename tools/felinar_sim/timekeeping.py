"""What keeps time on a chip beside its ticks: the real-time clock with its memory, and the watchdog."""

from __future__ import annotations

from collections.abc import Callable

from felinar_sim.clock import Clock, Timer
from felinar_sim.link import DONE, Answer, Frame

_MEMORY = 2048


class Rtc:
    """`us` is what it reads at uptime 0, µs since 2000-01-01; `memory` outlives everything but a loss of power."""

    def __init__(self) -> None:
        self.us = 0
        self.memory = b""

    def power_on(self, ticks_start_us: int) -> None:
        """The supply has come: it reads 0 at that uptime, and its memory is empty."""
        self.us = -ticks_start_us
        self.memory = b""

    def set(self, f: Frame, now: int) -> Answer:
        """RTC_SET: a = what it reads at uptime 0."""
        self.us = f.a
        return DONE

    def read(self, f: Frame, now: int) -> Answer:
        """RTC_READ: the memory."""
        return Answer(0, self.memory)

    def write(self, f: Frame, now: int) -> Answer:
        """RTC_WRITE: the memory anew."""
        self.memory = f.data[:_MEMORY]
        return DONE


class Watchdog:
    """Once it is started only a reset stops it. `fed` tells when the program has fed it last (world time in µs, None not yet)."""

    def __init__(self, clock: Clock, fed: Callable[[], int | None], bite: Callable[[], None]) -> None:
        self._clock = clock
        self._fed = fed
        self._bite = bite
        self._timeout_us = 0
        self._due: int | None = None
        self._timer: Timer | None = None

    @property
    def running(self) -> bool:
        return self._due is not None

    def start(self, f: Frame, now: int) -> Answer:
        """WDT: start with timeout a µs."""
        self._timeout_us = f.a
        self._due = now + self._timeout_us
        if self._timer is None:
            self._timer = self._clock.at(self._due, self._check)
        return DONE

    def look(self) -> None:
        """See whether the program has fed it."""
        fed = self._fed()
        if fed is not None and self._due is not None:
            self._due = max(self._due, fed + self._timeout_us)

    def stop(self) -> None:
        """A reset."""
        self._due, self._timeout_us = None, 0

    def _check(self) -> None:
        self._timer = None
        self.look()
        due = self._due
        if due is None:
            return
        if due > self._clock.now_us:
            self._timer = self._clock.at(due, self._check)
        else:
            self._bite()
