"""A thief with a node's keys at work on another node's medium access; runs under both interpreters.

Arguments: how many frames of each attack, seed. Prints one JSON object: for each attack what was sent, what came of it and
what was counted. The victim is Access and Group as the firmware joins them; the host is Slots with a chain of its own.
"""

import json
import sys

from felinar_air.host import Slots
from felinar_air.node import Access
from felinar_air.plan import BEACONS, CYCLE, GUARD, INTERVAL, Superframe
from felinar_wire import WireError, frame, join, tesla
from felinar_wire.aes import Ccm, cmac
from felinar_wire.session import Session, nonce

try:
    from tests.protocol.security_adversary_run import DAY, Random, chain
except ImportError:
    from security_adversary_run import DAY, Random, chain

ZONE = 0x8001
VICTIM, THIEF = 5, 6
DRIFT = 20  # ppm of the victim's crystal
EACH = 6  # forged frames an interval


class Street:
    """The host, its chain, and a victim in a slot whose clock is right to 0.2 s and known to 0.9 s."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.keys = chain(random)
        self.zone = random.bytes(16)
        self.counts: dict = {}
        self.n = DAY + 40
        self.slots = Slots(Superframe(7, 0), 5)
        self.slot = self.slots.assign(VICTIM, self.n)
        for other in range(20, 60):
            self.slots.assign(other, self.n)
        self.group = tesla.Group(tesla.Chain(self.n - 2, self.keys[self.n - 2]), self.counts, random.bytes)
        self.group.last = {BEACONS: 0, ZONE: 0}
        self.group.zones = {ZONE: self.zone}
        self.access = Access(VICTIM, random.bytes, self.counts)
        self.access.heard(0, (self.n - 1) << 8, self.body(self.n - 1), self.local((self.n - 1) * INTERVAL + 200))
        self.access.joined(self.slot, 5, self.n - 1, self.local(self.n * INTERVAL))
        self.recorded: list = []
        self.stored: set = set()
        self.out: dict = dict.fromkeys(
            ("sent", "false", "let_go", "moved", "rejoined", "at_once", "taken_back", "obeyed", "lost", "flights", "real", "verified"), 0
        )  # fmt: skip

    def local(self, host: int) -> int:
        """The victim's own time at a time of the host's."""
        host -= DAY * INTERVAL
        return host + 777 + host * DRIFT // 1000000

    def body(self, n: int, ms: int = 200) -> bytes:
        first, bits = self.slots.beacon(n)
        return self.keys[n - 2] + bytes((self.slots.version, ms >> 8, ms & 255, first >> 8, first & 255)) + bits

    def frame(self, kind: int, address: int, counter: int, body: bytes, key: bytes, n: int = 0) -> bytes:
        tag = tesla.mac(n or counter >> 8, key, nonce(kind, address, counter & 0xFFFFFFFF) + body)
        return frame.pack(kind, address, counter & 0xFFFF, body + tag, 1)

    def lamp(self, counter: int, mode: int, key: bytes) -> bytes:
        body = bytes((0, counter & 255, mode, 100, 0, 255, 255, 0))
        front = nonce(tesla.GROUP_LAMP, ZONE, counter & 0xFFFFFFFF)
        return self.frame(tesla.GROUP_LAMP, ZONE, counter, body + cmac(self.zone, front + body)[:8], key)

    def hear(self, data: bytes, at: int, real: bool = False) -> None:
        """The victim hears a frame that began at a host's time; as the firmware's `_group_frame` does it."""
        access = self.access
        kind, _, low, payload = frame.unpack(data, 1)
        began = self.local(at)
        time = at + 200
        if real:
            self.recorded.append((self.n, data))
            self.recorded = self.recorded[-200:]
            self.out["real"] += 1
        else:
            self.out["sent"] += 1
        try:
            events = self.group.receive(data, time, 900)
        except WireError as error:
            if kind == tesla.BEACON and error.reason != "replay":
                n = time // INTERVAL
                n += ((low >> 8) - n + 128 & 255) - 128
                access.heard(0, n << 8 | low & 255, payload[:-8], began, 0, False)
            return
        for what, kind, _, counter, body in events:
            if what == "verified":
                genuine = (counter, body) in self.genuine
                self.out["false"] += not genuine
                self.out["verified"] += 1
                if kind == tesla.BEACON:
                    item = access.verified(0, counter, body)
                    if item is not None:
                        self.out["let_go"] += 1
                        self.out["lost"] += item not in self.stored
                else:
                    self.out["obeyed"] += not genuine
            elif kind == tesla.BEACON:
                access.heard(0, counter, body, began)
            elif what == "at once":
                self.out["at_once"] += 1

    def play(self, count: int, forge) -> dict:
        """`count` forged frames, EACH in an interval; the victim's reports go out, and are jammed every other time."""
        access = self.access
        out = self.out
        self.genuine: set = set()
        jam = 0
        begin = self.n + 6  # before that the victim has time to measure its slot's
        while out["sent"] < count:
            n = self.n
            start = n * INTERVAL
            events = []
            for number, ms in ((0, 200), (1, 1480)):
                body = self.body(n, ms)
                self.genuine.add((n << 8 | number, body))
                # The thief may keep one in five from the victim.
                data = self.frame(tesla.BEACON, BEACONS, n << 8 | number, body, self.keys[n])
                if self.random.below(5) or n < begin:
                    events.append((ms, data, True))
                else:
                    self.recorded.append((n, data))
            for i in range(EACH if n >= begin else 0):
                ms, data = forge(self, n, i)
                events.append((ms, data, False))
            events.sort(key=lambda event: event[0])
            for ms, data, real in events:
                self.hear(data, start + ms, real)
            now = self.local(start + 9990)
            event = self.group.poll(start + 9990)
            out["taken_back"] += event is not None
            if access.step(now) or access.joining or access.slot != self.slot:
                out["rejoined"] += 1
                access.joined(self.slot, 5, n, now)
            if access.turn(self.local(start + 100))[2] == n == access.turn(self.local(start + 1500))[2]:
                at, limit, _ = access.turn(self.local(start + 1500))
                slot = self.slots.frame.start(self.slot % self.slots.frame.slots)
                behind = at - self.local(start + slot)
                # It knows how wrong it may be, and keeps to the slot all the same.
                out["moved"] += not 0 <= behind <= 2 * max(access.error(at), GUARD // 2)
                if limit >= 40:
                    access.sent(n, n)
                    out["flights"] += 1
                    jam += 1
                    if jam & 1:
                        out["moved"] += not self.slots.stored(start + slot + behind, VICTIM)
                        self.stored.add(n)
            self.n += 1
        out["reasons"] = self.counts
        return out


def known(street: Street, n: int, ms: int) -> list:
    """Keys that a thief may have: those that are out, and those of his own."""
    last = n - 2 if ms > 300 else n - 3
    return [street.keys[last], street.keys[last - 1], street.zone, bytes(16)]


def pick(street: Street, items: list) -> object:
    return items[street.random.below(len(items))]


def some_counter(street: Street, n: int) -> int:
    """Of this interval mostly, of those before and of the next: genuine numbers, and those that nobody uses."""
    return (n - (0, 0, 0, 0, 1, 2, 3, -1)[street.random.below(8)]) << 8 | (0, 1, 2, 77)[street.random.below(4)]


def forged(change):
    """An attack: beacons with what `change(street, body, n)` makes of a genuine body."""

    def forge(street: Street, n: int, i: int) -> tuple:
        ms = 150 + street.random.below(9700)
        counter = some_counter(street, n)
        disclosed = street.keys[n - 2] if ms > 300 else street.keys[n - 3]
        body = change(street, disclosed + bytes((5, ms >> 8, ms & 255, 0, 0)) + b"\xff" * 13, n)
        m = counter >> 8
        key = street.keys[m] if m <= (n - 2 if ms > 300 else n - 3) else pick(street, known(street, n, ms))
        return ms, street.frame(tesla.BEACON, BEACONS, counter, body, key)

    return forge


def acknowledge(street: Street, body: bytes, n: int) -> bytes:
    first = (n - 2) % CYCLE * street.slots.frame.slots
    return body[:19] + first.to_bytes(2, "big") + body[21:]


def other_map(street: Street, body: bytes, n: int) -> bytes:
    return body[:16] + bytes((street.random.below(256),)) + body[17:]


def other_time(street: Street, body: bytes, n: int) -> bytes:
    return body[:17] + street.random.below(10000).to_bytes(2, "big") + body[19:]


def own_key(street: Street, body: bytes, n: int) -> bytes:
    return street.random.bytes(16) + body[16:]


def replay(street: Street, n: int, i: int) -> tuple:
    """Genuine beacons, those that he kept from the victim before all: a little later, an interval, a thousand."""
    fresh = [data for m, data in street.recorded if n - m < 2]
    ms = 1700 + street.random.below(8000)
    return ms, pick(
        street, fresh if fresh and i & 1 else [data for _, data in street.recorded] or [b"\x60\xff\0\0\0" + bytes(60)]
    )


def same_counter(street: Street, n: int, i: int) -> tuple:
    """In the genuine ones' counters, before and after them: what may be thought their time is his."""
    ms = (100, 190, 1400, 1470, 1500, 1600)[i % 6] + street.random.below(30)
    key = street.keys[n - 2] if ms > 300 else street.keys[n - 3]
    body = key + bytes((5, 0, 200, 0, 0)) + b"\xff" * 13
    return ms, street.frame(tesla.BEACON, BEACONS, n << 8 | (i & 1), body, pick(street, known(street, n, ms)))


def flood(street: Street, n: int, i: int) -> tuple:
    """Many numbers, to displace what was held, then the genuine ones' again at a time of his own."""
    ms = 1900 + 600 * i
    number = 100 + i if i < 9 else i & 1
    body = street.keys[n - 2] + bytes((5, 0, 180, 0, 0)) + b"\xff" * 13
    return ms, street.frame(tesla.BEACON, BEACONS, n << 8 | number, body, street.zone)


def group_lamp(street: Street, n: int, i: int) -> tuple:
    ms = 400 + street.random.below(9400)
    m = n - (0, 0, 1, 2, 3, -1)[i % 6]
    key = street.keys[m] if m <= n - 2 else pick(street, known(street, n, ms))
    return ms, street.lamp(m << 8 | i, 1 + street.random.below(3), key)


BEACON_ATTACKS = {
    "acknowledge": forged(acknowledge),
    "other_map": forged(other_map),
    "other_time": forged(other_time),
    "own_key": forged(own_key),
    "replay": replay,
    "same_counter": same_counter,
    "flood": flood,
    "group_lamp": group_lamp,
}


def stolen_session(count: int, random: Random) -> dict:
    """What the stolen node's session seals, with the victim's address on it, in both directions."""
    root, front = random.bytes(16), random.bytes(7)
    up, down = join.keys(root, THIEF, 3, front)
    other = join.keys(random.bytes(16), VICTIM, 3, front)
    counts: dict = {}
    ends = (
        Session(VICTIM, other[0], other[1], lambda kind: 9, counts),
        Session(VICTIM, other[1], other[0], lambda kind: 9, counts),
    )
    accepted = 0
    for i in range(count):
        name = THIEF if i & 2 else VICTIM
        false = Session(name, (down, up)[i & 1], (up, down)[i & 1], lambda kind: 9, {})
        false.sent = random.below(60)
        data = false.seal((0x10, 0x12, 0x15, 0x00, 0x02, 0x17)[i % 6], random.bytes(8))
        try:
            ends[i & 1].open(data[:1] + b"\0\x05" + data[3:])
            accepted += 1
        except WireError:
            pass
    genuine = Session(VICTIM, other[1], other[0], lambda kind: 9, {}).seal(0x10, b"on")
    return {"sent": count, "accepted": accepted, "reasons": counts, "control": ends[0].open(genuine)[2] == b"on"}


def stolen_join(count: int, random: Random) -> dict:
    """JOIN_ACCs for the victim under the stolen root key, with any slot, map, time and TESLA key."""
    stolen, root = random.bytes(16), random.bytes(16)
    counts: dict = {}
    accepted = 0

    def answer(key: bytes, counter: int) -> bytes:
        front = random.bytes(7)
        body = Ccm(join.keys(key, VICTIM, counter, front)[1]).seal(
            nonce(join.JOIN_ACC, VICTIM, counter), random.bytes(19), 8
        )
        return frame.pack(join.JOIN_ACC, VICTIM, counter & 0xFFFF, front + body, 1)

    for i in range(count):
        try:
            join.accept(answer(stolen, 7 + (i % 4 == 3)), root, VICTIM, 7, lambda kind: 9, counts)
            accepted += 1
        except WireError:
            pass
    control = join.accept(answer(root, 7), root, VICTIM, 7, lambda kind: 9, {})[0].address == VICTIM
    return {"sent": count, "accepted": accepted, "reasons": counts, "control": control}


def attack(name: str, count: int, random: Random) -> dict:
    if name in BEACON_ATTACKS:
        return Street(random).play(count, BEACON_ATTACKS[name])
    return {"stolen_session": stolen_session, "stolen_join": stolen_join}[name](count, random)


NAMES = list(BEACON_ATTACKS) + ["stolen_session", "stolen_join"]  # noqa: RUF005 - MicroPython

if __name__ == "__main__":
    print(json.dumps({name: attack(name, int(sys.argv[1]), Random(int(sys.argv[2]))) for name in NAMES}))
