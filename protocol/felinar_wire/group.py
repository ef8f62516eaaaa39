"""What a node takes from one to many: beacons, lamp commands, key disclosures, each under a TESLA tag.

A frame is held until its interval's key is disclosed. Only a lamp "on" under a right zone tag acts at once: it must be
confirmed by TESLA, or is taken back. The counter of a group frame is interval << 8 | number in the interval, of which
the header has the low 16 bits; clock and TESLA give the rest.
"""

from struct import pack

from felinar_wire import tesla
from felinar_wire.cmac import cmac
from felinar_wire.errors import WireError
from felinar_wire.session import refused

BEACON = 0x20  # key of interval n - 2 (16 bytes) | slot map (8) | ms in the interval (16) | first slot (16) | bits
GROUP_LAMP = 0x21  # id (16) | mode (8) | level % (8) | fade s (8) | time to live, 10 s (16) | reason (8) | zone tag (64)
KEY_DISCLOSE = 0x22  # key of interval n - 2 | first interval of the next chain (32) | key of the one before it

HELD = 0  # a beacon to come, good for nothing but trimming slot times within the guard
AT_ONCE = 1  # a lamp "on", to be confirmed
VERIFIED = 2
TAKE_BACK = 3  # the "on" that came AT_ONCE was never confirmed

_SIZES = {BEACON: (21, 242), GROUP_LAMP: (16, 16), KEY_DISCLOSE: (36, 36)}
_ROOM = 4  # frames of one kind held; a further one takes a random place, so that a flood cannot be sure to push one out
_PATIENCE = 50000  # ms from an interval's start until an unconfirmed "on" is taken back
_BARRED = 3600000  # ms that "on" waits for TESLA after one was not confirmed


def front(kind: int, address: int, counter: int) -> bytes:
    """The 13 bytes in front of a group frame's body when it is authenticated; 1 is the core schema."""
    return pack(">BHIHI", 64 | kind, address, counter & 0xFFFFFFFF, 1, 0)


def acknowledged(body: bytes, slot_map: int, slot: int) -> int | None:
    """The bit for a slot in a VERIFIED beacon's body, or None: another slot map, or not among its slots."""
    at = slot - (body[19] << 8 | body[20])
    if body[16] != slot_map or at < 0 or at >> 3 >= len(body) - 21:
        return None
    return body[21 + (at >> 3)] >> (7 - (at & 7)) & 1


class Group:
    """A node's end. `chain` is a tesla.Chain, `counts` gets every refusal, `random(n)` gives n random bytes.

    Events are (what, kind, address, counter, body). Times are of the host, in ms, as a Clock gives them.
    """

    def __init__(self, chain, counts: dict, random) -> None:  # type: ignore
        self.chain = chain
        self.counts = counts
        self.last: dict[int, int] = {}  # address listened to: counter of its last verified frame
        self.zones: dict[int, bytes] = {}  # address: zone key
        self.barred = 0  # until then an "on" waits for TESLA
        self._held: list = []  # type: ignore[type-arg]
        self._on: tuple | None = None  # type: ignore[type-arg]
        self._random = random

    def receive(self, data: bytes, now: int, bound: int) -> list:  # type: ignore[type-arg]
        """Events that a group frame brings at time `now`, known to within `bound`.

        Raises WireError, counted: "short", "version", "class", "address", "kind", "clock" (the bound exceeds the
        disclosure delay), "late" (its key may be out already), "early", "replay", "zone", "gap", "chain". Later, on
        disclosure, are counted: "tag", "replay", "undisclosed"; "displaced" by another; "unconfirmed".
        """
        try:
            return self._receive(data, now, bound)
        except WireError as error:
            reason = error.reason
        raise refused(self.counts, reason)

    def _receive(self, data: bytes, now: int, bound: int) -> list:  # type: ignore[type-arg]
        if len(data) < 13:
            raise WireError("short")
        kind = data[0] & 63
        if data[0] >> 6 != 1:
            raise WireError("version")
        if kind >> 4 != 2:
            raise WireError("class")
        address = data[1] << 8 | data[2]
        if address not in self.last:
            raise WireError("address")
        sizes = _SIZES.get(kind)
        if sizes is None:
            raise WireError("kind")
        body = data[5:-8]
        if not sizes[0] <= len(body) <= sizes[1]:
            raise WireError("short")
        if bound > tesla.DELAY * tesla.INTERVAL:
            raise WireError("clock")
        n = now // tesla.INTERVAL
        n += (data[3] - n + 128 & 255) - 128
        if now + bound >= (n + tesla.DELAY) * tesla.INTERVAL:
            raise WireError("late")
        if n * tesla.INTERVAL > now + bound:
            raise WireError("early")
        counter = n << 8 | data[4]
        entry = (counter, front(kind, address, counter) + body, data[-8:], kind, address, body)
        if counter <= self.last[address] or entry in self._held:
            raise WireError("replay")
        what = HELD
        events = []
        if kind == GROUP_LAMP:
            zone = self.zones.get(address)
            if zone:
                if cmac(zone, entry[1][:-8])[:8] != body[-8:]:
                    raise WireError("zone")
                if body[2] == 1 and not self._on and now >= self.barred:
                    self._on = entry
                    what = AT_ONCE
        else:
            wanted = [held[0] >> 8 for held in self._held]
            events = self._settle(self.chain.learn(n - tesla.DELAY, body[:16], wanted))
        self._hold(entry)
        if what or kind == BEACON:
            events.append((what, kind, address, counter, body))
        return events

    def _count(self, reason: str) -> None:
        refused(self.counts, reason)

    def _hold(self, entry: tuple) -> None:  # type: ignore[type-arg]
        same = [i for i, held in enumerate(self._held) if held[3] == entry[3]]
        if len(same) < _ROOM:
            self._held.append(entry)
            return
        self._count("displaced")
        place = self._random(1)[0] % (_ROOM + 1)
        if place < _ROOM:
            self._held[same[place]] = entry

    def _settle(self, keys: dict) -> list:  # type: ignore[type-arg]
        events = []
        for entry in sorted(self._held):
            counter, message, tag, kind, address, body = entry
            if counter >> 8 > self.chain.at:
                continue
            self._held.remove(entry)
            key = keys.get(counter >> 8)
            if key is None:
                self._count("undisclosed")
            elif tesla.mac(counter >> 8, key, message) != tag:
                self._count("tag")
            elif counter <= self.last[address]:
                self._count("replay")
            else:
                self.last[address] = counter
                if entry == self._on:
                    self._on = None
                if kind == KEY_DISCLOSE:
                    first = int.from_bytes(body[16:20], "big")
                    if first > self.chain.at:
                        self.chain.next = (first, body[20:])
                events.append((VERIFIED, kind, address, counter, body))
        return events

    def poll(self, now: int):  # type: ignore[no-untyped-def]
        """The TAKE_BACK event when it is due, else None; call it every second or so."""
        entry = self._on
        if not entry or now < (entry[0] >> 8) * tesla.INTERVAL + _PATIENCE:
            return None
        self._on = None
        self.barred = now + _BARRED
        self._count("unconfirmed")
        return TAKE_BACK, entry[3], entry[4], entry[0], entry[5]
