"""The SCD41 and SGP41 models against their data sheets: commands, times, buffers, settings, conditioning, faults."""

from __future__ import annotations

import statistics

import pytest
from felinar_sim.chips import Conditions, Nack, build
from felinar_sim.chips.scd41 import Scd41
from felinar_sim.chips.sensirion import pack_words, unpack_words
from felinar_sim.chips.sgp41 import Sgp41

MS, S = 1000, 1_000_000


class Air:
    def __init__(self) -> None:
        self.co2 = 600.0
        self.celsius: float | None = 20.0
        self.percent = 50.0
        self.hpa = 1013.25
        self.voc = 30_000.0

    def __call__(self, now_us: int) -> Conditions:
        return Conditions(
            co2_ppm=self.co2, temperature_c=self.celsius, humidity_pct=self.percent, pressure_hpa=self.hpa,
            voc_ticks=self.voc, nox_ticks=16_000.0,
        )  # fmt: skip


Chip = Scd41 | Sgp41


def tell(chip: Chip, command: int, now_us: int, *words: int) -> None:
    chip.write(command.to_bytes(2, "big") + pack_words(words), now_us)


def ask(chip: Chip, command: int, n: int, now_us: int, *words: int, wait_ms: float = 1) -> list[int]:
    tell(chip, command, now_us, *words)
    return unpack_words(chip.read(3 * n, now_us + round(wait_ms * MS)))


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def scd(air: Air) -> Scd41:
    chip = Scd41(air)
    chip.offset_ppm = 0.0
    return chip


@pytest.fixture
def sgp(air: Air) -> Sgp41:
    return Sgp41(air)


def measured(scd: Scd41, now_us: int) -> tuple[float, float, float]:
    co2, t, rh = ask(scd, 0xEC05, 3, now_us)
    return co2, -45 + 175 * t / 65535, 100 * rh / 65535


def is_ready(scd: Scd41, now_us: int) -> bool:
    return bool(ask(scd, 0xE4B8, 1, now_us)[0] & 0x07FF)


def test_scd_powers_up_in_a_second(scd: Scd41) -> None:
    with pytest.raises(Nack):
        tell(scd, 0x3682, 999 * MS)
    assert ask(scd, 0x3682, 3, 1 * S) == [0xF896, 0x9F07, 0x3BBE]


def test_scd_measures_every_five_seconds(scd: Scd41) -> None:
    tell(scd, 0x21B1, 2 * S)
    assert not is_ready(scd, 6_990 * MS)
    assert is_ready(scd, 7 * S)
    assert measured(scd, 7 * S + 10 * MS)[0] == pytest.approx(510, abs=15), "the first one is to be discarded"
    with pytest.raises(Nack):
        tell(scd, 0xEC05, 8 * S)  # the buffer is empty
    assert not is_ready(scd, 9 * S)
    many = [measured(scd, t * S + 500 * MS) for t in range(12, 500, 5)]
    assert statistics.mean(m[0] for m in many) == pytest.approx(600, abs=2)
    assert statistics.stdev(m[0] for m in many) < 10
    assert statistics.mean(m[1] for m in many) == pytest.approx(20, abs=0.1)
    assert statistics.mean(m[2] for m in many) == pytest.approx(50, abs=0.5)


def test_scd_low_power_every_thirty(scd: Scd41) -> None:
    tell(scd, 0x21AC, 2 * S)
    assert not is_ready(scd, 31 * S)
    assert is_ready(scd, 32 * S)


def test_scd_while_measuring_takes_only_some_commands(scd: Scd41) -> None:
    tell(scd, 0x21B1, 2 * S)
    for command in (0x21B1, 0x3682, 0x2318, 0x3646, 0x219D):
        with pytest.raises(Nack):
            tell(scd, command, 3 * S)
    tell(scd, 0xE000, 4 * S, 1000)
    tell(scd, 0x3F86, 5 * S)
    with pytest.raises(Nack):
        tell(scd, 0x3682, 5_499 * MS)
    assert len(ask(scd, 0x3682, 3, 5_500 * MS)) == 3


