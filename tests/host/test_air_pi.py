"""A radio on a Raspberry Pi's pins: Adafruit's library over the simulator's SX1276, on one virtual clock with real nodes' drivers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from felinar.air import pi
from felinar.air.pi_pins import Pins
from felinar.config import BridgeConfig, parse
from felinar.errors import ConfigError, LinkError
from felinar_air.plan import airtime
from felinar_wire import core, serial

from tests.firmware.radio_bench import RadioBench
from tests.support.raspberry import Lockstep, Raspberry

DOWN, UP = 869_525_000, 868_100_000
CONFIG = BridgeConfig(radio="rfm9x")
NODE = "lilygo_t3_v161"


class Bench:
    """A bridge on a Raspberry Pi, the host's end of its line, and whatever else is on the cable."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, spi_us: int = 40) -> None:
        self.air = RadioBench(folder)
        self.clock = self.air.clock
        self.pi = Raspberry(self.clock, spi_us=spi_us)
        self.model = self.pi.model
        self.air.cable.add(self.model)
        self.pi.install(patch)
        self.pi.install_time(patch)
        self.deframer = serial.Deframer(300)
        self.said: list[tuple[int, list[Any]]] = []
        self.bridge: pi.PiBridge | None = None
        self.id = 0

    def start(self, *, listen: bool = True) -> pi.PiBridge:
        self.pi.life = Lockstep(self.clock, self._live)
        self.run(0.1)
        assert self.bridge
        if listen:
            self.tell(core.PING, 1)
            self.tell(core.LISTEN, 7, UP)
            self.run(0.05)
        return self.bridge

    def _live(self) -> str:
        pins = Pins(CONFIG, now_ns=self.pi.now_ns, sleep=self.pi.sleep, select=self.pi.select)
        try:
            self.bridge = pi.start(CONFIG, pins, self._heard)
            return self.bridge.run()
        finally:
            pins.close()

    def _heard(self, data: bytes) -> None:
        for content in self.deframer.feed(data):
            self.said.append((content[0], core.decode(core.BRIDGE[content[0]], content[1:])))

    def tell(self, kind: int, *values: Any) -> None:
        assert self.bridge and self.pi.life
        self.bridge.feed(b"\0" + serial.encode(bytes((kind,)) + core.encode(core.BRIDGE[kind], list(values))))
        self.pi.life.wake()

    def send(self, data: bytes, in_us: int, hz: int = DOWN, sf: int = 7, dbm: int = 14) -> int:
        """Order a transmission; the time in µs of the world at which it is to begin."""
        self.id += 1
        self.tell(core.TX, self.id, (self.clock.now_us + in_us) % (1 << 30), sf, hz, dbm, data)
        return self.clock.now_us + in_us

    def run(self, seconds: float) -> None:
        """Let time pass, with the host's PING every two seconds."""
        while seconds > 0:
            if self.bridge and self.pi.life and not self.pi.life.done:
                self.tell(core.PING, 1)
            self.clock.run_for(min(2.0, seconds))
            seconds -= 2.0

    def of(self, kind: int) -> list[list[Any]]:
        return [values for what, values in self.said if what == kind]

    def results(self) -> list[int]:
        return [values[1] for values in self.of(core.TX_DONE)]

    @property
    def life(self) -> Lockstep:
        assert self.pi.life
        return self.pi.life


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path, monkeypatch)
    yield made
    if made.bridge and made.pi.life and not made.pi.life.done:
        made.bridge.stop()
        made.pi.life.wake()
        made.run(1)
        assert made.pi.life.done
    assert made.pi.open == []
    assert made.model.wrong == []
    made.air.close()
    made.pi.close()


@pytest.mark.parametrize(("sf", "dbm"), [(7, 14), (9, 20), (10, 2), (12, 17)])
def test_registers_are_those_of_the_firmware(bench: Bench, sf: int, dbm: int) -> None:
    """Every register but those that count or tell: 0x10 to 0x1C, 0x25 and the flags."""
    body = f"await radio.start()\nradio.configure({UP}, {sf}, {dbm})\nradio.listen()\nawait hear(600000)"
    node = bench.air.station(NODE, body)
    bridge = bench.start()
    bridge.modem._who = (*bridge.modem._who[:2], dbm)
    bench.tell(core.LISTEN, sf, UP)
    bench.run(1)
    same = [r for r in range(1, 0x64) if r not in (*range(0x10, 0x1D), 0x25, 0x0D)] + [0x11, 0x1D - 1]
    mine = {hex(r): hex(bench.model.register(r)) for r in same}
    assert mine == {hex(r): hex(node.model.register(r)) for r in same}
    assert bench.model.clean
    assert bench.model.calibrated_hz == pytest.approx(868_000_000, abs=100)
    assert bench.model.tuning(bench.clock.now_us) == node.model.tuning(bench.clock.now_us)


