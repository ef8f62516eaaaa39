"""What a lamp says and hears on the air: joins, its session, group frames, what is to be acknowledged."""

# What a session or a group was begun for is there; messages of ours have no other values than their tables say.
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportOperatorIssue=false

import gc
import os
import sys

import esp32
from felinar_air.node import compose
from felinar_air.plan import BEACONS, BRIDGES
from felinar_wire import WireError, codec, frame, kept, schema, tesla
from felinar_wire.clock import Clock
from felinar_wire.session import Session, count
from micropython import const

from node import lamp as modes
from node.orders import Orders

JOIN = 0  # reasons to contend
EVENT = 1
TIME = 2

# Events that do not wait for the own slot.
_FIRST = schema.EVENT_RELAY_FAILURE
_LAST = schema.EVENT_CONFIG_ROLLED_BACK
_PEEK = const(24)
_OLD = const(3)  # reports that ride along with a new one
_MANY = const(8)  # reports that are missing; then as many as fit
_WHOLE = const(40)  # bytes of a frame with one report, about
_ROW = const(13)  # and of each more
_ROOM = const(5000)  # bytes of heap that each more takes while the frame is made, twice what a chip needs
_EVENT_MS = const(8000)  # until an alarm is repeated, doubling
_EVENT_MOST_MS = const(300000)
_TIME_MS = const(21600000)  # between questions for the time
_TIME_AGAIN_MS = const(60000)
_UNSURE_MS = const(4000)  # error of the clock with which it does not wait
_SILENT_S = const(300)
_IDS = const(8)
_RSSI = const(22)  # place in a report
_NEVER = const(0x3FFFFFFFFFFF)


