"""The virtual board's port: a TCP server that speaks RFC 2217 (telnet with a serial port's settings and lines), and the rate of its line."""

from __future__ import annotations

import random
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serial import rfc2217

from felinar_sim.clock import RealClock
from felinar_sim.errors import SimulatorError

_IAC = b"\xff"
_PIECE = 65_536  # bytes taken from the network at once
_QUEUE_MOST = 262_144  # bytes that may wait for a throttled line: what a driver's buffer and a network's hold
_RETRY_US = 1000
_TOLERANCE = 0.03  # rates further apart than this do not understand each other


@dataclass(slots=True)
class Traffic:
    """Bytes that have passed, and how long they take on a line: ten bits each at the rate that was set. `in` is towards the board."""

    bytes_in: int = 0
    bytes_out: int = 0
    in_s: float = 0.0
    out_s: float = 0.0

    @property
    def line_s(self) -> float:
        """Seconds for both directions, one after the other, as request and answer are."""
        return self.in_s + self.out_s


class _Device:
    """What pySerial's PortManager takes for the serial port: settings are kept, lines and buffers are handed on."""

    cts = dsr = cd = True
    ri = False

    def __init__(self, port: RfcPort) -> None:
        self._port = port
        self.bytesize, self.parity, self.stopbits = 8, "N", 1
        self.xonxoff = self.rtscts = self.break_condition = False
        self._dtr = self._rts = False

    @property
    def baudrate(self) -> int:
        return self._port.baud

    @baudrate.setter
    def baudrate(self, value: int) -> None:
        self._port.baud = value

    @property
    def dtr(self) -> bool:
        return self._dtr

    @dtr.setter
    def dtr(self, value: bool) -> None:
        self._dtr = value
        self._port.on_lines(self._dtr, self._rts)

    @property
    def rts(self) -> bool:
        return self._rts

    @rts.setter
    def rts(self, value: bool) -> None:
        self._rts = value
        self._port.on_lines(self._dtr, self._rts)

    def reset_input_buffer(self) -> None:
        self._port.forget_output()

    def reset_output_buffer(self) -> None:
        """Whatever came before this is with the chip already."""


