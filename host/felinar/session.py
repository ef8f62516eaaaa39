"""The host's side of one line, without I/O: bytes and time go in, bytes to send and facts come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from felinar_wire import WireError, codec, frame, kept, schema, serial

from felinar import bodies
from felinar.clock import Now
from felinar.facts import (
    Fact,
    Health,
    Hello,
    Kept,
    OrderAnswered,
    OrderExpired,
    OrderSent,
    Stale,
)
from felinar.tables import RELEASED, History

EVERYONE = 0xFFFF
"""The address of whoever is on the line."""
PING_S = 30.0
STALE_AFTER = 3
ANSWER_S = 3.0
RESYNC_S = 6 * 3600.0
"""In this time a node's crystal (20 ppm) drifts less than half a second; then it says HELLO and is given TIME again."""
RING = 250
"""Bytes that may lie unread in a node's console ring (it holds 260 and has no flow control)."""

_NODE_FRAME = 0
_QUIET_S = 1.0
_HOLD_S = 5.0
_HELD = 16
_REPEAT_S = (3.0, 6.0, 12.0, 30.0)
_ASK_HELLO_S = (2.0, 4.0, 8.0, 16.0, 30.0)
_PLAUSIBLE_UNIX = 1_767_225_600  # 2026-01-01: a host whose clock says less has not been set and must not set others
_FROM_NODE = frozenset((schema.HELLO, schema.REPORT, schema.EVENT, schema.HEALTH, schema.RESULT))


class Order(Protocol):
    """A command as the session sees it. `values` gives what to send at that Unix time, None once it has expired."""

    @property
    def node(self) -> int: ...
    @property
    def id(self) -> int: ...
    @property
    def kind(self) -> int: ...
    def values(self, unix: float) -> list[int] | None: ...


@dataclass(slots=True)
class _Queued:
    order: Order
    due: float
    tries: int = 0


@dataclass(slots=True)
class _Peer:
    """What is known of one node on this line since its last start."""

    uid: str
    boot: int
    schema: int
    counter: int
    doubted: bool = False
    placed: bool = False
    nonce: int | None = None
    resync: float = 0.0
    ping: float = 0.0
    held: list[Kept] = field(default_factory=list)
    held_until: float = 0.0
    orders: list[_Queued] = field(default_factory=list)


@dataclass(slots=True)
class _Awaited:
    node: int
    kind: int
    until: float
    id: int = 0


