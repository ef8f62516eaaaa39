"""The conversation with a host by wire: HELLO until TIME, kept messages until acknowledged. Loaded only where the line is one."""

import machine
import micropython
from felinar_wire import WireError, frame, kept
from micropython import const

from node.app import let_go
from node.orders import Orders

_EVERYONE = const(65535)
_WINDOW = const(8)  # kept messages in flight
_REPEAT_S = const(3)  # doubling
_REPEAT_MOST_S = const(60)
_HELLO_S = const(2)  # doubling
_HELLO_MOST_S = const(30)
_SILENT_S = const(300)


class Uplink(Orders):
    """Everything here returns at once: `step` each second while `busy` and after each append, `take` for each frame."""

    def __init__(self, app, send, uid: bytes) -> None:
        super().__init__(app, uid)
        self._send_frame = send
        self._counter = 0
        self._hello_due = 0  # uptime; -1 when a TIME has answered
        self._hello_wait = _HELLO_S
        self._flight: list = []  # [boot, seq, payload, kind, due, wait], in the outbox's order

    # Out

    def _send(self, kind: int, payload: bytes) -> None:
        self._send_frame(frame.pack(kind, self._app.config.address, self._counter, payload))
        self._counter = self._counter + 1 & 0xFFFF

    def step(self, kind: int = 0, body: bytes = b"") -> None:
        """Send what is due; after a message was kept, its kind and body are told."""
        app = self._app
        up = app.clock.up()
        if 0 <= self._hello_due <= up:
            self._hello()
            self._hello_due = up + self._hello_wait
            self._hello_wait = min(2 * self._hello_wait, _HELLO_MOST_S)
        if not self.heard:
            return
        flight = self._flight
        if len(flight) < _WINDOW and app.outbox.pending > len(flight):
            for kind, boot, seq, body in app.outbox.peek(_WINDOW):
                if len(flight) < _WINDOW and not any(item[1] == seq and item[0] == boot for item in flight):
                    flight.append([boot, seq, kept.pack(boot, seq, app.boot, body), kind, up, _REPEAT_S])
        for item in flight:
            if item[4] <= up:
                self._send(item[3], item[2])
                item[4] = up + item[5]
                item[5] = min(2 * item[5], _REPEAT_MOST_S)

    def greet(self) -> None:
        """Say HELLO now, and again until a TIME answers it."""
        self._hello_due = self._app.clock.up()
        self._hello_wait = _HELLO_S
        self.step()

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._hello_due >= 0 or len(self._flight) > 0

    def alone(self, up: int) -> bool:
        """Whether no host has given the time, or none has said anything for minutes."""
        return self._hello_due >= 0 or up - self._heard_at > _SILENT_S

    # In

    def take(self, data: bytes) -> None:
        """Take a frame from the host."""
        try:
            kind, address, _, payload = frame.unpack(data)
            if address in (self._app.config.address, _EVERYONE):
                self._obey(kind, payload)
                self.step()
        except WireError:
            self.bad += 1

    def _time(self, nonce: int, time: int, ms: int) -> None:
        if nonce != self._nonce or self._hello_due < 0:
            return
        if self._app.set_clock(time, ms):
            self._hello_due = -1
            up = self._app.clock.up()
            for item in self._flight:
                if item[5] > 2 * _REPEAT_S:  # repeated to nobody; somebody has come now
                    item[4] = up
                    item[5] = _REPEAT_S

    def _ack(self, boot: int, base: int, bitmap: int) -> None:
        if not self._app.outbox.acknowledge(boot, base, bitmap):
            return
        waiting = {(item[1], item[2]) for item in self._app.outbox.peek(2 * _WINDOW)}
        self._flight = [item for item in self._flight if (item[0], item[1]) in waiting]

    def _challenge(self, nonce: bytes) -> None:
        from node import prove

        prove.answer(self, nonce)


def _typed(app, text: str) -> None:
    """Answer a line that somebody has typed."""
    from node import console

    write = app.line.write
    try:
        for line in console.answer(app, text):
            write(b"\r\n" + line.encode())
    except Exception as error:
        write(repr(error).encode())
    write(b"\r\n")
    let_go()


def open(app):
    """(line, uplink) of a node with a wired line."""
    from node.line import Line

    micropython.kbd_intr(-1)
    line = Line(app.board, lambda data: app.uplink.take(data), lambda text: _typed(app, text))
    return line, Uplink(app, line.send, machine.unique_id())
