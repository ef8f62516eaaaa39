"""A clock that stands still until the test moves it."""

from __future__ import annotations

from felinar.clock import Now

UNIX = 1_790_000_000.0


class FakeClock:
    """Both clocks of the host."""

    def __init__(self, unix: float = UNIX) -> None:
        self.mono = 1000.0
        self.unix = unix

    def now(self) -> Now:
        return Now(self.mono, self.unix)

    def pass_(self, seconds: float) -> None:
        self.mono += seconds
        self.unix += seconds
