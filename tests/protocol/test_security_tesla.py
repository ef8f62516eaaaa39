"""TESLA: chains and days, disclosure, the clock's bound, and lamps that fail lit."""

from __future__ import annotations

from typing import Any

import pytest
from felinar.keys import Broadcast, KeyStoreError
from felinar_wire import WireError, frame, schema, tesla
from felinar_wire.clock import Clock
from felinar_wire.session import nonce
from felinar_wire.tesla import Group
from hypothesis import given, settings
from hypothesis import strategies as st

CITY, ZONE = 7, 0x8001
HELD, AT_ONCE, VERIFIED, TAKE_BACK = "held", "at once", "verified", "take back"
ON, OFF, DIM = schema.MODE_ON, schema.MODE_OFF, schema.MODE_DIM
N = 1000 * tesla.DAY + 100


class Street:
    """A sender and a receiver that hears what it is given; times in intervals and ms from the interval's start."""

    def __init__(self, n: int = N, *, zone: bool = True) -> None:
        self.sender = Broadcast(bytes(32), lambda address: bytes([address & 255] * 16))
        self.counts: dict[str, int] = {}
        self.node = Group(tesla.Chain(tesla.anchor(n), self.sender.anchor(n)), self.counts, lambda size: bytes(size))
        self.node.last = {CITY: 0, ZONE: 0}
        if zone:
            self.node.zones = {ZONE: bytes([1] * 16)}

    def beacon(self, n: int, bits: bytes = b"\x80", ms: int = 0) -> bytes:
        at = n * tesla.INTERVAL + ms
        return self.sender.beacon(CITY, at, at, 3, 40, bits)

    def lamp(self, n: int, mode: int, level: int = 0) -> bytes:
        return self.sender.lamp(ZONE, n * tesla.INTERVAL, n & 0xFFFF, mode, level, ttl=60)

    def hear(self, data: bytes, n: int, ms: int = 50, bound: int = 500) -> list[Any]:
        return self.node.receive(data, n * tesla.INTERVAL + ms, bound)


def whats(events: list[Any]) -> list[int]:
    return [event[0] for event in events]


def test_a_beacon_counts_two_intervals_later() -> None:
    street = Street()
    events = street.hear(street.beacon(N, b"\xa0"), N)
    assert whats(events) == [HELD]
    assert whats(street.hear(street.beacon(N + 1), N + 1)) == [HELD]
    events = street.hear(street.beacon(N + 2), N + 2)
    assert whats(events) == [VERIFIED, HELD]
    _, kind, address, counter, body = events[0]
    assert (kind, address, counter >> 8) == (tesla.BEACON, CITY, N)
    bits = [tesla.acknowledged(body, 3, slot) for slot in (39, 40, 41, 42, 47, 48)]
    assert bits == [None, 1, 0, 1, 0, None]
    assert tesla.acknowledged(body, 2, 40) is None


def test_lost_beacons_are_bridged_by_the_chain() -> None:
    street = Street()
    street.hear(street.beacon(N), N)
    street.hear(street.beacon(N + 1), N + 1)
    events = street.hear(street.beacon(N + 700), N + 700)
    assert whats(events) == [VERIFIED, VERIFIED, HELD]
    assert not street.counts


def test_the_bound_of_the_clock() -> None:
    street = Street()
    with pytest.raises(WireError, match="clock"):
        street.hear(street.beacon(N), N, bound=20001)
    # Sent at the start of N: its key comes out with N + 2. Sure to be in time until bound and clock reach that.
    street.hear(street.beacon(N), N, ms=0, bound=19999)
    with pytest.raises(WireError, match="late"):
        street.hear(street.beacon(N), N, ms=1, bound=19999)
    with pytest.raises(WireError, match="late"):
        street.hear(street.beacon(N), N + 1, ms=9500, bound=500)
    street.hear(street.beacon(N), N + 1, ms=9499, bound=500)
    # A clock that is behind: the frame seems to come from the future.
    street.hear(street.beacon(N + 1), N, ms=9500, bound=500)
    with pytest.raises(WireError, match="early"):
        street.hear(street.beacon(N + 2), N + 1, ms=9499, bound=500)
    assert street.counts == {"clock": 1, "late": 2, "early": 1}


