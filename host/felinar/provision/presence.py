"""Which boards have just been plugged in, told from what is plugged in now."""

from __future__ import annotations

from collections.abc import Iterable

GONE_S = 2.0
"""A chip's own USB device goes and comes back with each reset, well within this time."""


class Presence:
    """Remembers what is plugged in. A board counts as unplugged once it was away for `gone_s` seconds."""

    def __init__(self, gone_s: float = GONE_S) -> None:
        self._gone_s = gone_s
        self._seen: dict[str, float] = {}

    def update(self, present: Iterable[str], now: float, busy: Iterable[str] = ()) -> list[str]:
        """The keys that are new, in their order; `busy` ones are at work and never count as gone. `now` in seconds."""
        present = list(present)
        for key in (*present, *busy):
            if key in self._seen:
                self._seen[key] = now
        self._seen = {key: at for key, at in self._seen.items() if now - at < self._gone_s}
        new = [key for key in dict.fromkeys(present) if key not in self._seen]
        self._seen |= dict.fromkeys(new, now)
        return new
