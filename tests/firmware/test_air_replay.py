"""Somebody near the bridge jams what a lamp says, records it and plays it in the lamp's next slot: nothing is lost by it.

Firmware, planner and database are the real ones; what the lamp has let go of is read from its flash. The same with cores alone,
and with frames that are not bound to their slots: tests/host/test_air_replay.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from felinar_bench.air_town import LIGHT, Town
from felinar_sim import intruder
from felinar_sim.intruder import Intruder, Jammer
from felinar_wire import codec, schema

METER = {"driver": "bl0937", "counter": 0}
CYCLE_S = 300


@contextmanager
def attacked(apps: Path, folder: Path, seed: int) -> Iterator[tuple[Town, Jammer]]:
    """A lamp whose first reports are stored and acknowledged, and who listens to it."""
    with Town(apps, folder, 1, seed=seed, loss=0, beacon_loss=0, fitted=(*LIGHT, METER), radius_m=120) as town:
        jammer = Jammer(Intruder(town.street), 1)
        town.run_until(lambda: kept(town)[1] >= {(1, 1), (1, 2)}, 1500, 10)
        assert len(kept(town)[1]) > 2
        yield town, jammer
        assert town.sound() == []


def kept(town: Town) -> tuple[set[intruder.Identity], set[intruder.Identity]]:
    """What the lamp's flash holds as (not acknowledged, acknowledged)."""
    at, size = intruder.OUTBOX
    return intruder.outbox(town.street[0].flash.read(at, size))


def lost(town: Town) -> set[intruder.Identity]:
    """What the lamp has let go of and the host has not stored."""
    stored = {(row.boot, row.seq) for kind in (schema.REPORT, schema.EVENT) for row in town.host.rows(kind)}
    return kept(town)[1] - stored


def all_come(town: Town) -> None:
    """Once it is over, everything that was made is stored, once, as it was made."""
    town.run_until(lambda: not kept(town)[0], 8 * CYCLE_S, 30)
    account = town.settle_account(CYCLE_S, (schema.REPORT, schema.EVENT))
    assert account.wrong == [] and account.stored == account.made > 10
    assert not lost(town)


def test_what_was_jammed_is_played_in_the_next_slot(apps: Path, tmp_path: Path) -> None:
    with attacked(apps, tmp_path, 21) as (town, jammer):
        refused = town.host.air.keyring.counts
        before = refused.get("tag", 0)
        tries = 5
        jammer.jams = True
        for i in range(tries):
            jammer.kept.clear()
            town.run_until(lambda: jammer.kept, CYCLE_S + 20)
            ((began, data),) = jammer.kept
            assert jammer.in_slot(began)
            jammer.play(data)
            town.run_until(lambda i=i: jammer.turns > i, CYCLE_S + 1)  # type: ignore[misc]
            town.run_for(25)  # two beacons and the proof of each
            assert len(jammer.kept) == 2, "and what was due in that slot is kept from the host as well"
            assert not lost(town), f"after {i + 1} tries"
        assert refused.get("tag", 0) == before + tries, "each was heard, and counted"
        assert len(kept(town)[0]) >= 2 * tries, "nothing was let go of"
        jammer.jams = False
        all_come(town)


def test_alarms_that_were_jammed_are_played_in_the_slot(apps: Path, tmp_path: Path) -> None:
    with attacked(apps, tmp_path, 22) as (town, jammer):
        refused = dict(town.host.air.keyring.counts)
        pole = town.street[0]
        pole.lamp.failed = True
        tries = 5
        jammer.jams = True

        def alarms() -> list[bytes]:
            """What he has of the alarm, as it was said in contention."""
            return [data for began, data in jammer.kept if data[0] & 63 == schema.EVENT and not jammer.in_slot(began)]

        town.run_until(lambda: len(alarms()) >= tries, 4 * CYCLE_S, 5)
        recorded = alarms()[:tries]
        assert len(recorded) == tries
        for i in range(tries):
            jammer.play(recorded[i])
            town.run_until(lambda i=i: jammer.turns > i, CYCLE_S + 1)  # type: ignore[misc]
            town.run_for(25)
            assert not lost(town), f"after {i + 1} tries"
        codes = [codec.decode(schema.EVENT, row.body)[2] for row in town.host.rows(schema.EVENT)]
        assert codes.count(schema.EVENT_LAMP_FAILURE) == 1, "it is genuine, so it is stored, once"
        assert town.host.air.keyring.counts == refused
        jammer.jams = False
        all_come(town)