def test_a_clock_that_is_put_back_opens_no_door() -> None:
    street = Street()
    for n in range(N, N + 3):
        street.hear(street.beacon(n), n)
    key = street.sender._of_day(N)
    body = street.beacon(N + 2)[5:-8]
    counter = N << 8 | 9
    tag = tesla.mac(N, key, nonce(tesla.BEACON, CITY, counter & 0xFFFFFFFF) + body)
    forged = frame.pack(tesla.BEACON, CITY, counter & 0xFFFF, body + tag, frame.SEALED)
    with pytest.raises(WireError, match="late"):
        street.hear(forged, N + 1)  # in time by this clock, but the key has been heard


def test_midnight_with_an_announcement() -> None:
    midnight = 1001 * tesla.DAY
    street = Street(midnight - 6)
    verified = []
    for n in range(midnight - 6, midnight + 6):
        at = n * tesla.INTERVAL
        verified += street.hear(street.beacon(n), n)
        if n == midnight - 5:
            street.hear(street.sender.announcement(CITY, at, at), n)
    counters = [e[3] >> 8 for e in verified if e[0] == VERIFIED and e[1] == tesla.BEACON]
    assert counters == list(range(midnight - 6, midnight + 4))
    assert street.node.chain.next[0] <= street.node.chain.at == midnight + 3
    assert not street.counts


def test_midnight_in_silence() -> None:
    midnight = 1001 * tesla.DAY
    street = Street(midnight - 9)
    for n in range(midnight - 9, midnight - 5):
        at = n * tesla.INTERVAL
        street.hear(street.sender.announcement(CITY, at, at), n)
    events = street.hear(street.beacon(midnight + 3000), midnight + 3000)
    # The keys of the last frames of the old day never came: they are dropped, and counted.
    assert whats(events) == [HELD]
    assert street.counts == {"undisclosed": 2}
    assert whats(street.hear(street.beacon(midnight + 3002), midnight + 3002)) == [VERIFIED, HELD]


def test_midnight_without_an_announcement() -> None:
    midnight = 1001 * tesla.DAY
    street = Street(midnight - 6)
    street.hear(street.beacon(midnight - 2), midnight - 2)
    for n in (midnight, midnight + 1):
        street.hear(street.beacon(n), n)
    with pytest.raises(WireError, match=r"chain"):
        street.hear(street.beacon(midnight + 3), midnight + 3)
    street = Street(midnight - 6)
    with pytest.raises(WireError, match="gap"):
        street.hear(street.beacon(midnight + 700), midnight + 700)


@pytest.mark.parametrize("late", range(4))
def test_joining_around_midnight(late: int) -> None:
    n = 1001 * tesla.DAY + late - 1
    street = Street(n)
    verified = []
    if late == 0:
        at = n * tesla.INTERVAL
        street.hear(street.sender.announcement(CITY, at, at), n)
    for i in range(n, n + 6):
        verified += [e for e in street.hear(street.beacon(i), i) if e[0] == VERIFIED and e[1] == tesla.BEACON]
    assert len(verified) == 4
    assert not street.counts


def test_a_forged_next_day_is_not_believed() -> None:
    street = Street()
    at = N * tesla.INTERVAL
    data = bytearray(street.sender.announcement(CITY, at, at))
    data[-12] ^= 1
    street.hear(bytes(data), N)
    street.hear(street.beacon(N + 2), N + 2)
    assert street.node.chain.next == (0, b"")
    assert street.counts == {"tag": 1}


def test_off_and_dim_wait_for_tesla() -> None:
    street = Street()
    assert street.hear(street.lamp(N, OFF), N) == []
    assert street.hear(street.lamp(N, DIM, 40), N) == []
    events = street.hear(street.beacon(N + 2), N + 2)
    assert whats(events) == [VERIFIED, VERIFIED, HELD]
    assert [e[4][2] for e in events[:2]] == [OFF, DIM]


def test_on_acts_at_once_and_is_confirmed() -> None:
    street = Street()
    events = street.hear(street.lamp(N, ON), N)
    assert whats(events) == [AT_ONCE]
    assert street.node.poll(N * tesla.INTERVAL + 19000) is None
    assert whats(street.hear(street.beacon(N + 2), N + 2)) == [VERIFIED, HELD]
    assert street.node.poll((N + 100) * tesla.INTERVAL) is None
    assert whats(street.hear(street.lamp(N + 3, ON), N + 3)) == [AT_ONCE]


