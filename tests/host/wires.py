"""Lines with a fake node at the far end: pseudo-terminals and TCP sockets, each served by a thread."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path

from tests.host.fake_node import FakeNode

_BEAT_S = 0.05


class Wire:
    """Carries bytes between a fake node and whoever opens `url`; `lock` guards the node against the thread."""

    def __init__(self, node: FakeNode, *, babble: bytes = b"") -> None:
        self.node = node
        self.babble = babble
        self.lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended = True
        self._thread.join(5)

    def report(self, count: int = 1, **values: int | None) -> None:
        """Let the node make reports, one a second up to now."""
        with self.lock:
            now = int(time.time())
            for i in range(count):
                self.node.report(now - count + 1 + i, **values)

    @property
    def pending(self) -> int:
        with self.lock:
            return len(self.node.outbox)

    def _read(self, wait_s: float) -> bytes:
        raise NotImplementedError

    def _write(self, data: bytes) -> None:
        raise NotImplementedError

    def _run(self) -> None:
        beat = 0.0
        while not self._ended:
            data = self._read(0.01)
            with self.lock:
                if data:
                    self.node.feed(data)
                if time.monotonic() >= beat:
                    beat = time.monotonic() + _BEAT_S
                    if self.node.told_time is None:
                        self.node.hello()
                    else:
                        self.node.transmit()
                out = self.node.take() + self.babble
            if out:
                self._write(out)


class PtyWire(Wire):
    """A pseudo-terminal that can be found under a name of the test's choice."""

    def __init__(self, node: FakeNode, name: Path, *, babble: bytes = b"") -> None:
        super().__init__(node, babble=babble)
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.device = os.ttyname(self._slave)
        self.name = name
        self.point(name)

    @property
    def url(self) -> str:
        return str(self.name)

    def point(self, name: Path) -> None:
        """Be found under that name, whoever was before."""
        draft = name.with_name(name.name + ".new")
        draft.symlink_to(self.device)
        draft.rename(name)

    def close(self) -> None:
        """The cable is pulled."""
        super().close()
        os.close(self._master)
        os.close(self._slave)

    def _read(self, wait_s: float) -> bytes:
        if select.select([self._master], [], [], wait_s)[0]:
            with contextlib.suppress(OSError):
                return os.read(self._master, 4096)
        return b""

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: what a serial line then does with bytes
            os.write(self._master, data)


class SocketWire(Wire):
    """A TCP server on the loopback that serves one caller after another."""

    def __init__(self, node: FakeNode) -> None:
        super().__init__(node)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._caller: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"socket://127.0.0.1:{self._server.getsockname()[1]}"

    def close(self) -> None:
        super().close()
        self.hang_up()
        self._server.close()

    def hang_up(self) -> None:
        """End the call; the next one is taken."""
        caller, self._caller = self._caller, None
        if caller:
            with contextlib.suppress(OSError):
                caller.shutdown(socket.SHUT_RDWR)
            caller.close()

    def _read(self, wait_s: float) -> bytes:
        caller = self._caller
        try:
            if select.select([caller or self._server], [], [], wait_s)[0]:
                if caller is None:
                    self._caller = self._server.accept()[0]
                else:
                    data = caller.recv(4096)
                    if not data:
                        self.hang_up()
                    return data
        except (OSError, ValueError):
            self._caller = None
        return b""

    def _write(self, data: bytes) -> None:
        if self._caller:
            with contextlib.suppress(OSError):
                self._caller.send(data)


def until(condition: Callable[[], object], what: str, limit_s: float = 20.0) -> None:
    """Wait for a condition in a thread of its own; fails after a generous limit."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)
