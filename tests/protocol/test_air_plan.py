"""Airtime, superframes, sub-bands and the ledger of airtime."""

from __future__ import annotations

import itertools
import random
from collections import deque

import pytest
from felinar_air import plan
from felinar_air.host import AirError, Slots
from felinar_air.plan import CYCLE, Superframe


@pytest.mark.parametrize(
    ("sf", "size", "us"),
    # Of the data sheet's formula, by hand; the first two rows of docs' budget: 37 and 160 bytes.
    [(7, 37, 82_176), (9, 37, 267_264), (12, 37, 1_974_272), (7, 160, 261_376), (12, 160, 5_906_432), (7, 0, 25_856)],
)
def test_airtime_is_that_of_the_data_sheet(sf: int, size: int, us: int) -> None:
    assert plan.airtime(sf, size) == us


def test_airtime_agrees_with_the_formula_in_floating_point() -> None:
    for sf in range(7, 13):
        low = sf > 10
        for size in range(256):
            symbol = 2**sf / 125_000
            blocks = max(-(-(8 * size - 4 * sf + 28 + 16) // (4 * (sf - 2 * low))), 0)
            assert plan.airtime(sf, size) == round((8 + 4.25 + 8 + 5 * blocks) * symbol * 1e6), (sf, size)


@pytest.mark.parametrize(("sf", "nodes", "limit"), [(7, 1000, 120), (8, 700, 90), (9, 500, 70), (10, 300, 60)])
def test_a_superframe_holds_what_it_must(sf: int, nodes: int, limit: int) -> None:
    for bridge in range(plan.BRIDGES):
        frame = plan.Superframe(sf, bridge)
        assert frame.slots * plan.CYCLE >= nodes
        assert frame.limit == limit
        assert frame.slot_ms >= plan.airtime(sf, limit) / 1000 + plan.GUARD
        windows = frame.windows(0)
        assert sum(end - begin for begin, end in windows) >= plan.INTERVAL // 5, "a fifth for contention"
        # Nothing overlaps, the next superframe's beacon included, and a beacon goes out in its own interval.
        size = 34 + (3 * frame.slots + 7) // 8
        assert plan.airtime(sf, size) <= frame.beacon_ms * 1000
        times = [(frame.first, frame.first + frame.beacon_ms), (frame.begin, frame.end), *windows]
        if frame.second:
            times.append((frame.second, frame.second + frame.beacon_ms))
            assert 2 * frame.beacon_ms < plan.INTERVAL / 10
        times.sort()
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(times))
        assert times[-1][1] < frame.first + plan.INTERVAL
        assert frame.phase + plan.LEAD + frame.beacon_ms < plan.INTERVAL
        assert plan.band(frame.uplink) == 2


def test_beacons_of_neighbours_do_not_meet() -> None:
    for sf in (7, 8, 9):
        times = []
        for bridge in range(plan.PHASES):
            frame = plan.Superframe(sf, bridge)
            times += [(at, at + frame.beacon_ms + plan.TURN) for at in (frame.first, frame.second)]
        times.sort()
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(times))


def test_slots_that_are_nobodys_are_windows_too() -> None:
    frame = plan.Superframe(9, 0)
    assert frame.windows(0b0110_0001)[2:] == [
        (frame.start(0), frame.start(1)),
        (frame.start(5), frame.start(7)),
    ]
    assert frame.windows((1 << frame.slots) - 1)[2:] == [(frame.begin, frame.end)]


def test_channels_lie_in_their_sub_bands() -> None:
    assert plan.BANDS[plan.band(plan.DOWNLINK)][2:] == (100, 27)
    for khz in (868650, 869300, 870100, 868550, 869590):
        with pytest.raises(ValueError, match="frequency"):
            plan.band(khz)
    with pytest.raises(ValueError, match="sf"):
        plan.Superframe(11, 0)
    with pytest.raises(ValueError, match="sf"):
        plan.Superframe(7, 12)


def test_the_ledger_never_lets_an_hour_exceed_its_share() -> None:
    rng = random.Random(4)
    for share in (1, 10, 100):
        ledger = plan.Ledger(share)
        now = 10**9
        sent: deque[tuple[int, int]] = deque()
        refused = taken = 0
        for _ in range(4000):
            now += rng.choice((0, 5, 500, 5000, 20_000, 400_000))
            ms = rng.randrange(1, 900)
            room = ledger.room(now)
            if not ledger.take(now, ms):
                assert room < ms
                refused += 1
                continue
            taken += 1
            sent.append((now, ms))
            while sent[0][0] <= now - 3_600_000:
                sent.popleft()
            assert sum(ms for _, ms in sent) <= share * 3600
        assert refused if share < 100 else taken > 3000
    assert plan.Ledger(10).take(0, 36_000)
    assert not plan.Ledger(10).take(0, 36_001)
    assert plan.Ledger(10).room(10**13) == 36_000


@pytest.mark.parametrize(("sf", "bridge"), [(7, 0), (7, 3), (9, 2), (10, 11)])
def test_the_interval_of_a_slot_is_the_number_that_its_owner_has(sf: int, bridge: int) -> None:
    """Of each slot, also of those in a superframe that reaches into the next interval; seconds late or early as well."""
    frame = Superframe(sf, bridge)
    slots = Slots(frame)
    base = 305_280 * CYCLE
    for address in range(1, frame.slots * CYCLE + 1):
        slots.assign(address, 7 * address)
    late = 0
    for address, slot in slots.of.items():
        n = base + slot // frame.slots
        start = n * plan.INTERVAL + frame.start(slot % frame.slots)
        late += (start + frame.slot_ms - 1) // plan.INTERVAL > n
        for off in (0, plan.GUARD // 2, frame.slot_ms - 1, -40, 3000, -3000):
            assert slots.interval(start + off, address) == n
        for other in (1, CYCLE - 1, CYCLE // 2):
            assert slots.interval(start + other * plan.INTERVAL, address) == 0, "it has no slot there"
        assert slots.interval(start + CYCLE * plan.INTERVAL, address) == n + CYCLE
        # A node whose slot is not known here any more: that of the time, and what is said between slots is in none.
        assert slots.interval(start + plan.GUARD // 2, 60_000) == n
    assert slots.interval(base * plan.INTERVAL + frame.end + 1, 60_000) == 0
    assert (late > 0) == (frame.end > plan.INTERVAL)
    # A host whose clock was never set hears frames in no slot at all.
    assert {slots.interval(ms, address) for ms in (0, -5, -(10**12)) for address in (1, 2, 60_000)} == {0}
    slots.replan()
    assert slots.interval(base * plan.INTERVAL + frame.begin, 1) == base


@pytest.mark.parametrize("sf", [7, 10])
def test_who_joins_has_a_slot_soon_and_many_are_spread_evenly(sf: int) -> None:
    frame = Superframe(sf, 0)
    slots = Slots(frame)
    now = 1234
    given: list[int] = []
    for address in range(1, frame.slots * CYCLE + 1):
        slot = slots.assign(address, now + address // 20)
        wait = (slot // frame.slots - (now + address // 20)) % CYCLE
        assert wait >= 3 or address > 20
        if address <= 8:
            assert wait <= 4, "in its first minute"
        given.append(slot)
        counts = [sum(s // frame.slots == m for s in given) for m in range(CYCLE)] if address % 60 == 0 else [0]
        assert max(counts) <= max(4, address // CYCLE + 1)
    assert sorted(given) == list(range(frame.slots * CYCLE))
    assert all(slot % frame.slots % 2 == 0 for slot in given[:100])
    with pytest.raises(AirError):
        slots.assign(0, now)
