"""Answers joins, opens what nodes send and seals what they get: the wire's sessions over a key store."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from struct import pack, unpack
from typing import NamedTuple, TypeVar

from felinar_wire import WireError, frame, join, tesla
from felinar_wire.aes import Ccm, cmac, derive
from felinar_wire.session import Session, counted, nonce

from felinar.keys.interface import KeyStore, SessionState

_T = TypeVar("_T")
_AHEAD = 32  # counters reserved in the store at a time; so many may be skipped after a crash
_LISTED = 4096  # addresses that refusals are listed for one by one; those of others are counted together


class Opened(NamedTuple):
    """An authentic frame of a node."""

    address: int
    kind: int
    counter: int
    body: bytes
    schema: int
    boot: int
    interval: int = 0
    """The one in whose slot it was sent, 0 for what was sent in none."""


class Keyring:
    """The host's end of all sessions.

    `crc(schema)` gives the function of kinds that a node of that schema version has, and raises KeyError for a version
    it does not know (`tables.History.crc`, which takes the newest table for a node that is newer than all, `newest`);
    `now()` is the host's time in ms since 2024-01-01T00:00:00Z; `anchor(n)` the TESLA key to
    tell in interval n (`Broadcast.anchor`); `slot(address)` a node's (slot, slot map).

    Refusals are counted by reason in `counts`, and by address in `refused`: many of "tag" from one are an alarm. Of a node
    that is newer, a wrong tag is told as "schema" until the first frame of that kind has opened: then it is not known
    whether the frame was forged or its base fields are others; either way nothing of it was read.
    Calls block for a write to disk where they say so.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        crc: Callable[[int], Callable[[int], int]],
        now: Callable[[], int],
        anchor: Callable[[int], bytes],
        slot: Callable[[int], tuple[int, int]],
        random: Callable[[int], bytes] = os.urandom,
        newest: int | None = None,
    ) -> None:
        self._newest = newest
        self._shared: set[tuple[int, int]] = set()
        self._store = store
        self._crc = crc
        self._now = now
        self._anchor = anchor
        self._slot = slot
        self._random = random
        self._live: dict[int, tuple[Session, SessionState]] = {}
        self._changed: dict[int, SessionState] = {}
        self._looked = False  # for changes by commands: once for all frames up to the next commit
        self._news = True
        self.counts: dict[str, int] = {}
        self.refused: dict[int, dict[str, int]] = {}

    def answer(self, data: bytes) -> bytes:
        """The JOIN_ACC to a JOIN_REQ; durable before it is given out, and the same bytes when it is asked for again.

        Raises WireError, counted: "short", "long", "version", "kind", "address" (no key for it), "tag", "join_old"
        (a lower counter than the last), "join_spent" (the last one, whose session is gone: the node has to take its
        next), "schema" (a version that `crc` does not know).
        """
        self._looked = False
        return self._counted(data, self._answer)

    def _answer(self, data: bytes) -> bytes:
        kind, address, low, payload = frame.unpack(data, frame.SEALED)
        if kind != join.JOIN_REQ:
            raise WireError("kind")
        if len(payload) != 14:
            raise WireError("short")
        root = self._store.root(address)
        if root is None:
            raise WireError("address")
        high, schema, boot = unpack(">HHH", payload[:6])
        counter = high << 16 | low
        front = nonce(join.JOIN_REQ, address, counter)
        if not hmac.compare_digest(cmac(derive(root, b"join", b""), front + payload[:6])[:8], payload[6:]):
            raise WireError("tag")
        last = self._store.last_join(address)
        if counter < last:
            raise WireError("join_old")
        if counter == last:
            known = self._session(address)
            if known is None or known[1].join != counter or known[1].request != data:
                raise WireError("join_spent")
            return known[1].answer
        try:
            self._crc(schema)
        except KeyError:
            raise WireError("schema") from None
        return self._begin(address, root, counter, schema, boot, data)

    def _begin(self, address: int, root: bytes, counter: int, schema: int, boot: int, request: bytes) -> bytes:
        now = self._now()
        host_nonce = pack(">IB", now // 1000, now % 1000 // 4) + self._random(2)
        up, down = join.keys(root, address, counter, host_nonce)
        body = pack(">HB", *self._slot(address)) + self._anchor(now // tesla.INTERVAL)
        front = nonce(join.JOIN_ACC, address, counter)
        sealed = Ccm(down).seal(front, body, 8)
        answer = frame.pack(join.JOIN_ACC, address, counter, host_nonce + sealed, frame.SEALED)
        state = SessionState(counter, schema, boot, up, down, request, answer)
        self.forget(address)
        if not self._store.begin(address, state, root):
            raise WireError("address")  # revoked, or flashed anew, in this very moment
        return answer

    def news(self) -> bool:
        """Whether a command may have changed something in the store since this was last asked; True at first."""
        self._notice()
        news, self._news = self._news, False
        return news

    def _notice(self) -> None:
        """Drop the sessions that a command has ended in the store: of a node that was revoked, or has another key."""
        if self._store.changed():
            self._news = True
            for address in set(self._live) - set(self._store.sessions()):
                self.forget(address)

    def _session(self, address: int) -> tuple[Session, SessionState] | None:
        if not self._looked:
            self._notice()
            self._looked = True
        live = self._live.get(address)
        if live is None:
            state = self._store.session(address)
            if state is None:
                return None
            session = Session(address, state.down, state.up, self._crc(state.schema), {})
            session.sent = state.sent
            session.top, session.seen = state.top, state.seen
            live = self._live[address] = (session, state)
        return live

    def open(self, data: bytes, interval: int = 0) -> Opened:
        """An authentic new frame. **Act on it only after `commit()`**: until then a crash would let it in once more.

        `interval` is the one whose slot of the node it came in (`felinar_air.host.Slots.interval`): it opens if it was
        sealed for that slot or for none, and what it was sealed for is told. Only the former can be acknowledged as that slot's.

        Raises WireError, counted: those of `Session.open`, "session" (the node has none: it has to join), and "schema" (of
        a newer node: its tag is wrong, as it is when the base fields of that kind are not those that this host knows).
        """
        return self._counted(data, lambda data: self._open(data, interval))

    def _open(self, data: bytes, interval: int) -> Opened:
        address = frame.unpack(data, frame.SEALED)[1]
        live = self._session(address)
        if live is None:
            raise WireError("session")
        session, state = live
        newer = self._newest is not None and state.schema > self._newest
        try:
            try:
                kind, counter, body = session.open(data, interval)
            except WireError as error:
                if not interval or error.reason != "tag":
                    raise
                interval = 0
                kind, counter, body = session.open(data)
        except WireError as error:
            if newer and error.reason == "tag" and (address, data[0] & 63) not in self._shared:
                raise WireError("schema") from None
            raise
        if newer:
            self._shared.add((address, kind))
        state.top, state.seen = session.top, session.seen & 0xFFFFFFFFFFFFFFFF
        self._changed[address] = state
        return Opened(address, kind, counter, body, state.schema, state.boot, interval)

    def commit(self) -> None:
        """Make the windows of what was opened since the last call durable, in one write; then act on the frames."""
        self._looked = False
        if self._changed:
            self._store.save(self._changed)
            self._changed = {}

    def seal(self, address: int, kind: int, body: bytes) -> bytes:
        """The next frame to a node; writes to disk now and then. WireError: "session", "spent", "long"."""
        self._looked = False
        live = self._session(address)
        if live is None:
            raise WireError("session")
        session, state = live
        if session.sent >= state.sent:
            state.sent = session.sent + _AHEAD
            self._store.save({address: state})
            self._changed.pop(address, None)
        return session.seal(kind, body)

    def joined(self, address: int) -> SessionState | None:
        """The node's session, for its schema version and boot."""
        self._looked = False
        live = self._session(address)
        return live[1] if live else None

    def forget(self, address: int) -> None:
        """Drop what is held of an address whose key was changed or removed in the store."""
        self._live.pop(address, None)
        self._changed.pop(address, None)
        self._shared = {(other, kind) for other, kind in self._shared if other != address}

    def _counted(self, data: bytes, check: Callable[[bytes], _T]) -> _T:
        address = data[1] << 8 | data[2] if len(data) >= frame.HEADER else -1
        mine = self.refused.get(address)
        try:
            return counted(self.counts, check, data)  # type: ignore[no-any-return]
        except WireError as error:
            if mine is None and len(self.refused) < _LISTED:
                mine = self.refused[address] = {}
            if mine is not None:
                mine[error.reason] = mine.get(error.reason, 0) + 1
            raise
