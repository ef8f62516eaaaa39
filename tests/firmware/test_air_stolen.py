"""A node is stolen: with all the keys of its flash and all that was ever on the air nothing is gained against the others.

The firmware of all nodes and of the bridge is the real one; the thief's frames go over the same ether, at any time and
louder than the bridge's. What the nodes keep is read from their flash, and set against the host's books.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from felinar.keys import SqliteKeyStore
from felinar_air import plan
from felinar_sim import intruder
from felinar_sim.air_street import AirStreet
from felinar_sim.clock import VirtualClock
from felinar_sim.intruder import Intruder, Loot
from felinar_wire import codec, core, kept, schema, tesla

from tests.firmware.air_host import AirHost
from tests.firmware.test_air_street import LIGHT, NIGHT, sound

ZONE = 40_000
THIEF, VICTIMS = 1, (2, 3)
ON, OFF, DIM = schema.MODE_ON, schema.MODE_OFF, schema.MODE_DIM
Scene = tuple[AirStreet, AirHost, Intruder]


def host_secret(seed: int) -> bytes:
    """What opens the host's key store; no thief of a node has it."""
    return random.Random(seed).randbytes(32)


@contextmanager
def scene(apps: Path, folder: Path, seed: int) -> Iterator[Scene]:
    """Three nodes in one zone, the first of which will be stolen, and who has listened from the beginning."""
    (folder / "street").mkdir(parents=True)
    rng = random.Random(seed + 1)
    same: Any = {"now": lambda: 1e9, "random": rng.randbytes, "machine": lambda: "m"}
    with closing(SqliteKeyStore(folder / "keys", host_secret(seed), create=True, **same)) as store:  # `felinar flash`
        keys = {address: store.provision(address) for address in (THIEF, *VICTIMS)}
        zones = {ZONE: store.zone_key(ZONE)}
    store = SqliteKeyStore(folder / "keys", host_secret(seed), role="sessions", **same)
    street = AirStreet(
        3, app=apps / "lamp", bridge_app=apps / "bridge", clock=VirtualClock(NIGHT), seed=seed, radius_m=60.0,
        keys=keys, zones=zones,
        folder=folder / "street", fitted=LIGHT, report_s=300,
    )  # fmt: skip
    with street:
        host = AirHost(street, store)
        thief = Intruder(street)
        yield street, host, thief
        sound(street)
    store.close()


def rob(street: AirStreet, thief: Intruder) -> Loot:
    """The board of node 1 is taken from its pole and read out."""
    pole = street[0]
    pole.cut_power()
    loot = intruder.steal(pole, THIEF, thief.frames())
    assert loot.sessions and loot.zones, "what follows would be no attack at all"
    return loot


def kept_by(street: AirStreet, address: int) -> tuple[set[intruder.Identity], set[intruder.Identity]]:
    """What a node's flash holds as (not acknowledged, acknowledged)."""
    at, size = intruder.OUTBOX
    return intruder.outbox(street[address - 1].flash.read(at, size))


def nothing_let_go(street: AirStreet, host: AirHost) -> int:
    """No victim holds a record for acknowledged that the host has not stored; how many it rightly does."""
    count = 0
    for address in VICTIMS:
        _, done = kept_by(street, address)
        assert not {(address, *identity) for identity in done} - set(host.stored), address
        assert {(a.boot, a.seq) for a in street[address - 1].appended} == set.union(*kept_by(street, address))
        count += len(done)
    return count


def refused(street: AirStreet, host: AirHost) -> dict[int, int]:
    """How many frames each victim says that it has refused."""
    for address in VICTIMS:
        host.command(address, schema.QUERY, [schema.QUERY_HEALTH], reply=60)
    street.run_for(9)
    return {address: host.health[address]["bad_frames"] for address in VICTIMS}


