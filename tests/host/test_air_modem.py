"""What is said on a bridge's line: its time, what it is told to hear and send, and how it is lost and found."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from felinar.air.modem import DEAD_S, LOST, WRAP, About, BridgeClock, Done, Heard, Modem, Said
from felinar_wire import core, serial

HELLO = (b"12345678", 1, 2, 3, 1, 8, 863_000_000, 870_000_000, 22)


def said(kind: int, *values: Any) -> bytes:
    return b"\0" + serial.encode(bytes((kind,)) + core.encode(core.BRIDGE[kind], list(values)))


class Line:
    """The far end of a modem's line, at times of the test's choice."""

    def __init__(self, offset: int = 0) -> None:
        self.modem = Modem(868_100_000, 7, 22, 100.0)
        self.now = 100.0
        self.offset = offset
        self.up = 50
        self._deframer = serial.Deframer(300)

    def us(self, mono: float) -> int:
        return (round(mono * 1e6) + self.offset) % WRAP

    def told(self) -> list[tuple[int, list[Any]]]:
        frames = self._deframer.feed(self.modem.take())
        return [(content[0], core.decode(core.BRIDGE[content[0]], content[1:])) for content in frames]

    def tick(self, seconds: float = 0.0) -> tuple[list[tuple[int, list[Any]]], list[Any]]:
        self.now += seconds
        self.up += int(seconds)
        events = self.modem.tick(self.now)
        return self.told(), events

    def say(self, kind: int, *values: Any) -> list[Any]:
        return self.modem.receive(said(kind, *values), self.now)

    def beat(self, id: int, at: float) -> list[Any]:
        return self.say(core.HEARTBEAT, id, self.up, self.us(at), 1, 2, 3, 4, 5)

    def ready(self) -> Line:
        told, _ = self.tick()
        assert [kind for kind, _ in told] == [core.LISTEN, core.PING]
        assert told[0][1] == [7, 868_100_000]
        assert not self.modem.ready
        self.say(core.BRIDGE_HELLO, *HELLO)
        self.say(core.CREDIT, 8)
        self.now += 0.004
        self.beat(told[1][1][0], self.now - 0.002)
        assert self.modem.ready
        assert self.modem.room == 8
        return self


def test_the_quickest_exchange_of_the_last_minute_tells_the_time() -> None:
    clock = BridgeClock()
    assert not clock.known
    offset = WRAP - 3_000_000  # the bridge's time begins anew within seconds
    for i, trip in enumerate((0.020, 0.004, 0.050, 0.200)):
        asked = 10 + 2 * i
        # The way back takes all of it: as wrong as can be.
        clock.exchange(asked, asked + trip, (round(asked * 1e6) + offset) % WRAP)
    assert clock.round_trip == pytest.approx(0.004)
    for mono in (5.0, 10.0, 16.0, 30.0, 500.0):
        true = (round(mono * 1e6) + offset) % WRAP
        assert abs((clock.us(mono) - true + WRAP // 2) % WRAP - WRAP // 2) <= 2001
        assert abs(clock.mono(true) - mono) <= 0.0021
    # A minute later only newer ones count, however slow.
    clock.exchange(90, 90.010, (90_000_000 + offset) % WRAP)
    assert clock.round_trip == pytest.approx(0.010)
    clock.forget()
    assert not clock.known


def test_frames_and_transmissions_in_the_bridges_time() -> None:
    line = Line(offset=WRAP - 99_000_000).ready()
    (heard,) = line.say(core.RX, line.us(99.5), -97, 0xFB - 256, 7, 868_100_000, b"frame")
    assert isinstance(heard, Heard)
    assert heard.end == pytest.approx(99.5, abs=0.001)
    assert heard[1:] == (-97, -1.25, 7, 868_100_000, b"frame")
    id = line.modem.transmit(line.now + 0.1, b"beacon")
    ((kind, values),) = line.told()
    assert (kind, values[0], values[2:]) == (core.TX, id, [7, 869_525_000, 22, b"beacon"])
    assert abs(values[1] - line.us(line.now + 0.1)) <= 1000
    assert line.modem.room == 7
    assert line.say(core.TX_DONE, id, 0, values[1], 41_000) == [Done(id, 0, 41_000)]
    line.say(core.CREDIT, 8)
    assert line.modem.room == 8
    assert line.modem.counts["tx_sent"] == 1
    assert line.say(core.TX_DONE, id, 0, values[1], 41_000) == []
    assert line.modem.bad == {"stray_done": 1}


def test_credits_bound_what_is_handed_over() -> None:
    line = Line().ready()
    for i in range(8):
        assert line.modem.room == 8 - i
        line.modem.transmit(line.now + 1, b"x")
    assert line.modem.room == 0
    # A credit from before the last ones arrived gives no more than there can be.
    line.say(core.CREDIT, 8)
    assert line.modem.room == 0
    line.say(core.TX_DONE, 1, 1, 0, 0)
    line.say(core.CREDIT, 1)
    assert line.modem.room == 1
    assert line.modem.counts["tx_late"] == 1


def test_a_transmission_that_nothing_is_heard_of_is_lost() -> None:
    line = Line().ready()
    id = line.modem.transmit(line.now + 0.1, b"x")
    _, events = line.tick(2)
    assert events == []
    _, events = line.tick(2)
    assert events == [Done(id, LOST, 0)]


def test_a_bridge_that_starts_anew_is_told_again_what_to_hear() -> None:
    line = Line().ready()
    id = line.modem.transmit(line.now + 0.1, b"x")
    line.told()
    events = line.say(core.BRIDGE_HELLO, *HELLO)
    assert events == [Done(id, LOST, 0), About("3132333435363738", "1.2.3", 1, 22)]
    assert not line.modem.ready
    assert line.modem.room == 0
    told, _ = line.tick()
    assert [kind for kind, _ in told] == [core.LISTEN, core.PING]
    # The same where its hello was lost, and only its uptime shows it.
    other = Line().ready()
    other.up = 1
    other.beat(0, other.now)
    assert not other.modem.ready
    assert other.modem.counts["frames_restarts"] == 1


def test_a_bridge_that_was_starting_is_told_again() -> None:
    line = Line()
    line.up = 0
    told, _ = line.tick()
    assert told[0][0] == core.LISTEN  # which nobody hears
    line.now += 1
    line.say(core.BRIDGE_HELLO, *HELLO)  # said at its start: it looks like an answer
    listens = []
    for _ in range(20):
        line.now += 0.5
        line.up = int(line.now - 100.5)
        line.beat(0, line.now)
        if any(kind == core.LISTEN for kind, _ in line.tick()[0]):
            listens.append(line.now - 100.5)
            line.say(core.BRIDGE_HELLO, *HELLO)
    assert 4 <= listens[-1] < 6, "the last one when it surely reads"
    assert "frames_restarts" not in line.modem.counts


def test_it_is_asked_for_its_time_often_at_first_and_then_every_two_seconds() -> None:
    line = Line()
    pings = []
    for _ in range(100):
        told, _ = line.tick(0.05)
        for kind, values in told:
            if kind == core.LISTEN:
                line.say(core.BRIDGE_HELLO, *HELLO)
            elif kind == core.PING:
                pings.append(line.now)
                line.now += 0.003
                line.beat(values[0], line.now)
    gaps = [b - a for a, b in pairwise(pings)]
    assert all(gap < 0.4 for gap in gaps[:3])
    assert all(1.9 < gap < 2.2 for gap in gaps[4:])
    assert line.modem.wake() <= line.now + 2


def test_listen_is_said_again_until_it_is_answered() -> None:
    line = Line()
    listens = [kind for _ in range(10) for kind, _ in line.tick(1)[0] if kind == core.LISTEN]
    assert 5 <= len(listens) <= 6


def test_a_silent_bridge_is_dead() -> None:
    line = Line().ready()
    assert not line.modem.dead(line.now + DEAD_S - 0.1)
    assert line.modem.dead(line.now + DEAD_S)
    assert line.modem.wake() <= line.now + DEAD_S


def test_what_makes_no_sense_is_counted() -> None:
    line = Line()
    early = line.say(core.RX, 5, -97, 0, 7, 868_100_000, b"frame")
    assert early == []
    line.ready()
    modem = line.modem
    assert modem.receive(b"boot: garbage\0" + said(core.PING, 4), line.now) == []
    assert modem.receive(b"\0" + serial.encode(bytes((core.CREDIT,))) + b"\0", line.now) == []
    assert modem.bad["untimed"] == 1
    assert modem.bad["type"] == 1
    assert modem.bad["short"] == 1
    assert sum(modem.bad.values()) == 4
    assert line.say(core.LOG, 2, b"no host\xff") == [Said(2, "no host\ufffd")]
