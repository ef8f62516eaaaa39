"""What the host says on the air: answers, commands to one and to many, beacons; each frame is made when its time has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from felinar_air.host import ALL, COMMAND, REPLY, Item
from felinar_air.plan import BEACONS, INTERVAL
from felinar_wire import WireError, frame, schema, tesla
from felinar_wire.session import count

from felinar.air.cell import Cell, Peer
from felinar.air.orders import ANSWER, GAP, GROUP_MS, GROUP_REPEATS, REPEATS, Group, Sending
from felinar.air.renewal import Renewal
from felinar.clock import Clock
from felinar.errors import FelinarError
from felinar.facts import Fact, OrderExpired, OrderSent
from felinar.keys import Broadcast, Keyring
from felinar.keys.broadcast import tagged
from felinar.session import Order
from felinar.tables import History

_FRONT = frame.HEADER + 8
_GROUP = _FRONT + 16
_DISCLOSE = _FRONT + 36
_DAY_MS = tesla.DAY * INTERVAL
_ANSWERS = {schema.QUERY_HELLO: 40, schema.QUERY_HEALTH: 55}
_TO_ONE = ("order", "query", "time", "ack", "acc", "rekey")
_STEP_S = 0.5
_FOREVER = 30 * _DAY_MS
_PLAUSIBLE_UNIX = 1_767_225_600  # 2026-01-01: a host whose clock says less has not been set and must not set others


class Down:
    """The downlink of all cells. `poll` gives what is to be sent; `done` is told what became of it."""

    renewal: Renewal

    def __init__(
        self,
        cells: list[Cell],
        keyring: Keyring,
        broadcast: Broadcast,
        clock: Clock,
        peers: dict[int, Peer],
        counts: dict[str, int],
        random: Callable[[int], bytes],
        say: Callable[[str, str], None],
        history: History,
    ) -> None:
        self.cells = cells
        self.answers: dict[int, bytes] = {}
        self._keyring = keyring
        self._broadcast = broadcast
        self._clock = clock
        self._peers = peers
        self._counts = counts
        self._say = say
        self._history = history
        self._facts: list[tuple[Cell, Fact]] = []
        self._sending: dict[tuple[int, int], Sending] = {}
        self._acks: dict[tuple[int, int, int], int] = {}
        self._nonces: dict[int, int] = {}
        self._groups: dict[int, Group] = {}
        self._ahead = 0.0  # of the monotonic clock
        self._group_id = int.from_bytes(random(2), "big")

    def _ms(self) -> int:
        """The host's time in ms since 2024."""
        return round((self._clock.now().unix - schema.EPOCH_UNIX) * 1000)

    def _trouble(self, error: FelinarError) -> None:
        count(self._counts, "keys")
        self._say("keys", f"{error.sentence} {error.remedy}".strip())

    # What is to be said

    def order(self, cell: Cell, order: Order) -> None:
        """Send a command by a bridge, and again until its node answers or it has expired."""
        key = order.node, order.id
        peer = self._peers.get(order.node)
        values = order.values(self._clock.now().unix)
        if peer is None or values is None:
            return
        try:
            body = self._history.encode(peer.schema, order.kind, values, sealed=True)
        except WireError as error:
            count(self._counts, error.reason)
            return
        self.withdraw(*key)
        self._sending[key] = Sending(order)
        now = self._ms()
        size = _FRONT + len(body)
        cell.down.push(Item(COMMAND, ("order", *key), size, now, now + _FOREVER, REPEATS, ANSWER))

    def withdraw(self, address: int, id: int) -> None:
        """Send a command no more."""
        if self._sending.pop((address, id), None):
            self._drop(("order", address, id))

    def answered(self, peer: Peer, what: tuple[Any, ...]) -> bool:
        """A node has answered; False when nothing of that kind was being sent."""
        if what[0] == "order":
            self._sending.pop((peer.address, what[2]), None)
        return self._drop(what)

    def _leave(self, peer: Peer) -> None:
        """Forget a node whose key was taken out of use, its slot and all that was to be said to it."""
        address = peer.address
        del self._peers[address]
        self._sending = {key: sending for key, sending in self._sending.items() if key[0] != address}
        self.answers.pop(address, None)
        for cell in self.cells:
            cell.slots.gone(address)
            for item in cell.down._queue[:]:
                if isinstance(item.what, tuple) and item.what[0] in _TO_ONE and item.what[1] == address:
                    cell.down.done(item.what)

    def query(self, peer: Peer, what: int, priority: int, after: int) -> None:
        """Ask a node for HELLO, for HEALTH, or to send its next reports whole, in `after` ms."""
        key = ("query", peer.address, what)
        if what != schema.QUERY_WHOLE:
            self._drop(key)
        elif any(item.what == key for item in peer.way.down._queue):
            return
        since = self._ms() + after
        reply = _ANSWERS.get(what, 0)
        gaps = (60_000,) if priority > COMMAND else (GAP, GAP, 500, 1000)
        until = since + (5000 if priority == COMMAND else 200_000 if reply else 20_000)
        peer.way.down.push(Item(priority, key, _FRONT + 1, since, until, gaps if reply else (), reply))

    def ask_health(self, address: int) -> None:
        """Ask a node for HEALTH now; it is tried for five seconds."""
        if peer := self._peers.get(address):
            self.query(peer, schema.QUERY_HEALTH, COMMAND, 0)

    def tell_time(self, peer: Peer, nonce: int) -> None:
        """Answer TIME_REQ."""
        self._nonces[peer.address] = nonce
        self._reply(peer, ("time", peer.address), _FRONT + 9, 5000)

    def tell_stored(self, peer: Peer, boot: int, base: int, bitmap: int) -> None:
        """Acknowledge what did not come in a slot."""
        self._acks[peer.address, boot, base] = bitmap
        self._reply(peer, ("ack", peer.address, boot, base), _FRONT + 10, 20_000)

    def _reply(self, peer: Peer, what: object, size: int, patience: int) -> None:
        self._drop(what)
        now = self._ms()
        peer.way.down.push(Item(REPLY, what, size, now, now + patience))

    def group(self, address: int, mode: int, level: int, fade: int, for_s: int, reason: int) -> Group:
        """Command all lamps that listen to a group's address, by every bridge; `for_s` 0 has no end.

        "On" pre-empts everything and acts at once; anything else waits for the key, 20 s. Takes the place of an
        earlier one to that address.
        """
        now = self._ms()
        for old in [group for group in self._groups.values() if group.address == address]:
            self._drop(("group", old.id))
            del self._groups[old.id]
        self._group_id = self._group_id % 0xFFFF + 1
        ends = now + for_s * 1000 if for_s else 0
        group = self._groups[self._group_id] = Group(self._group_id, address, mode, level, fade, ends, reason)
        until = min(now + GROUP_MS, ends or now + GROUP_MS)
        priority = ALL if mode == schema.MODE_ON else COMMAND
        for cell in self.cells:
            cell.down.push(Item(priority, ("group", group.id), _GROUP, now, until, GROUP_REPEATS))
        return group

    def tick(self) -> None:
        """Let time act, about every second: commands that have expired, and the next day's chain."""
        moment = self._clock.now()
        unix = moment.unix
        stepped = unix - moment.mono - self._ahead
        if abs(stepped) > _STEP_S:
            if self._ahead:
                count(self._counts, "clock_step")
                self._say(
                    "clock", f"The host's clock was set by {stepped:+.1f} s; until it is past its old time no keys are used."
                    if stepped < 0 else f"The host's clock was set by {stepped:+.1f} s: lamps find their times anew."
                )  # fmt: skip
            self._ahead = unix - moment.mono
        for key, sending in list(self._sending.items()):
            if sending.order.values(unix) is None:
                self._expired(key)
        now = self._ms()
        left = _DAY_MS - now % _DAY_MS
        if left < 2 * 3600_000:
            every = 60_000 if left < 600_000 else 300_000
            for cell in self.cells:
                if cell.ready and now - cell.announced >= every:
                    cell.announced = now
                    cell.down.done(("disclose",))
                    cell.down.push(Item(REPLY, ("disclose",), _DISCLOSE, now, now + 60_000))
        if not any(len(cell.down) for cell in self.cells):
            # What was to be answered has been, or it took too long.
            self.answers.clear()
            self._acks.clear()
            self._nonces.clear()
        self._groups = {id: group for id, group in self._groups.items() if not group.ends or group.ends > now}

    def _expired(self, key: tuple[int, int]) -> None:
        self.withdraw(*key)
        peer = self._peers.get(key[0])
        if peer:
            self._facts.append((peer.way, OrderExpired(*key)))

    def _drop(self, what: object) -> bool:
        dropped = [cell.down.done(what) for cell in self.cells]
        return any(dropped)

    # What is sent

    def poll(self, cell: Cell) -> tuple[int, bytes, object] | None:
        """(when in ms, frame, what it is) of a transmission to hand over now; None: again at `cell.down.wake`."""
        if self._clock.now().unix < _PLAUSIBLE_UNIX:
            count(self._counts, "clock")
            cell.down.wake = self._ms() + 1000
            return None
        while True:
            now = self._ms()
            found = cell.down.next(now)
            if found is None:
                return None
            at, item = found
            what = item.what if item else "beacon"
            try:
                data = self._make(cell, item, now, at)
            except (WireError, KeyError) as error:
                count(self._counts, error.reason if isinstance(error, WireError) else "kind")
                cell.down.done(what)
                continue
            except FelinarError as error:
                self._trouble(error)
                continue
            if data:
                return at, data, what
            cell.down.done(what)

    def done(self, cell: Cell, what: object, result: str) -> None:
        """What became of a transmission: a word of `modem.RESULTS`."""
        count(cell.counts, result)
        if result != "sent" or not isinstance(what, tuple):
            return
        if what[0] == "order" and (sending := self._sending.get(what[1:])):
            sending.tries += 1
            self._facts.append((cell, OrderSent(what[1], what[2], sending.tries)))
        elif what[0] == "group" and (group := self._groups.get(what[1])):
            group.sent += 1
        elif what[0] == "rekey":
            self.renewal.went(what[1], what[2])

    def _make(self, cell: Cell, item: Item | None, now: int, at: int) -> bytes:
        """The frame, empty when it is not wanted any more."""
        if item is None:
            first, bits = cell.slots.beacon(at // INTERVAL)
            return self._broadcast.beacon(BEACONS + cell.number, now, at, cell.slots.version, first, bits)
        what = item.what
        assert isinstance(what, tuple)
        kind = what[0]
        if kind == "acc":
            return self.answers.pop(what[1], b"")
        if kind == "disclose":
            if at // INTERVAL > now // INTERVAL:  # it would be late for the key that it discloses: the next one will do
                cell.announced = 0
                return b""
            return self._broadcast.announcement(BEACONS + cell.number, now, at)
        if kind == "group":
            return self._group_frame(self._groups.get(what[1]), at)
        peer = self._peers.get(what[1])
        if peer is None:
            return b""
        if kind == "order":
            sending = self._sending.get(what[1:])
            values = sending.order.values(self._clock.now().unix) if sending else None
            if sending is None or values is None:
                self._expired(what[1:])
                return b""
            return self._seal(peer, sending.order.kind, values)
        if kind == "rekey":
            return self.renewal.frame(what[1], what[2])
        if kind == "query":
            return self._seal(peer, schema.QUERY, [what[2]])
        if kind == "ack":
            return self._seal(peer, schema.ACK, [what[2], what[3], self._acks.pop(what[1:], 0)])
        seconds, ms = divmod(at, 1000)
        return self._seal(peer, schema.TIME, [self._nonces.pop(what[1], 0), seconds, ms])

    def _seal(self, peer: Peer, kind: int, values: list[int]) -> bytes:
        # Anew each time: a repeat of the same bytes would be refused as one.
        body = self._history.encode(peer.schema, kind, values, sealed=True)
        return self._keyring.seal(peer.address, kind, body)

    def _group_frame(self, group: Group | None, at: int) -> bytes:
        if group is None or (group.ends and group.ends <= at):
            return b""
        n = tagged(at)
        if n not in group.frames:
            group.frames = {m: data for m, data in group.frames.items() if m >= n - 1}
            group.frames[n] = self._broadcast.lamp(
                group.address, n * INTERVAL, group.id, group.mode, group.level, group.fade, group.left(at), group.reason
            )
        return group.frames[n]