def test_frames_between_a_node_and_the_host_byte_for_byte(bench: Bench) -> None:
    sizes = [5, 6, 70, 120, 255]
    body = f"""
await radio.start()
radio.configure({UP}, 7, 14)
for n in {sizes}:
    await asyncio.sleep_ms(1000)
    radio.transmit(bytes((i * 7 + n) & 255 for i in range(n)), time.ticks_add(time.ticks_us(), 12345))
    await hear(500)
radio.configure({DOWN}, 7, 14)
radio.listen()
await hear(600000)
"""
    node = bench.air.station(NODE, body)
    bench.start()
    bench.run(10)
    frames = [bytes((i * 7 + n) & 255 for i in range(n)) for n in sizes]
    heard = bench.of(core.RX)
    assert [values[-1] for values in heard] == frames
    assert [tuple(values[1:5]) for values in heard] == [(-71, 25, 7, UP)] * len(sizes)
    for values, emission in zip(heard, node.model.emissions, strict=True):
        assert values[0] == emission.end_us % (1 << 30), "stamped when it ended, not when it was read"
    for n, frame in zip(sizes, frames, strict=True):
        at = bench.send(frame, 400_000)
        bench.run(1)
        emission = bench.model.emissions[-1]
        assert (emission.data, emission.dbm, emission.clean) == (frame, 14, True)
        assert emission.start_us == pytest.approx(at, abs=250)
        assert emission.end_us - emission.start_us == airtime(7, n)
    told = [bytes.fromhex(data) for event, data in node.said("event") if event[0] == 1]
    assert told == frames
    assert bench.results() == [0] * len(sizes)
    assert bench.model.tuning(bench.clock.now_us).hz == pytest.approx(UP, abs=61), "it hears again"  # type: ignore[union-attr]


def test_the_radio_is_led_by_its_interrupt(bench: Bench) -> None:
    """A silent hour costs a question now and then; a transmission some dozens of transfers, however long it is on the air."""
    bench.start()
    bench.run(20)
    before = bench.pi.transfers
    bench.run(600)
    assert bench.pi.transfers - before <= 2 * 2 * 121
    before = bench.pi.transfers
    bench.send(bytes(200), 100_000, sf=10)
    bench.run(4)
    assert bench.results() == [0]
    assert bench.model.emissions[-1].end_us - bench.model.emissions[-1].start_us > 1_500_000
    assert bench.pi.transfers - before < 150


def test_the_host_is_answered_while_a_frame_is_on_the_air(bench: Bench) -> None:
    bench.start()
    at = bench.send(bytes(100), 100_000, sf=10)
    bench.clock.run_until(at + 300_000)
    count = len(bench.of(core.HEARTBEAT))
    bench.tell(core.PING, 77)
    second = bench.send(b"directly after", at + airtime(10, 100) + 20_000 - bench.clock.now_us, sf=10)
    bench.clock.run_for(0.01)
    assert bench.of(core.HEARTBEAT)[count:][0][0] == 77
    bench.run(3)
    assert [emission.start_us for emission in bench.model.emissions] == pytest.approx([at, second], abs=250)
    assert bench.results() == [0, 0]


def test_what_is_not_sent_is_said(bench: Bench) -> None:
    bridge = bench.start()
    bench.send(b"late", -1000)
    bench.send(b"late as well", -1000)
    bench.send(b"four", 100_000)
    bench.send(b"between the bands", 100_000, hz=868_650_000)
    bench.run(1)
    assert bench.results() == [1, 2]
    assert bridge.modem.dropped == 2, "shorter than five bytes"
    assert bench.model.emissions == []
    bench.send(b"later", 100_000)
    held, wait = [0.09], bench.pi.select

    def busy(descriptors: Any, seconds: float) -> None:
        """The machine computes something else for a while."""
        wait(descriptors, seconds)
        if bridge.modem._queue and held:
            bench.pi.sleep(held.pop())

    bridge._pins._select = busy
    bench.run(1)
    assert bench.results() == [1, 2, 1]
    bench.send(b"in time", 100_000)
    bench.run(1)
    assert [emission.data for emission in bench.model.emissions] == [b"in time"]


def test_frames_that_are_none_are_counted(bench: Bench) -> None:
    bridge = bench.start()

    def arrive(data: bytes, **how: Any) -> None:
        bench.model.deliver(data, -97.0, -7.5, bench.clock.now_us + airtime(7, len(data)), **how)
        bench.run(1)

    arrive(b"with an error", crc_ok=False)
    arrive(b"none", crc=True)
    arrive(b"without a check", crc=False)
    assert (bridge.modem.bad, bridge.modem.heard) == (3, 0)
    arrive(b"weak, but well")
    assert bench.of(core.RX) == [[bench.of(core.RX)[0][0], -97, -30, 7, UP, b"weak, but well"]]
    bench.run(3)
    assert bench.of(core.HEARTBEAT)[-1][3:5] == [1, 3]


