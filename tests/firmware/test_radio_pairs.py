"""Two radios of either kind on one air: what one sends the other tells, to the byte, the tick and the formula."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from felinar_sim.chips.radio import airtime_us

from tests.firmware.radio_bench import RadioBench
from tests.support.micropython import run

RX, TX_DONE, BAD, CAD = 1, 2, 3, 4
SX1262, SX1276 = "heltec_v3", "lilygo_t3_v161"
PAIRS = [(a, b) for a in (SX1262, SX1276) for b in (SX1262, SX1276)]

HEAR = "global SF\nSF = {sf}\nawait ready()\nawait hear(600000)"
SEND = """
global SF
SF = {sf}
await radio.start()
radio.configure(HZ, SF, 14)
for n in {sizes}:
    await asyncio.sleep_ms({gap})
    at = time.ticks_add(time.ticks_us(), 12345)
    radio.transmit(bytes((i * 7 + n) & 255 for i in range(n)), at)
    say("at", at)
    await hear({gap})
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[RadioBench]:
    made = RadioBench(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(pair))
@pytest.mark.parametrize("sf", [7, 9, 12])
def test_frames_and_times(bench: RadioBench, pair: tuple[str, str], sf: int) -> None:
    sizes = [1, 5, 70, 120, 255]
    receiver = bench.station(pair[1], HEAR.format(sf=sf), drift_ppm=30)
    sender = bench.station(pair[0], SEND.format(sf=sf, sizes=sizes, gap=12_000 if sf > 9 else 2_500), drift_ppm=-20)
    bench.run(len(sizes) * (24 if sf > 9 else 5) + 5)
    assert sender.model.wrong == receiver.model.wrong == []
    heard, done, planned = receiver.said("event"), sender.said("event"), sender.said("at")
    assert [bytes.fromhex(e[1]) for e in heard] == [bytes((i * 7 + n) & 255 for i in range(n)) for n in sizes]
    assert len(sender.model.emissions) == len(done) == len(planned) == len(sizes)
    for n, emission, (event, _), (sent, _), (at,) in zip(
        sizes, sender.model.emissions, heard, done, planned, strict=True
    ):
        assert emission.clean
        assert emission.dbm == 14
        assert emission.end_us - emission.start_us == airtime_us(n, sf)
        # The board's ticks run at its own rate.
        start = sender.ticks(emission.start_us) * (1 - 20e-6)
        end_there = receiver.ticks(emission.end_us) * (1 + 30e-6)
        end_here = sender.ticks(emission.end_us) * (1 - 20e-6)
        assert start == pytest.approx(at % (1 << 30), abs=100)
        assert event[0] == RX and event[4] == n
        assert event[1] == pytest.approx(end_there, abs=100)
        assert sent[0] == TX_DONE and sent[1] == pytest.approx(end_here, abs=100)
        assert event[2:4] == [-71, 25]


def test_ticks_wrap(bench: RadioBench) -> None:
    body = """
await ready(False)
while not 1073741823 - 8000 < time.ticks_us():
    await asyncio.sleep_ms(1)
at = time.ticks_add(time.ticks_us(), 15000)
radio.transmit(b"over", at)
await hear(500)
say("at", at)
"""
    station = bench.station(SX1262, body, on=False)
    station.board._ticks_start_us = (1 << 30) - 1_500_000  # the clock of a board that has run for a while
    station.board.power_on()
    bench.run(4)
    (at,) = station.said("at")[0]
    assert at < 20_000
    (emission,) = station.model.emissions
    assert (station.ticks(emission.start_us) - 1_500_000) == pytest.approx(at, abs=150)


@pytest.mark.parametrize("board", [SX1262, SX1276])
def test_a_radio_listens_again_after_it_has_sent(bench: RadioBench, board: str) -> None:
    body = """
await ready()
for _ in range(3):
    await hear(300)
    radio.transmit(b"mine", time.ticks_add(time.ticks_us(), 10000))
await hear(300)
"""
    one = bench.station(board, body)
    two = bench.station(SX1276 if board == SX1262 else SX1262, "await asyncio.sleep_ms(150)\n" + body)
    bench.run(4)
    for station in (one, two):
        assert [e[0][0] for e in station.said("event")].count(TX_DONE) == 3
        assert [e[1] for e in station.said("event") if e[0][0] == RX] == [b"mine".hex()] * 3
        since = station.model.listening_since
        assert since is not None and since - station.model.emissions[-1].end_us < 1500, "no oscillator had to start"
        assert station.model.wrong == []


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(pair))
@pytest.mark.parametrize("sf", [7, 9, 12])
def test_channel_activity(bench: RadioBench, pair: tuple[str, str], sf: int) -> None:
    tries, gap = {7: (60, 40), 9: (20, 150), 12: (8, 700)}[sf]
    listener = f"""
global SF
SF = {sf}
await ready()
for _ in range({tries}):
    t = time.ticks_ms()
    busy = await radio.cad()
    say("cad", busy, time.ticks_diff(time.ticks_ms(), t), time.ticks_ms())
    await asyncio.sleep_ms({gap})
"""
    sender = f"""
global SF
SF = {sf}
await ready(False)
await asyncio.sleep_ms(1200)
radio.transmit(bytes(60), time.ticks_add(time.ticks_us(), 10000))
await hear(5000)
"""
    one = bench.station(pair[0], listener)
    two = bench.station(pair[1], sender)
    bench.run(9)
    (emission,) = two.model.emissions
    start, end = one.ticks(emission.start_us) / 1000, one.ticks(emission.end_us) / 1000
    said = one.said("cad")
    assert len(said) == tries and {busy for busy, _, _ in said} == {True, False}
    symbol_ms = (1 << sf) / 125
    for busy, took, when in said:
        assert took < 20 + 5 * symbol_ms
        if when - took > start and when < end:
            assert busy
        if when < start or when - took > end:
            assert not busy
    assert one.model.wrong == []