class Session:
    """One line's conversation. `now` goes into every call; nothing here waits, reads or writes.

    Each node is spoken to in the schema version that it announced. Of a node whose messages this host does not know, kept
    ones are taken as they are, unread, and orders wait (`docs/architecture.md`, Evolution). Every dropped frame is counted in `counts` by reason, next to frames and bytes each way.
    """

    def __init__(self, now: Now, *, history: History = RELEASED) -> None:
        self.counts: dict[str, int] = {"frames_in": 0, "frames_out": 0, "bytes_in": 0, "bytes_out": 0}
        self._history = history
        self._deframer = serial.Deframer(limit=frame.LONGEST + 1)
        self._peers: dict[int, _Peer] = {}
        self._acks: dict[tuple[int, int, int], int] = {}
        self._asked: set[int] = set()
        self._awaited: _Awaited | None = None
        self._counter = 0
        self._unread = 0
        self._last_sent = now.mono - _QUIET_S
        self._hello_due = now.mono
        self._hello_tries = 0
        self._unanswered = 0
        self.stale = False

    # What the rest of the daemon asks

    @property
    def nodes(self) -> tuple[int, ...]:
        """Addresses of the nodes that have said HELLO here."""
        return tuple(self._peers)

    @property
    def bad(self) -> dict[str, int]:
        """What was dropped so far, by reason."""
        other = {k: n for k, n in self.counts.items() if not k.startswith(("frames", "bytes"))}
        return {**self._deframer.bad, **other}

    def wake(self) -> float:
        """The monotonic time at which `tick` and `output` have something to do, when no bytes come before."""
        times = [self._awaited.until] if self._awaited else [self._next_due()]
        if self._acks:
            times.append(self._last_sent + _QUIET_S)
        times += [peer.held_until for peer in self._peers.values() if peer.held]
        return min(times)

    def acknowledge(self, node: int, uid: str, boot: int, base: int, bitmap: int) -> None:
        """Tell the node what is durably stored; of each base only the latest state goes out.

        `uid` is the board that it was stored of: another one that now has this address must not forget anything.
        """
        if (peer := self._peers.get(node)) and peer.uid == uid:
            self._acks[node, boot, base] = bitmap

    def order(self, order: Order, now: Now) -> None:
        """Send a command to a node of this line, and again until it answers or the command expires."""
        queue = self._peers[order.node].orders
        if all(queued.order.id != order.id for queued in queue):
            queue.append(_Queued(order, now.mono))

    def withdraw(self, node: int, id: int) -> None:
        """Stop sending a command."""
        if peer := self._peers.get(node):
            peer.orders = [queued for queued in peer.orders if queued.order.id != id]

    def ask_health(self, node: int) -> None:
        """Ask the node for HEALTH as soon as the line allows."""
        if node in self._peers:
            self._asked.add(node)

    # Input

    def receive(self, chunk: bytes, now: Now) -> list[Fact]:
        """Take bytes from the line, however they were cut."""
        self.counts["bytes_in"] += len(chunk)
        facts: list[Fact] = []
        for content in self._deframer.feed(chunk):
            try:
                facts += self._take(content, now)
            except WireError as error:
                self._count(error.reason)
        return facts

    def tick(self, now: Now) -> list[Fact]:
        """Let time act: answers that did not come, commands that ran out, messages held too long."""
        facts: list[Fact] = []
        awaited = self._awaited
        if awaited and now.mono >= awaited.until:
            self._awaited = None
            if awaited.kind == schema.HEALTH:
                self._unanswered += 1
                if self._unanswered == STALE_AFTER:
                    self.stale = True
                    facts.append(Stale(self._unanswered))
        for node, peer in self._peers.items():
            if peer.held and now.mono >= peer.held_until:
                facts += self._release(peer)
            for queued in list(peer.orders):
                if queued.order.values(now.unix) is None:
                    peer.orders.remove(queued)
                    facts.append(OrderExpired(node, queued.order.id))
        return facts

    def _take(self, content: bytes, now: Now) -> list[Fact]:
        if not content or content[0] != _NODE_FRAME:
            raise WireError("type")
        kind, node, counter, payload = frame.unpack(content[1:])
        if kind not in _FROM_NODE:
            raise WireError("direction")
        if not 0 < node < EVERYONE:
            raise WireError("address")
        self.counts["frames_in"] += 1
        if kind == schema.HELLO:
            return self._hello(node, counter, payload, now)
        peer = self._peers.get(node)
        if peer is None:
            self._ask_hello(now)
            raise WireError("unidentified")
        # A counter that steps back: the node started anew and its HELLO was lost, so its boot is not the one we know.
        if (counter - peer.counter) & 0xFFFF >= 0x8000:
            peer.doubted = True
        peer.counter = counter
        if peer.doubted:
            self._ask_hello(now)
            raise WireError("unidentified")
        if kind == schema.HEALTH:
            return self._health(node, peer, payload, now)
        if kind == schema.RESULT:
            return self._result(node, peer, payload, now)
        return self._kept(node, peer, kind, payload, now)

    def _named(self, peer: _Peer, kind: int, payload: bytes) -> dict[str, int | None]:
        """Values by name, None for what is missing or beyond its range. WireError("schema") when it can't be read."""
        history = self._history
        values = history.decode(peer.schema, kind, payload)
        named = history.named(kind, history.table(peer.schema, kind), values)
        return {name: value if isinstance(value, int) else None for name, value in named.items()}

    def _who(self, payload: bytes) -> dict[str, int]:
        """What a HELLO of any version says; it is useless unless all of its base fields are numbers."""
        table = self._history.latest[schema.HELLO]
        values = codec.decode(schema.HELLO, payload, None, 0, True, self._history.latest)
        found = {f[0]: v for f, v in zip(table[: schema.base(table)], values, strict=False) if isinstance(v, int)}
        if len(found) < schema.base(table):
            raise WireError("values")
        if tables := self._history.of(found["schema"]):
            codec.decode(schema.HELLO, payload, tables=tables)  # nothing else may stand behind it
        return found

    def _hello(self, node: int, counter: int, payload: bytes, now: Now) -> list[Fact]:
        v = self._who(payload)
        uid = f"{v['uid0']:04x}{v['uid1']:04x}{v['uid2']:04x}"
        self._answered(node, schema.HELLO)
        facts: list[Fact] = []
        old = self._peers.get(node)
        new = old is None or (old.uid, old.boot) != (uid, v["boot"])
        peer = _Peer(uid, v["boot"], v["schema"], counter, ping=now.mono) if old is None or new else old
        if old and new:
            facts += self._release(old)
            peer.orders = old.orders
            for queued in peer.orders:
                queued.due = now.mono
        peer.counter, peer.doubted, peer.schema = counter, False, v["schema"]
        peer.nonce, peer.resync = v["nonce"], now.mono + RESYNC_S
        self._peers[node] = peer
        self._hello_tries = 0
        firmware = f"{v['major']}.{v['minor']}.{v['patch']}"
        facts.append(
            Hello(node, uid, v["boot"], v["schema"], firmware, v["reset"], bool(v["clock"]), v["first"], v["last"], new)
        )
        return facts

    def _health(self, node: int, peer: _Peer, payload: bytes, now: Now) -> list[Fact]:
        if not self._history.readable(peer.schema, schema.HEALTH):
            # It is a sign of life all the same.
            self._count("frames_health_unread")
            self._answered(node, schema.HEALTH)
            return []
        values = self._named(peer, schema.HEALTH, payload)
        if values["boot"] not in (None, peer.boot):
            peer.doubted = True
            self._ask_hello(now)
            raise WireError("unidentified")
        self._answered(node, schema.HEALTH)
        peer.placed = True
        return [Health(node, peer.uid, peer.boot, now.unix, values["up"], values), *self._release(peer)]

    def _result(self, node: int, peer: _Peer, payload: bytes, now: Now) -> list[Fact]:
        v = self._named(peer, schema.RESULT, payload)
        id, code = v["id"], v["code"]
        if id is None or code is None:
            raise WireError("values")
        self._answered(node, schema.RESULT, id)
        if all(queued.order.id != id for queued in peer.orders):
            raise WireError("stray_result")
        self.withdraw(node, id)
        return [OrderAnswered(node, id, code, v["level"], v["relay"], now.unix)]

    def _kept(self, node: int, peer: _Peer, kind: int, payload: bytes, now: Now) -> list[Fact]:
        boot, seq, body = kept.unpack(payload, peer.boot)
        history = self._history
        version = peer.schema if boot == peer.boot else None
        made = history.made(kind, version, announced=peer.schema)
        told = bodies.times(made, kind, body, history)
        if told is None:
            self._count("frames_unread")
        time, up = told or (None, None)
        message = Kept(node, peer.uid, boot, seq, kind, made, body, now.unix, time, up)
        if boot == peer.boot and message.up is not None:
            if message.time is not None:
                peer.placed = True
            elif not peer.placed:
                # HEALTH tells how long this boot has lasted, and so when a message without a time was made.
                if len(peer.held) >= _HELD:
                    raise WireError("held_over")
                if not peer.held:
                    peer.held_until = now.mono + _HOLD_S
                    self._asked.add(node)
                peer.held.append(message)
                return []
        return [message]

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _release(self, peer: _Peer) -> list[Fact]:
        held: list[Fact] = [*peer.held]
        peer.held.clear()
        return held

    def _answered(self, node: int, kind: int, id: int = 0) -> None:
        """An answer came: the line is alive and the node has read what we sent."""
        self._unread = 0
        self._unanswered = 0
        awaited = self._awaited
        if awaited and awaited.kind == kind and awaited.node in (node, EVERYONE) and awaited.id == id:
            self._awaited = None
        self.stale = False

    # Output

    def _next_order(self, peer: _Peer) -> _Queued | None:
        """The oldest order that can be said to the node."""
        return next((q for q in peer.orders if self._history.sayable(peer.schema, q.order.kind)), None)

    def _ask_hello(self, now: Now) -> None:
        self._hello_due = min(self._hello_due, now.mono + (_ASK_HELLO_S[0] if self._hello_tries else 0.0))

    def _next_due(self) -> float:
        """When the next message that wants an answer may go out; in the past when one is waiting for its turn."""
        times = []
        for node, peer in self._peers.items():
            if peer.nonce is not None or node in self._asked:
                return float("-inf")
            times += [peer.ping, peer.resync]
            if queued := self._next_order(peer):
                times.append(queued.due)
            if peer.doubted:
                times.append(self._hello_due)
        if not self._peers:
            times.append(self._hello_due)
        return min(times)

    def output(self, now: Now) -> tuple[bytes, list[Fact]]:
        """The bytes to write now, and the facts that follow from writing them. At most one frame awaits an answer."""
        out = bytearray()
        facts: list[Fact] = []
        if now.mono - self._last_sent >= _QUIET_S:
            self._unread = 0
        for (node, boot, base), bitmap in list(self._acks.items()):
            data = self._frame(schema.ACK, node, [boot, base, bitmap])
            if self._unread + len(data) > RING:
                break
            del self._acks[node, boot, base]
            self._put(out, data, now)
        if self._awaited is None:
            self._ask(out, facts, now)
        return bytes(out), facts

    def _ask(self, out: bytearray, facts: list[Fact], now: Now) -> None:
        for node, peer in self._peers.items():
            if peer.nonce is None:
                continue
            nonce, peer.nonce = peer.nonce, None
            if now.unix < _PLAUSIBLE_UNIX:
                self._count("frames_time_withheld")
                continue
            whole, ms = divmod(int(now.unix * 1000), 1000)
            self._send(out, schema.TIME, node, [nonce, whole - schema.EPOCH_UNIX, ms], now)
            # TIME is answered by silence: the next message waits only until the node has surely read it.
            self._awaited = _Awaited(node, -1, now.mono + 0.2)
            return
        for node, peer in self._peers.items():
            queued = self._next_order(peer)
            if queued is None or queued.due > now.mono:
                continue
            values = queued.order.values(now.unix)
            if values is None:  # tick reports it
                continue
            self._send(out, queued.order.kind, node, values, now)
            queued.due = now.mono + _REPEAT_S[min(queued.tries, len(_REPEAT_S) - 1)]
            queued.tries += 1
            self._awaited = _Awaited(node, schema.RESULT, now.mono + ANSWER_S, queued.order.id)
            facts.append(OrderSent(node, queued.order.id, queued.tries))
            return
        doubted = any(peer.doubted for peer in self._peers.values())
        if (not self._peers or doubted) and now.mono >= self._hello_due:
            self._hello_due = now.mono + _ASK_HELLO_S[min(self._hello_tries, len(_ASK_HELLO_S) - 1)]
            self._hello_tries += 1
            self._query(out, EVERYONE, schema.QUERY_HELLO, now)
            return
        for node, peer in self._peers.items():
            if now.mono >= peer.resync:
                peer.resync = now.mono + PING_S
                self._query(out, node, schema.QUERY_HELLO, now)
                return
            if node in self._asked or now.mono >= peer.ping:
                self._asked.discard(node)
                peer.ping = now.mono + PING_S
                self._query(out, node, schema.QUERY_HEALTH, now)
                return

    def _query(self, out: bytearray, node: int, what: int, now: Now) -> None:
        self._send(out, schema.QUERY, node, [what], now)
        answer = schema.HELLO if what == schema.QUERY_HELLO else schema.HEALTH
        self._awaited = _Awaited(node, answer, now.mono + (ANSWER_S if self._peers else _ASK_HELLO_S[0]))

    def _send(self, out: bytearray, kind: int, node: int, values: Sequence[int], now: Now) -> None:
        self._put(out, self._frame(kind, node, values), now)

    def _frame(self, kind: int, node: int, values: Sequence[int]) -> bytes:
        peer = self._peers.get(node)
        body = self._history.encode(peer.schema if peer else None, kind, values)
        content = frame.pack(kind, node, self._counter, body)
        data = serial.encode(bytes((_NODE_FRAME,)) + content)
        if len(data) > RING:
            raise WireError("long")
        return data

    def _put(self, out: bytearray, data: bytes, now: Now) -> None:
        self._counter = self._counter + 1 & 0xFFFF
        self._unread += len(data)
        self._last_sent = now.mono
        self.counts["frames_out"] += 1
        self.counts["bytes_out"] += len(data)
        out += data
