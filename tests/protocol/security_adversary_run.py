"""An adversary at work on both ends of a session and on a group's receiver; runs under both interpreters.

Arguments: how many frames of each kind, seed. Prints one JSON object: for each attack what was sent, accepted, and
refused under which reason.
"""

import json
import sys

from felinar_wire import WireError, join, tesla
from felinar_wire.aes import cmac
from felinar_wire.session import Session, nonce

REPORT, LAMP_SET = 0x00, 0x10
CRCS = {REPORT: 0x1234, 0x02: 0x2345, 0x03: 0x3456, LAMP_SET: 0x4567, 0x15: 0x5678, 0x17: 0x6789}
DAY = 1000 * tesla.DAY  # first interval of the day the group attacks play in
CITY, ZONE = 7, 0x8001


class Random:
    """The same numbers on both interpreters (a 31-bit linear congruence, high bits used)."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, n: int) -> int:
        self._state = (self._state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._state >> 8) % n

    def bytes(self, n: int) -> bytes:
        return bytes([self.below(256) for _ in range(n)])


def crc(kind: int) -> int:
    return CRCS[kind]


def pair(root: bytes, address: int, counter: int, host_nonce: bytes) -> tuple:
    """(node's end, host's end, counts of the node, counts of the host) of one session."""
    up, down = join.keys(root, address, counter, host_nonce)
    at_node: dict = {}
    at_host: dict = {}
    return Session(address, up, down, crc, at_node), Session(address, down, up, crc, at_host), at_node, at_host


class Tally:
    """What was sent and what got through."""

    def __init__(self) -> None:
        self.sent = self.accepted = 0

    def try_on(self, session: Session, data: bytes) -> None:
        self.sent += 1
        try:
            session.open(data)
            self.accepted += 1
        except WireError:
            pass

    def result(self, counts: dict, lost: int = 0) -> dict:
        # Every frame sent was counted, once.
        return {"sent": self.sent, "accepted": self.accepted, "reasons": counts, "lost": lost}


def kinds(random: Random) -> int:
    return LAMP_SET if random.below(4) == 0 else REPORT


def replayed(n: int, random: Random) -> dict:
    node, host, _, counts = pair(random.bytes(16), 5, 9, random.bytes(7))
    tally = Tally()
    recent: list = []
    for i in range(n):
        if i % 4 == 0:
            data = node.seal(kinds(random), random.bytes(20))
            host.open(data)
            recent.append(data)
            if len(recent) > 300:
                recent.pop(0)
        # At once, within the window, and long after.
        tally.try_on(host, recent[-1 - random.below(len(recent) if i % 2 else min(len(recent), 60))])
    return tally.result(counts)


def reordered(n: int, random: Random) -> dict:
    # Frames held back until 64 or more others have gone by.
    node, host, _, counts = pair(random.bytes(16), 5, 9, random.bytes(7))
    tally = Tally()
    for _ in range(0, n, 50):
        late = [node.seal(REPORT, random.bytes(20)) for _ in range(50)]
        for _ in range(random.below(4)):
            node.seal(REPORT, b"")
        node.sent += 63
        host.open(node.seal(REPORT, b""))
        for data in late:
            tally.try_on(host, data)
    return tally.result(counts)


def bit_flipped(n: int, random: Random) -> dict:
    node, host, _, counts = pair(random.bytes(16), 5, 9, random.bytes(7))
    tally = Tally()
    for i in range(n):
        if i % 16 == 0:
            fresh = node.seal(kinds(random), random.bytes(random.below(32)))
            if i % 32 == 0:  # leave some that were accepted in front of the window
                host.open(fresh)
                fresh = node.seal(kinds(random), random.bytes(random.below(32)))
        data = bytearray(fresh)
        for _ in range(1 + random.below(3)):
            bit = random.below(len(data) * 8)
            data[bit >> 3] ^= 1 << (bit & 7)
        if bytes(data) == fresh:
            data[-1] ^= 1
        tally.try_on(host, bytes(data))
    return tally.result(counts)


def truncated(n: int, random: Random) -> dict:
    node, host, _, counts = pair(random.bytes(16), 5, 9, random.bytes(7))
    tally = Tally()
    for i in range(n):
        if i % 16 == 0:
            fresh = node.seal(kinds(random), random.bytes(28))
        tally.try_on(host, fresh[: random.below(len(fresh))] if i % 8 else fresh + random.bytes(1 + i % 3))
    return tally.result(counts)


def cross_node(n: int, random: Random) -> dict:
    other, _, _, _ = pair(random.bytes(16), 6, 9, random.bytes(7))
    _, host, _, counts = pair(random.bytes(16), 5, 9, random.bytes(7))
    tally = Tally()
    for i in range(n):
        other.sent %= 30000
        data = other.seal(kinds(random), random.bytes(20))
        if i & 1:
            data = data[:1] + b"\x00\x05" + data[3:]
        tally.try_on(host, data)
    return tally.result(counts)


def cross_direction(n: int, random: Random) -> dict:
    node, host, at_node, at_host = pair(random.bytes(16), 5, 9, random.bytes(7))
    tally = Tally()
    for i in range(n):
        node.sent %= 30000
        host.sent %= 30000
        if i & 1:
            tally.try_on(node, node.seal(kinds(random), random.bytes(20)))
        else:
            tally.try_on(host, host.seal(kinds(random), random.bytes(20)))
    for reason in at_host:
        at_node[reason] = at_node.get(reason, 0) + at_host[reason]
    return tally.result(at_node)


def old_session(n: int, random: Random) -> dict:
    # The same boot joined again: another join counter, another host nonce.
    root = random.bytes(16)
    old, _, _, _ = pair(root, 5, 9, random.bytes(7))
    node, host, _, counts = pair(root, 5, 10, random.bytes(7))
    tally = Tally()
    for i in range(n):
        if i % 8 == 0:
            host.open(node.seal(REPORT, random.bytes(20)))
        if i % 16 == 0:
            old.sent = node.sent
        tally.try_on(host, old.seal(kinds(random), random.bytes(20)))
    return tally.result(counts)


def previous_boot(n: int, random: Random) -> dict:
    # Frames of a hundred earlier boots, of a host store that was restored under one counter too.
    root = random.bytes(16)
    olds = [pair(root, 5, 1 + i // 2, random.bytes(7))[0] for i in range(200)]
    node, host, _, counts = pair(root, 5, 100, random.bytes(7))
    tally = Tally()
    for i in range(n):
        if i % 8 == 0:
            host.open(node.seal(REPORT, random.bytes(20)))
        old = olds[random.below(200)]
        old.sent = node.sent + random.below(1000)  # a counter that is to come
        tally.try_on(host, old.seal(kinds(random), random.bytes(20)))
    return tally.result(counts)


def chain(random: Random) -> dict:
    """The keys of the day's intervals by number, and the one before them."""
    link = random.bytes(16)
    keys = {DAY + tesla.DAY - 1: link}
    for n in range(DAY + tesla.DAY - 1, DAY - 1, -1):
        link = keys[n - 1] = tesla.before(n, link)
    return keys


