"""Virtual time that keeps to the computer's: what the air is about, milliseconds, does not depend on how busy the machine is."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
from collections.abc import Callable

from felinar_sim.clock import Timer, VirtualClock, unix_us

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
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._selector.register(self._wake_out, selectors.EVENT_READ, self._drain)
        self._thread = threading.Thread(target=self._run, name="felinar-demo", daemon=True)
        self._stopping = False

    @property
    def _true_us(self) -> int:
        return self._base + time.monotonic_ns() // 1000

    def at(self, when_us: int, action: Callable[[], None]) -> Timer:
        with self.lock:
            timer = super().at(when_us, action)
        if threading.current_thread() is not self._thread:
            self._wake()
        return timer

    def watch(self, fd: int, action: Callable[[], None]) -> None:
        """Call the action whenever the descriptor is readable."""
        with self.lock:
            self._selector.register(fd, selectors.EVENT_READ, action)
        self._wake()

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor."""
        with self.lock:
            self._selector.unregister(fd)

    def start(self) -> None:
        """Let the world go on until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Let it stand still for good."""
        self._stopping = True
        self._wake()
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
            for key, _ in self._selector.select(max(0, left) / 1e6):
                with self.lock:
                    if self._selector.get_map().get(key.fd) is key:  # another action may have closed it
                        self.now_us = max(self.now_us, min(self._true_us, self._agenda.next_us()))
                        key.data()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it will wake anyway
            os.write(self._wake_in, b"\0")

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_out, 1024):
                pass
