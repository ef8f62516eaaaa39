"""When a lost line is tried again: jittered back-off as a small state machine that knows no clock."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

FIRST_S = 0.25
LAST_S = 10.0
STEADY_S = 10.0
"""A line that was open this long begins anew at the shortest wait when it is lost."""


class State(Enum):
    """How a line is."""

    WAITING = "waiting"
    """Closed; it is opened when its wait is over."""
    OPENING = "opening"
    OPEN = "open"
    """Open, but no node has said who it is."""
    LIVE = "live"
    STALE = "stale"
    """Its node does not answer; it is closed and opened again."""
    STOPPED = "stopped"


class Reconnect:
    """The state of a line and how long to wait. `chance` gives numbers from 0 to 1 for the jitter."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self.state = State.WAITING
        self.failures = 0
        self._chance = chance
        self._opened = 0.0

    def opening(self) -> None:
        """The wait is over."""
        self._from(State.WAITING)
        self.state = State.OPENING

    def opened(self, now: float) -> None:
        """It is open."""
        self._from(State.OPENING)
        self.state = State.OPEN
        self._opened = now

    def heard(self) -> bool:
        """A node has said who it is; True when that is news."""
        self._from(State.OPEN, State.LIVE)
        news = self.state is not State.LIVE
        self.state = State.LIVE
        return news

    def stale(self) -> None:
        """Its node no longer answers."""
        self._from(State.LIVE)
        self.state = State.STALE

    def closed(self, now: float) -> float:
        """It could not be opened or was lost; returns how long to wait in s, between half and all of the back-off."""
        self._from(State.OPENING, State.OPEN, State.LIVE, State.STALE)
        if self.state is not State.OPENING and now - self._opened >= STEADY_S:
            self.failures = 0
        span = min(LAST_S, FIRST_S * 2.0 ** min(self.failures, 16))
        self.failures += 1
        self.state = State.WAITING
        return float(span * (0.5 + 0.5 * self._chance()))

    def stop(self) -> None:
        """No more."""
        self.state = State.STOPPED

    def _from(self, *allowed: State) -> None:
        if self.state not in allowed:
            raise ValueError(f"a line that is {self.state.value} can't do that")
