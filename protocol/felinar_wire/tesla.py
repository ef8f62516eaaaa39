"""TESLA (RFC 4082): what goes from one to many, beacons, lamp commands and disclosures, and how a node knows it genuine.

A chain of keys, one for each 10 s since 2024; the key of interval n is disclosed in n + 2; each day has its own chain.
The key before K(n) is SHA-256("chain" | n | K(n)), the MAC key of interval n SHA-256("mac" | n | K(n)), both cut to 16
bytes, n as 32 bits. A tag is a CMAC-64. A group frame's counter is n << 8 | its number in the interval, of which the
header has the low 16 bits and the nonce the low 32; the clock gives the rest.
"""

from hashlib import sha256

from felinar_wire import frame, schema
from felinar_wire.aes import cmac
from felinar_wire.errors import WireError
from felinar_wire.session import count, counted, nonce

INTERVAL = 10000  # ms
DAY = 8640  # intervals of a chain
SLOTS = 16  # pairs of kind and interval of which frames are held; of three kinds, five intervals fit, flood or not

# Kinds and their bodies; each has a tag of 8 bytes behind it.
# key of interval n - 2 (16 bytes) | slot map (8) | ms in the interval (16) | first slot (16) | bits
BEACON = schema.BEACON
# id (16) | mode (8) | level (8) | fade s (8) | time to live, 10 s (16) | reason (8) | zone tag (64)
GROUP_LAMP = schema.GROUP_LAMP
# key of interval n - 2 | first interval of the next chain (32) | key of the one before it
KEY_DISCLOSE = schema.KEY_DISCLOSE


def _hash(label: bytes, n: int, key: bytes) -> bytes:
    return sha256(label + n.to_bytes(4, "big") + key).digest()[:16]


def before(n: int, key: bytes) -> bytes:
    """The chain's key of interval n - 1, from that of interval n."""
    return _hash(b"chain", n, key)


def mac(n: int, key: bytes, data: bytes) -> bytes:
    """The 8-byte tag of `data` under the chain's key of interval n."""
    return cmac(_hash(b"mac", n, key), data)[:8]


def anchor(n: int) -> int:
    """The interval whose key a host may tell in interval n: the last one disclosed, or where the day's chain begins."""
    return max(n - 2, n - n % DAY - 1)


class Chain:
    """A receiver's chain: one key that is known to be the host's, and where the next day's begins."""

    def __init__(self, at: int, key: bytes) -> None:
        """`key` is the authentic key of interval `at`."""
        self.at = at
        self.key = key
        self.next = (0, b"")  # first interval of the chain to come and the key before it; 0 when none was announced

    def learn(self, n: int, key: bytes, wanted: "list[int]") -> "dict[int, bytes]":
        """Take the disclosed key of interval n; the keys of those `wanted` intervals that it opens.

        Nothing when n is known already. Raises WireError: "gap" (of a day whose chain was not announced), "chain" (not
        the host's key). The caller makes sure that n can be disclosed by now, which bounds the work to one hash for
        each interval missed.
        """
        at = self.at
        end = self.key
        first, link = self.next
        if at < first <= n:
            at = first - 1
            end = link
        found: dict[int, bytes] = {}
        if n > at:
            if n // DAY != (at + 1) // DAY:
                raise WireError("gap")
            link = key
            for i in range(n, at, -1):
                if i in wanted:
                    found[i] = link
                link = before(i, link)
            if link != end:
                raise WireError("chain")
            self.at = n
            self.key = key
        return found


def acknowledged(body: bytes, slot_map: int, slot: int) -> int | None:
    """The bit for a slot in a verified beacon's body, or None: another slot map, or not among its slots."""
    at = slot - (body[19] << 8 | body[20])
    if body[16] != slot_map or at < 0 or at >> 3 >= len(body) - 21:
        return None
    return body[21 + (at >> 3)] >> (7 - (at & 7)) & 1


