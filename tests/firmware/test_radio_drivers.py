"""What every radio driver must stand: a chip that is away, another one, slow, stuck, deaf, asleep, and comes back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from felinar_build import app as build
from felinar_build import board as boards
from felinar_sim.chips.sx126x import Sx126x
from felinar_sim.chips.sx127x import Sx127x

from tests.firmware.driver_bench import FAULT, IDENTITY, NACK, RANGE, TIMEOUT
from tests.firmware.radio_bench import RadioBench, Station
from tests.support.micropython import ROOT, run

RX, TX_DONE, BAD, CAD = 1, 2, 3, 4
BOTH = ["heltec_v3", "lilygo_t3_v161"]
ALL = [board.board.id for board in boards.load_all(ROOT / "boards") if board.radio]

START = """
t = time.ticks_ms()
await attempt(ready())
say("took", time.ticks_diff(time.ticks_ms(), t))
"""
AGAIN = """
for _ in range(8):
    await attempt(ready())
    await asyncio.sleep_ms(1000)
"""
TEND = """
await ready()
while True:
    await hear(10000)
    try:
        say("tend", await radio.tend(True), radio.mended, radio.resets, radio.missed)
    except DriverError as error:
        say("fails", error.reason)
        await attempt(ready())
"""
SEND = """
await ready(False)
while True:
    await asyncio.sleep_ms(500)
    radio.transmit(b"hello", time.ticks_add(time.ticks_us(), 10000))
    await hear(200)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[RadioBench]:
    made = RadioBench(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=BOTH)
