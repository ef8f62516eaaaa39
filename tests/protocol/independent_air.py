"""A second implementation of who may speak when, written from docs/protocol.md alone; its tables are read out of the page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import count
from typing import Any

from tests.protocol.independent import PAGE, Refused

AIR = PAGE[PAGE.index("\n## The air\n") : PAGE.index("\n## Signatures of updates\n")]
CYCLE = 30
INTERVAL = 10_000


def _row(name: str) -> list[str]:
    found = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", AIR, re.M)
    assert found, name
    return found[1].split(" | ")


SLOTS = dict(zip(range(7, 11), map(int, _row("*slots* of a superframe")), strict=True))
LIMIT = dict(zip(range(7, 11), map(int, _row("*limit*: most bytes of a slot's frame")), strict=True))
BANDS = [
    (float(low), float(high), float(seconds))
    for low, high, seconds in re.findall(r"^\| ([\d.]+) to ([\d.]+) \| [\d.]+ % \| ([\d.]+) s \|", AIR, re.M)
]


# Airtime, superframes, slots


def airtime(sf: int, size: int) -> int:
    symbol = 2**sf * 8
    blocks = max(0, math.ceil((8 * size - 4 * sf + 44) / (4 * sf)))
    return round((12.25 + 8 + 5 * blocks) * symbol)


def air(sf: int, size: int) -> int:
    return math.ceil(airtime(sf, size) / 1000)


class Times:
    def __init__(self, sf: int, bridge: int) -> None:
        if sf not in SLOTS or bridge not in range(12):
            raise Refused("sf")
        self.sf, self.slots, self.limit = sf, SLOTS[sf], LIMIT[sf]
        self.uplink = {0: 868_100, 1: 868_300, 2: 868_500}[bridge % 3]
        self.slot_ms = air(sf, self.limit) + 24
        self.beacon_ms = air(sf, 34 + math.ceil(3 * self.slots / 8))
        self.phase = bridge % 4 * 320
        self.first = self.phase + 200
        self.second = self.first + 4 * 320
        self.begin = self.second + 12 + (self.beacon_ms if sf < 10 else 0)
        self.end = self.begin + self.slots * self.slot_ms

    def place(self, slot: int) -> tuple[int, int]:
        """The superframe of the cycle that a slot is in, and when it begins there."""
        return slot // self.slots, self.begin + slot % self.slots * self.slot_ms


def superframe(sf: int, bridge: int) -> list[int]:
    t = Times(sf, bridge)
    second = t.second if sf < 10 else 0
    return [t.uplink, t.slots, t.limit, t.slot_ms, t.beacon_ms, t.phase, t.first, second, t.begin, t.end]


def windows(sf: int, bridge: int, free: int) -> list[list[int]]:
    t = Times(sf, bridge)
    out = [
        [t.first + t.beacon_ms + 12, t.second if sf < 10 else t.begin - 12],
        [t.end, t.first + INTERVAL - 2],
    ]
    for run in re.finditer("1+", "".join("01"[free >> p & 1] for p in range(t.slots))):
        out.append([t.begin + run.start() * t.slot_ms, t.begin + run.end() * t.slot_ms])
    return out


def slot(sf: int, bridge: int, number: int, n: int) -> list[int]:
    t = Times(sf, bridge)
    superframe, begin = t.place(number)
    m = next(m for m in count(n) if m % CYCLE == superframe)
    return [m, m * INTERVAL + begin]


# Beacons, their bits a text of 0 and 1


def beacon(sf: int, bridge: int, n: int, stored: list[list[int]], taken: list[int]) -> list[Any]:
    t = Times(sf, bridge)
    told = {tuple(one) for one in stored}
    bits = ""
    for m in (n - 2, n - 1):
        bits += "".join("01"[(m, m % CYCLE * t.slots + p) in told] for p in range(t.slots))
    bits += "".join("10"[n % CYCLE * t.slots + p in taken] for p in range(t.slots))
    bits += "0" * (-len(bits) % 8)
    return [(n - 2) % CYCLE * t.slots, int(bits, 2).to_bytes(len(bits) // 8, "big").hex()]


def _read(body: str) -> tuple[int, int, str]:
    data = bytes.fromhex(body)
    return data[16], int.from_bytes(data[19:21], "big"), "".join(f"{byte:08b}" for byte in data[21:])


def bit(sf: int, bridge: int, body: str, slot_map: int, number: int) -> int | None:
    t = Times(sf, bridge)
    version, first, bits = _read(body)
    place = number - first if number >= first else number + CYCLE * t.slots - first
    return int(bits[place]) if version == slot_map and place < len(bits) else None


def free(sf: int, bridge: int, body: str) -> int:
    t = Times(sf, bridge)
    bits = _read(body)[2][2 * t.slots : 3 * t.slots]
    return sum(1 << p for p, one in enumerate(bits) if one == "1")


def proves(sf: int, bridge: int, number: int, slot_map: int, sent: int, n: int, body: str) -> str:
    if _read(body)[0] != slot_map:
        return "void"
    return "stored" if n - sent in (1, 2) and bit(sf, bridge, body, slot_map, number) == 1 else "nothing"


# Turns, and what interval they are sealed for


def turn(sf: int, bridge: int, number: int, n: int, bits: str, now: int) -> list[int]:
    t = Times(sf, bridge)
    superframe, begin = t.place(number)
    p = number % t.slots
    m = next(m for m in count(n) if m % CYCLE == superframe and m * INTERVAL + begin + 12 > now)
    start = m * INTERVAL + begin
    wide = n % CYCLE == superframe and p + 1 < t.slots and free(sf, bridge, "00" * 21 + bits) >> p + 1 & 1
    room, most = (2 * t.slot_ms, 246) if wide else (t.slot_ms, t.limit)
    error = max(3 + ((start - n * INTERVAL) // INTERVAL * 100 + 99) // 100, 12)
    while most > 0 and air(sf, most) + 2 * error > room:
        most -= 2
    return [start + error, most, m]


def interval(sf: int, bridge: int, number: int, time: int) -> int:
    t = Times(sf, bridge)
    if number < 0:
        n, rest = divmod(time - t.begin, INTERVAL)
        return n if n > 0 and rest // t.slot_ms < t.slots else 0
    superframe, begin = t.place(number)
    n = (time - begin + 5000) // INTERVAL
    return n if n > 0 and n % CYCLE == superframe else 0


class Measured:
    """What verified beacons have told of a node's clock."""

    def __init__(self) -> None:
        self.newest: tuple[int, int] | None = None  # (interval, offset)
        self.mark = (0, 0)
        self.rate = 0  # 1/1600 ms an interval
        self.drift = 100

    def expected(self, n: int) -> int:
        assert self.newest
        m, off = self.newest
        return off + math.floor((n - m) * self.rate / 1600)

    def beacon(self, n: int, heard: list[int]) -> None:
        if self.newest is None:
            if len(heard) == 1:
                self.newest = self.mark = (n, heard[0])
            return
        expected = self.expected(n)
        e = 1 + (n - self.newest[0]) * self.drift // 100
        near = [off for off in heard if abs(off - expected) <= 24 + e]
        if heard and not near:
            if len(heard) == 1 and heard[0] < expected:
                near = [expected - 24 - e]
            elif n - self.newest[0] > 6:
                self.newest = None
        if len(near) != 1:
            return
        off = min(near[0], expected + e)
        if n - self.mark[0] > 120:
            self.rate = (off - self.mark[1]) * 1600 // (n - self.mark[0])
            self.drift = 10
            self.mark = (n, off)
        self.newest = (n, off)