class RfcPort:
    """One port of the loopback interface; one client at a time, a later one waits its turn.

    `throttle` makes the line as slow as a real one of the rate that is set. `chip_baud` is what the other end is set to (None: whatever
    the host uses, as of a ROM that measures it); where the two differ, and above `max_baud`, only noise comes through. `drop_after` is after
    how many more bytes towards the board the adapter drops out, for `gone_s` seconds.
    """

    def __init__(self, clock: RealClock, port: int = 0, *, throttle: bool = False, max_baud: int | None = None) -> None:
        self.on_lines: Callable[[bool, bool], None] = lambda dtr, rts: None
        self.on_data: Callable[[bytes], None] = lambda data: None
        self.baud = 115_200
        self.chip_baud: int | None = None
        self.max_baud, self.throttle = max_baud, throttle
        self.drop_after: int | None = None
        self.gone_s = 15.0
        self.traffic = Traffic()
        self.connections = 0
        self.unheard = 0
        """Bytes of the board for which nobody was there."""
        self._clock = clock
        self._noise = random.Random("noise")
        self._client: socket.socket | None = None
        self._manager: Any = None
        self._device = _Device(self)
        self._in_free_us = self._out_free_us = 0
        self._due_in: deque[bytes] = deque()
        self._due_out: deque[tuple[int, bytes]] = deque()
        self._unsent = bytearray()
        self._flushing = self._pumping = self._paused = False
        self._queued = 0
        self._server: socket.socket | None = None
        self.number = port
        try:
            self.plug()
        except OSError as error:
            raise SimulatorError(f"port {port} cannot be opened: {error.strerror}") from error

    # The board's side

    def send(self, data: bytes) -> None:
        """Bytes of the board."""
        if self._client is None:
            self.unheard += len(data)
            return
        if not self._understood():
            data = self._noise.randbytes(len(data))
        took = len(data) * 10 / self.baud
        self.traffic.bytes_out += len(data)
        self.traffic.out_s += took
        if not self.throttle:
            self.write(data.replace(_IAC, _IAC * 2))
            return
        self._out_free_us = max(self._out_free_us, self._clock.now_us) + round(took * 1e6)
        self._due_out.append((self._out_free_us, data))
        if not self._pumping:
            self._pump()

    def forget_output(self) -> None:
        """Drop what has not reached the host's end of the line yet."""
        self._due_out.clear()
        self._out_free_us = 0

    def pull(self) -> None:
        """Pull the cable: the connection breaks, and another one is refused until `plug`."""
        if self._client is not None:
            self._drop()
        if self._server is not None:
            self._clock.unwatch(self._server.fileno())
            self._server.close()
            self._server = None

    def plug(self) -> None:
        """Put the cable in (again), under the number that the port has had; a number of 0 takes a free one."""
        if self._server is not None:
            return
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", self.number))
            server.listen(1)
        except OSError:
            server.close()
            raise
        server.setblocking(False)
        self.number = server.getsockname()[1]
        self._server = server
        self._clock.watch(server.fileno(), self._accept)

    def close(self) -> None:
        """Let go of everything."""
        self.pull()

    # The network's side

    def write(self, data: bytes) -> None:
        """What PortManager wants to say, and data that is escaped already."""
        self._unsent += data
        if not self._flushing:
            self._flush()

    def _flush(self) -> None:
        self._flushing = False
        if self._client is None:
            self._unsent.clear()
            return
        try:
            while self._unsent:
                del self._unsent[: self._client.send(self._unsent)]
        except BlockingIOError:
            self._flushing = True
            self._clock.at(self._clock.now_us + _RETRY_US, self._flush)
        except OSError:
            self._drop()

    def _accept(self) -> None:
        if self._client is not None or self._server is None:
            return
        try:
            self._client, _ = self._server.accept()
        except BlockingIOError:
            return
        self.connections += 1
        self._client.setblocking(False)
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clock.unwatch(self._server.fileno())
        self._device = _Device(self)
        self._clock.watch(self._client.fileno(), self._readable)
        self._manager = rfc2217.PortManager(self._device, self)  # speaks at once, to a client that may be gone

    def _readable(self) -> None:
        client = self._client
        assert client is not None
        try:
            data = client.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop()
            return
        while data and self._client is client:
            data = self._take(data)

    def _take(self, data: bytes) -> bytes:
        """Deliver what comes before the next telnet command and carry that out; what is left of the data."""
        manager = self._manager
        if manager.mode != rfc2217.M_NORMAL or manager.suboption is not None:
            return self._command(data)
        plain = bytearray()
        while True:
            at = data.find(_IAC)
            plain += data[:at] if at >= 0 else data
            data = data[at:] if at >= 0 else b""
            if data[1:2] != _IAC:
                break
            plain += _IAC
            data = data[2:]
        if plain:
            self._deliver(bytes(plain))
        return self._command(data) if self._client is not None else b""

    def _command(self, data: bytes) -> bytes:
        """Byte by byte, until the command has ended."""
        for i in range(len(data)):
            rest = b"".join(self._manager.filter(data[i : i + 1]))
            if rest:
                self._deliver(rest)
            if self._manager.mode == rfc2217.M_NORMAL and self._manager.suboption is None:
                return data[i + 1 :]
        return b""

    def _understood(self) -> bool:
        if self.max_baud is not None and self.baud > self.max_baud:
            return False
        return self.chip_baud is None or abs(self.baud - self.chip_baud) <= _TOLERANCE * self.chip_baud

    def _deliver(self, data: bytes) -> None:
        breaks = self.drop_after is not None and len(data) >= self.drop_after
        if self.drop_after is not None:
            data, self.drop_after = data[: self.drop_after], None if breaks else self.drop_after - len(data)
        took = len(data) * 10 / self.baud
        self.traffic.bytes_in += len(data)
        self.traffic.in_s += took
        if not self._understood():
            data = self._noise.randbytes(len(data))
        if not self.throttle:
            self.on_data(data)
        else:
            self._in_free_us = max(self._in_free_us, self._clock.now_us) + round(took * 1e6)
            self._due_in.append(data)
            self._queued += len(data)
            self._clock.at(self._in_free_us, lambda client=self._client: self._arrived(client))  # type: ignore[misc]
            self._pause()
        if breaks:
            self.pull()
            self._clock.at(self._clock.now_us + round(self.gone_s * 1e6), self.plug)

    def _pause(self) -> None:
        """Take nothing more from the network while too much waits for the line, and go on when it has passed."""
        client, full = self._client, self._queued > _QUEUE_MOST
        if client is None or full == self._paused:
            return
        self._paused = full
        if full:
            self._clock.unwatch(client.fileno())
        else:
            self._clock.watch(client.fileno(), self._readable)

    def _arrived(self, client: socket.socket | None) -> None:
        if not self._due_in or client is not self._client:
            return
        data = self._due_in.popleft()
        self._queued -= len(data)
        self._pause()
        self.on_data(data)

    def _pump(self) -> None:
        self._pumping = False
        now = self._clock.now_us
        while self._due_out and self._due_out[0][0] <= now:
            self.write(self._due_out.popleft()[1].replace(_IAC, _IAC * 2))
        if self._due_out:
            self._pumping = True
            self._clock.at(self._due_out[0][0], self._pump)

    def _drop(self) -> None:
        client, self._client = self._client, None
        assert client is not None
        if not self._paused:
            self._clock.unwatch(client.fileno())
        client.close()
        self._paused, self._queued = False, 0
        self._due_out.clear()
        self._due_in.clear()
        self._unsent.clear()
        if self._server is not None:
            self._clock.watch(self._server.fileno(), self._accept)
        self.on_lines(False, False)