def test_scd_single_shots(scd: Scd41) -> None:
    tell(scd, 0x219D, 2 * S)
    with pytest.raises(Nack):
        tell(scd, 0xEC05, 6_999 * MS)
    measured(scd, 7 * S)
    tell(scd, 0x219D, 8 * S)
    assert measured(scd, 13 * S)[0] == pytest.approx(600, abs=20)
    tell(scd, 0x2196, 14 * S)
    co2, celsius, _ = measured(scd, 14_050 * MS)
    assert co2 == 0
    assert celsius == pytest.approx(20, abs=0.3)


def test_scd_pressure(scd: Scd41, air: Air) -> None:
    air.hpa = 950.0
    scd._fresh = False
    tell(scd, 0x219D, 2 * S)
    assert measured(scd, 7 * S)[0] == pytest.approx(600 * 950 / 1013.25, abs=15)
    tell(scd, 0xE000, 8 * S, 950)
    tell(scd, 0x219D, 9 * S)
    assert measured(scd, 14 * S)[0] == pytest.approx(600, abs=15)


def test_scd_settings_are_lost_unless_stored(scd: Scd41) -> None:
    assert ask(scd, 0x2318, 1, 2 * S) == [round(4 * 65536 / 175)]
    assert ask(scd, 0x2313, 1, 3 * S) == [1]
    tell(scd, 0x241D, 4 * S, 0)
    tell(scd, 0x2416, 5 * S, 0)
    tell(scd, 0x2427, 6 * S, 300)
    scd.power_cycle(7 * S)
    assert ask(scd, 0x2322, 1, 9 * S) == [0]
    tell(scd, 0x241D, 10 * S, 0)
    tell(scd, 0x3615, 11 * S)
    scd.power_cycle(13 * S)
    assert ask(scd, 0x2318, 1, 15 * S) == [0]
    tell(scd, 0x219D, 16 * S)
    assert measured(scd, 21 * S)[1] == pytest.approx(24, abs=0.3), "without an offset its own warmth shows"
    tell(scd, 0x3632, 30 * S)
    assert ask(scd, 0x2318, 1, 32 * S) == [1498]


def test_scd_recalibration_self_test_and_sleep(scd: Scd41, air: Air) -> None:
    scd.offset_ppm = 55.0
    air.co2 = 420.0
    assert ask(scd, 0x362F, 1, 2 * S, 420, wait_ms=400) == [0x8000 - 55]
    scd._fresh = False
    tell(scd, 0x219D, 3 * S)
    assert measured(scd, 8 * S)[0] == pytest.approx(420, abs=15)
    tell(scd, 0x3639, 10 * S)
    with pytest.raises(Nack):
        scd.read(3, 19 * S)
    assert unpack_words(scd.read(3, 20 * S)) == [0]
    tell(scd, 0x36E0, 21 * S)
    with pytest.raises(Nack):
        tell(scd, 0x3682, 22 * S)
    with pytest.raises(Nack):
        tell(scd, 0x36F6, 23 * S)  # obeyed, but not acknowledged
    assert len(ask(scd, 0x3682, 3, 23_020 * MS)) == 3


def test_scd_gap_and_faults(scd: Scd41, air: Air) -> None:
    tell(scd, 0x21B1, 2 * S)
    measured(scd, 8 * S)
    air.celsius = None
    assert not is_ready(scd, 30 * S)
    air.celsius = 5.0
    assert is_ready(scd, 40 * S)
    first = measured(scd, 41 * S)
    scd.stuck = True
    air.co2 = 2000.0
    assert measured(scd, 50 * S) == first
    scd.stuck = False
    scd.slow_ms = 3000
    assert not is_ready(scd, 54 * S)
    assert is_ready(scd, 55 * S)
    scd.bad_crc = True
    with pytest.raises(Nack, match="CRC"):
        measured(scd, 60 * S)
    scd.bad_crc = False
    scd.gone = True
    with pytest.raises(Nack):
        is_ready(scd, 65 * S)
    scd.gone = False
    assert not is_ready(scd, 90 * S), "it comes back idle"


