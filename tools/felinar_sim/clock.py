"""The two clocks of the simulator: a virtual one that holds any number of boards, and the real one.

Both give `now_us` (microseconds of Unix time), `at` (an action at a moment) and `run_for` / `run_until`. Everything that happens in
the simulator happens inside a `run_…` call, one thing at a time. In virtual time a board runs only while its own moment is the
earliest of all, so that a seed gives the same bytes every time; in real time boards run beside each other, as they do on a street.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

FOREVER = 1 << 62
_LONGEST_US = 3_600_000_000
"""What a selector may be asked to wait at once: the platform limits it."""


class Timer:
    """An action that waits for its moment; `cancel` makes it not happen."""

    __slots__ = ("action", "when_us")

    def __init__(self, when_us: int, action: Callable[[], None]) -> None:
        self.when_us = when_us
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Clock(Protocol):
    """What boards, consoles and tests use of a clock."""

    virtual: bool
    lock: threading.RLock

    @property
    def now_us(self) -> int:
        """Microseconds of Unix time."""

    def at(self, when_us: int, action: Callable[[], None]) -> Timer:
        """Do something at a moment (now, when that has passed); actions of one moment keep their order."""

    def run_until(self, when_us: int) -> None:
        """Let the world go on up to and including that moment."""

    def run_for(self, seconds: float) -> None:
        """Let the world go on for so long."""

    def watch(self, fd: int, action: Callable[[], None]) -> None:
        """Call the action whenever the descriptor is readable (real clock only)."""

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor."""


def unix_us(moment: datetime | float) -> int:
    """A moment as microseconds of Unix time. A datetime without a zone is UTC; a number is seconds of Unix time."""
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)
    return round(moment * 1_000_000)


class _Agenda:
    """Timers in the order of their moments."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0

    def add(self, when_us: int, action: Callable[[], None]) -> Timer:
        timer = Timer(when_us, action)
        self._count += 1
        heapq.heappush(self._heap, (when_us, self._count, timer))
        return timer

    def next_us(self) -> int:
        heap = self._heap
        while heap and heap[0][2].action is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else FOREVER

    def pop(self) -> Timer:
        return heapq.heappop(self._heap)[2]


class Watch:
    """Descriptors to be looked at while a clock waits, and a way to wake it from another thread. `lock` is the clock's."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._selector.register(self._wake_out, selectors.EVENT_READ, self._drain)

    def add(self, fd: int, action: Callable[[], None]) -> None:
        with self._lock:
            self._selector.register(fd, selectors.EVENT_READ, action)
        self.wake()

    def remove(self, fd: int) -> None:
        with self._lock:
            self._selector.unregister(fd)

    def wait(self, longest_us: int, before: Callable[[], None] | None = None) -> None:
        """Wait for a descriptor, and act on those that are readable, each after `before`."""
        for key, _ in self._selector.select(max(0, longest_us) / 1_000_000):
            with self._lock:
                if self._selector.get_map().get(key.fd) is key:  # another action may have closed it
                    if before:
                        before()
                    key.data()

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it will wake anyway
            os.write(self._wake_in, b"\0")

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_out, 1024):
                pass


class VirtualClock:
    """Time that passes only when there is nothing left to do at a moment."""

    virtual = True

    def __init__(self, start: datetime | float = 1_767_225_600) -> None:
        """`start` is the world's time at the beginning: a datetime (UTC when it has no zone) or seconds of Unix time."""
        self.now_us = unix_us(start)
        self.lock = threading.RLock()
        self._agenda = _Agenda()
        self._limit = self.now_us

    def at(self, when_us: int, action: Callable[[], None]) -> Timer:
        return self._agenda.add(max(when_us, self.now_us), action)

    def horizon(self) -> int:
        """The last moment up to which the board that runs may go on without anything else being due first."""
        due = self._agenda.next_us() - 1
        return due if due < self._limit else self._limit

    def run_until(self, when_us: int) -> None:
        with self.lock:
            self._limit = when_us
            while self._agenda.next_us() <= when_us:
                timer = self._agenda.pop()
                action = timer.action
                if action is not None:
                    self.now_us = timer.when_us
                    timer.action = None
                    action()
            self.now_us = max(self.now_us, when_us)

    def run_for(self, seconds: float) -> None:
        self.run_until(self.now_us + round(seconds * 1_000_000))

    def watch(self, fd: int, action: Callable[[], None]) -> None:
        raise NotImplementedError("a virtual clock waits for nothing outside of the simulation")

    def unwatch(self, fd: int) -> None:
        pass


class RealClock:
    """The computer's clock, plus an offset that puts the world at another date; it never goes back.

    `run_for` works in the caller's thread; `start` and `stop` run the world in a thread of its own. Whoever touches boards from outside
    then holds `lock` (the boards' own methods do).
    """

    virtual = False

    def __init__(self, start: datetime | float | None = None) -> None:
        """`start` is the world's time now; None: the true time."""
        base = time.time_ns() // 1000 if start is None else unix_us(start)
        self._base = base - time.monotonic_ns() // 1000
        self.lock = threading.RLock()
        self._agenda = _Agenda()
        self._watch = Watch(self.lock)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._runner = 0

    @property
    def now_us(self) -> int:
        return self._base + time.monotonic_ns() // 1000

    def at(self, when_us: int, action: Callable[[], None]) -> Timer:
        with self.lock:
            timer = self._agenda.add(when_us, action)
        if threading.get_ident() != self._runner:
            self._watch.wake()
        return timer

    def watch(self, fd: int, action: Callable[[], None]) -> None:
        self._watch.add(fd, action)

    def unwatch(self, fd: int) -> None:
        self._watch.remove(fd)

    def run_until(self, when_us: int) -> None:
        self._runner = threading.get_ident()
        try:
            self._run(when_us)
        finally:
            self._stopping = False

    def _run(self, when_us: int) -> None:
        while not self._stopping:
            with self.lock:
                while (now := self.now_us) >= self._agenda.next_us():
                    action = self._agenda.pop().action
                    if action is not None:
                        action()
                due = min(self._agenda.next_us(), when_us)
            if now >= when_us:
                return
            self._watch.wait(min(due - now, _LONGEST_US))

    def run_for(self, seconds: float) -> None:
        self.run_until(self.now_us + round(seconds * 1_000_000))

    def start(self) -> None:
        """Run the world in a thread of its own until `stop`."""
        self._thread = threading.Thread(target=self.run_until, args=(FOREVER,), name="felinar-sim", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the run, whoever runs it; when nobody does, the next one ends at once."""
        self._stopping = True
        self._watch.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None

    def join(self) -> None:
        """End what `start` began, if anything."""
        if self._thread is not None:
            self.stop()
