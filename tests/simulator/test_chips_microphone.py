"""The microphones and the sound they hear: levels by construction, sensitivity, noise floor, overload."""

from __future__ import annotations

import math

import numpy as np
import pytest
from felinar_sim.chips import Conditions, build
from felinar_sim.chips.microphone import ICS43434, INMP441, Microphone, MicrophoneType
from felinar_sim.sound import (
    BLOCK_US,
    Burst,
    Mixture,
    Silence,
    StreetNoise,
    Tone,
    a_weighted,
    a_weighting_db,
    pascal,
    traffic_table,
)  # fmt: skip

S = 1_000_000
T0 = 1_795_000_000 * S
RATE = 48_000


def street(level: float) -> Street:
    return Street(lambda block: level)


class Street:
    def __init__(self, level) -> None:  # type: ignore[no-untyped-def]
        self.level = level

    def __call__(self, now_us: int) -> Conditions:
        return Conditions(noise_db=self.level(now_us // BLOCK_US))


def listen(mic: Microphone, first: int, n: int, now_us: int = T0) -> np.ndarray:
    """Samples as shares of full scale; starts the stream when needed."""
    if first and not mic._origin:
        mic.frames(0, 1, now_us)
    raw = np.frombuffer(mic.frames(first, n, now_us), dtype="<i4")
    assert not np.any(raw & 0xFF), "24 bits, left-justified"
    return raw / 2.0**31


def level_db(samples: np.ndarray, kind: MicrophoneType = ICS43434) -> float:
    """Unweighted sound pressure level that these samples mean."""
    rms = math.sqrt(float(np.mean(np.square(samples))))
    return 20 * math.log10(rms * math.sqrt(2)) - kind.dbfs + 94


def dba(samples: np.ndarray, rate: int = RATE) -> float:
    return level_db(a_weighted(samples, rate))


@pytest.mark.parametrize(
    ("hz", "db"),
    [(31.62, -39.4), (63.1, -26.2), (125.9, -16.1), (251.2, -8.6), (501.2, -3.2), (1000, 0.0), (1995, 1.2), (3981, 1.0),
     (7943, -1.1), (12589, -4.3), (15849, -6.6)],
)  # fmt: skip
def test_a_weighting_is_that_of_the_standard(hz: float, db: float) -> None:
    assert float(a_weighting_db(hz)) == pytest.approx(db, abs=0.06), "IEC 61672-1, table 3"


@pytest.mark.parametrize("kind", [ICS43434, INMP441])
def test_sensitivity(kind: MicrophoneType) -> None:
    mic = Microphone(street(0), kind, sound=Tone(1000, 94))
    samples = listen(mic, RATE, RATE)
    assert np.max(np.abs(samples)) == pytest.approx(10 ** (-26 / 20), rel=0.004)
    assert level_db(samples) == pytest.approx(94, abs=0.01)
    mic.offset_db = 1.0
    assert level_db(listen(mic, RATE, RATE)) == pytest.approx(95, abs=0.01)


@pytest.mark.parametrize(("kind", "dba_expected"), [(ICS43434, 29.0), (INMP441, 33.0)])
def test_noise_floor(kind: MicrophoneType, dba_expected: float) -> None:
    mic = Microphone(street(0), kind, sound=Silence())
    assert dba(listen(mic, RATE, 4 * RATE)) == pytest.approx(dba_expected, abs=0.1)


def test_overload_clips() -> None:
    mic = Microphone(street(0), sound=Tone(1000, 119.9))
    assert level_db(listen(mic, RATE, RATE)) == pytest.approx(119.9, abs=0.01)
    mic.sound = Tone(1000, 130)
    loud = listen(mic, RATE, RATE)
    assert np.max(loud) == pytest.approx(1.0, abs=1e-6)
    assert level_db(loud) < 123.1, "a square wave of full scale at most"


@pytest.mark.parametrize("hz", [63, 250, 997.3, 4000, 8000])
def test_tones_are_continuous_and_at_their_level(hz: float) -> None:
    mic = Microphone(street(0), sound=Tone(hz, 80))
    whole = listen(mic, RATE, 48_000)
    pieces = np.concatenate([listen(mic, RATE + i, 1000) for i in range(0, 48_000, 1000)])
    assert np.array_equal(whole, pieces)
    assert level_db(whole) == pytest.approx(80, abs=0.02)
    assert dba(whole) == pytest.approx(80 + float(a_weighting_db(hz)), abs=0.05)


@pytest.mark.parametrize("rate", [16_000, 32_000, 48_000])
def test_blocks_of_the_traffic_table_are_at_their_level(rate: int) -> None:
    table = traffic_table(rate)
    weighted = np.square(a_weighted(table, rate)).reshape(-1, rate // 8)
    assert 10 * np.log10(np.mean(weighted, axis=1)) == pytest.approx(np.zeros(32), abs=0.01)


def test_spectrum_is_that_of_road_traffic() -> None:
    table = traffic_table(RATE)
    power = np.square(np.abs(np.fft.rfft(a_weighted(table, RATE))))
    hz = np.fft.rfftfreq(len(table), 1 / RATE)
    expected = {125: -20, 500: -12, 1000: -8, 2000: -11, 4000: -16}
    for centre, db in expected.items():
        band = (hz >= centre * 10**-0.05) & (hz < centre * 10**0.05)
        assert 10 * math.log10(power[band].sum() / power.sum()) == pytest.approx(db, abs=0.6)


def test_steady_street_noise_has_its_level_in_every_block() -> None:
    mic = Microphone(street(65))
    samples = listen(mic, RATE, 4 * RATE)
    blocks = np.square(a_weighted(samples, RATE)).reshape(-1, RATE // 8)
    levels = [20 * math.log10(math.sqrt(float(np.mean(b))) * math.sqrt(2)) + 120 for b in blocks]
    assert dba(samples) == pytest.approx(65, abs=0.01)
    assert max(abs(level - 65) for level in levels) < 0.05


def test_varying_street_noise_follows_the_levels() -> None:
    pattern = [55 + 15 * math.sin(i / 5) for i in range(32)]
    mic = Microphone(Street(lambda block: pattern[block % 32]))
    samples = listen(mic, RATE, 4 * RATE)
    start = (T0 + S) // BLOCK_US
    heard = [pattern[(start + i) % 32] for i in range(32)]
    expected = [10 * math.log10(10 ** (db / 10) + 10**2.9) for db in heard]  # with the microphone's own 29 dBA
    blocks = np.square(a_weighted(samples, RATE)).reshape(-1, RATE // 8)
    levels = [20 * math.log10(math.sqrt(float(np.mean(b))) * math.sqrt(2)) + 120 for b in blocks]
    assert levels == pytest.approx(expected, abs=0.25)
    energy = 10 * math.log10(sum(10 ** (e / 10) for e in expected) / 32)
    assert dba(samples) == pytest.approx(energy, abs=0.05)


def test_pieces_make_the_same_stream() -> None:
    mic = Microphone(Street(lambda block: 50 + block % 7))
    whole = listen(mic, RATE, 12_345)
    pieces = np.concatenate([listen(mic, RATE + i, min(777, 12_345 - i)) for i in range(0, 12_345, 777)])
    assert np.array_equal(whole, pieces)


def test_start_up() -> None:
    mic = Microphone(street(0), sound=Tone(1000, 94))
    samples = listen(mic, 0, 1000)
    assert not samples[:69].any(), "4462 SCK cycles of zeros"
    assert 0 < np.max(np.abs(samples[70:150])) < 0.025, "soft unmute"
    assert np.max(np.abs(samples[400:])) == pytest.approx(0.0501, abs=0.0005)
    slow = Microphone(street(0), INMP441, sound=Tone(1000, 94))
    samples = listen(slow, 0, 6000)
    assert not samples[:4096].any()
    assert samples[4100:].any()


def test_faults() -> None:
    mic = Microphone(street(0), sound=Tone(1000, 94))
    listen(mic, RATE, 100)
    for fault in ("gone", "nack", "other_channel"):
        setattr(mic, fault, True)
        assert not listen(mic, RATE, 1000).any()
        setattr(mic, fault, False)
    held = listen(mic, RATE, 100)[-1]
    mic.stuck = True
    assert set(listen(mic, RATE + 100, 100)) == {held}
    mic.stuck = False
    mic.slow_ms = 100
    assert not listen(mic, 0, 4800).any()
    mic.rate = 20_000
    assert not listen(mic, 0, 20_000).any(), "asleep between its modes"


def test_sounds_add_and_end() -> None:
    both = Mixture(Tone(1000, 90), Burst(Tone(1000, 90), T0, T0 + S))
    assert np.sqrt(np.mean(np.square(both.pressure(T0 // S * RATE, RATE, RATE)))) == pytest.approx(2 * pascal(90))
    assert np.sqrt(np.mean(np.square(both.pressure((T0 // S + 1) * RATE, RATE, RATE)))) == pytest.approx(pascal(90))


def test_units_draw_their_sensitivity() -> None:
    offsets = {Microphone(street(50), INMP441, seed=i, drawn=True).offset_db for i in range(30)}
    assert len(offsets) == 30
    assert max(map(abs, offsets)) <= 3.0


def test_build() -> None:
    mic = build({"driver": "ics43434", "bus": "i2s0", "rate": 48_000}, street(60))
    assert isinstance(mic, Microphone)
    assert isinstance(mic.sound, StreetNoise)
    assert dba(listen(mic, RATE, 4 * RATE)) == pytest.approx(60, abs=0.05)
