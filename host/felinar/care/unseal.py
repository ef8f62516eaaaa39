"""Opens sealed frames for people to look at, with the keys of a key store that is only read: nothing is used up, none is shown."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Protocol

from felinar_air.plan import INTERVAL
from felinar_wire import WireError, frame, join, schema
from felinar_wire.session import Session

from felinar.care.decode import Opened
from felinar.keys.interface import KeyStoreError, SessionState
from felinar.tables import RELEASED, History


class Store(Protocol):
    """What is asked of a key store."""

    def root(self, address: int) -> bytes | None: ...

    def session(self, address: int) -> SessionState | None: ...


class Unsealer:
    """See `decode.Keys`. Each frame is looked at for itself, so a repeated one opens as well.

    `unix` tells the time in s: what a node sends in its slot is sealed for the interval that it is heard in.
    """

    def __init__(self, store: Store, history: History = RELEASED, unix: Callable[[], float] = time.time) -> None:
        self._store = store
        self._history = history
        self._unix = unix

    def open(self, data: bytes) -> Opened:
        """The body of a frame in either direction. It never raises: `seal` says why one stays closed."""
        try:
            kind, address, counter, _ = frame.unpack(data, frame.SEALED)
            root = self._store.root(address)
            if root is None:
                return Opened(f"closed: no key of node {address} here")
            if kind == schema.JOIN_REQ:
                return _join(root, data, address, counter)
            state = self._store.session(address)
            if state is None:
                return Opened(f"closed: no session with node {address}")
            return self._session(data, address, state)
        except WireError as error:
            return Opened(f"closed: {error.reason}")
        except KeyStoreError as error:
            return Opened("closed: " + error.sentence.rstrip("."))

    def _session(self, data: bytes, address: int, state: SessionState) -> Opened:
        try:
            crc = self._history.crc(state.schema)
        except KeyError:
            return Opened(f"closed: schema {state.schema} is not known here")
        why = ""
        now = max(int((self._unix() - schema.EPOCH_UNIX) * 1000) // INTERVAL, 1)
        up = (state.down, state.up, state.top)
        down = (state.up, state.down, state.sent)
        # Superframes reach into the next interval, and the clock here may be some seconds off.
        for (send, receive, top), n in ((up, 0), (down, 0), (up, now), (up, now - 1), (up, now + 1)):
            session = Session(address, send, receive, crc, {})
            session.top, session.seen = top, 0
            try:
                _, counter, body = session.open(data, n)
            except WireError as error:
                why = error.reason
                continue
            return Opened("opened", body, state.schema, state.boot, counter)
        return Opened(f"closed: not of the present session ({why})")


def _join(root: bytes, data: bytes, address: int, low: int) -> Opened:
    if len(data) != frame.HEADER + 14:
        return Opened("closed: short")
    high, version, boot = (int.from_bytes(bytes(data[5 + i : 7 + i]), "big") for i in (0, 2, 4))
    good = hmac.compare_digest(join.request(root, address, high << 16 | low, version, boot), data)
    return Opened(
        "signed", note="its key is the one in the key store" if good else "NOT under the key in the key store"
    )
