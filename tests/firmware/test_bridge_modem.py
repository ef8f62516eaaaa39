"""The bridge's modem with a radio that does what a test says: times, credits, silence, duty cycle, faults, any bytes at all."""

from __future__ import annotations

import random
from typing import Any

import pytest
from felinar_air import duty, modem
from felinar_wire import core
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firmware.loader import module

DriverError = module("drivers").DriverError
WRAP = 1 << 30
HZ = 869_525_000


class Radio:
    """Sends as long as it takes; `events` come out of `poll`."""

    RX, TX_DONE, BAD, CAD = 1, 2, 3, 4
    DriverError = DriverError
    TIMEOUT = module("drivers").TIMEOUT

    def __init__(self) -> None:
        self.buffer = bytearray(255)
        self.events: list[tuple[Any, ...]] = []
        self.on_air: list[tuple[int, int, int, bytes]] = []
        self.config: tuple[int, int, int] | None = None
        self.listening = False
        self.fails = False
        self.slow = False
        self.deaf_to_end = False

    def configure(self, hz: int, sf: int, dbm: int) -> None:
        self.config = hz, sf, dbm

    def listen(self) -> None:
        self.listening = True

    def transmit(self, data: bytes, at: int) -> None:
        if self.fails:
            raise DriverError(6)
        if self.slow:
            raise DriverError(self.TIMEOUT)
        self.listening = False
        assert self.config
        self.on_air.append((at, self.config[0], self.config[1], bytes(data)))
        if not self.deaf_to_end:
            self.events.append((self.TX_DONE, at))

    def poll(self) -> tuple[Any, ...] | None:
        return self.events.pop(0) if self.events else None

    def hear(self, data: bytes, at: int, rssi: int = -90, snr: int = 20) -> None:
        self.buffer[: len(data)] = data
        self.events.append((self.RX, at, rssi, snr, len(data)))


class Bridge:
    def __init__(self, start_us: int = WRAP - 5_000_000) -> None:
        self.radio = Radio()
        self.us = start_us
        self.up_ms = 0
        self.said: list[tuple[int, list[Any]]] = []
        self.modem = modem.Modem(self.radio, self.radio, self._said, lambda: self.us % WRAP, b"\1\2\3\4\5\6")

    def _said(self, content: bytes) -> None:
        self.said.append((content[0], core.decode(core.BRIDGE[content[0]], content[1:])))

    def tell(self, kind: int, *values: Any) -> None:
        self.modem.take(bytes((kind,)) + core.encode(core.BRIDGE[kind], list(values)))

    def send(self, id: int, in_us: int, data: bytes = b"frame", hz: int = HZ) -> None:
        self.tell(core.TX, id, (self.us + in_us) % WRAP, 7, hz, 14, data)

    def run(self, ms: int, step: int = 2, ping: bool = True) -> None:
        for _ in range(0, ms, step):
            if ping and self.up_ms % 2000 < step:
                self.tell(core.PING, 1)
            self.modem.step(self.up_ms)
            self.up_ms += step
            self.us += step * 1000

    def of(self, kind: int) -> list[list[Any]]:
        return [values for what, values in self.said if what == kind]


@pytest.fixture
def bridge() -> Bridge:
    one = Bridge()
    one.tell(core.PING, 1)
    one.tell(core.LISTEN, 7, 868_100_000)
    return one


def test_says_who_it_is_and_hears(bridge: Bridge) -> None:
    assert bridge.of(core.BRIDGE_HELLO) == [[b"\1\2\3\4\5\6\0\0", 0, 1, 0, 1, 8, 863000000, 870000000, 22]]
    assert bridge.of(core.CREDIT) == [[8]]
    assert bridge.radio.config == (868_100_000, 7, 22)
    assert bridge.radio.listening
    bridge.radio.hear(b"hello", 123, -97, 300)
    bridge.run(4)
    assert bridge.of(core.RX) == [[123, -97, 127, 7, 868_100_000, b"hello"]]


def test_sends_in_the_order_of_times_across_the_wrap_and_hears_again(bridge: Bridge) -> None:
    for id, in_us in ((1, 5_400_000), (2, 200_000), (3, 4_900_000)):
        bridge.send(id, in_us, bytes((id,)))
    begin = bridge.us
    bridge.run(6000)
    assert [(after - begin) % WRAP for after, *_ in bridge.radio.on_air] == [200_000, 4_900_000, 5_400_000]
    assert [(values[0], values[1]) for values in bridge.of(core.TX_DONE)] == [(2, 0), (3, 0), (1, 0)]
    assert [values[0] for values in bridge.of(core.CREDIT)][-3:] == [6, 7, 8]
    assert bridge.radio.listening
    assert bridge.radio.config == (868_100_000, 7, 22)


