"""What receivers of group frames make of what they hear, one or two rules at a time: `lessons` of security_tesla.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from felinar.keys import Broadcast
from felinar_wire import WireError, core, frame, tesla
from felinar_wire.aes import cmac
from felinar_wire.session import nonce

ZONE = bytes(range(16, 32))
CITY, STREET, SQUARE = 7, 0x8001, 0x8002
DAY = 1060 * tesla.DAY  # first interval of the day that most lessons begin in
SECOND = 1000
HOUR = 3600 * SECOND


def host(secret: int = 0) -> Broadcast:
    return Broadcast(bytes(range(secret, secret + 32)), lambda address: ZONE)


def at(n: int, ms: int = 200) -> int:
    return n * tesla.INTERVAL + ms


class Lesson:
    """One receiver, from the interval `n` in which it joined on; what it hears and says is written down."""

    def __init__(self, name: str, n: int, sender: Broadcast) -> None:
        self._drawn = 0
        self.counts: dict[str, int] = {}
        start = tesla.anchor(n)
        # The anchor counts as disclosed, and would keep the sender from signing with it: another one tells it.
        key = host().anchor(n)
        self.sender = sender
        self.node = tesla.Group(tesla.Chain(start, key), self.counts, self._random)
        self.node.last = {CITY: 0, STREET: 0, SQUARE: 0}
        self.node.zones = {STREET: ZONE}
        self.steps: list[dict[str, Any]] = []
        self.told = {
            "name": name,
            "start": {
                "interval": start,
                "key": key.hex(),
                "addresses": [CITY, STREET, SQUARE],
                "zones": {str(STREET): ZONE.hex()},
            },
            "steps": self.steps,
        }

    def _random(self, size: int) -> bytes:
        return self._drawn.to_bytes(size, "big")

    def hear(self, name: str, data: bytes, now: int, bound: int = 300, random: int = 0) -> None:
        self._drawn = random
        step: dict[str, Any] = {"name": name, "now_ms": now, "bound_ms": bound, "frame": data.hex()}
        if random:
            step["random"] = random
        try:
            step["events"] = [[*event[:4], event[4].hex()] for event in self.node.receive(data, now, bound)]
        except WireError as error:
            step["refused"] = error.reason
        self._note(step)

    def look(self, name: str, now: int) -> None:
        event = self.node.poll(now)
        self._note({"name": name, "now_ms": now, "look": [*event[:4], event[4].hex()] if event else None})

    def _note(self, step: dict[str, Any]) -> None:
        self.steps.append({**step, "counts": dict(self.counts)})

    def beacon(self, n: int, name: str = "a beacon") -> None:
        self.hear(name, self.sender.beacon(CITY, at(n), at(n), 3, 40, b"\x80"), at(n, 240))


def forged(kind: int, address: int, counter: int, body: bytes, key: bytes | None = None) -> bytes:
    """A frame as one makes it who has that key of its interval, or none."""
    tag = bytes(8)
    if key is not None:
        tag = tesla.mac(counter >> 8, key, nonce(kind, address, counter & 0xFFFFFFFF) + body)
    return frame.pack(kind, address, counter & 0xFFFF, body + tag, frame.SEALED)


def lamp(counter: int, *, mode: int = 1, zone: bytes = ZONE, number: int = 99) -> bytes:
    """A GROUP_LAMP to the street without a good TESLA tag."""
    fields = core.encode(core.LAYOUT[tesla.GROUP_LAMP], [number, mode, 100, 0, 6, 0, bytes(8)])[:-8]
    front = nonce(tesla.GROUP_LAMP, STREET, counter & 0xFFFFFFFF)
    return forged(tesla.GROUP_LAMP, STREET, counter, fields + cmac(zone, front + fields)[:8])


def disclosing(sender: Broadcast, n: int, number: int, first: int, link: bytes) -> bytes:
    """A genuine KEY_DISCLOSE that announces what no host of ours would."""
    body = core.encode(core.LAYOUT[tesla.KEY_DISCLOSE], [sender._of_day(n - 2), first, link])
    return forged(tesla.KEY_DISCLOSE, CITY, n << 8 | number, body, sender._of_day(n))


def wrong_keys() -> Lesson:
    n = DAY + 100
    lesson = Lesson("keys that are not the chain's; what comes after its key is out", n, host())
    body = core.encode(core.LAYOUT[tesla.BEACON], [bytes(16), 3, 200, 40, b"\x80"])
    lesson.hear("a made-up key of n - 1", forged(tesla.BEACON, CITY, n + 1 << 8, body), at(n + 1))
    lesson.beacon(n + 1, "the genuine beacon, of the same counter")
    body = core.encode(core.LAYOUT[tesla.BEACON], [bytes(16), 3, 200, 40, b"\x40"])
    lesson.hear(
        "a made-up key of an interval that is known", forged(tesla.BEACON, CITY, n + 1 << 8 | 1, body), at(n + 1)
    )
    early = lesson.sender.lamp(STREET, at(n + 2), 1, 2, 0)
    lesson.hear(
        "a beacon by a clock that may be 10 s behind",
        lesson.sender.beacon(CITY, at(n + 4), at(n + 4), 3, 40, b"\x80"),
        at(n + 3, 9000),
        10000,
    )
    lesson.hear("in time by the clock, but its key is known", early, at(n + 3, 9500), 300)
    return lesson


def next_days() -> Lesson:
    n = DAY + tesla.DAY - 3
    lesson = Lesson("days change, announced and not", n, host())
    lesson.beacon(n)
    announcement = lesson.sender.announcement(CITY, at(n, 300), at(n, 300))
    lesson.hear("where the next chain begins", announcement, at(n, 340))
    lesson.beacon(n + 2, "the key that proves it")
    lesson.hear("waits for the day's last key", lesson.sender.lamp(CITY, at(n + 2), 1, 2, 0), at(n + 2, 900))
    lesson.beacon(n + 6, "the next day's key, none of its own day's in between")
    lesson.hear(
        "a day further on, not announced",
        lesson.sender.beacon(CITY, at(n + 6 + tesla.DAY), at(n + 6 + tesla.DAY), 3, 40, b""),
        at(n + 6 + tesla.DAY),
    )
    return lesson


def odd_announcements() -> Lesson:
    n = DAY + 200
    lesson = Lesson("announcements of no beginning of a day, and of the past", n, host())
    other = host(64)
    link = other._of_day(n + 3)  # its chain is to begin at n + 4
    lesson.hear("a chain from the middle of the day on", disclosing(lesson.sender, n, 0, n + 4, link), at(n))
    lesson.beacon(n + 2, "its proof")
    lesson.hear("of the chain before", lesson.sender.lamp(CITY, at(n + 3), 1, 2, 0), at(n + 3))
    lesson.sender = other
    lesson.hear("of the new chain", other.lamp(CITY, at(n + 5), 2, 2, 0), at(n + 5))
    lesson.hear("one that begins in the past", disclosing(other, n + 6, 0, n + 4, bytes(16)), at(n + 6))
    lesson.hear("one of nothing", disclosing(other, n + 6, 1, 0, bytes(16)), at(n + 6))
    lesson.beacon(n + 8, "the key of the new chain that proves both")
    lesson.beacon(n + 9, "its next key, learnt as if nothing had been announced")
    return lesson


def equal_counters() -> Lesson:
    n = DAY + 300
    lesson = Lesson("frames with equal counters, verified by kind and then by address", n, host())
    sender = lesson.sender
    square = sender.lamp(SQUARE, at(n), 1, 2, 0)
    street = sender.lamp(STREET, at(n), 2, 2, 0)
    lesson.hear("to the square", square, at(n))
    lesson.hear("to the street", street, at(n))
    lesson.hear("the street's once more, held already", street, at(n))
    lesson.beacon(n, "to the city")
    lesson.hear("the square's second", sender.lamp(SQUARE, at(n), 3, 3, 50), at(n))
    lesson.beacon(n + 2, "the key")
    lesson.hear("the square's second once more, its key being out", square, at(n + 2))
    return lesson


def displaced() -> Lesson:
    n = DAY + 400
    lesson = Lesson("more frames of a pair than places", n, host())
    frames = [lesson.sender.lamp(CITY, at(n), number, 2, 0) for number in range(8)]
    for i in range(4):
        lesson.hear(f"held at place {i}", frames[i], at(n))
    lesson.hear("the fifth takes place 3", frames[4], at(n), random=3)
    lesson.hear("a held one again counts for nothing", frames[4], at(n))
    lesson.hear("the sixth: 13 mod 6 is place 1", frames[5], at(n), random=13)
    lesson.hear("the seventh: 12 mod 7 is no place", frames[6], at(n), random=12)
    lesson.hear(
        "one that was displaced comes again, as the eighth: 65535 mod 8 is no place", frames[1], at(n), random=65535
    )
    lesson.hear("the ninth: 36 mod 9 is place 0", frames[7], at(n), random=36)
    lesson.beacon(n + 2, "the key")
    return lesson


def sixteen_pairs() -> Lesson:
    n = DAY + 500
    lesson = Lesson("pairs of kind and interval while no key comes", n, host())
    sender = lesson.sender
    for i in range(tesla.SLOTS):
        lesson.hear(f"pair {i + 1}", sender.lamp(CITY, at(n + i), i, 2, 0), at(n + i))
    lesson.hear("a second of the first pair, too late", sender.lamp(CITY, at(n), 90, 2, 0), at(n + 15))
    n += tesla.SLOTS
    lesson.hear("refused, and its pair takes the place of the first all the same", lamp(n << 8, zone=bytes(16)), at(n))
    lesson.hear("another of that pair, which takes no more place", sender.lamp(CITY, at(n), 91, 2, 0), at(n))
    lesson.beacon(n + 1, "a beacon is a pair as well, before its key is learnt")
    return lesson


def fail_lit() -> Lesson:
    n = DAY + 600
    lesson = Lesson("an on that is not proved, and the hour behind it", n, host())
    sender = lesson.sender
    lesson.hear("off does not act at once", sender.lamp(STREET, at(n), 1, 2, 0, 0, 6), at(n))
    lesson.hear("an on under the zone key alone", lamp(n << 8 | 77), at(n, 300))
    lesson.hear("a genuine one, while that waits", sender.lamp(STREET, at(n), 2, 1, 100, 0, 6), at(n, 400))
    lesson.beacon(n + 2, "the key shows what was false; the false one waits on")
    lesson.look("not yet", at(n + 5, -1))
    lesson.look("taken back", at(n + 5, 0))
    lesson.look("once", at(n + 5, 1))
    lesson.hear("a genuine on within the hour", sender.lamp(STREET, at(n + 5), 3, 1, 100, 0, 6), at(n + 5, 200))
    lesson.beacon(n + 7, "its proof")
    then = at(n + 5) - 200 + HOUR
    later = then // tesla.INTERVAL
    lesson.hear("the last moment of the hour", sender.lamp(STREET, then, 4, 1, 100, 0, 6), then - 1)
    lesson.hear("an hour on", sender.lamp(STREET, then, 5, 1, 100, 0, 6), then)
    lesson.beacon(later + 2, "the proof of both")
    lesson.look("nothing waits", at(later + 5))
    lesson.hear("and so the next acts at once", sender.lamp(STREET, at(later + 5), 6, 1, 100, 0, 6), at(later + 5, 300))
    lesson.hear(
        "where the receiver has no zone key nothing does", sender.lamp(CITY, at(later + 5), 7, 1, 100), at(later + 5)
    )
    return lesson


LESSONS: tuple[Callable[[], Lesson], ...] = (
    wrong_keys, next_days, odd_announcements, equal_counters, displaced, sixteen_pairs, fail_lit,
)  # fmt: skip


def lessons() -> list[dict[str, Any]]:
    return [make().told for make in LESSONS]
