"""What every line of the daemon has: it is opened, served and opened again for as long as the daemon runs, whatever it does."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from felinar.clock import Clock
from felinar.errors import LinkError
from felinar.reconnect import Reconnect, State

SAY_AGAIN_S = 60.0
"""How often a lasting trouble of one line is said."""
LONGEST_SLEEP_S = 5.0
OURS = "an internal error, see the log"


class Supervisor(ABC):
    """Made in a running loop. Who inherits has `_open_and_serve`, which ends when `_over` does, and `_tell`.

    `what` is what the log calls the line, `reason` why it is not open, `opened` how often it was, `since` when `state` last changed (Unix time).
    """

    def __init__(self, url: str, what: str, clock: Clock, log: Any, chance: Callable[[], float]) -> None:
        self.url = url
        self.reason = "not opened yet"
        self.opened = 0
        self.since = clock.now().unix
        self._what = what
        self._clock = clock
        self._log = log
        self._reconnect = Reconnect(chance)
        self._over: asyncio.Future[str] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stop = asyncio.Event()
        self._said: dict[str, float] = {}

    @property
    def state(self) -> State:
        """How the line is; live while it can be used."""
        return self._reconnect.state

    def stop(self) -> None:
        """Close the line for good."""
        self._stop.set()
        self._end("the daemon ends")

    async def run(self) -> None:
        """Serve the line until `stop`."""
        while not self._stop.is_set():
            self._reconnect.opening()
            try:
                await self._open_and_serve()
            except LinkError as error:
                self.reason = error.sentence
                self._tried(error)
                self._say("open", f"{self._what} can't be opened", reason=error.sentence, remedy=error.remedy)
            except Exception:  # a fault of ours on one line must not end the others
                self._fault()
                self.reason = OURS
            if self._stop.is_set():
                break
            wait = self._reconnect.closed(self._clock.now().mono)
            self._changed()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait)
        self._reconnect.stop()
        self._changed()

    @abstractmethod
    async def _open_and_serve(self) -> None:
        """Open the line and serve it to its end. Raises LinkError."""

    @abstractmethod
    def _tell(self) -> None:
        """The line came or went, or is another way."""

    def _tried(self, outcome: LinkError | None) -> None:  # noqa: B027 (a hook that only lines of nodes need)
        """How a try to open it ended: None, or why it could not be opened."""

    def _end(self, reason: str) -> None:
        if self._over and not self._over.done():
            self._over.set_result(reason)

    def _fault(self) -> None:
        """To be called where an exception is handled: the line is closed and opened again."""
        self._log.exception(f"{self._what} failed")
        self._end(OURS)

    def _wake_in(self, seconds: float, least: float, call: Callable[[], None]) -> None:
        if self._timer:
            self._timer.cancel()
        delay = min(max(seconds, least), LONGEST_SLEEP_S)
        self._timer = asyncio.get_running_loop().call_later(delay, call)

    def _say(self, topic: str, event: str, **details: Any) -> None:
        """Warn, at most once in a while about the same."""
        mono = self._clock.now().mono
        if mono - self._said.get(topic, float("-inf")) >= SAY_AGAIN_S:
            self._said[topic] = mono
            self._log.warning(event, **details)

    def _changed(self) -> None:
        self.since = self._clock.now().unix
        self._tell()


def total(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Counts of two accounts together."""
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}