def board(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def works(bench: RadioBench, station: Station) -> bool:
    """Whether a frame that is on the air now is received and told."""
    before = len(station.said("event"))
    tuning = station.model.tuning(bench.clock.now_us)
    if tuning is None:
        return False
    station.model.deliver(b"here", -100, -3.25, bench.clock.now_us + 40_000)
    bench.run(0.2)
    events = station.said("event")[before:]
    return len(events) == 1 and events[0][0][0] == RX and events[0][1] == b"here".hex()


@pytest.mark.parametrize("board_id", ALL)
def test_each_board_listens_as_its_data_sheets_want_it(bench: RadioBench, board_id: str) -> None:
    station = bench.station(board_id, START + "await hear(60000)")
    bench.run(2)
    assert station.said("ok") == [[None]]
    assert station.said("took")[0][0] < 100
    model = station.model
    assert model.wrong == []
    tuning = model.tuning(bench.clock.now_us)
    assert tuning is not None
    assert abs(tuning.hz - 869_525_000) <= 61
    assert tuning[1:] == (7, 125_000, 0x12, False)
    if isinstance(model, Sx126x):
        assert model.calibrated and model.errors == 0 and model.dc_dc
        low, high = model.image_band
        assert low <= 863 and high >= 870
        assert model.registers[0x08AC] == 0x96
        assert model.registers[0x0889] & 0x04  # 15.1
        assert model.registers[0x08D8] & 0x1E == 0x1E  # 15.2
        assert model.registers[0x0736] & 0x04  # 15.4
    else:
        assert isinstance(model, Sx127x)
        assert model.clean  # errata 2.1, 2.3
        assert model.calibrated_hz is not None and abs(model.calibrated_hz - 868_000_000) < 1_000_000
        assert model.register(0x0C) & 3 == 3
    assert works(bench, station)


@pytest.mark.parametrize("floating", [0x00, 0xFF])
def test_a_chip_that_is_away_at_the_start(bench: RadioBench, board: str, floating: int) -> None:
    station = bench.station(board, AGAIN + "await hear(60000)")
    station.model.floating, station.model.gone = floating, True
    bench.run(3)
    assert {tuple(e) for e in station.said("error")} == {(NACK,)}
    station.model.gone = False
    bench.run(8)
    assert station.said("ok")
    assert works(bench, station)


def test_another_chip(bench: RadioBench, board: str) -> None:
    station = bench.station(board, START, on=False)
    if isinstance(station.model, Sx126x):
        station.model.identity = (0x34, 0x44)
    else:
        assert isinstance(station.model, Sx127x)
        station.model.version = 0x22  # an SX1272
    station.board.power_on()
    bench.run(1)
    assert station.said("error") == [[IDENTITY]]


def test_busy_that_stays_high(bench: RadioBench) -> None:
    station = bench.station("heltec_v3", START + "t = time.ticks_ms()\n" + AGAIN + "await hear(60000)", on=False)
    station.model.busy_stuck = True
    station.board.power_on()
    bench.run(3)
    assert {tuple(e) for e in station.said("error")} == {(TIMEOUT,)}
    assert station.said("took")[0][0] < 100
    station.model.busy_stuck = False
    bench.run(7)
    assert station.said("ok")[-1] == [None]
    assert works(bench, station)


def test_busy_that_sticks_later(bench: RadioBench) -> None:
    station = bench.station("heltec_v3", TEND)
    bench.run(15)
    station.model.busy_stuck = True
    bench.run(30)
    assert station.said("fails")[0] == [TIMEOUT]
    station.model.busy_stuck = False
    bench.run(25)
    assert works(bench, station)
    assert station.said("tend")[-1][0] is True or station.said("ok")


@pytest.mark.parametrize(("slow_ms", "answer"), [(4, None), (200, TIMEOUT)])
def test_a_slow_chip(bench: RadioBench, board: str, slow_ms: float, answer: int | None) -> None:
    station = bench.station(board, START + "await hear(60000)", on=False)
    station.model.slow_ms = slow_ms
    station.board.power_on()
    bench.run(3)
    said = station.said("error")
    if answer is None:
        assert said == []
        assert works(bench, station)
    else:
        assert said and said[0][0] in (TIMEOUT, NACK)
    assert station.said("took")[0][0] < 250


def test_a_tcxo_that_is_not_in_the_board_file_is_found_out(bench: RadioBench) -> None:
    station = bench.station("heltec_v3", START, on=False)
    assert isinstance(station.model, Sx126x)
    station.model.tcxo_mv = 3300  # the board file says 1800
    station.board.power_on()
    bench.run(1)
    assert station.said("error") == [[FAULT]]


def test_a_chip_that_goes_and_comes_back(bench: RadioBench, board: str) -> None:
    station = bench.station(board, TEND)
    bench.run(15)
    station.model.gone = True
    bench.run(30)
    assert {e[0] for e in station.said("fails")} <= {NACK, RANGE}
    assert station.said("fails")
    station.model.gone = False
    bench.run(25)
    assert works(bench, station)
    assert station.model.wrong == []


def test_a_chip_that_has_lost_its_state_is_set_up_again(bench: RadioBench, board: str) -> None:
    station = bench.station(board, TEND)
    bench.run(15)
    station.model.gone = True
    bench.run(1)
    station.model.gone = False
    assert not works(bench, station)
    bench.run(12)
    assert station.said("tend")[-1][:3] == [False, 0, 1]
    assert works(bench, station)


def test_reception_that_ended_without_a_word(bench: RadioBench, board: str) -> None:
    station = bench.station(board, TEND)
    bench.run(15)
    model = station.model
    assert isinstance(model, (Sx126x, Sx127x))
    model.fall_to_standby(bench.clock.now_us)
    bench.run(12)
    assert station.said("tend")[-1][:3] == [False, 0, 1]
    assert works(bench, station)
    bench.run(11)
    assert station.said("tend")[-1][0] is True


@pytest.mark.parametrize("deaf", [1, 2, 3])
def test_a_deaf_chip_is_calibrated_then_reset(bench: RadioBench, board: str, deaf: int) -> None:
    station = bench.station(board, TEND)
    bench.run(290)
    assert works(bench, station)
    bench.run(280)
    assert {tuple(t) for t in station.said("tend")} == {(True, 0, 0, 0)}
    station.model.deaf = deaf
    bench.run(40)
    assert station.said("tend")[-1][1:3] == [1, 0]
    assert works(bench, station) is (deaf == 1)
    if isinstance(station.model, Sx126x):
        assert station.model.image_band[0] <= 863, "the calibration had put it elsewhere"
    bench.run(295)
    assert station.said("tend")[-1][1:3] == ([1, 0] if deaf == 1 else [1, 1])
    assert works(bench, station) is (deaf < 3)
    if deaf == 3:
        bench.run(650)
        assert station.said("tend")[-1][1:3] == [2, 2], "it goes on trying"
        station.board.power_cycle()
        bench.run(5)
        assert works(bench, station)


def test_silence_is_believed_where_nobody_is_expected(bench: RadioBench, board: str) -> None:
    body = "await ready()\nfor _ in range(100):\n    await asyncio.sleep_ms(10000)\n    await radio.tend(False)\nsay('end', radio.mended, radio.resets)"
    station = bench.station(board, body)
    bench.run(1010)
    assert station.said("end") == [[0, 0]]


def test_an_interrupt_that_never_came_is_made_up_for(bench: RadioBench, board: str) -> None:
    station = bench.station(board, TEND)
    bench.run(1)
    station.model.silent = True
    station.model.deliver(b"late", -80, 5, bench.clock.now_us + 50_000)
    bench.run(15)
    (event,) = station.said("event")
    assert event[1] == b"late".hex()
    assert station.said("tend")[0] == [False, 0, 0, 1]


def test_a_transmission_that_never_ends_resets_the_chip(bench: RadioBench, board: str) -> None:
    body = """
await ready()
radio.transmit(b"hello", time.ticks_add(time.ticks_us(), 10000))
await asyncio.sleep_ms(15)
say("sending")
await asyncio.sleep_ms(500)
say("tend", await radio.tend(True), radio.resets)
await hear(60000)
"""
    station = bench.station(board, body)
    while not station.said("sending"):
        bench.run(0.002)
    model = station.model
    assert isinstance(model, (Sx126x, Sx127x))
    model.fall_to_standby(bench.clock.now_us)
    bench.run(1)
    assert station.said("tend") == [[False, 1]]
    assert works(bench, station)


@pytest.mark.parametrize("deaf", [False, True])
def test_orders_while_it_is_mended_are_refused(bench: RadioBench, board: str, deaf: bool) -> None:
    body = """
await ready()
await asyncio.sleep_ms(1000)
say("now")
await asyncio.sleep_ms(%d)
task = asyncio.create_task(radio.tend(True))
for f, args in ((radio.transmit, (b"x", time.ticks_add(time.ticks_us(), 15000))), (radio.listen, ()), (radio.configure, (868100000, 8, 10))):
    await asyncio.sleep_ms(1)
    try:
        f(*args)
        say("taken")
    except DriverError as error:
        say("refused", error.reason)
await attempt(radio.cad())
say("tend", await task, radio.mended, radio.resets)
await hear(60000)
"""
    station = bench.station(board, body % (301_000 if deaf else 100))
    while not station.said("now"):
        bench.run(0.01)
    model = station.model
    assert isinstance(model, (Sx126x, Sx127x))
    if not deaf:
        model.fall_to_standby(bench.clock.now_us)
    bench.run(302 if deaf else 1)
    assert station.said("refused") == [[RANGE]] * 3 and station.said("error") == [[RANGE]]
    assert station.said("tend") == [[False, 1, 0] if deaf else [False, 0, 1]]
    tuning = model.tuning(bench.clock.now_us)
    assert tuning is not None and tuning.sf == 7
    assert works(bench, station) and model.wrong == []


@pytest.mark.parametrize("seed", range(3))
def test_whatever_fails_it_hears_again(bench: RadioBench, board: str, seed: int) -> None:
    """Faults of all kinds one after the other, in an order of chance; each is over when its time has come."""
    rng = random.Random(f"{board}/{seed}")
    station = bench.station(board, TEND)
    model = station.model
    assert isinstance(model, (Sx126x, Sx127x))
    bench.run(5)
    for _ in range(12):
        fault = rng.choice(["gone", "nack", "silent", "slow_ms", "busy_stuck", "deaf", "standby", "reset", "supply"])
        if fault == "standby":
            model.fall_to_standby(bench.clock.now_us)
        elif fault == "reset":
            model.power_cycle(bench.clock.now_us)
        elif fault == "supply":
            station.board.power_cycle(rng.uniform(0.1, 5))
        elif fault == "deaf":
            model.deaf = rng.choice([1, 2])
        else:
            setattr(model, fault, 300 if fault == "slow_ms" else True)
        bench.run(rng.uniform(0.01, 60))
        for name in ("gone", "nack", "silent", "busy_stuck"):
            if getattr(model, name):
                setattr(model, name, False)
        model.slow_ms = 0
        bench.run(640 if model.deaf else 35)
        assert works(bench, station), fault
    assert len(station.said("event")) == 12


def test_orders_that_cannot_be(bench: RadioBench, board: str) -> None:
    body = """
def refused(f, *args):
    try:
        f(*args)
        say("taken", str(args))
    except DriverError as error:
        say("refused", error.reason)

def soon():
    return time.ticks_add(time.ticks_us(), 10000)

refused(radio.transmit, b"x", soon())
refused(radio.listen)
await radio.start()
for hz, sf, dbm in ((862999999, 7, 14), (870000001, 7, 14), (433000000, 7, 14), (868100000, 6, 14), (868100000, 13, 14), (868100000, 7, 23), (868100000, 7, -10)):
    refused(radio.configure, hz, sf, dbm)
radio.configure(868100000, 7, 14)
refused(radio.transmit, b"", soon())
refused(radio.transmit, bytes(256), soon())
refused(radio.transmit, b"x", time.ticks_add(time.ticks_us(), 200000))
say("so far")
radio.listen()
refused(radio.transmit, b"x", time.ticks_add(time.ticks_us(), -1000))
refused(radio.transmit, b"x", time.ticks_add(time.ticks_us(), 100))
await hear(60000)
"""
    station = bench.station(board, body)
    bench.run(3)
    assert station.said("taken") == []
    assert [r[0] for r in station.said("refused")] == [RANGE] * 12 + [TIMEOUT] * 2
    assert station.model.emissions == []
    assert works(bench, station), "after a refusal it listens as before"


def test_frames_and_headers_that_came_damaged(bench: RadioBench, board: str) -> None:
    station = bench.station(board, "await ready()\nawait hear(60000)")
    bench.run(1)
    station.model.deliver(b"torn", -110, -6, bench.clock.now_us + 50_000, False)
    bench.run(0.2)
    assert [e[0][0] for e in station.said("event")] == [BAD]
    station.model.deliver(b"who", -110, -6, bench.clock.now_us + 50_000, header_ok=False)
    bench.run(0.2)
    # Only the SX126x tells of a header that it could not read.
    assert [e[0][0] for e in station.said("event")] == [BAD] * (2 if isinstance(station.model, Sx126x) else 1)
    assert works(bench, station)


def test_a_frame_without_crc_is_none_of_ours(bench: RadioBench) -> None:
    station = bench.station("lilygo_t3_v161", "await ready()\nawait hear(60000)")
    bench.run(1)
    station.model.deliver(b"theirs", -80, 6, bench.clock.now_us + 50_000, crc=False)
    bench.run(0.2)
    assert [e[0][0] for e in station.said("event")] == [BAD]
    assert works(bench, station)


@pytest.mark.parametrize("rssi", [-120, -91.5, -30])
@pytest.mark.parametrize("snr", [-12.5, 0, 9.75])
def test_levels(bench: RadioBench, board: str, rssi: float, snr: float) -> None:
    station = bench.station(board, "await ready()\nawait hear(60000)")
    bench.run(1)
    station.model.deliver(b"level", rssi, snr, bench.clock.now_us + 50_000)
    bench.run(0.2)
    (event,) = station.said("event")
    assert event[0][2] == pytest.approx(rssi, abs=1.1)
    assert event[0][3] == snr * 4


_FAKE = """
import asyncio, gc, micropython, sys, time

ANSWERS = {answers}

class Pin:
    def __init__(self, level):
        self.level = level
    def __call__(self, level=None):
        return self.level
    def irq(self, handler, trigger=0):
        self.handler = handler

class SPI:
    "What a chip answers that has received 120 bytes."
    register = 0
    def __init__(self, id, **lines):
        pass
    def write(self, data):
        self.register = data[0]
    def readinto(self, buffer):
        pass
    def write_readinto(self, command, data):
        op = command[0]
        data[1] = ANSWERS.get(op, 0)
        if len(data) == 14:
            for i in range(13):
                data[1 + i] = ANSWERS.get(0x10 + i, 0)
        elif len(data) > 2:
            data[2], data[3] = (0, 1) if op == 0x10 else (0, 0x12) if op == 0x12 else (120, 0) if op == 0x13 else (142, 25)

class machine:
    SPI = SPI

sys.modules["machine"] = machine

class Services:
    def has(self, name):
        return False
    def pin(self, name, mode, value=None):
        return Pin({line} if name == "radio_irq" else 0)
    def ticks_ms(self):
        return time.ticks_ms()

from drivers.{driver} import open
radio = open(Services(), {{}})
edge = radio._edge
radio.poll()
edge(None)
radio.poll()
gc.collect()
gc.disable()
micropython.heap_lock()
edge(None)
micropython.heap_unlock()
before = gc.mem_alloc()
event = radio.poll()
used = gc.mem_alloc() - before
print(event[0], event[2], event[3], event[4], used, int(radio.irq))
"""
# RegIrqFlags, RegHopChannel, RegRxNbBytes, RegPktSnrValue, RegPktRssiValue
_ANSWERS = {"sx126x": {}, "sx127x": {0x12: 0x50, 0x1C: 0x40, 0x13: 120, 0x19: 25, 0x1A: 81}}


@pytest.mark.parametrize("driver", ["sx126x", "sx127x"])
def test_the_interrupt_allocates_nothing_and_a_frame_little(driver: str) -> None:
    said = run(_FAKE.format(driver=driver, answers=_ANSWERS[driver], line=0))
    what, rssi, snr, n, used, again = map(int, said.split())
    assert (what, rssi, snr, n, again) == (RX, -71, 25, 120, 0)
    assert used <= 384, "a tuple and a few small objects, twice as wide here as on a chip; no copy of the frame"


@pytest.mark.parametrize("driver", ["sx126x", "sx127x"])
def test_what_comes_while_flags_are_cleared_is_looked_at(driver: str) -> None:
    """The line is high still: it will have no edge by which the driver could hear of the next event."""
    said = run(_FAKE.format(driver=driver, answers=_ANSWERS[driver], line=1))
    assert said.split()[-1] == "1"


def test_both_drivers_are_small() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        size = {}
        for name in ("lora", "sx126x", "sx127x"):
            target = Path(folder) / f"{name}.mpy"
            build.compile_file(ROOT / "firmware" / "drivers" / f"{name}.py", target, "xtensawin", f"drivers/{name}.py")
            size[name] = target.stat().st_size
    assert size["lora"] + max(size["sx126x"], size["sx127x"]) <= 5_000