class Group:
    """A node's end. Frames are held until their interval's key is disclosed, and then are verified or dropped.

    `counts` gets every refusal, `random(n)` gives n random bytes. `last` holds, for each address that is listened to,
    the counter of its last verified frame (0 at first), `zones` the zone keys of addresses. Times are the host's, in
    ms, as a clock.Clock gives them. Events are (what, kind, address, counter, body), where what is

    - "held": a beacon to come, good for finding the bridge, not for times of a node in its slot;
    - "at once": a lamp "on" under a right zone tag, to be confirmed (lamps fail lit);
    - "verified": acts, and its acknowledgements count;
    - "take back": the "on" that came at once was not confirmed within 50 s of its interval's start. For an hour then
      (`barred`) an "on" waits for TESLA, as "off" and "dim" always do.
    """

    def __init__(self, chain: Chain, counts: "dict[str, int]", random) -> None:  # type: ignore[no-untyped-def]
        self.chain = chain
        self.counts = counts
        self.last: dict[int, int] = {}
        self.zones: dict[int, bytes] = {}
        self.barred = 0
        self._held: dict[int, list] = {}  # type: ignore[type-arg]  # interval << 6 | kind: frames heard, up to four
        self._on: tuple[int, bytes, bytes] | None = None
        self._random = random

    def receive(self, data: bytes, now: int, bound: int) -> "list[tuple[str, int, int, int, bytes]]":
        """The events that a group frame brings at time `now`, known to within `bound`.

        Raises WireError, counted: "short", "long", "version", "kind", "address", "clock" (the bound exceeds the
        disclosure delay), "late" (its key may be out already), "early", "replay", "zone", "gap", "chain". Counted
        later: "tag", "undisclosed" when a key comes out; "undisclosed" of the oldest when frames of more than SLOTS
        kinds and intervals wait for one; "displaced" by another; "unconfirmed".
        """
        return counted(self.counts, self._receive, data, now, bound)  # type: ignore[no-any-return]

    def _receive(self, data: bytes, now: int, bound: int) -> "list[tuple[str, int, int, int, bytes]]":
        kind, address, low, body = frame.unpack(data, 1)
        if len(body) < {BEACON: 29, GROUP_LAMP: 24, KEY_DISCLOSE: 44}[kind]:
            raise WireError("short")
        if address not in self.last:
            raise WireError("address")
        if bound > 20000:
            raise WireError("clock")
        n = now // INTERVAL
        n += ((low >> 8) - n + 128 & 255) - 128
        ahead = (now + bound) // INTERVAL - n
        if ahead > 1 or n <= self.chain.at:
            raise WireError("late")
        if ahead < 0:
            raise WireError("early")
        counter = n << 8 | low & 255
        tag = body[-8:]
        body = body[:-8]
        entry = (counter, nonce(kind, address, counter & 0xFFFFFFFF) + body, tag)
        same = self._held.setdefault(n << 6 | kind, [0])
        if len(self._held) > SLOTS:  # a flood while no key comes out
            for _ in self._held.pop(min(self._held))[1:]:
                count(self.counts, "undisclosed")
        if counter <= self.last[address] or entry in same:
            raise WireError("replay")
        events = []
        what = "held"
        if kind != GROUP_LAMP:
            if n - 2 > self.chain.at:
                events = self._learn(n - 2, body[:16])
        elif address in self.zones:
            if cmac(self.zones[address], entry[1][:-8])[:8] != body[-8:]:
                raise WireError("zone")
            if body[2] == 1 and not self._on and now >= self.barred and n - 1 <= now // INTERVAL:  # a minute at most
                self._on = entry
                what = "at once"
        # Of the frames of a kind and an interval any four are held, each with the same chance, flood or not.
        heard = same[0] = same[0] + 1
        if heard < 5:
            same.append(entry)
        else:
            count(self.counts, "displaced")
            place = int.from_bytes(self._random(2), "big") % heard
            if place < 4:
                same[place + 1] = entry
        if kind == BEACON or what != "held":
            events.append((what, kind, address, counter, body))
        return events

    def _learn(self, n: int, key: bytes) -> "list[tuple[str, int, int, int, bytes]]":
        keys = self.chain.learn(n, key, [slot >> 6 for slot in self._held])
        entries = []
        for slot in list(self._held):
            if slot >> 6 <= self.chain.at:
                entries += self._held.pop(slot)[1:]
        events = []
        for entry in sorted(entries):  # in the order of their counters, so that `last` only grows
            counter, message, tag = entry
            address = message[1] << 8 | message[2]
            n = counter >> 8
            if n not in keys:
                count(self.counts, "undisclosed")
            elif mac(n, keys[n], message) != tag:
                count(self.counts, "tag")
            else:
                self.last[address] = counter
                if entry == self._on:
                    self._on = None
                kind = message[0] & 63
                body = message[13:]
                if kind == KEY_DISCLOSE:
                    self.chain.next = (int.from_bytes(body[16:20], "big"), body[20:36])
                events.append(("verified", kind, address, counter, body))
        return events

    def poll(self, now: int) -> "tuple[str, int, int, int, bytes] | None":
        """The "take back" event when it is due, else None; call it every second or so."""
        if not self._on:
            return None
        counter, message, _ = self._on
        if now < ((counter >> 8) + 5) * INTERVAL:
            return None
        self._on = None
        self.barred = now + 3600000
        count(self.counts, "unconfirmed")
        return "take back", GROUP_LAMP, message[1] << 8 | message[2], counter, message[13:]