def test_on_that_nobody_confirms_is_taken_back_and_bars_others_for_an_hour() -> None:
    street = Street()
    thief = Broadcast(bytes(31) + b"x", lambda address: bytes([address & 255] * 16))
    fake = thief.lamp(ZONE, N * tesla.INTERVAL, 1, ON, 100)
    assert whats(street.hear(fake, N)) == [AT_ONCE]
    # A second one while the first stands: no more than one at a time.
    assert street.hear(thief.lamp(ZONE, (N + 1) * tesla.INTERVAL, 2, ON, 100), N + 1) == []
    street.hear(street.beacon(N + 4), N + 4)
    assert street.node.poll((N + 5) * tesla.INTERVAL - 1) is None
    event = street.node.poll((N + 5) * tesla.INTERVAL)
    assert event
    assert event[0] == TAKE_BACK
    assert street.node.poll((N + 5) * tesla.INTERVAL) is None
    assert street.counts == {"tag": 2, "unconfirmed": 1}
    for n in (N + 6, N + 364):
        assert street.hear(thief.lamp(ZONE, n * tesla.INTERVAL, 3, ON, 100), n) == []
    # The host's own "on" works in that hour too, once it is verified.
    assert street.hear(street.lamp(N + 364, ON), N + 364) == []
    assert VERIFIED in whats(street.hear(street.beacon(N + 366), N + 366))
    assert whats(street.hear(street.lamp(N + 366, ON), N + 366)) == [AT_ONCE]


def test_the_groups_counter_moves_on_tesla_success_only() -> None:
    street = Street()
    on = street.lamp(N, ON)
    assert whats(street.hear(on, N)) == [AT_ONCE]
    assert street.node.last[ZONE] == 0
    with pytest.raises(WireError, match="replay"):  # the host repeats it: heard once is enough
        street.hear(on, N, ms=900)
    street.hear(street.beacon(N + 1), N + 1)
    street.hear(street.beacon(N + 2), N + 2)
    assert street.node.last[ZONE] == N << 8
    with pytest.raises(WireError, match="late"):
        street.hear(on, N + 2)


def test_no_zone_key_no_haste() -> None:
    street = Street(zone=False)
    assert street.hear(street.lamp(N, ON), N) == []
    assert whats(street.hear(street.beacon(N + 2), N + 2)) == [VERIFIED, HELD]


def test_wrong_zone_tag() -> None:
    street = Street()
    data = bytearray(street.lamp(N, ON))
    data[-12] ^= 1
    with pytest.raises(WireError, match="zone"):
        street.hear(bytes(data), N)


def test_a_flood_leaves_each_frame_the_same_chance() -> None:
    kept = 0
    for seed in range(200):
        street = Street()
        state = [seed * 7919 + 1]

        def draw(size: int, state: list[int] = state) -> bytes:
            state[0] = state[0] * 1103515245 + 12345 & 0x7FFFFFFF
            return (state[0] >> 8 & 0xFFFF).to_bytes(2, "big")[:size]

        street.node._random = draw
        good = street.beacon(N)
        for i in range(20):
            bad = good[:4] + bytes([100 + i]) + good[5:]
            street.hear(good if i == 3 else bad, N, ms=i)
        verified = VERIFIED in whats(street.hear(street.beacon(N + 2), N + 2))
        kept += verified
        assert sum(street.counts.values()) == 19 + (not verified)
    assert 20 < kept < 60  # 4 of 20 are held