def test_forged_acknowledgements_beacons_and_slot_maps(apps: Path, tmp_path: Path) -> None:
    with scene(apps, tmp_path, 11) as (street, host, thief):
        street.run_for(700)
        before = nothing_let_go(street, host)
        assert before >= 4, "genuine acknowledgements do let go"
        loot = rob(street, thief)
        bad = refused(street, host)
        joins = len(host.joins)
        layout = core.LAYOUT[schema.BEACON]
        slots = dict(host.slots.of)
        rng = random.Random(1)
        old: list[bytes] = []

        def on_beacon(data: bytes, khz: int) -> None:
            """Whenever a genuine beacon ends: others of the same interval, that acknowledge everything."""
            if data[0] & 63 != schema.BEACON:
                return
            n = thief.ms() // tesla.INTERVAL
            fields: list[Any] = core.decode(layout, data[5:-8])
            _, slot_map, ms, first, bits = fields
            every = b"\xff" * len(bits)
            # The newest keys that are out, and what a thief may hope to be taken for one.
            keys = [thief.keys[n - 2], thief.keys[n - 2], loot.root, loot.zones[ZONE]]
            choices = [
                core.encode(layout, [data[5:21], slot_map, ms, first, every]),  # everything is stored
                core.encode(layout, [data[5:21], slot_map ^ 1, ms, first, every]),  # all slots are planned anew
                core.encode(layout, [data[5:21], slot_map, (ms + 3000) % 10000, first, every]),  # it is later
                core.encode(layout, [loot.root, slot_map, ms, first, every]),  # a key of another chain
            ]
            body = choices[thief.sent % 4]
            # Its own counter, those to come, the genuine one's; then what was recorded, and the intervals that are over.
            number = rng.choice((data[4], data[4] + 1, 7, 200))
            m = n - rng.choice((0, 0, 0, 1, 2, 3)) + rng.choice((0, 0, 0, 1))
            use = thief.keys.get(m, keys[thief.sent % 4])
            thief.later(30, intruder.group(schema.BEACON, plan.BEACONS, m << 8 | number, body, use), khz)
            old.append(data)
            if len(old) > 4:
                thief.later(450, old[rng.randrange(len(old) - 3)], khz)
            thief.later(700, data[:5] + body + data[-8:], khz)

        thief.on_frame.append(on_beacon)
        street.loss = 1.0  # and he jams whatever is no beacon: the host hears of no report
        sent = thief.sent
        stored = len(host.stored)
        street.run_for(650)
        assert thief.sent - sent > 200
        assert len(host.stored) == stored
        assert nothing_let_go(street, host) == before, "nothing was let go that the host has not stored"
        assert all(len(kept_by(street, address)[0]) >= 2 for address in VICTIMS), "which was put to the test"
        street.loss = 0.0
        street.run_for(700)
        # He goes on, and everything is said and acknowledged all the same, in the old slots, in time.
        assert nothing_let_go(street, host) > before, "genuine beacons still let go, between the forged ones"
        thief.on_frame.clear()
        street.run_for(400)
        assert {address for address, _, _ in host.missing(600)} <= {THIEF}
        assert nothing_let_go(street, host) > before + 6
        assert host.joins[joins:] == [], "nobody was talked out of his slot"
        assert {address: host.slots.of[address] for address in VICTIMS} == {a: slots[a] for a in VICTIMS}
        frames = {}
        for begun, address, kind in host.frames:
            n, slot = host.slots.slot_at(begun)
            if kind in (schema.REPORT, schema.BATCH):
                assert address == THIEF or slot == host.slots.of[address], "each in its own slot, all the time"
                frames[address] = begun - n * plan.INTERVAL - host.slots.frame.start(slot % host.slots.frame.slots)
        assert all(4 <= frames[address] <= plan.GUARD - 4 for address in VICTIMS), "and where it begins, after all that"
        worse = refused(street, host)
        assert all(worse[address] > bad[address] + 50 for address in VICTIMS), "and they were counted"


def lights(street: AirStreet) -> list[bool]:
    return [street[address - 1].lit for address in VICTIMS]


def quiet(street: AirStreet, thief: Intruder) -> int:
    """Wait for a time at which nobody speaks; the interval that it is in."""
    street.run_for((-thief.ms() - 3000) % tesla.INTERVAL / 1000)
    return thief.ms() // tesla.INTERVAL


def lit_s(street: AirStreet, begin_us: int) -> list[float]:
    """For how many seconds since then each victim's lamp gave light."""
    now = street.clock.now_us
    return [
        sum(end - begin for begin, end, *_ in street[address - 1].lamp.lit_spans(begin_us, now)) / 1e6
        for address in VICTIMS
    ]


