"""The SPS30 model against its data sheet: modes, formats, data-ready, cleaning, sleep, identity, faults."""

from __future__ import annotations

import statistics
import struct

import pytest
from felinar_sim.chips import Conditions, Nack
from felinar_sim.chips.sensirion import crc8, pack_words, unpack_words
from felinar_sim.chips.sps30 import Sps30

MS, S = 1000, 1_000_000


class Air:
    def __init__(self, pm25: float | None = 20.0) -> None:
        self.pm25 = pm25

    def __call__(self, now_us: int) -> Conditions:
        if self.pm25 is None:
            return Conditions(pm1=None, pm25=None, pm4=None, pm10=None)
        return Conditions(pm1=self.pm25 * 0.7, pm25=self.pm25, pm4=self.pm25 * 1.2, pm10=self.pm25 * 1.4)


def ask(chip: Sps30, command: int, words: int, now_us: int, wait_ms: int = 20) -> list[int]:
    chip.write(command.to_bytes(2, "big"), now_us)
    return unpack_words(chip.read(words * 3, now_us + wait_ms * MS))


def start(chip: Sps30, now_us: int, value_format: int = 0x0300) -> None:
    chip.write(b"\x00\x10" + pack_words([value_format]), now_us)


def ready(chip: Sps30, now_us: int) -> int:
    return ask(chip, 0x0202, 1, now_us, 0)[0]


def floats(chip: Sps30, now_us: int) -> tuple[float, ...]:
    words = ask(chip, 0x0300, 20, now_us, 0)
    return struct.unpack(">10f", b"".join(word.to_bytes(2, "big") for word in words))


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def chip(air: Air) -> Sps30:
    return Sps30(air)


def test_crc_of_the_data_sheet() -> None:
    assert crc8(b"\xbe\xef") == 0x92


def test_identity(chip: Sps30) -> None:
    def text(words: list[int]) -> str:
        return b"".join(w.to_bytes(2, "big") for w in words).rstrip(b"\0").decode()

    assert text(ask(chip, 0xD002, 4, 0)) == "00080000"
    assert text(ask(chip, 0xD033, 16, 0)) == chip.serial
    assert ask(chip, 0xD100, 1, 0) == [0x0202]
    assert ask(chip, 0xD206, 2, 0) == [0, 0]


def test_data_ready_every_second(chip: Sps30) -> None:
    start(chip, 0)
    assert ready(chip, 999 * MS) == 0
    assert ready(chip, 1 * S) == 1
    assert ready(chip, 1 * S + 10) == 1, "asking does not clear it"
    floats(chip, 1 * S + 20)
    assert ready(chip, 1 * S + 30) == 0, "reading does"
    assert ready(chip, 2 * S) == 1
    assert floats(chip, 2 * S) == floats(chip, 2 * S + 1), "without a new measurement the last values come again"


def test_values_follow_the_air_after_the_warm_up(chip: Sps30, air: Air) -> None:
    start(chip, 0)
    assert floats(chip, 1 * S)[1] < 18, "the first seconds read low"
    values = [floats(chip, t * S) for t in range(40, 240)]
    pm1, pm25, pm4, pm10 = (statistics.mean(v[i] for v in values) for i in range(4))
    assert pm25 == pytest.approx(20 * chip.gain, rel=0.01)
    assert abs(pm25 - 20) < 1.2
    assert pm1 < pm25 < pm4 < pm10
    assert 0.1 < statistics.stdev(v[1] for v in values) < 1.0
    air.pm25 = 5000
    assert floats(chip, 300 * S)[1] == 1000.0, "the range ends at 1000"


def test_integer_format(chip: Sps30) -> None:
    start(chip, 0, 0x0500)
    words = ask(chip, 0x0300, 10, 60 * S, 0)
    assert words[1] == pytest.approx(20, abs=3)
    assert 300 < words[9] < 1500, "typical size in nm"


def test_commands_are_refused_where_the_data_sheet_says_so(chip: Sps30) -> None:
    with pytest.raises(Nack):
        chip.write(b"\x03\x00", 0)  # not measuring
    with pytest.raises(Nack):
        chip.write(b"\x56\x07", 0)
    with pytest.raises(Nack):
        chip.write(b"\x00\x10\x03\x00\x00", 0)  # wrong CRC
    with pytest.raises(Nack):
        start(chip, 0, 0x0400)
    with pytest.raises(Nack):
        chip.write(b"\x12\x34", 0)
    start(chip, 0)
    with pytest.raises(Nack):
        chip.write(b"\x02\x02", 19 * MS)  # busy for 20 ms
    with pytest.raises(Nack):
        chip.read(3, 20 * MS)  # nothing asked
    with pytest.raises(Nack):
        chip.write(b"\x10\x01", 20 * MS)  # no sleep out of measurement mode
    assert ready(chip, 20 * MS) == 0