class City:
    """The host's end of TESLA for one day, and the receiver under attack."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.keys = chain(random)
        self.zone = random.bytes(16)
        self.counts: dict = {}
        self.node = tesla.Group(tesla.Chain(DAY - 1, self.keys[DAY - 1]), self.counts, lambda n: random.bytes(n))
        self.node.last = {CITY: 0, ZONE: 0}
        self.node.zones = {ZONE: self.zone}
        self.genuine = self.verified = self.at_once = self.taken_back = 0
        self.real: set = set()
        self.false = 0

    def frame(self, kind: int, address: int, n: int, number: int, body: bytes, key: bytes) -> bytes:
        counter = n << 8 | number
        tag = tesla.mac(n, key, nonce(kind, address, counter & 0xFFFFFFFF) + body)
        low = counter & 0xFFFF
        return bytes((64 | kind, address >> 8, address & 255, low >> 8, low & 255)) + body + tag

    def beacon(self, n: int, number: int, bits: bytes) -> bytes:
        body = self.keys[n - 2] + bytes((3, 0, 200, 0, 16)) + bits
        return self.frame(tesla.BEACON, CITY, n, number, body, self.keys[n])

    def lamp_body(self, n: int, number: int, mode: int, zone: bytes) -> bytes:
        body = bytes((0, 1, mode, 50, 0, 0, 6, 0))
        front = nonce(tesla.GROUP_LAMP, ZONE, (n << 8 | number) & 0xFFFFFFFF)
        return body + cmac(zone, front + body)[:8]

    def send(self, data: bytes, now: int, real: bool = False, bound: int = 900) -> None:
        """Give a frame to the receiver; what comes out verified must be genuine."""
        if real:
            self.genuine += 1
            self.real.add(data[5:-8])
        try:
            events = self.node.receive(data, now, bound)
        except WireError:
            return
        for what, _kind, _address, _counter, body in events:
            if what == "verified":
                if body in self.real:
                    self.verified += 1
                else:
                    self.false += 1
            elif what == "at once":
                self.at_once += 1

    def play(self, n: int, forge) -> dict:
        """`n` forged frames between genuine beacons, 20 an interval; then let everything be settled."""
        sent = 0
        interval = DAY + 4
        while sent < n:
            now = interval * 10000 + 1000
            for i in range(20):
                if i == 10:
                    self.send(self.beacon(interval, 0, b"\x0f\x0f"), now, True)
                bound = 900
                data = forge(interval, i)
                if isinstance(data, tuple):
                    data, bound, late = data
                    self.send(data, now + late, bound=bound)
                else:
                    self.send(data, now)
                sent += 1
                now += 300
            if self.node.poll(now):
                self.taken_back += 1
            interval += 1
        for _ in range(3):
            self.send(self.beacon(interval, 0, b""), interval * 10000 + 1000, True)
            interval += 1
        if self.node.poll((interval + 10) * 10000):
            self.taken_back += 1
        # What genuine frames the flood pushed out, and the two at the end whose keys are still to come.
        lost = self.genuine - self.verified
        self.counts.pop("unconfirmed", None)
        return {
            "sent": sent,
            "accepted": self.false,
            "reasons": self.counts,
            "lost": lost - 2,
            "at_once": self.at_once,
            "taken_back": self.taken_back,
            "genuine": self.genuine,
            "hours": (interval - DAY) // 360 + 1,
        }


def forged_group(n: int, random: Random) -> dict:
    city = City(random)

    def forge(interval: int, i: int) -> bytes:
        number = random.below(256)
        mode = random.below(4)
        if i % 4 == 0:  # an outsider: no key at all
            return city.frame(tesla.GROUP_LAMP, ZONE, interval, number, random.bytes(16), random.bytes(16))
        # A stolen node: zone key, and every key that was disclosed.
        body = city.lamp_body(interval, number, mode, city.zone)
        return city.frame(tesla.GROUP_LAMP, ZONE, interval, number, body, city.keys[interval - 2 - i % 3])

    return city.play(n, forge)


def forged_acknowledgement(n: int, random: Random) -> dict:
    city = City(random)

    def forge(interval: int, i: int) -> bytes:
        # The genuine beacon's key and tag with other bits, or a tag made with keys that are out.
        if i % 2:
            data = bytearray(city.beacon(interval, random.below(2), b"\x0f\x0f"))
            data[26 + random.below(2)] ^= 1 << random.below(8)
            return bytes(data)
        body = city.keys[interval - 2] + bytes((3, 0, 200, 0, 16)) + b"\xff\xff\xff\xff"
        return city.frame(tesla.BEACON, CITY, interval, random.below(256), body, city.keys[interval - 2 - i % 4])

    return city.play(n, forge)


def forged_beacon(n: int, random: Random) -> dict:
    city = City(random)

    def forge(interval: int, i: int) -> bytes:
        at = interval + random.below(5) - 2
        disclosed = random.bytes(16) if i % 2 else city.keys[interval - 3]
        body = disclosed + bytes((random.below(4), 0, 200, 0, 16)) + b"\xff\xff"
        if i % 5 == 0:  # a next day's chain of the forger's own
            body = disclosed + (DAY + tesla.DAY).to_bytes(4, "big") + random.bytes(16)
            return city.frame(tesla.KEY_DISCLOSE, CITY, at, random.below(256), body, city.keys[interval - 2])
        return city.frame(tesla.BEACON, CITY, at, random.below(256), body, random.bytes(16))

    result = city.play(n, forge)
    result["next"] = city.node.chain.next[0]
    return result


def late_disclosed(n: int, random: Random) -> dict:
    # Frames under the right key of their interval, made once that key was out; and receivers whose clock may be behind.
    city = City(random)

    def forge(interval: int, i: int):
        if i % 4 == 0:
            data = city.beacon(interval, 1 + i, b"\xff")
            return data, 20001 + random.below(100000), 0
        old = interval - 2 - random.below(2)
        if i % 4 == 1:
            return city.frame(tesla.GROUP_LAMP, ZONE, old, i, city.lamp_body(old, i, i % 3, city.zone), city.keys[old])
        if i % 4 == 2:
            return city.beacon(old, i, b"\xff")
        # The clock says that the key isn't out, its bound that it may be.
        now = 1000 + 300 * i
        return city.beacon(interval - 1, i, b"\xff"), 10000 - now + random.below(500), 0

    return city.play(n, forge)


ATTACKS = (
    replayed,
    reordered,
    bit_flipped,
    truncated,
    cross_node,
    cross_direction,
    old_session,
    previous_boot,
    forged_group,
    forged_acknowledgement,
    forged_beacon,
    late_disclosed,
)


def run(n: int, seed: int) -> dict:
    return {attack.__name__: attack(n, Random(seed + i)) for i, attack in enumerate(ATTACKS)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]))))