def test_group_commands_under_the_stolen_zone_key(apps: Path, tmp_path: Path) -> None:
    with scene(apps, tmp_path, 12) as (street, host, thief):
        street.run_for(60)
        assert lights(street) == [True, True]
        host.group(ZONE, 1, OFF, 0, 6000)
        street.run_for(35)
        assert lights(street) == [False, False], "the host's order is obeyed"
        recorded = [data for data in thief.frames() if data[0] & 63 == schema.GROUP_LAMP]
        loot = rob(street, thief)

        def forge(mode: int, level: int, id: int, back: int = 0, number: int = 40) -> None:
            n = thief.ms() // tesla.INTERVAL
            key = thief.keys.get(n - back) or thief.keys[max(thief.keys)]
            data = intruder.lamp(loot, ZONE, (n - back) << 8 | number, [id, mode, level, 0, 60000, 3], key)
            thief.send(data, plan.DOWNLINK)

        # He repeats the genuine one, in this interval and in later ones, and forges "on" for days: one minute is his.
        begin = street.clock.now_us
        forge(ON, 100, 50)
        street.run_for(5)
        assert lights(street) == [True, True], "fail lit: this is what a zone key is worth"
        for i in range(200):
            forge(ON, 100, 51 + i, number=41 + i)
            if i % 4 == 0:
                forge(ON, 90, 300 + i, back=2 + i % 3)
                thief.later(300, recorded[0], plan.DOWNLINK)
            street.run_for(1.5)
        assert lights(street) == [False, False]
        assert all(20 < s < 60 for s in lit_s(street, begin)), lit_s(street, begin)
        # The host still rules.
        host.group(ZONE, 2, ON, 100, 6000)
        street.run_for(35)
        assert lights(street) == [True, True]
        # What puts lamps out is obeyed under no key that a thief can have; nor is what was said once said again.
        for i in range(60):
            forge((OFF, DIM)[i % 2], (0, 10)[i % 2], 600 + i, back=(0, 0, 1, 2, 3)[i % 5], number=60 + i)
            if i % 3 == 0:
                thief.later(200, recorded[0], plan.DOWNLINK)
            street.run_for(1)
        street.run_for(30)
        assert lights(street) == [True, True]
        assert all(s > 90 for s in lit_s(street, street.clock.now_us - 91_000_000))


def test_a_thief_cannot_borrow_the_number_of_a_genuine_order(apps: Path, tmp_path: Path) -> None:
    """All hear an "off" while it waits for its proof. An "on" with the same id comes at once: it must not take its place."""
    with scene(apps, tmp_path, 13) as (street, host, thief):
        street.run_for(60)
        loot = rob(street, thief)

        def answer(data: bytes, _: int) -> None:
            if data[0] & 63 == schema.GROUP_LAMP:
                n = thief.ms() // tesla.INTERVAL
                fields = [data[5] << 8 | data[6], ON, 100, 0, 60000, 3]
                thief.later(40, intruder.lamp(loot, ZONE, n << 8 | 99, fields, loot.root), plan.DOWNLINK)

        thief.on_frame.append(answer)
        host.group(ZONE, 1, OFF, 0, 6000)
        street.run_for(90)
        assert lights(street) == [False, False], "acts, and is not undone when the forged one is taken back"
        # After a power cut his minute an hour is his again. Lamps are out by the host's order, he puts them on; the host
        # says "on" as well, and that holds.
        thief.on_frame.clear()
        for address in VICTIMS:
            street[address - 1].power_cycle(1)
        street.run_for(60)
        host.group(ZONE, 2, OFF, 0, 6000)
        street.run_for(40)
        assert lights(street) == [False, False]
        n = quiet(street, thief)
        thief.send(intruder.lamp(loot, ZONE, n << 8 | 99, [70, ON, 100, 0, 60000, 3], loot.root), plan.DOWNLINK)
        street.run_for(5)
        assert lights(street) == [True, True]
        host.group(ZONE, 3, ON, 100, 6000)
        street.run_for(100)
        assert lights(street) == [True, True], "to take back what was forged must not put out what was proven since"
        # A repeat of what has acted already confirms nothing but itself.
        for address in VICTIMS:
            street[address - 1].power_cycle(1)
        street.run_for(60)
        host.group(ZONE, 4, OFF, 0, 6000)
        street.run_for(40)
        n = quiet(street, thief)
        thief.send(intruder.lamp(loot, ZONE, n << 8 | 99, [71, ON, 100, 0, 60000, 3], loot.root), plan.DOWNLINK)
        street.run_for(5)
        assert lights(street) == [True, True]
        host.group(ZONE, 4, OFF, 0, 6000)
        street.run_for(90)
        assert lights(street) == [False, False]


