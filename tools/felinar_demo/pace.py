"""Virtual time that keeps to the computer's: what the air is about, milliseconds, does not depend on how busy the machine is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from felinar_sim.clock import Timer, VirtualClock, Watch, unix_us

_LONGEST_US = 50_000


class PacedClock(VirtualClock):
    """Each thing happens at its virtual moment, once the true time has come to it. When the machine was busy it catches up,
    and nobody on the street has noticed; only the other end of a line has. `start` and `stop` run it in a thread of its own;
    whoever touches boards meanwhile holds `lock`.
    """

    def __init__(self) -> None:
        now = unix_us(time.time())
        super().__init__(now / 1e6)
        self._base = now - time.monotonic_ns() // 1000
        self.late_us = 0
        """How far behind the true time it has been at most."""
        self._watch = Watch(self.lock)
        self._thread = threading.Thread(target=self._run, name="felinar-demo", daemon=True)
        self._stopping = False

    @property
    def _true_us(self) -> int:
        return self._base + time.monotonic_ns() // 1000

    def at(self, when_us: int, action: Callable[[], None]) -> Timer:
        with self.lock:
            timer = super().at(when_us, action)
        if threading.current_thread() is not self._thread:
            self._watch.wake()
        return timer

    def watch(self, fd: int, action: Callable[[], None]) -> None:
        """Call the action whenever the descriptor is readable."""
        self._watch.add(fd, action)

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor."""
        self._watch.remove(fd)

    def start(self) -> None:
        """Let the world go on until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Let it stand still for good."""
        self._stopping = True
        self._watch.wake()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            true = self._true_us
            due = self._agenda.next_us()
            if due <= true:
                self.late_us = max(self.late_us, true - due)
            self.run_until(true)
            left = min(self._agenda.next_us() - self._true_us, _LONGEST_US)
            self._watch.wait(left, self._catch_up)

    def _catch_up(self) -> None:
        self.now_us = max(self.now_us, min(self._true_us, self._agenda.next_us()))
