"""Somebody jams what lamps say, records it and plays it later, into their slots too: no lamp lets go of what is not stored.

The same is tried with frames that are not bound to their slots, where it succeeds: so these are attacks indeed.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from felinar_air.plan import CYCLE, INTERVAL, airtime
from felinar_wire import frame, schema, session
from felinar_wire.session import nonce

from tests.host.air_bench import PERIOD, Host, Lamp, Street, street

KEPT = (schema.REPORT, schema.BATCH, schema.EVENT)


class Thief:
    """Hears all that a lamp says before its bridges do.

    While he `jams` they hear none of its kept messages, and once he has something he `plays` it over the next slot's frame.
    """

    def __init__(self, town: Street, lamp: Lamp, rng: random.Random) -> None:
        self.town, self.lamp, self.rng = town, lamp, rng
        self.taken: list[tuple[int, bytes]] = []
        """(ms at which it began, frame) of all that he has kept from the host."""
        self.played = 0
        self.jams = self.plays = False
        self._pass = lamp._end
        lamp._end = self._end  # type: ignore[method-assign]

    def _end(self, data: bytes, khz: int, air: int) -> None:
        kind = frame.unpack(data, frame.SEALED)[0]
        if kind not in KEPT or not self.jams:
            self._pass(data, khz, air)
            return
        begun = self.town.us - air
        if self.plays and self.taken and self.slot_of(begun):
            self.play(begun + self.rng.randrange(-6_000, 100_000), self.rng.choice(self.taken)[1], khz)
            self.plays = False
        self.taken.append((begun, data))

    def slot_of(self, us: float) -> bool:
        """Whether a frame that began then is one of the lamp's slot."""
        access = self.lamp.access
        ms = (self.town.start - schema.EPOCH_UNIX) * 1000 + us / 1000
        n, at = divmod(round(ms) - access.frame.begin, INTERVAL)
        return n % CYCLE * access.frame.slots + at // access.frame.slot_ms == access.slot

    def play(self, begin_us: float, data: bytes, khz: int) -> None:
        """Send it so that it begins then, or as soon as it can have ended."""
        self.played += 1
        air = airtime(7, len(data))
        self.town.after(max(begin_us + air - self.town.us, 0), self._deliver, data, khz, air)

    def _deliver(self, data: bytes, khz: int, air: int) -> None:
        for bridge in self.lamp.near:
            bridge.receive(data, 7, khz, air)


def let_go(lamp: Lamp) -> set[int]:
    return {seq for _, seqs in lamp.acked for seq in seqs}


def stored(host: Host, lamp: Lamp) -> list[int]:
    return sorted(
        seq
        for kind in (schema.REPORT, schema.EVENT)
        for node, boot, seq, _ in host.stored(kind)
        if (node, boot) == (lamp.address, lamp.boot)
    )


def begun(tmp_path: Path, seed: int = 1, bridges: int = 1) -> tuple[Street, Host, Lamp, Thief]:
    # 0 and 3 are on one channel, and their slots are not at the same times.
    town, host = street(tmp_path, bridges=bridges, seed=seed, plan=[(0, 7), (3, 7)][:bridges])
    lamp = town.lamps[0]
    town.until(lambda: lamp.joins)
    town.run(150)
    lamp.report()
    town.until(lambda: not lamp.pending, 2 * PERIOD)
    return town, host, lamp, Thief(town, lamp, random.Random(seed))


