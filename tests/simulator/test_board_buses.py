"""I2C, I2S, serial ports and pins, as a program on the board sees them."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from felinar_sim.chips import Conditions
from felinar_sim.chips.base import Nack, UartChip

from .conftest import Bench

Start = Callable[..., Bench]

I2C = "from machine import I2C, Pin\nimport time\ni = I2C(0, scl=Pin(22), sda=Pin(21), freq=%d)\n"


class Register:
    """A chip with one register file; refuses what it is told to refuse."""

    def __init__(self, address: int = 0x23) -> None:
        self.address = address
        self.memory = bytearray(range(256))
        self.at = 0
        self.refuse = False
        self.times: list[int] = []

    def write(self, data: bytes, now_us: int) -> None:
        self.times.append(now_us)
        if self.refuse:
            raise Nack
        if data:
            self.at = data[0]
            self.memory[self.at : self.at + len(data) - 1] = data[1:]

    def read(self, n: int, now_us: int) -> bytes:
        self.times.append(now_us)
        if self.refuse:
            raise Nack
        return bytes(self.memory[self.at : self.at + n])


def test_i2c_transfers_of_every_shape(start: Start) -> None:
    program = I2C % 400_000 + (
        "print(i.scan(), i.writeto(0x23, b'\\x10\\xaa\\xbb'), i.readfrom_mem(0x23, 0x0f, 4))\n"
        "from array import array\na = array('H', [0, 0]); i.readfrom_mem_into(0x23, 0x20, a); print(a)\n"
        "i.writeto_mem(0x23, 0x30, b'xyz'); print(i.readfrom_mem(0x23, 0x30, 4)); i.writevto(0x23, (b'\\x40', b'!')); \n"
        "b = bytearray(2); i.writeto(0x23, b'\\x40', False); i.readfrom_into(0x23, b); print(b)"
    )
    lines = start(program, parts=[({"bus": "i2c0"}, Register()), ({"bus": "i2c0"}, Register(0x44))]).run(2)
    assert lines == [
        "[35, 68] 3 b'\\x0f\\xaa\\xbb\\x12'", "array('H', [8480, 8994])", "b'xyz3'", "bytearray(b'!A')",
    ]  # fmt: skip


@pytest.mark.parametrize("hz", [100_000, 400_000])
def test_i2c_takes_its_bits(start: Start, hz: int) -> None:
    program = I2C % hz + (
        "t = time.ticks_us(); i.readfrom(0x23, 90); d1 = time.ticks_diff(time.ticks_us(), t)\n"
        "t = time.ticks_us(); i.readfrom(0x23, 30); d2 = time.ticks_diff(time.ticks_us(), t)\nprint(d1 - d2)"
    )
    lines = start(program, parts=[({"bus": "i2c0"}, Register())]).run(2)
    assert int(lines[0]) == pytest.approx(60 * 9 * 1e6 / hz, abs=10)


def test_i2c_errors_are_the_chips(start: Start) -> None:
    chip = Register()
    program = (
        I2C % 100_000
        + "while True:\n  time.sleep(1)\n  try: print(i.readfrom(0x23, 2))\n  except OSError as e: print(e.errno)"
    )
    bench = start(program, parts=[({"bus": "i2c0"}, chip)], boot_ms=100)
    bench.run(1.5)
    chip.refuse = True
    bench.run(1)
    chip.refuse, bench.board.i2c.bus("i2c0").stuck = False, True
    bench.run(1.2)
    bench.board.i2c.bus("i2c0").stuck = False
    bench.run(1)
    assert bench.lines == ["b'\\x00\\x01'", "19", "110", "b'\\x00\\x01'"]
    assert bench.board.i2c.bus("i2c0").nacks == 1


def test_wrong_pins_reach_nobody(start: Start) -> None:
    program = "from machine import I2C, SoftI2C, Pin\nfor i in (I2C(0, scl=Pin(21), sda=Pin(22)), I2C(0), SoftI2C(Pin(22), Pin(21))):\n  print(i.scan())"
    lines = start(program, parts=[({"bus": "i2c0"}, Register())]).run(2)
    assert lines == ["[]", "[]", "[35]"]


class Counting:
    """A microphone whose sample k is k."""

    def __init__(self) -> None:
        self.started: list[int] = []

    def frames(self, first: int, n: int, now_us: int) -> bytes:
        if first == 0:
            self.started.append(now_us)
        return struct.pack(f"<{n}i", *range(first, first + n))


def test_i2s_gives_every_sample_once_and_loses_the_oldest_when_late(start: Start) -> None:
    microphone = Counting()
    bench = start("listen.py", parts=[({"bus": "i2s0"}, microphone)])
    lines = bench.run(10)
    assert lines[0] == "async 48000 first 0 gaps 0"
    assert lines[1] == "late: kept 5376 of the newest True", "20 DMA blocks, and one that came while they were read"
    assert lines[2] == "blocking 1000 bytes 4000 took 21 ms True"
    assert lines[3] == "16 bit stereo True"
    assert len(microphone.started) == 3
    assert bench.board.i2s[0].lost == 0


def test_i2s_without_a_microphone_reads_zeros(start: Start) -> None:
    program = (
        "from machine import I2S, Pin\nb = bytearray(400)\n"
        "i = I2S(0, sck=Pin(1), ws=Pin(2), sd=Pin(3), mode=I2S.RX, bits=32, format=I2S.MONO, rate=16000, ibuf=8192)\n"
        "print(i.readinto(b), b == bytes(400)); i.deinit(); print(i.readinto(b))"
    )
    assert start(program, parts=[({"bus": "i2s0"}, Counting())]).run(1) == ["400 True", "0"]


def test_pins_pwm_counter_and_adc(start: Start) -> None:
    class Ear:
        def __init__(self) -> None:
            self.heard: list[tuple[object, ...]] = []

        def pin(self, name: str, level: int, now_us: int) -> None:
            self.heard.append((name, level))

        def pwm(self, name: str, duty_u16: int, hz: int, now_us: int) -> None:
            self.heard.append((name, duty_u16, hz))

        def pulses(self, name: str, now_us: int) -> int:
            return now_us // 10_000 if name == "power_cf" else 0

    ear = Ear()
    bench = start("pins.py", parts=[({}, ear)], on=False)
    bench.board.pins.inputs["button"] = 1
    bench.board.pins.volts["light"] = 1.5
    bench.board.power_on()
    lines = bench.run(5)
    assert lines == [
        "relay 1",
        "pwm 1000 32768 512",
        "counter 200 0",
        "adc 1500000 40123",
        "inputs 1 1 0",
        "input only",
    ]
    assert ear.heard == [
        ("relay", 1), ("relay", 0), ("relay", 1), ("dim", 16384, 1000), ("dim", 32768, 1000), ("dim", 65535, 1000), ("dim", 0, 0),
    ]  # fmt: skip
    bench.board.cut_power()
    assert ear.heard[-1] == ("relay", 0)


class Talker(UartChip):
    """Says a line a second, and repeats what it hears."""

    def _power_on(self, now_us: int) -> None:
        super()._power_on(now_us)
        self._said = now_us // 1_000_000

    def _receive(self, data: bytes, now_us: int) -> None:
        self._send(data, now_us)

    def _run(self, now_us: int) -> None:
        while self._said < now_us // 1_000_000:
            self._said += 1
            self._send(b"hello\n", self._said * 1_000_000)


def test_serial_chips(start: Start) -> None:
    program = (
        "from machine import UART, Pin\nimport asyncio, time\nu = UART(1, 9600, tx=Pin(17), rx=Pin(16))\nprint(u.any(), u.read())\n"
        "async def main():\n  r = asyncio.StreamReader(u)\n  print(await r.readline())\n  u.write(b'abc'); print(await r.readexactly(3))\n"
        "asyncio.run(main())\ntime.sleep(100)\nprint(u.any())\nUART(1, 115200, tx=Pin(17), rx=Pin(16)); time.sleep(1); print(u.read(6) == b'hello\\n')\n"
        "try: UART(0)\nexcept ValueError: print('the console has it')"
    )
    bench = start(program, parts=[({"bus": "uart1"}, Talker(lambda now_us: Conditions()))])
    lines = bench.run(120)
    assert lines == ["0 None", "b'hello\\n'", "b'abc'", "256", "False", "the console has it"]
    assert bench.board.uarts.ports[1].dropped > 300