def test_an_interrupt_that_does_not_come_is_noticed(bench: Bench) -> None:
    bridge = bench.start()
    bench.pi.broken_line = True
    bench.model.deliver(b"unheard", -90.0, 5.0, bench.clock.now_us + airtime(7, 7))
    bench.run(6)
    assert [values[-1] for values in bench.of(core.RX)] == [b"unheard"]
    bench.send(b"unended", 100_000)
    bench.run(2)
    assert bench.results() == [0]
    assert bridge.radio.missed == 2


def test_a_radio_that_lost_its_state_is_set_up_anew(bench: Bench) -> None:
    bridge = bench.start()
    bench.model.fall_to_standby(bench.clock.now_us)
    bench.run(7)
    assert bench.of(core.LOG) == [[2, b"the radio was in another mode"]]
    bench.model.power_cycle(bench.clock.now_us)
    bench.run(7)
    assert bridge.radio.resets == 2
    bench.model.deliver(b"again", -90.0, 5.0, bench.clock.now_us + airtime(7, 5))
    bench.run(1)
    assert [values[-1] for values in bench.of(core.RX)] == [b"again"]


def test_a_deaf_radio_is_set_up_anew(bench: Bench) -> None:
    bridge = bench.start()
    bench.run(400)
    assert bridge.radio.resets == 0, "where nobody speaks silence means nothing"
    bench.model.deliver(b"there you are", -90.0, 5.0, bench.clock.now_us + airtime(7, 13))
    bench.run(1)
    bench.model.deaf = 2
    bench.run(310)
    assert bridge.radio.resets == 1
    assert bench.model.deaf == 0
    assert bench.of(core.LOG) == [[2, b"the radio has heard nothing for five minutes"]]


@pytest.mark.parametrize("how", ["gone", "floating low"])
def test_a_dead_radio_ends_the_line_with_a_reason(bench: Bench, how: str) -> None:
    bench.start()
    if how == "floating low":
        bench.model.floating = 0
    bench.model.gone = True
    bench.run(12)
    assert bench.life.done
    assert "SPI 0 with CE1 does not answer as an RFM9x" in str(bench.life.result)
    assert "cs and reset" in str(bench.life.result)
    assert bench.pi.open == []


def test_a_radio_that_dies_while_it_sends(bench: Bench) -> None:
    bench.start()
    at = bench.send(bytes(200), 100_000)
    bench.clock.run_until(at + 50_000)
    bench.model.gone = True
    bench.run(10)
    assert bench.results() == [3]
    assert [b"the radio has failed"] in [values[1:] for values in bench.of(core.LOG)]
    assert bench.life.done


def test_no_radio_is_one_clear_error(bench: Bench) -> None:
    bench.model.gone = True
    with pytest.raises(LinkError, match="wiring"):
        bench.start()


def test_it_falls_silent_without_its_host(bench: Bench) -> None:
    bench.start()
    bench.clock.run_for(12)
    assert [b"no host for ten seconds: silent"] in [values[1:] for values in bench.of(core.LOG)]
    bench.send(b"unasked", 100_000)
    bench.clock.run_for(1)
    assert bench.results() == [4]
    assert bench.model.emissions == []


@pytest.mark.parametrize("missing", ["board", "gpiod", "adafruit_rfm9x"])
def test_without_the_library_one_error_says_how_to_get_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "felinar.air.pi_radio", raising=False)
    monkeypatch.delattr("felinar.air.pi_radio", raising=False)
    with pytest.raises(LinkError, match=missing) as caught:
        bench.start()
    assert caught.value.remedy == "pip install 'felinar[pi]'."


def test_a_machine_that_is_no_raspberry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "board":
            raise NotImplementedError("Board not supported GENERIC_LINUX_PC.")
        return original(name, *arguments, **named)

    original: Callable[..., Any] = __import__
    monkeypatch.setattr("builtins.__import__", refuse)
    with pytest.raises(LinkError, match="no pins for a radio"):
        Pins(CONFIG)


def test_pins_that_are_not_there(bench: Bench) -> None:
    with pytest.raises(LinkError, match="no pin 'D99'"):
        Pins(BridgeConfig(radio="rfm9x", cs="D99"))


def test_the_configuration() -> None:
    config = parse('[[bridge]]\nradio = "rfm9x"\nspi = 1\ncs = "D7"\nreset = "D24"\ndio0 = "D5"\npower = 14\n', "it")
    assert config.bridge == (BridgeConfig(radio="rfm9x", spi=1, cs="D7", reset="D24", dio0="D5", power=14),)
    assert config.bridge[0].name == "rfm9x:spi1:D7"
    for text, words in (
        ('radio = "rfm9x"\nurl = "/dev/ttyUSB0"\n', "both a line and a radio"),
        ("sf = 7\n", "neither a line nor a radio"),
        ('radio = "rfm69"\n', "radio"),
        ('radio = "rfm9x"\nreset = "D22"\n', "on one pin"),
        ('radio = "rfm9x"\ncs = "7"\n', "cs"),
        ('radio = "rfm9x"\n[[bridge]]\nradio = "rfm9x"\n', "named twice"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse("[[bridge]]\n" + text, "it")
