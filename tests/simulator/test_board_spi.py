"""SPI, as a program on the board sees it: what is clocked out and in, what it costs, and that only the right lines reach a chip."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from felinar_sim.clock import Clock
from felinar_sim.pins import Pins

from .conftest import Bench

Start = Callable[..., Bench]

SPI = (
    "import time\nfrom machine import Pin, SPI\ncs = Pin(33, Pin.OUT, value=1)\n"
    "s = SPI(1, %d, sck=Pin(18), mosi=Pin(23), miso=Pin(19))\n"
)
PINS = {"radio_sck": 18, "radio_mosi": 23, "radio_miso": 19, "radio_cs": 33, "radio_rst": 4, "radio_irq": 5}


class Echo:
    """Clocks out each byte plus one; pulls its reset line up."""

    PULLED_UP = frozenset(("radio_rst",))

    def __init__(self) -> None:
        self.selected = False
        self.got = bytearray()
        self.levels: list[tuple[str, int]] = []
        self.power: list[bool] = []
        self.pins: Pins | None = None

    def connect(self, clock: Clock, pins: Pins) -> None:
        self.pins = pins

    def supply(self, on: bool, now_us: int) -> None:
        self.power.append(on)

    def pin(self, name: str, level: int, now_us: int) -> None:
        self.levels.append((name, level))
        if name == "radio_cs":
            self.selected = not level

    def transfer(self, data: bytes, now_us: int) -> bytes | None:
        if not self.selected:
            return None
        self.got += data
        return bytes((b + 1) & 255 for b in data)


@pytest.fixture
def wired(monkeypatch: pytest.MonkeyPatch) -> None:
    from . import conftest

    monkeypatch.setattr(conftest, "PINS", {**conftest.PINS, **PINS})


@pytest.mark.usefixtures("wired")
def test_transfers_of_every_shape(start: Start) -> None:
    program = SPI % 1_000_000 + (
        "print(s.read(2))\ncs(0)\ns.write(b'abc'); print(s.read(2)); print(s.read(1, 0x41))\nb = bytearray(3); s.readinto(b, 7); print(b)\n"
        "s.write_readinto(b'xyz', b); print(b)\ntry: s.write_readinto(b'xy', b)\nexcept ValueError as e: print('refused')\n"
        "m = memoryview(b); s.readinto(m[:2]); print(b)\ncs(1)\nprint(s.read(1)); s.deinit(); cs(0); print(s.read(1))"
    )
    chip = Echo()
    lines = start(program, parts=[({"bus": "radio"}, chip)]).run(1)
    assert lines == [
        r"b'\xff\xff'", r"b'\x01\x01'", "b'B'", r"bytearray(b'\x08\x08\x08')", "bytearray(b'yz{')", "refused", r"bytearray(b'\x01\x01{')",
        r"b'\xff'", r"b'\xff'",
    ]  # fmt: skip
    assert bytes(chip.got) == b"abc\0\0A\7\7\7xyz\0\0"
    assert chip.power == [True]


@pytest.mark.usefixtures("wired")
@pytest.mark.parametrize("hz", [1_000_000, 8_000_000])
def test_transfers_take_their_bits(start: Start, hz: int) -> None:
    program = SPI % hz + (
        "t = time.ticks_us(); s.read(200); d1 = time.ticks_diff(time.ticks_us(), t)\n"
        "t = time.ticks_us(); s.read(40); d2 = time.ticks_diff(time.ticks_us(), t)\nprint(d1 - d2)"
    )
    lines = start(program, parts=[({"bus": "radio"}, Echo())]).run(1)
    assert int(lines[0]) == pytest.approx(160 * 8e6 / hz, abs=10)


@pytest.mark.usefixtures("wired")
@pytest.mark.parametrize("change", ["miso=Pin(22)", "mosi=Pin(22)", "sck=Pin(22)", "polarity=1", "phase=1"])
def test_other_lines_and_modes_reach_nobody(start: Start, change: str) -> None:
    program = SPI % 1_000_000 + f"s.init({change})\ncs(0)\nprint(s.read(2))"
    assert start(program, parts=[({"bus": "radio"}, Echo())]).run(1) == [r"b'\xff\xff'"]


@pytest.mark.usefixtures("wired")
def test_a_line_that_is_pulled_up_is_high_until_it_is_driven(start: Start) -> None:
    chip = Echo()
    program = "from machine import Pin, reset\nimport time\np = Pin(4, Pin.OUT, value=1)\np(0)\np(1)\np(0)\ntime.sleep(1)\nreset()"
    start(program, parts=[({"bus": "radio"}, chip)], boot_ms=100).run(1.15)
    assert [x for x in chip.levels if x[0] == "radio_rst"] == [("radio_rst", level) for level in (0, 1, 0, 1)]


@pytest.mark.usefixtures("wired")
def test_an_interrupt_ends_a_wait_at_its_moment(start: Start) -> None:
    program = (
        "from machine import Pin\nimport time\nhits = []\np = Pin(5, Pin.IN)\np.irq(lambda pin: hits.append(time.ticks_us()), Pin.IRQ_RISING)\n"
        "time.sleep_ms(700)\nprint(hits)"
    )
    chip = Echo()
    bench = start(program, parts=[({"bus": "radio"}, chip)], boot_ms=100)
    clock = bench.board.clock
    assert chip.pins is not None
    pins = chip.pins
    clock.at(clock.now_us + 333_333, lambda: pins.put("radio_irq", 1, clock.now_us))
    assert [int(t) for t in bench.run(1)[0].strip("[]").split(",")] == [pytest.approx(333_333, abs=20)]


class Seer(Echo):
    """Is deselected without effect, interrupts, and tells in advance what it will say."""

    SELECTED = frozenset(("radio_cs",))
    OUTPUTS = frozenset(("radio_irq",))
    TOLD = b"\x10\0" + b"\x55\xaa" + b"\x02\x07" + b"\x13\0" + b"\x66\xbb" + b"\x1e\0" + b"frame"

    def idle(self) -> bool:
        return False

    def foresee(self) -> bytes:
        return self.TOLD


@pytest.mark.usefixtures("wired")
@pytest.mark.parametrize("between", ["", "ask(b'\\x77\\0')\n"])
def test_what_a_chip_foresees_is_not_asked(start: Start, between: str) -> None:
    program = SPI % 8_000_000 + (
        "hits = []\np = Pin(5, Pin.IN)\np.irq(lambda pin: hits.append(1), Pin.IRQ_RISING)\nb = bytearray(2)\nout = []\n"
        "def ask(what):\n    cs(0)\n    s.write_readinto(what, b)\n    cs(1)\n    out.append(bytes(b))\n"
        "def tell(what, n):\n    cs(0)\n    s.write(what)\n    if n:\n        out.append(s.read(n))\n    cs(1)\n"
        "import machine\nwhile not hits:\n    machine.lightsleep(50)\n"
        f"ask(b'\\x10\\0')\ntell(b'\\x02\\x07', 0)\nout.append(p())\n{between}ask(b'\\x13\\0')\ntell(b'\\x1e\\0', 5)\n"
        "tell(b'end', 0)\nask(b'\\x10\\0')\nout.append(p())\nfor one in out:\n    print(one)"
    )
    chip = Seer()
    bench = start(program, parts=[({"bus": "radio"}, chip)], boot_ms=100)
    clock = bench.board.clock
    assert chip.pins is not None
    pins = chip.pins
    clock.at(clock.now_us + 333_333, lambda: pins.put("radio_irq", 1, clock.now_us))
    lines = bench.run(1)
    if between:  # who does anything else is answered by the chip from there on
        assert lines == [
            r"b'U\xaa'", "0", r"b'x\x01'", r"b'\x14\x01'", r"b'\x01\x01\x01\x01\x01'", r"b'\x11\x01'", "1",
        ]  # fmt: skip
        assert bytes(chip.got) == b"\x02\x07" + b"\x77\0" + b"\x13\0" + b"\x1e\0" + bytes(5) + b"end" + b"\x10\0"
    else:
        assert lines == [r"b'U\xaa'", "0", r"b'f\xbb'", "b'frame'", r"b'\x11\x01'", "1"]
        assert bytes(chip.got) == b"\x02\x07" + b"end" + b"\x10\0"
    assert not chip.selected
