"""The serial particle sensors against their protocols: frames, sums, modes, sleep, timing, fog, gaps, faults."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import pytest
from felinar_sim.chips import Conditions, build
from felinar_sim.chips.aerosol import growth
from felinar_sim.chips.pms import Pms
from felinar_sim.chips.sds011 import Sds011

S = 1_000_000


class Air:
    def __init__(self) -> None:
        self.pm25: float | None = 20.0
        self.humidity = 50.0
        self.growth = 0.0  # share a second, from 80 s on

    def __call__(self, now_us: int) -> Conditions:
        if self.pm25 is None:
            return Conditions(pm1=None, pm25=None, pm4=None, pm10=None)
        pm25 = self.pm25 * math.exp(self.growth * max(now_us / S - 80, 0))
        return Conditions(pm1=pm25 * 0.7, pm25=pm25, pm4=pm25 * 1.2, pm10=pm25 * 1.4, humidity_pct=self.humidity)


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def pms(air: Air) -> Pms:
    chip = Pms(air)
    chip.gain = 1.0
    return chip


@pytest.fixture
def sds(air: Air) -> Sds011:
    chip = Sds011(air)
    chip.gain = 1.0
    return chip


def pms_frames(data: bytes) -> list[list[int]]:
    """The words of complete data frames, each checked as the manual says."""
    frames = []
    assert len(data) % 32 == 0
    for i in range(0, len(data), 32):
        frame = data[i : i + 32]
        assert frame[:4] == b"\x42\x4d\x00\x1c"
        assert sum(frame[:30]) == int.from_bytes(frame[30:], "big")
        frames.append([int.from_bytes(frame[k : k + 2], "big") for k in range(4, 30, 2)])
    return frames


def pms_command(command: int, value: int) -> bytes:
    body = bytes((0x42, 0x4D, command, 0, value))
    return body + sum(body).to_bytes(2, "big")


def sds_command(*data: int, device: int = 0xFFFF) -> bytes:
    body = bytes(data).ljust(13, b"\0") + device.to_bytes(2, "big")
    return b"\xaa\xb4" + body + bytes((sum(body) & 0xFF, 0xAB))


def sds_frames(data: bytes) -> list[bytes]:
    frames = [data[i : i + 10] for i in range(0, len(data), 10)]
    for frame in frames:
        assert len(frame) == 10
        assert frame[0] == 0xAA
        assert frame[9] == 0xAB
        assert sum(frame[2:8]) & 0xFF == frame[8]
    return frames


def sds_values(frames: list[bytes]) -> list[tuple[float, float]]:
    reports = [f for f in frames if f[1] == 0xC0]
    return [(int.from_bytes(f[2:4], "little") / 10, int.from_bytes(f[4:6], "little") / 10) for f in reports]


def test_pms_sends_by_itself_every_2300_ms(pms: Pms) -> None:
    assert pms.take(2_300_000) == b""
    assert len(pms.take(2_300_000 + 40_000)) == 32
    pms.take(60 * S)
    frames = pms_frames(pms.take(60 * S + 10 * 2_300_000))
    assert len(frames) == 10


def test_bytes_leave_at_the_baud_rate(pms: Pms) -> None:
    assert len(pms.take(2_300_000 + 10_500)) == 10
    assert len(pms.take(2_300_000 + 20_900)) == 10


def test_pms_values_and_sizes(pms: Pms) -> None:
    pms.take(40 * S)
    frames = pms_frames(pms.take(100 * S))
    words = [statistics.mean(frame[i] for frame in frames) for i in range(13)]
    assert words[3:6] == pytest.approx([14, 20, 28], rel=0.07)
    assert words[:3] == pytest.approx(words[3:6], rel=0.01), "below 30 both calibrations agree"
    assert all(a >= b for frame in frames for a, b in pairwise(frame[6:12]))
    assert frames[0][12] == 0x9700


def test_pms_needs_thirty_seconds(pms: Pms) -> None:
    first = pms_frames(pms.take(3 * S))[0]
    assert first[4] < 12


def test_pms_is_faster_when_the_air_changes(pms: Pms, air: Air) -> None:
    pms.take(60 * S)
    pms.take(80 * S)
    air.growth = 0.6
    assert len(pms.take(86 * S)) // 32 >= 5, "at 2.3 s there would be two or three"


def test_pms_passive_mode(pms: Pms) -> None:
    pms.take(40 * S)
    pms.feed(pms_command(0xE1, 0), 40 * S)
    assert pms.take(40 * S + 30_000) == bytes((0x42, 0x4D, 0, 4, 0xE1, 0, 0x01, 0x74))
    assert pms.take(60 * S) == b""
    pms.feed(pms_command(0xE2, 0), 60 * S)
    assert len(pms_frames(pms.take(60 * S + 60_000))) == 1
    pms.feed(pms_command(0xE1, 1), 61 * S)
    assert len(pms.take(64 * S)) == 8 + 32


def test_pms_sleeps_and_wakes(pms: Pms) -> None:
    pms.take(40 * S)
    pms.feed(pms_command(0xE4, 0), 40 * S)
    assert pms.take(41 * S) == bytes((0x42, 0x4D, 0, 4, 0xE4, 0, 0x01, 0x77))
    pms.feed(pms_command(0xE2, 0), 42 * S)
    assert pms.take(50 * S) == b""
    pms.feed(pms_command(0xE4, 1), 50 * S)
    assert pms_frames(pms.take(53 * S))[0][4] < 12, "the fan starts anew"


def test_pms_finds_a_command_in_noise_and_pieces(pms: Pms) -> None:
    pms.take(40 * S)
    stream = b"\x42\x42\x4d\x00" + pms_command(0xE1, 0)
    for i, byte in enumerate(stream):
        pms.feed(bytes((byte,)), 40 * S + i * 1042)
    assert len(pms.take(41 * S)) == 8
    wrong = bytearray(pms_command(0xE1, 1))
    wrong[-1] ^= 1
    pms.feed(bytes(wrong), 42 * S)
    assert pms.take(50 * S) == b""


def test_sds_reports_every_second(sds: Sds011) -> None:
    frames = sds_frames(sds.take(10 * S + 20_000))
    assert len(frames) == 10
    values = sds_values(sds_frames(sds.take(100 * S + 20_000)))[30:]
    assert statistics.mean(v[0] for v in values) == pytest.approx(20, rel=0.03)
    assert statistics.mean(v[1] for v in values) == pytest.approx(28, rel=0.03)


def test_sds_query_mode_outlasts_a_power_cycle(sds: Sds011) -> None:
    sds.feed(sds_command(2, 1, 1), 5 * S + 500_000)
    answer = sds_frames(sds.take(5 * S + 600_000))[-1]
    assert answer[1:5] == bytes((0xC5, 2, 1, 1))
    assert sds.take(20 * S) == b""
    sds.power_cycle(20 * S)
    assert sds.take(30 * S) == b""
    sds.feed(sds_command(4), 60 * S)
    (report,) = sds_frames(sds.take(60 * S + 50_000))
    assert sds_values([report])[0][0] == pytest.approx(20, rel=0.15)


def test_sds_sleep_does_not_outlast_a_power_cycle(sds: Sds011) -> None:
    sds.take(5 * S + 20_000)
    sds.feed(sds_command(6, 1, 0), 5 * S + 100_000)
    assert sds_frames(sds.take(6 * S))[0][1:5] == bytes((0xC5, 6, 1, 0))
    assert sds.take(30 * S) == b""
    sds.power_cycle(30 * S)
    assert len(sds_frames(sds.take(33 * S + 20_000))) == 3
    sds.feed(sds_command(6, 1, 0), 33 * S + 100_000)
    sds.feed(sds_command(6, 1, 1), 40 * S)
    frames = sds_frames(sds.take(41 * S + 20_000))
    assert [f[1] for f in frames] == [0xC5, 0xC5, 0xC0]


def test_sds_working_period(sds: Sds011) -> None:
    sds.feed(sds_command(8, 1, 2), 0)
    assert sds_frames(sds.take(1 * S))[0][1:5] == bytes((0xC5, 8, 1, 2))
    reports = sds_values(sds_frames(sds.take(10 * 60 * S)))
    assert len(reports) == 5
    assert all(pm25 == pytest.approx(20, rel=0.15) for pm25, _ in reports), "it has warmed up for 30 s each time"


def test_sds_identity_and_firmware(sds: Sds011) -> None:
    sds.feed(sds_command(2, 1, 1), 0)
    sds.feed(sds_command(7), 1 * S)
    frames = sds_frames(sds.take(1 * S + 100_000))
    assert frames[-1][1:6] == bytes((0xC5, 7, 15, 7, 10))
    assert frames[-1][6:8] == b"\xa1\x60"
    sds.feed(sds_command(4, device=0x1234), 2 * S)
    assert sds.take(3 * S) == b"", "meant for another"
    sds.feed(sds_command(5, *[0] * 10, 0x12, 0x34, device=0xA160), 4 * S)
    sds.feed(sds_command(4, device=0x1234), 5 * S)
    assert [f[1] for f in sds_frames(sds.take(6 * S))] == [0xC5, 0xC0]


def test_fog_is_taken_for_dust(pms: Pms, sds: Sds011, air: Air) -> None:
    assert growth(50) == growth(70) == 1.0
    assert growth(95) == pytest.approx(3.9, abs=0.1)
    air.humidity = 95.0
    sds.take(60 * S)
    pms.take(60 * S)
    assert sds_values(sds_frames(sds.take(61 * S + 20_000)))[-1][0] == pytest.approx(20 * growth(95), rel=0.12)
    assert pms_frames(pms.take(63 * S + 500_000))[-1][4] == pytest.approx(20 * growth(95), rel=0.2)
    sds.hygroscopic = 0.0
    assert sds_values(sds_frames(sds.take(70 * S + 20_000)))[-1][0] == pytest.approx(20, rel=0.12)


@pytest.mark.parametrize("kind", [Pms, Sds011])
def test_gaps_and_faults(kind: type[Pms] | type[Sds011], air: Air) -> None:
    chip = kind(air)
    size = 32 if kind is Pms else 10
    assert chip.take(60 * S)
    air.pm25 = None
    chip.take(64 * S)
    assert chip.take(80 * S) == b"", "a gap of the record is silence"
    air.pm25 = 20.0
    assert chip.take(90 * S)
    chip.nack = True
    assert chip.take(100 * S) == b""
    chip.nack = False
    chip.take(101 * S)
    chip.stuck = True
    chip.take(104 * S + 500_000)
    air.pm25 = 300.0
    data = chip.take(125 * S + 500_000)
    frames = {data[i : i + size] for i in range(0, len(data) // size * size, size)}
    assert len(frames) == 1, "a stuck sensor repeats itself to the bit"
    chip.stuck = False
    chip.slow_ms = 5000
    assert len(chip.take(155 * S)) // size <= 6
    chip.slow_ms = 0
    chip.bad_crc = True
    chip.take(160 * S)
    bad = chip.take(170 * S)
    with pytest.raises(AssertionError):
        (pms_frames if kind is Pms else sds_frames)(bad[: len(bad) // size * size])
    chip.bad_crc = False
    chip.gone = True
    assert chip.take(200 * S) == b""
    chip.gone = False
    back = chip.take(204 * S)
    assert len(back) >= size
    assert back[0] == (0x42 if kind is Pms else 0xAA), "it starts with a whole frame"


def test_a_long_silence_of_the_reader_is_not_replayed(pms: Pms, sds: Sds011) -> None:
    assert len(pms.take(86_400 * S)) < 32 * 600 / 2
    assert len(sds.take(86_400 * S)) <= 10 * 601


def test_build(air: Air) -> None:
    assert isinstance(build({"driver": "pms5003", "bus": "uart1"}, air), Pms)
    assert isinstance(build({"driver": "pms7003", "bus": "uart1"}, air), Pms)
    assert isinstance(build({"driver": "sds011", "bus": "uart2"}, air), Sds011)
