"""Lines that carry a console to the outside in real time: a pseudo-terminal with a stable name, and a TCP port."""

from __future__ import annotations

import errno
import os
import select
import socket
import termios
import tty
from pathlib import Path

from felinar_sim.clock import Clock, Timer
from felinar_sim.console import Console
from felinar_sim.errors import SimulatorError

_LOOK_US = 50_000  # how often an unopened pseudo-terminal is looked at
_CHUNK = 4096


class PtyLine:
    """A pseudo-terminal behind a symbolic link, like a USB adapter: it outlives every reset and power cut of its board.

    While nobody has it open, what the board sends is lost (`unheard`), as with an adapter. `pull` makes it vanish, `plug` brings it back
    under the same name.
    """

    def __init__(self, clock: Clock, console: Console, name: Path) -> None:
        self.name = name
        self.unheard = 0
        self._clock = clock
        self._console = console
        self._master = -1
        self._open = False
        self._look: Timer | None = None
        console.lines.append(self)
        self.plug()

    @property
    def plugged(self) -> bool:
        """Whether the cable is in."""
        return self._master >= 0

    def plug(self) -> None:
        """Put the cable in."""
        with self._clock.lock:
            if self._master >= 0:
                return
            self._master, slave = os.openpty()
            tty.setraw(slave, termios.TCSANOW)
            device = os.ttyname(slave)
            os.close(slave)  # from here on the master can tell whether anybody has the other end open
            os.set_blocking(self._master, False)
            self._link_to(device)
            self._console.pulled = False
            self._look = self._clock.at(self._clock.now_us, self._watch_for_opening)

    def pull(self) -> None:
        """Pull the cable: the device is gone, whoever has it open gets a hang-up."""
        with self._clock.lock:
            if self._master < 0:
                return
            self._console.pulled = True
            if self.name.is_symlink():
                self.name.unlink()
            self._shut()

    def send(self, data: bytes) -> None:
        if self._master < 0:
            return
        if not self._open and self._hung_up():
            self.unheard += len(data)
            return
        try:
            sent = os.write(self._master, data)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EIO):
                raise
            sent = 0
        self.unheard += len(data) - sent

    def close(self) -> None:
        self._shut()
        if self.name.is_symlink():
            self.name.unlink()

    def _link_to(self, device: str) -> None:
        # made beside and renamed: the name never points to nothing
        fresh = self.name.with_name(f".{self.name.name}.new")
        if self.name.exists() and not self.name.is_symlink():
            raise SimulatorError(f"{self.name} exists and is no symbolic link: choose another folder")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(device)
        fresh.replace(self.name)

    def _shut(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._master >= 0:
            if self._open:
                self._clock.unwatch(self._master)
            os.close(self._master)
            self._master = -1
            self._open = False

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def _watch_for_opening(self) -> None:
        self._look = None
        if self._master < 0:
            return
        if self._hung_up():
            self._look = self._clock.at(self._clock.now_us + _LOOK_US, self._watch_for_opening)
        else:
            self._open = True
            self._clock.watch(self._master, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""  # closed at the other end
        if data:
            self._console.write(data)
        else:
            self._clock.unwatch(self._master)
            self._open = False
            termios.tcflush(self._master, termios.TCIOFLUSH)
            self._look = self._clock.at(self._clock.now_us + _LOOK_US, self._watch_for_opening)


class TcpLine:
    """A TCP port on the loopback interface (pySerial: `socket://127.0.0.1:PORT`); one client at a time, a later one waits its turn."""

    def __init__(self, clock: Clock, console: Console, port: int = 0) -> None:
        self.unheard = 0
        self._clock = clock
        self._console = console
        self._client: socket.socket | None = None
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._server.bind(("127.0.0.1", port))
        except OSError as error:
            self._server.close()
            raise SimulatorError(f"port {port} cannot be opened: {error.strerror}") from error
        self._server.listen(1)
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        clock.watch(self._server.fileno(), self._accept)
        console.lines.append(self)

    def send(self, data: bytes) -> None:
        sent = 0
        if self._client is not None:
            try:
                sent = self._client.send(data)
            except BlockingIOError:
                pass
            except OSError:
                self._drop()
        self.unheard += len(data) - sent

    def pull(self) -> None:
        """Break the connection."""
        with self._clock.lock:
            if self._client is not None:
                self._drop()

    def close(self) -> None:
        if self._client is not None:
            self._clock.unwatch(self._client.fileno())
            self._client.close()
            self._client = None
        else:
            self._clock.unwatch(self._server.fileno())
        self._server.close()

    def _accept(self) -> None:
        try:
            self._client, _ = self._server.accept()
        except BlockingIOError:
            return
        self._client.setblocking(False)
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clock.unwatch(self._server.fileno())
        self._clock.watch(self._client.fileno(), self._readable)

    def _readable(self) -> None:
        assert self._client is not None
        try:
            data = self._client.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._console.write(data)
        else:
            self._drop()

    def _drop(self) -> None:
        assert self._client is not None
        self._clock.unwatch(self._client.fileno())
        self._client.close()
        self._client = None
        self._clock.watch(self._server.fileno(), self._accept)
