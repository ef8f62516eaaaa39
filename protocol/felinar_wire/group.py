"""What a node takes from one to many: beacons, lamp commands, key disclosures, each under a TESLA tag.

A frame is held until its interval's key is disclosed. Only a lamp "on" under a right zone tag acts at once: it must be
confirmed by TESLA, or is taken back. The counter of a group frame is interval << 8 | number in the interval, of which
the header has the low 16 bits and the nonce the low 32; clock and TESLA give the rest.
"""

from felinar_wire import frame, tesla
from felinar_wire.cmac import cmac
from felinar_wire.errors import WireError
from felinar_wire.session import counted, nonce

BEACON = 0x20  # key of interval n - 2 (16 bytes) | slot map (8) | ms in the interval (16) | first slot (16) | bits
GROUP_LAMP = 0x21  # id (16) | mode (8) | level (8) | fade s (8) | time to live, 10 s (16) | reason (8) | zone tag (64)
KEY_DISCLOSE = 0x22  # key of interval n - 2 | first interval of the next chain (32) | key of the one before it
_LEAST = {BEACON: 21, GROUP_LAMP: 16, KEY_DISCLOSE: 36}  # bytes of a body

HELD = 0  # a beacon to come, good for nothing but trimming slot times within the guard
AT_ONCE = 1  # a lamp "on", to be confirmed
VERIFIED = 2
TAKE_BACK = 3  # the "on" that came AT_ONCE was never confirmed


def acknowledged(body: bytes, slot_map: int, slot: int) -> int | None:
    """The bit for a slot in a VERIFIED beacon's body, or None: another slot map, or not among its slots."""
    at = slot - (body[19] << 8 | body[20])
    if body[16] != slot_map or at < 0 or at >> 3 >= len(body) - 21:
        return None
    return body[21 + (at >> 3)] >> (7 - (at & 7)) & 1


class Group:
    """A node's end. `chain` is a tesla.Chain, `counts` gets every refusal, `random(n)` gives n random bytes.

    `last` holds, for each address that is listened to, the counter of its last verified frame (0 at first); `zones`
    the zone keys of addresses. Events are (what, kind, address, counter, body). Times are the host's, in ms, as a
    clock.Clock gives them.
    """

    def __init__(self, chain: "tesla.Chain", counts: "dict[str, int]", random) -> None:  # type: ignore
        self.chain = chain
        self.counts = counts
        self.last: dict[int, int] = {}
        self.zones: dict[int, bytes] = {}
        self.barred = 0  # until then an "on" waits for TESLA
        self._held: list[tuple[int, bytes, bytes]] = []
        self._heard: dict[int, int] = {}  # interval << 6 | kind: frames
        self._on: tuple[int, bytes, bytes] | None = None
        self._random = random

    def receive(self, data: bytes, now: int, bound: int) -> "list[tuple[int, int, int, int, bytes]]":
        """A list of the events that a group frame brings at time `now`, known to within `bound`.

        Raises WireError, counted: "short", "long", "version", "kind", "address", "clock" (the bound exceeds the
        disclosure delay), "late" (its key may be out already), "early", "replay", "zone", "gap", "chain". Counted
        later: "tag", "replay", "undisclosed" when a key comes out; "displaced" by another; "unconfirmed".
        """
        return counted(self.counts, self._receive, data, now, bound)

    def _receive(self, data: bytes, now: int, bound: int) -> "list[tuple[int, int, int, int, bytes]]":
        kind, address, low, payload = frame.unpack(data, 1)
        body = payload[:-8]
        if len(body) < _LEAST[kind]:
            raise WireError("short")
        if address not in self.last:
            raise WireError("address")
        if bound > 20000:  # tesla.DELAY * tesla.INTERVAL
            raise WireError("clock")
        n = now // 10000
        n += ((low >> 8) - n + 128 & 255) - 128
        if now + bound >= (n + 2) * 10000:
            raise WireError("late")
        if now + bound < n * 10000:
            raise WireError("early")
        counter = n << 8 | low & 255
        entry = (counter, nonce(kind, address, counter & 0xFFFFFFFF) + body, payload[-8:])
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
            events = self._settle(self.chain.learn(n - 2, body[:16], [held[0] >> 8 for held in self._held]))
        # Of the frames of a kind and an interval any four are held, each with the same chance, flood or not.
        slot = n << 6 | kind
        heard = self._heard.get(slot, 0)
        self._heard[slot] = heard + 1
        if heard < 4:
            self._held.append(entry)
        else:
            self._count("displaced")
            place = int.from_bytes(self._random(2), "big") % (heard + 1)
            if place < 4:
                same = [i for i, held in enumerate(self._held) if held[0] >> 8 == n and held[1][0] == data[0]]
                self._held[same[place]] = entry
        if what or kind == BEACON:
            events.append((what, kind, address, counter, body))
        return events

    def _count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def _settle(self, keys: "dict[int, bytes]") -> "list[tuple[int, int, int, int, bytes]]":
        events = []
        self._heard = {slot: heard for slot, heard in self._heard.items() if slot >> 6 > self.chain.at}
        for entry in sorted(self._held):
            counter, message, tag = entry
            n = counter >> 8
            if n > self.chain.at:
                break
            self._held.remove(entry)
            address = message[1] << 8 | message[2]
            if n not in keys:
                self._count("undisclosed")
            elif tesla.mac(n, keys[n], message) != tag:
                self._count("tag")
            elif counter <= self.last[address]:
                self._count("replay")
            else:
                self.last[address] = counter
                if entry == self._on:
                    self._on = None
                kind = message[0] & 63
                body = message[13:]
                if kind == KEY_DISCLOSE:
                    self.chain.announce(int.from_bytes(body[16:20], "big"), body[20:36])
                events.append((VERIFIED, kind, address, counter, body))
        return events

    def poll(self, now: int) -> "tuple[int, int, int, int, bytes] | None":
        """The TAKE_BACK event when it is due, else None; call it every second or so."""
        if not self._on:
            return None
        counter, message, _ = self._on
        if now < (counter >> 8) * 10000 + 50000:
            return None
        self._on = None
        self.barred = now + 3600000
        self._count("unconfirmed")
        return TAKE_BACK, GROUP_LAMP, message[1] << 8 | message[2], counter, message[13:]
