"""What a host asks and orders, by wire or by radio: each order is carried out once, and answered as often as it comes."""

# `_send` and `greet` are those of who inherits; to declare them here would cost each node memory.
# pyright: reportAttributeAccessIssue=false

import os

from felinar_wire import WireError, codec, schema
from micropython import const

from node import lamp as modes

VERSION = (0, 1, 0)

_RESULTS = const(8)  # commands remembered, so that a repeated one does nothing
_LONGEST_PERIOD = const(86400)
_PART = const(10)  # bytes of CONFIG_PART before its data
_CHALLENGE = const(0x1A)  # felinar_wire.core, which a node does not load


class Orders:
    """Everything here returns at once. `_obey` is for each message; whoever inherits has `_send(kind, payload)` and `greet`."""

    def __init__(self, app, uid: bytes) -> None:
        self._app = app
        self._uid = uid
        self._nonce = 0
        self._results: list = []  # (id, body)
        self.heard = False  # somebody is there
        self._heard_at = 0
        self.bad = 0  # frames that made no sense

    def _say(self, kind: int, values: list) -> None:
        self._send(kind, codec.encode(kind, values))

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

    def _query(self, what: int) -> None:
        if what == schema.QUERY_HELLO:
            self.greet()
        elif what == schema.QUERY_HEALTH:
            self._say(schema.HEALTH, self._app.health_values())

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