def test_stop_ends_measuring(chip: Sps30) -> None:
    start(chip, 0)
    floats(chip, 5 * S)
    chip.write(b"\x01\x04", 5 * S)
    assert ready(chip, 9 * S) == 0


def test_sleep_needs_two_wake_ups(chip: Sps30) -> None:
    chip.write(b"\x10\x01", 0)
    with pytest.raises(Nack):
        chip.write(b"\x02\x02", 1 * S)
    with pytest.raises(Nack):
        chip.write(b"\x11\x03", 2 * S)
    with pytest.raises(Nack):
        chip.write(b"\x11\x03", 2 * S + 150 * MS)  # too late: counts as the first of a new pair
    chip.write(b"\x11\x03", 2 * S + 200 * MS)
    start(chip, 3 * S)
    assert ready(chip, 4 * S) == 1


def test_fan_cleaning_stops_new_values_for_ten_seconds(chip: Sps30) -> None:
    start(chip, 0)
    floats(chip, 5 * S)
    chip.write(b"\x56\x07", 5 * S + 1)
    assert ready(chip, 14 * S) == 0
    assert ready(chip, 16 * S) == 1


def test_auto_cleaning_interval(chip: Sps30) -> None:
    assert ask(chip, 0x8004, 2, 0) == [604_800 >> 16, 604_800 & 0xFFFF]
    chip.write(b"\x80\x04" + pack_words([0, 100]), 1 * S)
    assert ask(chip, 0x8004, 2, 2 * S) == [0, 100]
    start(chip, 10 * S)
    floats(chip, 109 * S)
    assert ready(chip, 115 * S) == 0
    assert ready(chip, 121 * S) == 1
    chip.power_cycle(200 * S)
    assert ask(chip, 0x8004, 2, 201 * S) == [0, 100], "kept over a power-off"


def test_a_gap_in_the_record_never_becomes_ready(chip: Sps30, air: Air) -> None:
    start(chip, 0)
    before = floats(chip, 60 * S)
    air.pm25 = None
    assert ready(chip, 61 * S) == 0
    assert ready(chip, 600 * S) == 0
    assert floats(chip, 600 * S) == before
    air.pm25 = 8.0
    assert ready(chip, 601 * S) == 1


def test_status_register(chip: Sps30) -> None:
    start(chip, 0)
    chip.fan_failed = True
    chip.speed_warning = True
    assert ask(chip, 0xD206, 2, 1 * S) == [1 << 5, 1 << 4]
    assert floats(chip, 2 * S)[1] == 0.0
    chip.fan_failed = chip.speed_warning = False
    assert ask(chip, 0xD206, 2, 3 * S) == [1 << 5, 1 << 4], "it stays until cleared"
    chip.write(b"\xd2\x10", 4 * S)
    assert ask(chip, 0xD206, 2, 5 * S) == [0, 0]


def test_reset(chip: Sps30) -> None:
    start(chip, 0)
    floats(chip, 2 * S)
    chip.write(b"\xd3\x04", 3 * S)
    with pytest.raises(Nack):
        chip.write(b"\x02\x02", 3 * S + 99 * MS)
    assert ready(chip, 5 * S) == 0, "it is idle"


def test_faults(chip: Sps30, air: Air) -> None:
    start(chip, 0)
    before = floats(chip, 60 * S)
    chip.stuck = True
    air.pm25 = 90
    assert ready(chip, 61 * S) == 1
    assert floats(chip, 61 * S) == before
    chip.stuck = False
    chip.slow_ms = 700
    assert ready(chip, 62 * S + 699 * MS) == 0
    assert ready(chip, 62 * S + 700 * MS) == 1
    chip.bad_crc = True
    with pytest.raises(Nack, match="CRC"):
        ready(chip, 64 * S)
    chip.bad_crc = False
    chip.gone = True
    with pytest.raises(Nack):
        ready(chip, 65 * S)
    chip.gone = False
    assert ready(chip, 80 * S) == 0, "it comes back idle"


def test_same_seed_same_values() -> None:
    def run(seed: int) -> list[tuple[float, ...]]:
        chip = Sps30(Air(), seed=seed)
        start(chip, 0)
        return [floats(chip, t * S) for t in range(1, 20)]

    assert run(1) == run(1)
    assert run(1) != run(2)