def test_what_comes_too_late_or_finds_no_room_is_said(bridge: Bridge) -> None:
    bridge.send(1, -5)
    bridge.send(2, 1000)
    for id in range(3, 10):
        bridge.send(id, 3_000_000 + 200_000 * id)
    bridge.run(4)
    assert [(values[0], values[1]) for values in bridge.of(core.TX_DONE)] == [(9, 5), (1, 1), (2, 1)]
    bridge.run(6000)
    assert len(bridge.radio.on_air) == 6


def test_falls_silent_without_its_host_and_says_so(bridge: Bridge) -> None:
    bridge.send(1, 12_000_000)
    bridge.run(11_000, ping=False)
    assert bridge.of(core.LOG) == [[2, b"no host for ten seconds: silent"]]
    bridge.send(2, 100_000)
    bridge.run(4000, ping=False)
    assert [(values[0], values[1]) for values in bridge.of(core.TX_DONE)] == [(1, 4), (2, 4)]
    assert not bridge.radio.on_air
    bridge.radio.hear(b"still", 5)
    bridge.run(4, ping=False)
    bridge.tell(core.PING, 2)
    bridge.send(3, 100_000)
    bridge.run(300)
    assert len(bridge.of(core.RX)) == 1
    assert len(bridge.radio.on_air) == 1


def test_an_answer_to_a_ping_tells_the_time(bridge: Bridge) -> None:
    bridge.us += 777
    bridge.tell(core.PING, 9)
    assert bridge.of(core.HEARTBEAT)[-1][0] == 9
    assert bridge.of(core.HEARTBEAT)[-1][2] == bridge.us % WRAP
    bridge.run(6100, ping=False)
    assert [values[0] for values in bridge.of(core.HEARTBEAT)].count(0) == 2


def test_a_radio_that_fails_is_told_and_started_anew(bridge: Bridge) -> None:
    bridge.radio.fails = True
    bridge.send(1, 100_000)
    bridge.run(200)
    assert bridge.modem.broken
    assert [(values[0], values[1]) for values in bridge.of(core.TX_DONE)] == [(1, 3)]
    bridge.radio.fails, bridge.modem.broken, bridge.radio.deaf_to_end = False, False, True
    bridge.send(2, 100_000)
    bridge.run(500)
    assert [(values[0], values[1]) for values in bridge.of(core.TX_DONE)] == [(1, 3), (2, 3)]
    assert bridge.modem.broken


def test_a_radio_that_was_handed_its_frame_too_late_goes_on(bridge: Bridge) -> None:
    bridge.radio.slow = True
    bridge.send(1, 100_000)
    bridge.run(200)
    assert [(values[0], values[1]) for values in bridge.of(core.TX_DONE)] == [(1, 1)]
    assert not bridge.modem.broken
    assert bridge.radio.listening
    bridge.radio.slow = False
    bridge.send(2, 100_000)
    bridge.run(200)
    assert [(values[0], values[1]) for values in bridge.of(core.TX_DONE)] == [(1, 1), (2, 0)]


def test_the_duty_cycle_is_kept_whoever_asks_for_more(bridge: Bridge) -> None:
    """Airtime by hand: of any sliding hour no band has more than its share, and nothing is lost for no reason."""
    chance = random.Random(5)
    ledger = duty.Duty()
    used: dict[int, list[tuple[int, int]]] = {}
    for second in range(0, 3 * 3600, 2):
        for band, (low, high, *_) in enumerate(duty.BANDS):
            hz, us = (low + high) * 500, chance.randrange(20_000, 2_000_000)
            if ledger.take(hz, us, second):
                used.setdefault(band, []).append((second, us))
    for band, entries in used.items():
        most = duty.BANDS[band][2] * 3_600_000
        sums = [sum(us for at, us in entries if begin <= at < begin + 3600) for begin in range(0, 7200, 20)]
        assert max(sums) <= most
        assert max(sums) > most - 2_100_000
    assert not ledger.take(868_650_000, 1000, 20_000), "between the bands"
    assert not ledger.take(869_410_000, 1000, 20_000), "a channel that reaches beyond its band"
    bridge.send(1, 100_000, hz=868_650_000)
    bridge.run(200)
    assert bridge.of(core.TX_DONE)[0][1] == 2


@given(st.lists(st.binary(max_size=40), max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_bytes_from_the_line_do_no_harm(contents: list[bytes]) -> None:
    one = Bridge()
    for content in contents:
        one.modem.take(content)
        one.run(4, ping=False)
    assert len(one.modem._queue) <= modem.QUEUE
    one.tell(core.PING, 1)
    one.tell(core.LISTEN, 9, 868_300_000)
    one.send(7, 100_000)
    one.run(1000)
    assert one.radio.on_air[-1][3] == b"frame"