def test_orders_answers_and_reports_in_the_name_of_others(apps: Path, tmp_path: Path) -> None:
    with scene(apps, tmp_path, 14) as (street, host, thief):
        street.run_for(400)
        loot = rob(street, thief)
        bad = refused(street, host)
        stored = dict(host.stored)
        results = len(host.results)
        joins = list(host.joins)
        keys = {address: dict(street[address - 1].nvs.items()) for address in VICTIMS}
        orders = [
            (schema.LAMP_SET, codec.encode(schema.LAMP_SET, [9, OFF, 0, 0, 900, 0])),
            (schema.CONFIG, codec.encode(schema.CONFIG, [10, schema.CONFIG_REPORT_S, 5])),
            (schema.REKEY, b"\0\x0b\0\0" + bytes(16)),
            (schema.ACK, codec.encode(schema.ACK, [1, 0, 0xFFFFFFFF])),
            (schema.TIME, codec.encode(schema.TIME, [0, 90_000_000, 0])),
            (schema.QUERY, codec.encode(schema.QUERY, [schema.QUERY_WHOLE])),
        ]
        # Orders, from the keys of his session, at counters around those in use; and as his own node's with another address.
        for i in range(72):
            address = VICTIMS[i % 2]
            kind, body = orders[i // 2 % len(orders)]
            name = THIEF if i % 3 == 0 else address
            data = intruder.session(loot, name, down=True, sent=i // 4).seal(kind, body)
            thief.send(data[:1] + address.to_bytes(2, "big") + data[3:], plan.DOWNLINK)
            street.run_for(0.4)
        # What comes up in their names, where they would be heard.
        report = stored[THIEF, 1, max(s for a, _, s in stored if a == THIEF and stored[a, 1, s][0] == schema.REPORT)]
        failure = schema.EVENT_LAMP_FAILURE
        said = [
            (schema.REPORT, kept.pack(1, 900, 1, codec.encode(schema.REPORT, report[1]), 250)),
            (schema.EVENT, kept.pack(1, 901, 1, codec.encode(schema.EVENT, [90_000_000, 0, failure, 1]), 250)),
            (schema.RESULT, codec.encode(schema.RESULT, [9, 0, 0, 0])),
        ]
        for i in range(60):
            kind, body = said[i % 3]
            data = intruder.session(loot, VICTIMS[i % 2], down=False, sent=4 * i).seal(kind, body)
            thief.send(data, host.slots.frame.uplink)
            street.run_for(0.5)
        assert set(host.stored) - set(stored) <= {(a, 1, s) for a in VICTIMS for s in range(20)}
        assert not any(values[0] == 9 for _, _, values in host.results[results:])
        assert host.keyring.counts.get("tag", 0) >= 40, host.keyring.counts
        worse = refused(street, host)
        assert all(worse[address] >= bad[address] + 25 for address in VICTIMS), (bad, worse)
        assert lights(street) == [True, True]
        for address in VICTIMS:
            assert street[address - 1].nvs.items()["felinar/key"] == keys[address]["felinar/key"]
        nothing_let_go(street, host)

        # He answers a join before the host does: with a slot, a time and a TESLA key of his own.
        own = tesla.before(1, bytes(16))
        tricked: list[int] = []

        def welcome(data: bytes, khz: int) -> None:
            if data[0] & 63 == schema.JOIN_REQ and data[1:3] != b"\0\x01" and len(tricked) < 3:
                tricked.append(thief.ms())  # no more, as his answers cover the host's: that would be jamming
                counter = data[5] << 24 | data[6] << 16 | data[3] << 8 | data[4]
                forged = intruder.join_acc(
                    loot, data[1] << 8 | data[2], counter, thief.ms() + 3_600_000, 3, host.slots.version, own
                )
                thief.later(3, forged, plan.DOWNLINK)

        thief.on_frame.append(welcome)
        street[1].power_cycle(2)
        street.run_for(120)
        assert len(tricked) == 3 and host.joins[len(joins) :] != [] and host.joins[-1][1] == 2
        thief.on_frame.clear()
        host.command(2, schema.LAMP_SET, [77, OFF, 0, 0, 900, 0])
        street.run_for(6)
        assert lights(street) == [False, True], "the session is the host's"

        # In his own node's name he is believed, until it is revoked.
        mine = intruder.session(loot, THIEF, down=False, sent=2000)
        thief.send(mine.seal(*said[0]), host.slots.frame.uplink)
        street.run_for(3)
        assert any(a == THIEF for a, _, _ in set(host.stored) - set(stored))
        street.run_for(9)
        # As `felinar keys revoke` does, beside the running host.
        with closing(SqliteKeyStore(tmp_path / "keys", host_secret(14), role="keys")) as command:
            command.remove(THIEF)
        host.keyring.news()  # as the daemon asks every few seconds
        count = len(host.stored)
        for _ in range(5):
            thief.send(mine.seal(*said[1]), host.slots.frame.uplink)
            street.run_for(1)
        assert {a for a, _, _ in list(host.stored)[count:]} <= set(VICTIMS)
        assert host.keyring.counts["session"] >= 5
        nothing_let_go(street, host)