@pytest.fixture(params=["bound", "loose"])
def bound(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether slot frames are bound to their superframes, as they are; "loose": as they would be without."""
    if request.param == "loose":
        monkeypatch.setattr(
            session, "nonce", lambda kind, address, counter, crc=1, n=0: nonce(kind, address, counter, crc)
        )
    return bool(request.param == "bound")


def test_what_was_jammed_is_played_in_the_next_slot(tmp_path: Path, bound: bool) -> None:
    town, host, lamp, thief = begun(tmp_path)
    thief.jams = True
    tries = 8
    for _ in range(tries):
        thief.taken.clear()
        lamp.report()
        town.run(PERIOD)
        assert len(thief.taken) == 1
        thief.plays = True
        lamp.report()
        town.run(PERIOD)
        assert len(thief.taken) == 2 and not thief.plays
    assert thief.played == tries
    lost = let_go(lamp) - set(stored(host, lamp))
    if not bound:
        # One for each pair of slots, but for those in which a difference came from a reading that was lost: it is asked for whole.
        assert len(lost) >= tries // 2
        return
    assert lost == set()
    assert host.air.keyring.counts == {"tag": tries} == host.air.keyring.refused[1]
    assert sorted(lamp.pending) == list(range(2, 2 * tries + 2)), "nothing was believed, and nothing let go of"
    thief.jams = False
    town.until(lambda: not lamp.pending, 20 * PERIOD)
    assert stored(host, lamp) == list(range(1, 2 * tries + 2))


def test_an_alarm_that_was_jammed_is_played_in_the_slot(tmp_path: Path, bound: bool) -> None:
    town, host, lamp, thief = begun(tmp_path)
    thief.jams = True
    tries = 8
    alarms = []
    for _ in range(tries):
        at = lamp.access.turn(lamp.now())[0]
        town.run((at - lamp.now()) / 1000 + 2)
        thief.taken.clear()
        alarms.append(lamp.event())
        town.run(30)
        ((at, _),) = thief.taken
        assert not thief.slot_of(at), "it was said at a time for everybody"
        thief.plays = True
        lamp.report()
        town.until(lambda: not thief.plays, PERIOD)
        town.run(60)
    assert thief.played == tries
    assert set(alarms) <= set(stored(host, lamp)), "it is genuine and new, so it is stored"
    lost = let_go(lamp) - set(stored(host, lamp))
    if not bound:
        assert len(lost) == tries, "each reading that was due in the slot"
        return
    assert lost == set()
    assert host.air.keyring.counts == {}
    assert len(lamp.pending) == tries
    assert set(alarms) <= let_go(lamp), "by an ACK of its own"
    thief.jams = False
    town.until(lambda: not lamp.pending, 20 * PERIOD)
    assert stored(host, lamp) == list(range(1, lamp.made + 1))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_played_whenever(tmp_path: Path, seed: int) -> None:
    """Slots' frames and alarms, jammed or not, in slots, between them, early and late, once and often, at two bridges."""
    town, host, lamp, thief = begun(tmp_path, seed, bridges=1 + seed % 2)
    rng = thief.rng
    town.loss = 0.1
    town.beacon_loss = 0.2
    events = set()
    for _ in range(16):
        thief.jams = rng.random() < 0.6
        thief.plays = rng.random() < 0.7
        lamp.report()
        if rng.random() < 0.4:
            events.add(lamp.event())
        for _ in range(3):
            town.run(PERIOD / 3)
            if thief.taken and rng.random() < 0.3:
                thief.play(0, rng.choice(thief.taken)[1], lamp.access.frame.uplink)
        assert let_go(lamp) <= set(stored(host, lamp))
    assert thief.played > 10
    counts = host.air.keyring.counts
    assert counts["tag"] > 1 and set(counts) <= {"tag", "replay", "old"}, counts
    thief.jams = False
    town.loss = town.beacon_loss = 0.0
    town.until(lambda: not lamp.pending, 20 * PERIOD)
    assert let_go(lamp) <= set(stored(host, lamp))
    assert sorted(seq for _, _, seq, _ in host.stored()) == sorted({*range(1, lamp.made + 1)} - events), "each once"


def test_a_host_without_the_time_opens_what_was_said_in_no_slot(tmp_path: Path) -> None:
    _, host, lamp, _ = begun(tmp_path)
    assert lamp.session
    cell = host.air.cells[0]
    for at, n, refused in ((-1e12, 0, {}), (0.0, 0, {}), (-1e12, 9_500_000, {"tag": 1})):
        host.air.heard(cell, lamp.session.seal(schema.HEALTH, bytes(30), n), at, -90, 0.0)
        assert host.air.keyring.counts == refused