def test_a_frame_that_began_before_listening_is_not_heard(bench: RadioBench) -> None:
    station = bench.station(SX1262, "await ready(False)\nawait asyncio.sleep_ms(500)\nradio.listen()\nawait hear(5000)")
    bench.run(1)
    since = station.model.listening_since
    assert since is not None
    other = bench.station(SX1262, "await ready(False)\nawait asyncio.sleep_ms(500)\nradio.listen()\nawait hear(5000)")
    bench.run(since / 1e6 - bench.clock.now_us / 1e6 + 1 - 0.01)  # ten milliseconds before the other does
    length = airtime_us(100, 7)
    other.model.deliver(bytes(100), -70, 5, bench.clock.now_us + length)
    bench.run(1)
    assert other.said("event") == [] and other.model.missed == 1
    other.model.deliver(bytes(100), -70, 5, bench.clock.now_us + length)
    bench.run(1)
    assert len(other.said("event")) == 1 and other.model.missed == 1


@pytest.mark.parametrize("board", [SX1262, SX1276])
def test_frames_that_nobody_fetched_in_time_are_counted(bench: RadioBench, board: str) -> None:
    body = """
await ready()
for _ in range(4):
    time.sleep_ms(1000)
    await hear(50)
    say("lost", radio.lost)
    await hear(950)
radio.listen()
await hear(1000)
say("lost", radio.lost)
"""
    station = bench.station(board, body)
    bench.run(0.4)
    for frames in (1, 3, 0, 2):
        for n in range(frames):
            station.model.deliver(bytes([n]), -70, 5, bench.clock.now_us + (n + 1) * 100_000)
        bench.run(2)
    station.model.deliver(b"\3", -70, 5, bench.clock.now_us + 500_000)
    bench.run(2)
    assert [e[1] for e in station.said("event")] == ["00", "02", "01", "03"]
    assert station.said("lost") == [[0], [2], [2], [3], [3]]


@pytest.mark.parametrize(("board", "levels"), [(SX1262, (-9, 0, 14, 22)), (SX1276, (2, 14, 17, 18, 20))])
def test_power(bench: RadioBench, board: str, levels: tuple[int, ...]) -> None:
    body = f"""
await radio.start()
for dbm in {levels}:
    radio.configure(868100000, 7, dbm)
    radio.transmit(b"x", time.ticks_add(time.ticks_us(), 10000))
    await hear(100)
"""
    station = bench.station(board, body)
    bench.run(3)
    assert tuple(e.dbm for e in station.model.emissions) == levels
    assert station.model.wrong == []


def test_airtime_is_that_of_the_application_note() -> None:
    """AN1200.13 and SX1276 data sheet 4.1.1.7, in floating point, against the driver's integers and the model's."""
    sizes = [0, 1, 2, 3, 5, 9, 13, 51, 70, 120, 222, 255]
    code = f"""
from felinar_air.plan import airtime
for sf in range(7, 13):
    print(*(airtime(sf, n) for n in {sizes}))
"""
    lines = run(code).splitlines()
    for sf, line in zip(range(7, 13), lines, strict=True):
        symbol = 2**sf / 125_000
        low_rate = 1 if symbol > 0.016 else 0
        for n, said in zip(sizes, map(int, line.split()), strict=True):
            payload = 8 + max(math.ceil((8 * n - 4 * sf + 28 + 16) / (4 * (sf - 2 * low_rate))) * 5, 0)
            expected = round(((8 + 4.25) * symbol + payload * symbol) * 1e6)
            assert said == expected == airtime_us(n, sf), (sf, n)
    # Known from the calculator of the maker: 20 bytes at SF7 56.576 ms, at SF10 370.688 ms, at SF12 1318.912 ms
    assert [airtime_us(20, sf) for sf in (7, 10, 12)] == [56_576, 370_688, 1_318_912]