def offset(sf: int, bridge: int, beacons: list[Any], n: int) -> list[int] | None:
    Times(sf, bridge)
    clock = Measured()
    for m, heard in beacons:
        clock.beacon(m, heard)
    if clock.newest is None:
        return None
    return [clock.expected(n), 3 + ((n - clock.newest[0]) * clock.drift + 99) // 100]


# Whom a node follows, and when it joins


def follow(seconds: int, bridges: list[list[int]]) -> list[int]:
    """Nothing is ever verified, and nobody joins."""
    order = [7, 9, 8, 10]
    place, bridge, rssi, heard, began = 0, -1, 0, 0.0, 0.0
    others: dict[int, tuple[float, int]] = {}
    tries = 0
    for t in range(seconds + 1):
        for begin, end, sf, number, dbm in bridges:
            if not (begin <= t < end and (t - begin) % 10 == 0 and sf == order[place]):
                continue
            at = t - 0.5
            if number == bridge:
                heard, rssi = at, dbm
            elif bridge < 0 or (tries < 2 and dbm > rssi + 6):
                bridge, rssi, heard, began = number, dbm, at, at
            else:
                others[number] = at, dbm
        quiet = t - heard
        if quiet < 38 and t - began < 65:
            continue
        fresh = {b: s for b, (at, s) in others.items() if t - at < 25 and b != bridge}
        if quiet > 38 and fresh:
            bridge = max(fresh, key=lambda b: fresh[b])
            heard = began = others[bridge][0]
            rssi, tries = 0, 1
        elif quiet >= 38:
            place, bridge, rssi, heard, began = (place + 1) % 4, -1, 0, t, t
    return [order[place], bridge]


def crowd(sf: int, bridge: int, others: int) -> int:
    Times(sf, bridge)
    return 1 + others * air(sf, 19) // 600


# Ledgers


def sub_band(khz: float) -> int:
    for i, (low, high, _) in enumerate(BANDS):
        if low * 1000 + 62.5 <= khz <= high * 1000 - 62.5:
            return i
    raise Refused("frequency")


def _take(spent: list[tuple[int, int]], most_ms: float, minute: int, ms: int) -> bool:
    if sum(taken for at, taken in spent if minute - 60 <= at <= minute) + ms > most_ms:
        return False
    spent.append((minute, ms))
    return True


def ledger(share: int, asked: list[list[int]]) -> list[bool]:
    spent: list[tuple[int, int]] = []
    return [_take(spent, share * 3600, now // 60_000, ms) for now, ms in asked]


def bridge_ledger(asked: list[list[int]]) -> list[bool]:
    spent: list[list[tuple[int, int]]] = [[] for _ in BANDS]
    out = []
    for hz, us, up in asked:
        try:
            i = sub_band(hz / 1000)
        except Refused:
            out.append(False)
            continue
        out.append(_take(spent[i], BANDS[i][2] * 1000, up // 60, math.ceil(us / 1000)))
    return out


CALLS: dict[str, Callable[..., Any]] = {
    "airtime": airtime,
    "superframe": superframe,
    "windows": windows,
    "slot": slot,
    "beacon": beacon,
    "bit": bit,
    "free": free,
    "proves": proves,
    "turn": turn,
    "interval": interval,
    "offset": offset,
    "follow": follow,
    "crowd": crowd,
    "sub-band": sub_band,
    "ledger": ledger,
    "bridge ledger": bridge_ledger,
    "after": lambda a, b: (a - b + 2**29) % 2**30 - 2**29,
}


def call(name: str, args: list[Any]) -> dict[str, Any]:
    """What a vector says: {"result": ...} or {"refused": reason}."""
    try:
        return {"result": CALLS[name](*args)}
    except Refused as refusal:
        return {"refused": refusal.args[0]}
