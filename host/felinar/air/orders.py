"""What waits to go down to one or to many, and the frames that are made of it when its time has come."""

from __future__ import annotations

from felinar.session import Order

GAP = 90
"""ms behind the time of an answer: a repeat is handed over 60 ms before it goes out, and the answer must have come by then."""
REPEATS = (GAP, GAP, GAP, GAP, GAP, GAP, 1000, 2000, 5000, 10_000, 30_000, 60_000)
"""ms between a command's repeats: seven times at once, as one in three is lost with its answer, then rarer and rarer."""
GROUP_REPEATS = (200, 400, 1500, 3000, 5000, 10_000, 10_000, 10_000)
"""Of a command to a group, which nobody answers: thrice within a second, then for whoever has missed these."""
GROUP_MS = 60_000
"""For so long a command to a group is repeated."""
ANSWER = 18
"""Bytes of the frame of a RESULT."""


class Sending:
    """A command that is being sent to its node."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.tries = 0


class Group:
    """A command to a group: `mode`, `level` in %, `fade` in s, `reason` as in LAMP_SET; `ends` in ms since 2024, 0 never.

    All bridges send the same frame, and again, within an interval of TESLA, so that lamps hold it once.
    """

    def __init__(self, id: int, address: int, mode: int, level: int, fade: int, ends: int, reason: int) -> None:
        self.id = id
        self.address = address
        self.mode = mode
        self.level = level
        self.fade = fade
        self.ends = ends
        self.reason = reason
        self.sent = 0
        self.frames: dict[int, bytes] = {}

    def left(self, at: int) -> int:
        """What is left of its time, in 10 s rounded up; 0 for one that does not end."""
        return max(1, min(0xFFFF, -(-(self.ends - at) // 10_000))) if self.ends else 0
