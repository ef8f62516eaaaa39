"""The host's two clocks, handed to whoever needs them so that tests can hand in their own."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NamedTuple, Protocol


class Now(NamedTuple):
    """One moment on both clocks: `mono` in seconds that never jump, `unix` in seconds since 1970 UTC, which may."""

    mono: float
    unix: float


class Clock(Protocol):
    """Tells the moment."""

    def now(self) -> Now: ...


class SystemClock:
    """The clocks of the operating system."""

    def now(self) -> Now:
        return Now(time.monotonic(), time.time())


def iso(unix: float) -> str:
    """`2026-11-24T09:00:00Z` for seconds since 1970; whole seconds."""
    return datetime.fromtimestamp(int(unix), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
