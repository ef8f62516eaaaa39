"""Writes the vectors of the air, who may speak when: python -m tests.protocol.air_vectors."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from felinar_air import plan
from felinar_air.plan import CYCLE, INTERVAL, Superframe

from tests.protocol import air_calls

FILE = Path(__file__).resolve().parents[1] / "vectors" / "air.json"
BASE = 305_280 * CYCLE
"""An interval that begins a cycle, in January 2027."""
FACTORS = range(7, 11)


def vector(about: str, name: str, *args: Any) -> dict[str, Any]:
    return {"about": about, "call": name, "args": list(args), **air_calls.call(name, list(args))}


def times() -> list[dict[str, Any]]:
    out = []
    for sf in FACTORS:
        for size in (0, 5, 19, 22, 37, 60, 90, 120, 160, 246, 255):
            out.append(vector("airtime", "airtime", sf, size))
        for bridge in range(plan.BRIDGES) if sf == 7 else (0, 1, 2, 3, 7, 11):
            out.append(vector("times of a superframe", "superframe", sf, bridge))
    out += [
        vector("no superframe of SF11", "superframe", 11, 0),
        vector("no superframe of SF6", "superframe", 6, 0),
        vector("no bridge 12", "superframe", 7, 12),
    ]
    for sf, bridge in ((7, 0), (7, 3), (8, 1), (9, 2), (10, 11)):
        slots = Superframe(sf, bridge).slots
        for slot in (0, 1, slots - 1, slots, 7 * slots + 2, CYCLE * slots - 1):
            for n in (BASE, BASE + 8, BASE + CYCLE - 1):
                out.append(vector("a slot's next time", "slot", sf, bridge, slot, n))
        for free in (0, 1, 1 << slots - 1, 0b1_0110_0001, (1 << slots) - 1):
            out.append(vector("times of contention", "windows", sf, bridge, free))
    return out


def beacons() -> list[dict[str, Any]]:
    out = []
    for sf, bridge in ((7, 0), (8, 5), (9, 3), (10, 8)):
        frame = Superframe(sf, bridge)
        slots = frame.slots
        for n, where in ((BASE + 12, "in the middle of a cycle"), (BASE, "at its end"), (BASE + 1, "across its end"), (BASE + 2, "at its beginning")):  # fmt: skip
            before = [(m, m % CYCLE * slots + p) for m in (n - 2, n - 1) for p in (0, 3, slots - 1)]
            mine = [n % CYCLE * slots + p for p in (0, 2, slots - 1)]
            for about, stored, taken in (
                ("nothing stored, all free", [], []),
                ("some stored, some taken", before, mine),
                ("the last of the older one", [before[2]], mine[:1]),
                ("the first of the newer one", [before[3]], list(range(n % CYCLE * slots, (n % CYCLE + 1) * slots))),
            ):
                made = vector(f"{about}, {where}", "beacon", sf, bridge, n, [list(one) for one in stored], taken)
                out.append(made)
                first, bits = made["result"]
                body = air_calls.body(3, frame.first, first, bytes.fromhex(bits)).hex()
                out.append(vector(about, "free", sf, bridge, body))
                if len(stored) < 2:
                    continue
                for m, slot in before:
                    out.append(vector(f"stored, {where}", "bit", sf, bridge, body, 3, slot))
                    out.append(vector(f"stored, {where}", "proves", sf, bridge, slot, 3, m, n, body))
                    out.append(
                        vector("not stored", "bit", sf, bridge, body, 3, slot + 1 if slot % slots == 0 else slot - 1)
                    )
                    out.append(vector("another map", "bit", sf, bridge, body, 4, slot))
                slot = before[0][1]
                out += [
                    vector("another map", "proves", sf, bridge, slot, 4, n - 2, n, body),
                    vector("not stored", "proves", sf, bridge, slot + 1, 3, n - 2, n, body),
                    vector("of the same slot, a cycle ago", "proves", sf, bridge, slot, 3, n - 2 - CYCLE, n, body),
                    vector("free, but not stored", "proves", sf, bridge, mine[0] + 1, 3, n - CYCLE, n, body),
                ]
        body = air_calls.body(3, frame.first, 0, bytes(2)).hex()
        out += [
            vector("a beacon without free bits", "free", sf, bridge, body),
            vector("beyond the bits that there are", "bit", sf, bridge, body, 3, 16),
        ]
    return out


def turns() -> list[dict[str, Any]]:
    out = []
    for sf, bridge in ((7, 0), (7, 6), (8, 1), (9, 2), (10, 3)):
        frame = Superframe(sf, bridge)
        for slot in (0, frame.slots * 4 + 3, CYCLE * frame.slots - 1):
            p = slot % frame.slots
            own = BASE + slot // frame.slots
            size = (3 * frame.slots + 7) // 8
            free = (1 << 8 * size - 2 * frame.slots - p - 2).to_bytes(size, "big").hex()
            start = own * INTERVAL + frame.start(p)
            for n in (own, own - 3, own - 20):
                for about, bits in (("the slot behind is taken", "00" * size), ("the slot behind is free", free)):
                    out.append(vector(about, "turn", sf, bridge, slot, n, bits, n * INTERVAL + frame.first + 300))
            for about, now in (("a ms before it is too late", start + 11), ("a ms too late", start + 12)):
                out.append(vector(about, "turn", sf, bridge, slot, own, "00" * size, now))
            for minutes in (5, 15, 30, 60, 240):
                out.append(vector(f"{minutes} minutes without a beacon", "turn", sf, bridge, slot, own, "00" * size, start + minutes * 60_000))  # fmt: skip
            for off in (0, 12, -3000, 4999, 5000, -5000, -5001, INTERVAL, CYCLE * INTERVAL, frame.slot_ms):
                out.append(vector("when a frame began", "interval", sf, bridge, slot, start + off))
            out.append(vector("of a node without a slot", "interval", sf, bridge, -1, start + 12))
        out.append(vector("of a node without a slot, in contention", "interval", sf, bridge, -1, BASE * INTERVAL + frame.end + 1))  # fmt: skip
        out.append(vector("a host whose clock is not set", "interval", sf, bridge, 0, 900))
    return out


def clocks() -> list[dict[str, Any]]:
    n = BASE + 5
    steady = [[n + i, [40 + i // 3]] for i in range(6)]
    slow = [[n + i, [100 + i * 16 // 100]] for i in range(0, 400, 7)]
    out = []
    for about, beacons, after in (
        ("one", [[n, [-70]]], 0),
        ("one, a while ago", [[n, [-70]]], 60),
        ("none", [[n, []]], 1),
        ("the first one came twice", [[n, [5, 9]]], 1),
        ("the first one came twice, the next one once", [[n, [5, 9]], [n + 1, [7]]], 1),
        ("some", steady, 6),
        ("both of an interval", [[n, [3]], [n, [4]]], 0),
        ("one that was served late", [*steady, [n + 6, [58]]], 7),
        ("as late as the guard has room for", [[n, [0]], [n + 1, [26]]], 1),
        ("a ms later: recorded and repeated", [[n, [0]], [n + 1, [27]]], 1),
        ("genuine, and repeated later", [[n, [0]], [n + 1, [1, 300]]], 1),
        ("two within the guard", [[n, [0]], [n + 1, [1, 9]]], 1),
        ("as early as the guard has room for", [[n, [0]], [n + 1, [-26]]], 1),
        ("a ms earlier", [[n, [0]], [n + 1, [-27]]], 1),
        ("much earlier", [[n, [0]], [n + 1, [-5000]], [n + 2, [-5000]]], 3),
        ("earlier, and later", [[n, [0]], [n + 1, [-500, 500]]], 1),
        ("late for six intervals", [[n, [0]], *([n + i, [400]] for i in range(1, 7))], 7),
        ("late for seven", [[n, [0]], *([n + i, [400]] for i in range(1, 8))], 8),
        ("late for eight: measured anew", [[n, [0]], *([n + i, [400]] for i in range(1, 9))], 9),
        ("a slow clock, not yet for twenty minutes", slow[:18], 125),
        ("a slow clock, for twenty minutes", slow[:19], 130),
        ("a slow clock, for an hour", slow, 460),
        ("a slow clock, for an hour; later", slow, 1000),
        ("a fast clock, for an hour", [[m, [-off[0]]] for m, off in slow], 460),
        ("a slow clock, then one beacon late by less than the guard", [*slow, [n + 400, [180]]], 401),
        ("a slow clock, then the host's is set", [*slow, *([n + 400 + i, [9000]] for i in range(4))], 405),
    ):
        out.append(vector(about, "offset", 7, 2, beacons, n + after))
    return out


def bridges() -> list[dict[str, Any]]:
    out = []
    for seconds in (0, 37, 38, 75, 76, 113, 114, 151, 152):
        out.append(vector("nobody is there", "follow", seconds, []))
    for about, seconds, heard in (
        ("one that is there", 200, [[3, 300, 7, 5, -100]]),
        ("one at another spreading factor", 60, [[3, 300, 9, 4, -100]]),
        ("one at the last of them", 130, [[3, 300, 10, 11, -100]]),
        ("one that falls silent, just not yet given up", 80, [[3, 50, 7, 2, -100]]),
        ("one that falls silent, and is given up", 82, [[3, 50, 7, 2, -100]]),
        ("one that falls silent, and another that is there", 82, [[3, 50, 7, 2, -100], [30, 300, 7, 3, -110]]),
        ("the stronger of two others", 82, [[3, 50, 7, 2, -100], [32, 300, 7, 3, -110], [33, 300, 7, 4, -107]]),
        ("another, but not lately", 82, [[3, 50, 7, 2, -100], [30, 56, 7, 3, -110]]),
        ("another 6 dB stronger", 60, [[3, 300, 7, 1, -100], [8, 300, 7, 2, -94]]),
        ("another 7 dB stronger", 60, [[3, 300, 7, 1, -100], [8, 300, 7, 2, -93]]),
    ):
        out.append(vector(about, "follow", seconds, heard))
    for sf in FACTORS:
        for others in (0, 1, 5, 11, 12, 60, 200):
            out.append(vector("others join, too", "crowd", sf, 1, others))
    return out


def ledgers() -> list[dict[str, Any]]:
    rng = random.Random(869)
    out = [vector("sub-band of a channel", "sub-band", khz) for khz in (863_063, 868_000, 868_100, 868_500, 868_537, 869_525, 869_850)]  # fmt: skip
    out += [vector("no sub-band", "sub-band", khz) for khz in (863_062, 868_538, 868_650, 869_300, 869_588, 870_100)]
    out += [
        vector("all of the hour at once", "ledger", 10, [[0, 36_000], [0, 1], [3_600_000, 1], [3_660_000, 1]]),
        vector("too much at once", "ledger", 10, [[0, 36_001], [0, 36_000]]),
        vector("an hour later, in the same piece of a minute", "ledger", 1, [[59_999, 3600], [3_659_999, 1], [3_660_000, 3600]]),
        vector("refused takes nothing", "ledger", 1, [[5, 3000], [6, 601], [7, 600], [8, 1]]),
    ]  # fmt: skip
    for share in (1, 10, 100):
        now = 10**9
        asked = []
        for _ in range(60):
            now += rng.choice((0, 500, 20_000, 100_000, 400_000))
            asked.append([now, rng.randrange(share * 20, share * 300)])
            now += asked[-1][1]  # nobody sends two at once
        out.append(vector(f"a share of {share / 10:g} %", "ledger", share, asked))
    up = 0
    orders = []
    for _ in range(80):
        up += rng.choice((0, 3, 30, 200))
        orders.append([rng.choice((868_100_000, 868_300_000, 869_525_000)), rng.randrange(100_000, 30_000_000), up])
    out += [
        vector("one sub-band does not spend another's", "bridge ledger", [[868_100_000, 36_000_000, 0], [868_300_000, 1, 9], [869_525_000, 1, 9]]),
        vector("each begun ms counts whole", "bridge ledger", [[868_100_000, 35_999_001, 0], [868_100_000, 1, 1]]),
        vector("outside of all, or across an edge", "bridge ledger", [[868_650_000, 1, 0], [869_590_000, 1, 0], [868_537_501, 1, 0], [868_537_500, 1, 0]]),
        vector("many", "bridge ledger", orders),
    ]  # fmt: skip
    top = (1 << 30) - 1
    for a, b in ((5, 3), (3, 5), (0, top), (top, 0), (1 << 29, 0), ((1 << 29) - 1, 0), (0, 1 << 29)):
        out.append(vector("the bridge's time wraps", "after", a, b))
    return out


def text() -> str:
    header = {
        "covers": "The air: airtimes, superframes, slots, contention, beacons, turns and what they are sealed for, a clock by beacons, bridges, crowds, ledgers, a bridge's time.",
        "how": "args of a call and its result, or the reason why it is refused; bytes are hex; docs/protocol.md explains",
    }
    vectors = ",\n  ".join(
        json.dumps(one) for one in [*times(), *beacons(), *turns(), *clocks(), *bridges(), *ledgers()]
    )
    return json.dumps(header, indent=1)[:-2] + ',\n "vectors": [\n  ' + vectors + "\n ]\n}\n"


if __name__ == "__main__":
    FILE.write_text(text())
