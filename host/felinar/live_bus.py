"""Carries what happens to whoever listens; a slow listener misses events, is told so, and slows nobody down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

QUEUE = 1000
"""Events that may wait for one listener."""

Event = tuple[str, bytes]


class Listener:
    """One listener's queue of (kind, JSON)."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(QUEUE + 1)
        self.missed = 0

    def put(self, event: Event) -> bool:
        """Queue an event; False when it is missed because too many wait."""
        if self._events.qsize() >= QUEUE:
            self.missed += 1
            return False
        if self.missed:
            self._events.put_nowait(("missed", msgspec.json.encode({"missed": self.missed})))
            self.missed = 0
            if self._events.full():
                self.missed += 1
                return False
        self._events.put_nowait(event)
        return True

    def end(self) -> None:
        """No more events."""
        while self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(None)

    async def events(self, idle_s: float) -> AsyncIterator[Event | None]:
        """Events as they come, and None whenever `idle_s` have passed without one; ends with the bus."""
        while True:
            try:
                event = await asyncio.wait_for(self._events.get(), idle_s)
            except TimeoutError:
                yield None
                continue
            if event is None:
                return
            yield event


class Bus:
    """All listeners."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._closed = False
        self.missed = 0

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def publish(self, kind: str, what: msgspec.Struct) -> None:
        """Tell all listeners."""
        if not self._listeners:
            return
        event = kind, msgspec.json.encode(what)
        self.missed += sum(not listener.put(event) for listener in self._listeners)

    def join(self) -> Listener:
        """A new listener, to be given to `leave`."""
        listener = Listener()
        self._listeners.add(listener)
        if self._closed:
            listener.end()
        return listener

    def leave(self, listener: Listener) -> None:
        """It listens no more."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """Send everybody home."""
        self._closed = True
        for listener in self._listeners:
            listener.end()