def test_sgp_measures_in_fifty_milliseconds(sgp: Sgp41) -> None:
    tell(sgp, 0x2619, 0, 0x8000, 0x6666)
    with pytest.raises(Nack):
        sgp.read(6, 49 * MS)
    voc, nox = unpack_words(sgp.read(6, 50 * MS))
    assert voc < 29_000, "the heater has just come on"
    assert nox < 16_000


def test_sgp_settles_after_conditioning(sgp: Sgp41) -> None:
    for second in range(10):
        assert len(ask(sgp, 0x2612, 1, second * S, 0x8000, 0x6666, wait_ms=50)) == 1
    signals = [ask(sgp, 0x2619, 2, second * S, 0x8000, 0x6666, wait_ms=50) for second in range(10, 120)]
    assert statistics.mean(voc for voc, _ in signals[60:]) == pytest.approx(30_000, abs=20)
    assert statistics.mean(nox for _, nox in signals[60:]) == pytest.approx(16_000, abs=20)
    assert sgp.conditioned_s == pytest.approx(10)
    assert not sgp.damaged


def test_sgp_without_conditioning_reads_nox_low(sgp: Sgp41) -> None:
    signals = [ask(sgp, 0x2619, 2, second * S, 0x8000, 0x6666, wait_ms=50) for second in range(100)]
    assert signals[-1][1] < 15_000


def test_sgp_is_damaged_by_too_much_conditioning(sgp: Sgp41) -> None:
    for second in range(12):
        tell(sgp, 0x2612, second * S, 0x8000, 0x6666)
    assert sgp.damaged


def test_sgp_humidity_compensation(sgp: Sgp41, air: Air) -> None:
    air.percent = 80.0
    wrong = [ask(sgp, 0x2619, 2, t * S, 0x8000, 0x6666, wait_ms=50)[0] for t in range(200)][-50:]
    told = round(80 * 65535 / 100)
    right = [ask(sgp, 0x2619, 2, t * S, told, 0x6666, wait_ms=50)[0] for t in range(200, 250)]
    assert statistics.mean(right) - statistics.mean(wrong) > 400


def test_sgp_other_commands(sgp: Sgp41) -> None:
    assert ask(sgp, 0x3682, 3, 0) == [0x0000, 0x0712, 0x8A3C]
    assert ask(sgp, 0x280E, 1, 1 * S, wait_ms=320) == [0xD400]
    sgp.self_test_fails = True
    assert ask(sgp, 0x280E, 1, 2 * S, wait_ms=320)[0] & 3 == 3
    tell(sgp, 0x2619, 3 * S, 0x8000, 0x6666)
    tell(sgp, 0x3615, 4 * S)
    for bad in (b"\x26\x19", b"\x26\x19" + pack_words([0x8000]), b"\x12\x34", b"\x26\x19\x80\x00\x00\x66\x66\x93"):
        with pytest.raises(Nack):
            sgp.write(bad, 5 * S)


def test_sgp_faults(sgp: Sgp41, air: Air) -> None:
    before = [ask(sgp, 0x2619, 2, t * S, 0x8000, 0x6666, wait_ms=50) for t in range(30)][-1]
    sgp.stuck = True
    air.voc = 20_000.0
    assert ask(sgp, 0x2619, 2, 31 * S, 0x8000, 0x6666, wait_ms=50) == before
    sgp.stuck = False
    assert ask(sgp, 0x2619, 2, 32 * S, 0x8000, 0x6666, wait_ms=50)[0] < 21_000
    sgp.slow_ms = 100
    tell(sgp, 0x2619, 33 * S, 0x8000, 0x6666)
    with pytest.raises(Nack):
        sgp.read(6, 33 * S + 149 * MS)
    assert len(sgp.read(6, 33 * S + 150 * MS)) == 6
    sgp.bad_crc = True
    with pytest.raises(Nack, match="CRC"):
        ask(sgp, 0x2619, 2, 34 * S, 0x8000, 0x6666, wait_ms=200)


def test_build(air: Air) -> None:
    assert isinstance(build({"driver": "scd41", "address": 0x62}, air), Scd41)
    assert isinstance(build({"driver": "sgp41", "address": 0x59}, air), Sgp41)
    with pytest.raises(Nack):
        build({"driver": "scd41"}, air).write(b"\x36\x82", 0)  # type: ignore[attr-defined]