def test_a_flood_without_a_key_that_comes_out_fills_no_memory() -> None:
    """Forged frames of every kind for an hour, and no beacon of the host's: few are held, each is counted once."""
    street = Street()
    sent = refused = 0
    for n in range(N, N + 360):
        for kind in (tesla.BEACON, tesla.GROUP_LAMP, tesla.KEY_DISCLOSE):
            for i in range(6):
                sent += 1
                try:
                    street.hear(frame.pack(kind, CITY, (n << 8 | i) & 0xFFFF, bytes([i]) * 44, frame.SEALED), n)
                except WireError:
                    refused += 1
                held = sum(len(slot) - 1 for slot in street.node._held.values())
                assert held <= 4 * tesla.SLOTS
                assert len(street.node._held) <= tesla.SLOTS
    assert refused == 2 * 6 * 359, "of the first interval the key is one that the node has"
    assert held + sum(street.counts.values()) == sent
    # After it, once the node knows a key again, beacons are held and verified as ever.
    street.node.chain = tesla.Chain(tesla.anchor(N + 360), street.sender.anchor(N + 360))
    assert whats(street.hear(street.beacon(N + 361), N + 361)) == [HELD]
    assert whats(street.hear(street.beacon(N + 363), N + 363)) == [VERIFIED, HELD]


def test_the_sender_never_uses_a_key_that_is_out() -> None:
    sender = Broadcast(bytes(32), lambda address: bytes(16))
    at = N * tesla.INTERVAL
    with pytest.raises(KeyStoreError, match="10 s"):
        sender.beacon(CITY, at - 1, at, 1, 0, b"")
    sender.beacon(CITY, at, at + 9999, 1, 0, b"")
    sender.lamp(ZONE, at - tesla.INTERVAL, 1, ON, 100)
    with pytest.raises(KeyStoreError, match="disclosed"):
        sender.lamp(ZONE, at - 2 * tesla.INTERVAL, 1, ON, 100)
    for _ in range(256):
        sender.lamp(ZONE, at, 1, ON, 100)
    with pytest.raises(KeyStoreError, match="256"):
        sender.lamp(ZONE, at, 1, ON, 100)


def test_a_restarted_sender_has_the_same_chain() -> None:
    one, two = (Broadcast(b"s" * 32, lambda address: bytes(16)) for _ in range(2))
    assert one.anchor(N) == two.anchor(N)
    assert one.anchor(N) != Broadcast(b"t" * 32, lambda address: bytes(16)).anchor(N)
    assert one.anchor(1001 * tesla.DAY) == two._chain(1001)[0]


# The clock


def test_clock_bound_is_the_exchange_and_drift() -> None:
    clock = Clock()
    assert clock.now(5)[1] == 86400000
    clock.exchange(1_000_000, 500, 900)
    assert clock.now(900) == (1_000_200, 204)
    assert clock.now(900 + 1_000_000) == (2_000_200, 304)
    clock.exchange(2_000_500, 1_001_000, 1_003_000)  # a slow one while a better is known
    assert clock.now(1_003_000)[1] < 310
    clock.exchange(9_000_000, 1_004_000, 1_004_100)  # the host's clock was put right
    assert clock.now(1_004_100) == (9_000_050, 54)


def test_clock_learns_its_drift() -> None:
    clock = Clock()
    host = 10_000_000_000
    clock.exchange(host, 0, 20)
    day = 86_400_000
    slow = day * 40 // 1_000_000  # this crystal loses 40 ppm
    clock.exchange(host + day + slow, day, day + 20)
    now, bound = clock.now(2 * day)
    assert abs(now - (host + 2 * day + 2 * slow)) < 30
    assert bound < 2000  # 8,640 ms and more without
    assert abs(now - (host + 2 * day + 2 * slow)) <= bound


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    drift=st.integers(-90, 90),
    exchanges=st.lists(
        st.tuples(st.integers(1, 90_000_000), st.integers(0, 15000), st.floats(0, 1)), min_size=1, max_size=6
    ),
    after=st.integers(0, 90_000_000),
)
def test_the_bound_holds(drift: int, exchanges: list[tuple[int, int, float]], after: int) -> None:
    """Whatever the delays: the host's time is within the bound, for a crystal within 100 ppm that keeps its drift."""

    def true(local: int) -> float:
        return 5e11 + local * (1 + drift / 1e6)

    clock = Clock()
    local = 0
    for gap, width, where in exchanges:
        local += gap
        stamped = true(local + int(width * where))
        clock.exchange(int(stamped) // 4 * 4, local, local + width)
        local += width
        now, bound = clock.now(local)
        assert abs(now - true(local)) <= bound + 1
    now, bound = clock.now(local + after)
    assert abs(now - true(local + after)) <= bound + 1
