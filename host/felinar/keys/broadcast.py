"""The host's end of TESLA: chains of keys, and the frames that go from one to many."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

from felinar_wire import core, frame, tesla
from felinar_wire.aes import cmac
from felinar_wire.hmac import hmac
from felinar_wire.session import nonce

from felinar.keys.interface import KeyStoreError

_EARLY = 7000
"""ms of an interval in which the last one's key is good: nodes must be sure, to within their clock's error, that it is not out."""


def tagged(at: int) -> int:
    """The interval whose key a command to a group is tagged with that goes on the air at `at`, ms since 2024.

    That of the last interval wherever nodes can tell that it is still secret (they take it until its disclosure, in the
    next interval's end): so a command is proven 10 s earlier, 3 to 12 s after it was sent.
    """
    n = at // tesla.INTERVAL
    return n - 1 if at % tesla.INTERVAL < _EARLY else n


class Broadcast:
    """Builds beacons, group commands and disclosures.

    `secret` is the store's chain secret, from which each day's chain follows; `zone_key(address)` a group's key. Times
    are ms since 2024-01-01T00:00:00Z: `now` when a frame is handed to the bridge, `at` when it goes on the air.

    A frame that discloses a key is built only within the interval it is sent in: handed over earlier it would give the
    bridge a key that nodes still accept. A key that went out is never used again, whatever the clock does.
    """

    def __init__(self, secret: bytes, zone_key: Callable[[int], bytes]) -> None:
        self._secret = secret
        self._zone_key = zone_key
        self._chains: dict[int, list[bytes]] = {}
        self._disclosed = -1
        self._numbers: dict[tuple[int, int], int] = {}

    def anchor(self, n: int) -> bytes:
        """The key that a JOIN_ACC tells in interval n: that of interval `tesla.anchor(n)`."""
        self._disclosed = max(self._disclosed, n - 2)
        day = n // tesla.DAY
        return self._chain(day)[tesla.anchor(n) - day * tesla.DAY + 1]

    def _of_day(self, n: int) -> bytes:
        return self._chain(n // tesla.DAY)[n % tesla.DAY + 1]

    def _chain(self, day: int) -> list[bytes]:
        chain = self._chains.get(day)
        if chain is None:
            link = hmac(self._secret, b"tesla" + pack(">I", day))[:16]
            chain = [link]
            for n in range((day + 1) * tesla.DAY - 1, day * tesla.DAY - 1, -1):
                link = tesla.before(n, link)
                chain.append(link)
            chain.reverse()
            self._chains = {d: c for d, c in self._chains.items() if abs(d - day) < 2}
            self._chains[day] = chain
        return chain

    def _frame(self, kind: int, address: int, n: int, body: bytes) -> bytes:
        if n <= self._disclosed:
            raise KeyStoreError(
                f"The key of interval {n} has been disclosed: the clock ran back.",
                "Set the clock; wait until it is past.",
            )
        number = self._numbers.get((address, n), 0)
        if number > 255:
            raise KeyStoreError(f"More than 256 group frames for address {address} in 10 s.")
        self._numbers = {k: v for k, v in self._numbers.items() if k[1] >= n - 1}
        self._numbers[address, n] = number + 1
        counter = n << 8 | number
        tag = tesla.mac(n, self._of_day(n), nonce(kind, address, counter & 0xFFFFFFFF) + body)
        return frame.pack(kind, address, counter & 0xFFFF, body + tag, frame.SEALED)

    def _discloses(self, now: int, at: int) -> int:
        n = at // tesla.INTERVAL
        if now // tesla.INTERVAL != n:
            raise KeyStoreError("A frame that discloses a key is built in the 10 s that it is sent in.")
        return n

    def beacon(self, address: int, now: int, at: int, slot_map: int, first: int, bits: bytes) -> bytes:
        """A BEACON: acknowledges slots from `first` on, a bit each, and discloses the key of two intervals ago."""
        n = self._discloses(now, at)
        layout = core.LAYOUT[tesla.BEACON]
        body = core.encode(layout, [self._of_day(n - 2), slot_map, at % tesla.INTERVAL, first, bits])
        data = self._frame(tesla.BEACON, address, n, body)
        self._disclosed = max(self._disclosed, n - 2)
        return data

    def announcement(self, address: int, now: int, at: int) -> bytes:
        """A KEY_DISCLOSE: the key of two intervals ago, and where the next day's chain begins."""
        n = self._discloses(now, at)
        first = (n // tesla.DAY + 1) * tesla.DAY
        begins = self._chain(first // tesla.DAY)[0]
        body = core.encode(core.LAYOUT[tesla.KEY_DISCLOSE], [self._of_day(n - 2), first, begins])
        data = self._frame(tesla.KEY_DISCLOSE, address, n, body)
        self._disclosed = max(self._disclosed, n - 2)
        return data

    def lamp(
        self, address: int, at: int, number: int, mode: int, level: int, fade: int = 0, ttl: int = 0, reason: int = 0
    ) -> bytes:
        """A GROUP_LAMP under the key of `at`'s interval (see `tagged`).

        `mode` and `reason` as in LAMP_SET, level in %, fade in s (0-255), ttl in units of 10 s.
        """
        n = at // tesla.INTERVAL
        layout = core.LAYOUT[tesla.GROUP_LAMP]
        fields = core.encode(layout, [number, mode, level, fade, ttl, reason, bytes(8)])[:-8]
        # The frame's number is part of what the zone tag covers, so it is looked up before `_frame` takes it.
        counter = n << 8 | self._numbers.get((address, n), 0)
        front = nonce(tesla.GROUP_LAMP, address, counter & 0xFFFFFFFF)
        return self._frame(tesla.GROUP_LAMP, address, n, fields + cmac(self._zone_key(address), front + fields)[:8])
