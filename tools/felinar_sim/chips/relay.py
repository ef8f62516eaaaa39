"""A lamp relay: it moves late, it bounces, it wears, and it can weld.

Source: Omron G5Q data sheet (power relay with change-over contact), "Characteristics": operate time at most 10 ms,
release time at most 5 ms, 10,000,000 operations mechanically, 100,000 of the normally closed contact at 3 A 250 V AC.
A contact bounces for about a millisecond or two when it closes and not when it opens; the data sheet gives no figure,
so `bounce_us` is ours.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable


class Relay:
    """A single contact. `normally_closed`: without coil current the contact is closed, so a de-energised coil leaves
    the lamp lit.

    Faults: `welded` (a contact that is closed, or closes, stays closed), `stuck_open` (an open contact does not close
    any more), `coil_open` (the coil has no current, whatever the pin says), `welds_after` (weld at that many
    closings; None never). `closings` counts the ends of armature movements that closed the contact, `bounces` the
    extra ones in between.
    """

    def __init__(
        self,
        *,
        normally_closed: bool = True,
        operate_us: int = 8_000,
        release_us: int = 4_000,
        bounce_us: int = 2_000,
        seed: int | str = 0,
        on_contact: Callable[[bool, int], None] | None = None,
    ) -> None:
        self.normally_closed = normally_closed
        self.operate_us, self.release_us, self.bounce_us = operate_us, release_us, bounce_us
        self.welded = False
        self.stuck_open = False
        self.coil_open = False
        self.welds_after: int | None = None
        self.closings = 0
        self.openings = 0
        self.bounces = 0
        self._random = random.Random(f"relay/{seed}")
        self._on_contact = on_contact
        self._driven = False
        self._armature = False  # True: pulled in
        self._closed = normally_closed
        self._pending: deque[tuple[int, bool, bool]] = deque()  # time, closed, end of the movement

    def coil(self, level: int, now_us: int) -> None:
        """Drive the coil (1) or not (0). A pin that is not driven counts as 0: the driver transistor has a
        pull-down."""
        self.advance(now_us)
        self._driven = bool(level)
        self.follow(now_us)

    @property
    def energised(self) -> bool:
        return self._driven and not self.coil_open

    def closed(self, now_us: int) -> bool:
        """Whether the contact conducts at this moment."""
        self.advance(now_us)
        return self._closed

    def next_us(self) -> int | None:
        """When the contact moves next, if a movement is under way."""
        return self._pending[0][0] if self._pending else None

    @property
    def closed_now(self) -> bool:
        """The contact's state at the time up to which the relay has been advanced."""
        return self._closed

    def advance(self, now_us: int) -> None:
        """Carry out what is due; called by everything that looks at the relay."""
        self.follow(now_us)
        while self._pending and self._pending[0][0] <= now_us:
            at_us, closed, last = self._pending.popleft()
            self._move(closed, last, at_us)

    def follow(self, now_us: int) -> None:
        """Start an armature movement from `now_us` when the coil's state asks for one; a movement not yet felt at the
        contact is abandoned."""
        if self._armature == self.energised:
            return
        self._armature = self.energised
        self._pending.clear()
        target = self._armature != self.normally_closed
        at_us = now_us + (self.operate_us if self._armature else self.release_us)
        if target == self._closed:
            return
        if not target:
            self._pending.append((at_us, False, True))
            return
        touches = self._random.randint(1, 4)
        spread = range(2 * touches if self.bounce_us > 1 else 0)
        moments = sorted(self._random.randrange(1, self.bounce_us) for _ in spread)
        self._pending.append((at_us, True, not moments))
        for i, moment in enumerate(moments):
            self._pending.append((at_us + moment, bool(i % 2), i == len(moments) - 1))

    def _move(self, closed: bool, last: bool, at_us: int) -> None:
        if (closed and self.stuck_open and not self._closed) or (not closed and self.welded and self._closed):
            self._pending.clear()
            return
        if closed == self._closed:
            return
        self._closed = closed
        if closed and last:
            self.closings += 1
            if self.welds_after is not None and self.closings >= self.welds_after:
                self.welded = True
        elif closed:
            self.bounces += 1
        elif last:
            self.openings += 1
        if self._on_contact is not None:
            self._on_contact(closed, at_us)
