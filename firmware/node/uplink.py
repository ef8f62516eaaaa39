"""The conversation with the host: HELLO until TIME, kept messages until acknowledged, commands answered once."""

import os

import machine
import micropython
from felinar_wire import WireError, codec, frame, kept, schema
from micropython import const

from node import lamp as modes

VERSION = (0, 1, 0)

_EVERYONE = const(65535)
_WINDOW = const(8)  # kept messages in flight
_REPEAT_S = const(3)  # doubling
_REPEAT_MOST_S = const(60)
_HELLO_S = const(2)  # doubling
_HELLO_MOST_S = const(30)
_RESULTS = const(8)  # commands remembered, so that a repeated one does nothing
_LONGEST_PERIOD = const(86400)
_SILENT_S = const(300)
_PART = const(10)  # bytes of CONFIG_PART before its data
_CHALLENGE = const(0x1A)  # felinar_wire.core, which a node does not load


class Uplink:
    """Everything here returns at once: `step` each second while `busy` and after each append, `take` for each frame."""

    def __init__(self, app, send, uid: bytes) -> None:
        self._app = app
        self._send_frame = send
        self._uid = uid
        self._counter = 0
        self._nonce = 0
        self._hello_due = 0  # uptime; -1 when a TIME has answered
        self._hello_wait = _HELLO_S
        self._flight: list = []  # [boot, seq, payload, kind, due, wait], in the outbox's order
        self._results: list = []  # (id, body)
        self.heard = False  # somebody is there
        self._heard_at = 0
        self.bad = 0  # frames that made no sense

    # Out

    def _send(self, kind: int, payload: bytes) -> None:
        self._send_frame(frame.pack(kind, self._app.config.address, self._counter, payload))
        self._counter = self._counter + 1 & 0xFFFF

    def _say(self, kind: int, values: list) -> None:
        self._send(kind, codec.encode(kind, values))

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

    def _hello(self) -> None:
        app = self._app
        uid = self._uid
        self._nonce = int.from_bytes(os.urandom(3), "big")
        oldest = app.outbox.oldest()
        # All of this boot below `first` is with the host or dropped.
        first = app.seq + 1
        if oldest:
            first = oldest[2] if oldest[1] == app.boot else 1
        values = [schema.VERSION]
        for i in (0, 2, 4):
            values.append(uid[i] << 8 | uid[i + 1])
        values.append(app.boot)
        values.extend(VERSION)
        values.extend((app.health.reset, int(app.clock.trusted), self._nonce, first, app.seq))
        self._say(schema.HELLO, values)

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

    def _obey(self, kind: int, payload: bytes) -> None:
        """Do what a genuine message says. Raises WireError when it makes no sense."""
        handler = getattr(self, _HANDLERS.get(kind, ""), None)
        if kind in (schema.CONFIG_PART, _CHALLENGE, schema.REKEY) and len(payload) > _PART:
            values = (payload,)
        else:
            values = codec.decode(kind, payload)
        # Of a program of the lamp the steps may be missing.
        numbers = values[:5] if kind == schema.SCHEDULE else values
        if handler is None or not all(isinstance(value, (int, bytes)) for value in numbers):
            raise WireError("kind")
        self.heard = True
        self._heard_at = self._app.clock.up()
        handler(*values)

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

    def _query(self, what: int) -> None:
        if what == schema.QUERY_HELLO:
            self.greet()
        elif what == schema.QUERY_HEALTH:
            self._say(schema.HEALTH, self._app.health_values())

    def _ack(self, boot: int, base: int, bitmap: int) -> None:
        if not self._app.outbox.acknowledge(boot, base, bitmap):
            return
        waiting = {(item[1], item[2]) for item in self._app.outbox.peek(2 * _WINDOW)}
        self._flight = [item for item in self._flight if (item[0], item[1]) in waiting]

    def _answer(self, id: int, code: int) -> None:
        level = self._app.policy.level
        body = codec.encode(schema.RESULT, [id, code, level, int(level > 0)])
        if code != schema.RESULT_MISSING:  # which is no last word
            self._results.append((id, body))
            if len(self._results) > _RESULTS:
                self._results.pop(0)
        self._send(schema.RESULT, body)

    def _known(self, id: int) -> bool:
        """Whether this command was carried out before; its first answer is then given again."""
        for known, body in self._results:
            if known == id:
                self._send(schema.RESULT, body)
                return True
        return False

    def _lamp_set(self, id: int, mode: int, level: int, fade: int, ttl: int, reason: int) -> None:
        if self._known(id):
            return
        if mode != modes.AUTO and not ttl:
            self._answer(id, schema.RESULT_EXPIRED)
            return
        app = self._app
        if app.policy.safe:
            self._answer(id, schema.RESULT_REFUSED)
            return
        app.override(mode, level, ttl, fade, reason)
        self._answer(id, schema.RESULT_APPLIED)

    def _config(self, id: int, key: int, value: int) -> None:
        if self._known(id):
            return
        app = self._app
        code = schema.RESULT_APPLIED
        if key != schema.CONFIG_REPORT_S and key != schema.CONFIG_SAFE:
            code = schema.RESULT_UNKNOWN_KEY
        elif not 0 <= value <= (_LONGEST_PERIOD if key == schema.CONFIG_REPORT_S else 1):
            code = schema.RESULT_OUT_OF_RANGE
        elif key == schema.CONFIG_SAFE:
            app.set_safe(value)
        else:
            app.set_period(value)
        self._answer(id, code)

    def _schedule(self, id: int, *program) -> None:
        if not self._known(id):
            self._answer(id, self._app.change(program))

    def _part(self, payload: bytes) -> None:
        id = payload[0] << 8 | payload[1]
        if not self._known(id):
            self._answer(id, self._app.change(payload))

    def _challenge(self, nonce: bytes) -> None:
        from node import prove

        prove.answer(self, nonce)


_HANDLERS = {
    schema.TIME: "_time",
    schema.QUERY: "_query",
    schema.ACK: "_ack",
    schema.LAMP_SET: "_lamp_set",
    schema.CONFIG: "_config",
    schema.SCHEDULE: "_schedule",
    schema.CONFIG_PART: "_part",
    schema.REKEY: "_rekey",
    _CHALLENGE: "_challenge",
}


def open(app):
    """(line, uplink) of a node with a wired line."""
    from node.line import Line

    micropython.kbd_intr(-1)
    line = Line(app.board, lambda data: app.uplink.take(data), app._typed)
    return line, Uplink(app, line.send, machine.unique_id())