class Link(Orders):
    """The node's end of its session. `radio` says when; its `wish` is set here. `reply` goes out at once.

    Without a root key in NVS (felinar/key) the node listens and says nothing.
    """

    def __init__(self, app, radio, uid: bytes) -> None:
        super().__init__(app, uid)
        self._radio = radio
        self._nvs = esp32.NVS("felinar")
        self._root = self._blob("key", 16)
        self._zones = self._blob("zones", 72)
        self._join: "tuple | None" = None  # (counter, JOIN_REQ, when it went out)
        self._session: "Session | None" = None  # begun in node.joining, as is the group
        self._group: "tesla.Group | None" = None
        self._clock = Clock()
        self._newest = None  # (seq, body) of the newest report, while it is pending
        self._base = None  # (seq, values) of the newest report of this boot whose acknowledgement was verified
        self._turn = 2  # which of reports, those of an earlier boot and events went out last
        self._wait = _EVENT_MS
        self._time_at = 0
        self._asked_at = 0
        self._acted: list = []  # ids of group commands that were proven
        self._once = None  # the "on" that came at once
        self._before = None  # the order that an "on" without proof has replaced
        self.reply: list = []
        self.due = _NEVER  # when `step` has something to look at

    @property
    def busy(self) -> bool:
        """Nothing that the node's own tick would have to look at."""
        return False

    def _blob(self, name: str, most: int) -> bytes:
        data = bytearray(most)
        try:
            return bytes(data[: self._nvs.get_blob(name, data)])
        except OSError:
            return b""

    def alone(self, up: int) -> bool:
        """Whether no bridge could be verified for minutes."""
        return not self._session or up - self._heard_at > _SILENT_S

    # From the air

    def hear(self, data: bytes, began: int, rssi: int) -> None:
        """Take a frame that began at a time of the radio's."""
        try:
            kind, address, low, payload = frame.unpack(data, 1)
            mine = address == self._app.config.address
            if kind >> 4 == 2:
                self._group_frame(data, kind, address, low, payload, began, rssi)
            elif not mine:
                if kind == schema.JOIN_ACC:
                    self._radio.access.crowd += 1
                else:
                    self._radio.access.overheard(self._radio.now())
                return
            elif kind == schema.JOIN_ACC:
                self._accept(data)
            elif self._session:
                kind, _, body = self._session.open(data)
                self._obey(kind, body)
            self._app.period.add(_RSSI, rssi)
        except WireError:
            self.bad += 1

    def _group_frame(
        self, data: bytes, kind: int, address: int, low: int, payload: bytes, began: int, rssi: int
    ) -> None:
        access = self._radio.access
        bridge = address - BEACONS
        beacon = kind == schema.BEACON and 0 <= bridge < BRIDGES
        group = self._group
        if beacon and len(payload) < 29:
            raise WireError("short")
        if not group or (beacon and bridge != access.frame.bridge):
            if beacon:
                self._beacon(bridge, low, payload[:-8], began, rssi, False)
            return
        if 0 <= bridge < BRIDGES and bridge == access.frame.bridge and address not in group.last:
            group.last[address] = 0
        now = self._radio.now()
        time, bound = self._clock.now(now)
        counts = group.counts
        bad = counts.get("tag", 0)
        try:
            events = group.receive(data, time, bound)
        except WireError as error:
            if error.reason != "replay" and error.reason != "address":
                self.bad += 1
            if beacon and error.reason != "replay":
                # It is there, and can't be verified.
                n = time // tesla.INTERVAL
                n += ((low >> 8) - n + 128 & 255) - 128
                self._beacon(bridge, n << 8 | low & 255, payload[:-8], began, rssi, False)
            return
        self.bad += counts.get("tag", 0) - bad  # frames that were held until now
        for what, kind, address, counter, body in events:
            if kind == schema.BEACON:
                bridge = address - BEACONS
                if what == "held":
                    self._beacon(bridge, counter, body, began, rssi, True)
                else:
                    self.heard = True
                    self._heard_at = self._app.clock.up()
                    self._app.policy.set_at = self._heard_at
                    self._stored(access.verified(bridge, counter, body))
            elif kind == schema.GROUP_LAMP:
                self._group_lamp(what, body)

    def _beacon(self, bridge: int, counter: int, body: bytes, began: int, rssi: int, lasting: bool) -> None:
        access = self._radio.access
        access.heard(bridge, counter, body, began, rssi, lasting)
        if self._root and access.joining and bridge == access.frame.bridge:
            at = access.join(self._radio.now())
            if at:
                self._radio.wish[JOIN] = at

    def _stored(self, what) -> None:
        """The host has durably stored what went out in the own slot."""
        if not what:
            return
        boot, seqs, row = what
        while seqs:
            base = seqs[0] // 32 * 32
            bitmap = 0
            for seq in seqs:
                if seq - base < 32:
                    bitmap |= 1 << seq - base
            self._ack(boot, base, bitmap)
            seqs = [seq for seq in seqs if seq - base > 31]
        if row and boot == self._app.boot and (not self._base or row[0] > self._base[0]):
            self._base = row

    def _ack(self, boot: int, base: int, bitmap: int) -> None:
        self._app.outbox.acknowledge(boot, base, bitmap)
        new = self._newest
        if new and boot == self._app.boot and 0 <= new[0] - base < 32 and bitmap >> new[0] - base & 1:
            self._newest = None

    # Joining, loaded when it is time

    def _request(self) -> bytes:
        if not self._join or self._join[2]:
            from node import joining

            try:
                joining.request(self)
            finally:
                _let_go()
        return self._join[1]

    def _accept(self, data: bytes) -> None:
        if not self._join or not self._join[2]:
            raise WireError("kind")
        from node import joining

        try:
            joining.accept(self, data)
        finally:
            _let_go()
        now = self._radio.now()
        self._radio.wish[JOIN] = 0
        self.heard = True
        self._heard_at = self._app.clock.up()
        self._set_clock(now)
        self._alarm()

    def _set_clock(self, now: int) -> None:
        time, bound = self._clock.now(now)
        self._app.set_clock(time // 1000, time % 1000)
        self._time_at = now + (_TIME_AGAIN_MS if bound > _UNSURE_MS else _TIME_MS)

    def _time(self, nonce: int, time: int, ms: int) -> None:
        if nonce == self._nonce and self._asked_at:
            now = self._radio.now()
            self._clock.exchange(time * 1000 + ms, self._asked_at, now)
            self._asked_at = 0
            self._set_clock(now)

    # Groups

    def _group_lamp(self, what: str, body: bytes) -> None:
        app = self._app
        policy = app.policy
        id, mode, level, fade, ttl = body[0] << 8 | body[1], body[2], body[3], body[4], (body[5] << 8 | body[6]) * 10
        if what == "take back":
            before = self._before
            self._before = self._once = None
            if before:
                mode, level, until, reason = before
                app.override(mode, level, max(until - app.clock.up(), 0), 0, reason)
            return
        if id in self._acted or mode > modes.DIM or level > 100 or (mode and not ttl) or policy.safe:
            return
        if what == "at once":
            # Who has a zone's key may give it any id: it proves nothing of what else has that id.
            self._once = body
            self._before = (modes.AUTO, 0, 0, 0)
            if policy.mode:
                self._before = (policy.mode, policy._level, policy._until, policy.reason)
            self.due = self._radio.now() + 1000
        else:
            self._acted.append(id)
            if len(self._acted) > _IDS:
                del self._acted[0]
            self._before = None  # what a genuine order has replaced is not to come back
            if body == self._once:
                return  # has acted
        app.override(mode, level, ttl, fade, body[7])

    def _lamp_set(self, id: int, mode: int, level: int, fade: int, ttl: int, reason: int) -> None:
        self._before = None  # is not to come back
        super()._lamp_set(id, mode, level, fade, ttl, reason)

    # What goes out

    def _send(self, kind: int, payload: bytes) -> None:
        if self._session:
            self.reply.append(self._session.seal(kind, payload))

    def greet(self) -> None:
        """Say HELLO, once."""
        self._hello()

    def _query(self, what: int) -> None:
        if what == schema.QUERY_WHOLE:
            self._base = None
        else:
            super()._query(what)

    def _rekey(self, payload: bytes) -> None:
        id = payload[0] << 8 | payload[1]
        if not self._known(id):
            from node import joining

            try:
                code = joining.rekey(self, payload)
            finally:
                _let_go()
            self._answer(id, code)

    def frame(self, limit: int, n: int):
        """(frame, what it acknowledges to) for the own slot of interval n, (b"", None) when there is nothing to say."""
        app = self._app
        mine = app.boot
        if not self._session or not app.outbox.pending:
            return b"", None
        gc.collect()
        most = min((limit - _WHOLE) // _ROW, _MANY, gc.mem_free() // _ROOM)
        items = app.outbox.peek(most + _OLD + _IDS)
        reports = [item for item in items if item[0] == schema.REPORT]
        events = [item for item in items if item[0] == schema.EVENT]
        own = [item for item in reports if item[1] == mine]
        old = [item for item in reports if item[1] != mine]
        if self._newest and not (own and own[-1][2] == self._newest[0]):
            own.append((schema.REPORT, mine, self._newest[0], self._newest[1]))
        # Each kind has its turn, as one frame holds one kind; but reports that wait for the third time go first.
        kinds = (own, old, events)
        turn = self._turn
        for _ in kinds:
            turn = (turn + 1) % 3
            if kinds[turn]:
                break
        else:
            return b"", None
        if len(own) > 2:
            turn = 0
        self._turn = turn
        some = kinds[turn]
        boot = some[0][1]
        try:
            if some is events:
                return self._event_frame(events[0], n), (boot, [events[0][2]], None)
            if some is old:
                some = [item for item in old if item[1] == boot][: most + 1]
            else:
                some = some[:-1][: min(most, _OLD) if len(some) < _MANY else most] + some[-1:]
            rows = [(item[2], codec.decode(schema.REPORT, item[3])) for item in some]
            items = reports = events = own = old = kinds = some = None  # to make room
            session = self._session
            if boot == mine:
                session.sent = max(session.sent, 4 * rows[-1][0] - 1)
            expect = kept.expected(session.sent + 1)
            base = self._base if boot == mine else None
            while True:
                try:
                    kind, payload, seqs = compose(rows, base, limit, boot, mine, expect)
                    break
                except MemoryError:
                    if len(rows) < 2:
                        raise
                    count(self._radio.counts, "memory")
                    rows = rows[: (len(rows) - 1) // 2] + rows[-1:]
            row = rows[-1]
            return session.seal(kind, payload, n), (boot, seqs, row if row[0] in seqs else None)
        except WireError as error:
            count(self._radio.counts, error.reason)
            return b"", None

    def _event_frame(self, item: tuple, n: int) -> bytes:
        kind, boot, seq, body = item
        session = self._session
        mine = self._app.boot
        if boot == mine:
            session.sent = max(session.sent, 4 * seq - 1)
        return session.seal(kind, kept.pack(boot, seq, mine, body, kept.expected(session.sent + 1)), n)

    def _urgent(self):
        """The oldest alarm that the host has not acknowledged; others wait for the own slot."""
        for item in self._app.outbox.peek(_IDS):
            if item[0] == schema.EVENT and _pressing(item[3]):
                return item
        return None

    def _alarm(self) -> None:
        radio = self._radio
        if self._session and not radio.wish[EVENT] and self._urgent():
            self._wait = _EVENT_MS
            radio.wish[EVENT] = radio.access.contend(radio.now(), _PEEK)

    def ask(self, reason: int) -> bytes:
        """What is to be sent in contention; empty when it is not wanted any more."""
        if reason == JOIN:
            try:
                return self._request() if self._radio.access.joining else b""
            except WireError as error:
                count(self._radio.counts, error.reason)
                return b""
        if not self._session or self._radio.access.joining:
            return b""
        if reason == EVENT:
            item = self._urgent()
            return self._event_frame(item, 0) if item else b""
        self._nonce = int.from_bytes(os.urandom(3), "big")
        return self._session.seal(schema.TIME_REQ, codec.encode(schema.TIME_REQ, [self._nonce]))

    def asked(self, reason: int, now: int) -> None:
        """It went out."""
        radio = self._radio
        if reason == JOIN:
            radio.access.tries += 1
            self._join = (self._join[0], self._join[1], now)
        elif reason == TIME:
            self._asked_at = now
        else:
            wait = self._wait
            self._wait = min(2 * wait, _EVENT_MOST_MS)
            wait += int.from_bytes(os.urandom(2), "big") * wait >> 16
            radio.wish[EVENT] = radio.access.contend(now + wait, _PEEK)

    def step(self, kind: int = 0, body: bytes = b"") -> None:
        """A message was kept; or, without one, time has passed."""
        if kind == schema.REPORT and body:
            self._newest = (self._app.seq, body)
        elif kind == schema.EVENT and body and _pressing(body):
            self._alarm()
            self._radio.wake()

    def look(self, now: int) -> None:
        """Every second or so of the radio's time."""
        group = self._group
        self.due = _NEVER
        if not group:
            return
        event = group.poll(self._clock.now(now)[0])
        if event:
            self._group_lamp(event[0], event[4])
        if self._before:
            self.due = now + 1000
        radio = self._radio
        if not radio.wish[TIME] and now >= self._time_at and not radio.access.joining:
            self._time_at = now + _TIME_AGAIN_MS
            radio.wish[TIME] = radio.access.contend(now, _PEEK)


def _pressing(body: bytes) -> bool:
    return _FIRST <= codec.decode(schema.EVENT, body)[2] <= _LAST


def _let_go() -> None:
    """What joins need takes no memory until the next one."""
    for package, name in (("node", "joining"), ("felinar_wire", "join")):
        if sys.modules.pop(package + "." + name, None):
            delattr(sys.modules[package], name)
