"""The sound core against IEC 61672-1, and against a model of its arithmetic with words of exactly 32 bits."""

from __future__ import annotations

import math
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.micropython import FIRMWARE, Worker

RATE = 48000
BLOCK = 6000
FULL_SCALE_SINE_DB = 120.0
"""Level of a sine of full scale with a microphone of -26 dBFS at 94 dB; an RMS of full scale lies 3.01 dB higher."""
SENSITIVITY_DB = FULL_SCALE_SINE_DB + 10 * math.log10(2)

Samples = npt.NDArray[np.int32]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker(Path(__file__).with_name("sound_worker.py"), heap="8M")
    yield made
    made.close()


def measure(worker: Worker, samples: Samples, **more: Any) -> dict[str, Any]:
    # Through a file: reading a long line takes MicroPython longer than computing with it.
    with tempfile.NamedTemporaryFile() as file:
        file.write(samples.astype("<i4").tobytes())
        file.flush()
        return dict(worker.ask({"file": file.name, **more}))


def levels(answer: dict[str, Any], column: int = 0) -> list[float]:
    return [SENSITIVITY_DB + 10 * math.log10(max(block[column], 1e-30)) for block in answer["blocks"]]


def tone(hz: float, db: float, seconds: float = 0.5, phase: float = 0.1) -> Samples:
    """A sine of that sound pressure level (unweighted), in 24 bits left-justified."""
    amplitude = 10 ** ((db - FULL_SCALE_SINE_DB) / 20) * (2**23 - 1)
    t = np.arange(round(seconds * RATE))
    return np.round(amplitude * np.sin(2 * math.pi * hz / RATE * t + phase)).astype(np.int32) << 8


def a_curve(hz: float) -> float:
    """A-weighting of IEC 61672-1:2013, 5.5.7 and annex E, dB relative to 1 kHz."""

    def response(f: float) -> float:
        f1, f2, f3, f4 = 20.598997, 107.65265, 737.86223, 12194.217
        return f4**2 * f**4 / ((f**2 + f1**2) * math.sqrt((f**2 + f2**2) * (f**2 + f3**2)) * (f**2 + f4**2))

    return 20 * math.log10(response(hz) / response(1000))


OCTAVES = [10 ** (0.3 * n) * 1000 for n in range(-5, 4)]


# --- what the standard asks -----------------------------------------------------------------------------------------


def test_94_db_at_1_khz(worker: Worker) -> None:
    assert levels(measure(worker, tone(1000, 94, 1)))[-1] == pytest.approx(94.0, abs=0.02)


@pytest.mark.parametrize("hz", OCTAVES, ids=lambda hz: f"{hz:.0f}Hz")
@pytest.mark.parametrize("db", [94, 70])
def test_octave_centres_follow_the_a_curve(worker: Worker, hz: float, db: float) -> None:
    # The two blocks after the settling hold whole periods of 16 Hz and more, but for 31.6 Hz: average.
    blocks = measure(worker, tone(hz, db, 2))["blocks"][4:]
    level = SENSITIVITY_DB + 10 * math.log10(sum(block[0] for block in blocks) / len(blocks))
    assert level == pytest.approx(db + a_curve(hz), abs=0.2)


@pytest.mark.parametrize(("hz", "deviation"), [(10000, 0.2), (12589, 0.7), (15849, 1.6)])
def test_beyond_the_octaves_the_deviation_is_known(worker: Worker, hz: float, deviation: float) -> None:
    assert levels(measure(worker, tone(hz, 94)))[-1] == pytest.approx(94 + a_curve(hz), abs=deviation)


@pytest.mark.parametrize("hz", [31.6228, 1000, 4000, 8000])
def test_linearity_from_30_to_120_db(worker: Worker, hz: float) -> None:
    for weighted in (30, 35, *range(40, 120, 10), 119):
        # Below 1 kHz a tone of full scale is weaker than that after the weighting.
        db = weighted - a_curve(hz)
        if db > FULL_SCALE_SINE_DB:
            break
        level = levels(measure(worker, tone(hz, db, 1)))[-1]
        assert level == pytest.approx(weighted, abs=0.25), f"{weighted} dB(A)"


def test_silence_and_a_constant_offset_are_quiet(worker: Worker) -> None:
    for offset in (0, 1 << 8, 40_000 << 8, -40_000 << 8):
        samples = np.full(RATE * 2, offset, dtype=np.int32)
        assert levels(measure(worker, samples))[-1] < 5


def test_an_offset_does_not_change_a_tone(worker: Worker) -> None:
    assert levels(measure(worker, tone(1000, 60, 1) + np.int32(30_000 << 8)))[-1] == pytest.approx(60, abs=0.05)


@pytest.mark.parametrize("ms", [1000, 500, 200, 100, 50, 20, 10, 5, 2, 1])
def test_toneburst_response(worker: Worker, ms: int) -> None:
    """LAFmax of a 4 kHz burst against the steady tone, IEC 61672-1:2013 5.9: 10 lg(1 - exp(-T / 125 ms))."""
    steady = max(levels(measure(worker, tone(4000, 90, 2)), 2))
    quiet = np.zeros(RATE // 4 + 17, dtype=np.int32)
    burst = np.concatenate([quiet, tone(4000, 90, ms / 1000, 0), quiet, quiet])
    expected = 10 * math.log10(1 - math.exp(-ms / 125))
    assert max(levels(measure(worker, burst), 2)) - steady == pytest.approx(expected, abs=0.6)


def test_fast_decays_by_34_7_db_a_second(worker: Worker) -> None:
    samples = np.concatenate([tone(1000, 90, 1), np.zeros(RATE, dtype=np.int32)])
    fast = levels(measure(worker, samples), 1)
    assert (fast[8] - fast[12]) / 0.5 == pytest.approx(34.7, abs=1.0)


def test_fast_and_block_agree_on_a_steady_tone(worker: Worker) -> None:
    blocks = measure(worker, tone(1000, 70, 2))["blocks"]
    assert blocks[-1][1] == pytest.approx(blocks[-1][0], rel=0.005)
    assert blocks[-1][2] == pytest.approx(blocks[-1][0], rel=0.005)


# --- the arithmetic -------------------------------------------------------------------------------------------------

CONSTANTS = {
    name: int(value)
    for name, value in re.findall(r"^(_\w+) = const\((\d+)\)", (FIRMWARE / "node" / "sound.py").read_text(), re.M)
}


def exactly_32_bits(value: int) -> int:
    """What a register of the chip holds; the test fails where that is not the value itself."""
    wrapped = (value + 2**31) % 2**32 - 2**31
    assert wrapped == value, "an intermediate value needs more than 32 bits"
    return wrapped


class Model32:
    """node.sound once more, in words of 32 bits that may not overflow."""

    def __init__(self) -> None:
        self.hp = [0, 0, 0, 0]
        self.lp = [0, 0]
        self.sums = [0, 0, 0]
        self.n = self.step = 0
        self.block = [0, 0, 0]
        self.fast = [0, 0]
        self.most = [0, 0]
        self.largest = 0

    def feed(self, samples: Samples) -> list[list[int]]:
        """All samples; returns the sums of every finished block with its fast values."""
        w = exactly_32_bits
        c = CONSTANTS
        gains = ((c["_HP1"], 7), (c["_HP1"], 7), (c["_HP3"], 5), (c["_HP4"], 2))
        finished = []
        for sample in samples.tolist():
            y = sample >> 10
            for i, (gain, shift) in enumerate(gains):
                y = w(y - (self.hp[i] >> 8))
                self.hp[i] = w(self.hp[i] + (w(y * gain) >> shift))
                assert abs(self.hp[i]) < 2**30, "the state is kept in 31 bits"
            for i, gain in enumerate((c["_LP1"], c["_LP2"])):
                self.lp[i] = w(self.lp[i] + (w((y - self.lp[i]) * gain) >> 7))
                y = self.lp[i]
            high, low = y >> 11, y & 0x7FF
            self.sums[0] = w(self.sums[0] + high * high)
            self.sums[1] = w(self.sums[1] + high * low)
            self.sums[2] = w(self.sums[2] + low * low)
            self.n += 1
            if self.n == c["_STEP"]:
                self._millisecond()
                if self.step == c["_STEPS"]:
                    finished.append([*self.block, *self.fast, *self.most])
                    self.block, self.most, self.step = [0, 0, 0], list(self.fast), 0
        return finished

    def _millisecond(self) -> None:
        w = exactly_32_bits
        high, cross, low = self.sums
        energy = (high << 22) + (cross << 12) + low  # of any size: what the limbs must add up to
        el = w(low + ((cross & 0x3FF) << 12))
        eh = w(high + (cross >> 10) + (el >> 22))
        el &= 0x3FFFFF
        assert (eh << 22) + el == energy
        self.block = [w(self.block[0] + el), w(self.block[1] + (eh & 0x3FFFFF)), w(self.block[2] + (eh >> 22))]
        fast = (self.fast[0] << 22) + self.fast[1]
        fast += (energy >> 7) - (fast >> 7)
        assert fast >> 22 < 2**31
        self.fast = [w(fast >> 22), fast & 0x3FFFFF]
        self.most = max(self.most, self.fast)
        self.sums, self.n = [0, 0, 0], 0
        self.step += 1

    @property
    def state(self) -> list[int]:
        return [
            *self.hp,
            *self.lp,
            *self.sums,
            self.n,
            self.step,
            *self.block,
            *self.fast,
            *self.most,
        ]


def impulse_responses() -> list[npt.NDArray[np.float64]]:
    """Of the signal behind each stage and of each integrator, 1 s long."""
    c = CONSTANTS
    x = np.zeros(RATE)
    x[0] = 1
    found = []
    for k in (c["_HP1"] / 2**15, c["_HP1"] / 2**15, c["_HP3"] / 2**13, c["_HP4"] / 2**10):
        state, states, outputs = 0.0, [], []
        for v in x.tolist():
            states.append(state)
            outputs.append(v - state)
            state += k * (v - state)
        x = np.array(outputs)
        found += [np.array(states), x]
    for k in (c["_LP1"] / 128, c["_LP2"] / 128):
        state, outputs = 0.0, []
        for v in x.tolist():
            state += k * (v - state)
            outputs.append(state)
        x = np.array(outputs)
        found.append(x)
    return found


def test_no_signal_at_all_can_overflow_a_word() -> None:
    """The sum of the magnitudes of an impulse response bounds what any signal can make of it."""
    s1, y1, s2, y2, s3, y3, s4, y4, p1, p2 = (float(np.abs(h).sum()) * 2**21 for h in impulse_responses())
    c = CONSTANTS
    rounding = 16
    for state in (s1, s2, s3, s4):
        assert (state + rounding) * 256 < 2**30
    for y, gain in ((y1, "_HP1"), (y2, "_HP1"), (y3, "_HP3"), (y4, "_HP4"), (y4 + p1, "_LP1"), (p1 + p2, "_LP2")):
        assert (y + rounding) * c[gain] < 2**31
    assert 48 * ((p2 + rounding) / 2**11 + 1) ** 2 < 2**29
    assert 48 * ((p2 + rounding) / 2**11 + 1) * 2**11 < 2**30


def worst_cases() -> dict[str, Samples]:
    """Signals that drive a stage to its bound: full scale with the signs of its impulse response, backwards."""
    lows, highs = -(2**31), 2**31 - 2**8
    cases = {}
    for i, h in enumerate(impulse_responses()):
        signs = h[:BLOCK][::-1]
        cases[f"worst{i}"] = np.where(signs < 0, lows, highs).astype(np.int32)
    return cases


def signals() -> dict[str, Samples]:
    random = np.random.default_rng(7)
    n = 2 * BLOCK + 511
    square = np.where(np.arange(n) // 40 % 2 == 0, -(2**31), 2**31 - 256).astype(np.int32)
    return {
        "noise": random.integers(-(2**31), 2**31, n, dtype=np.int64).astype(np.int32),
        "quiet": random.integers(-(2**17), 2**17, n, dtype=np.int64).astype(np.int32),
        "square": square,
        "floor": np.full(n, -(2**31), dtype=np.int32),
        "tone": tone(997, 119.9, n / RATE),
        "silence": np.zeros(n, dtype=np.int32),
        "one": np.where(np.arange(n) == 5, 2**31 - 1, 0).astype(np.int32),
        **worst_cases(),
    }


@pytest.mark.parametrize("name", list(signals()))
def test_the_same_to_the_bit_as_32_bit_words(worker: Worker, name: str) -> None:
    samples = signals()[name]
    model = Model32()
    expected = model.feed(samples)
    answer = measure(worker, samples, pieces=[1000])
    assert answer["state"] == model.state
    assert len(answer["blocks"]) == len(expected)
    gain = 10 ** (-weighting_at_1_khz() / 10)
    for block, (lo, mid, top, fh, fl, mh, ml) in zip(answer["blocks"], expected, strict=True):
        scale = gain / 2**42
        assert block[0] == pytest.approx(((top << 44) + (mid << 22) + lo) / BLOCK * scale, rel=1e-5)
        assert block[1] == pytest.approx(((fh << 22) + fl) / 48 * scale, rel=1e-5)
        assert block[2] == pytest.approx(((mh << 22) + ml) / 48 * scale, rel=1e-5)


def weighting_at_1_khz() -> float:
    """Level of the integer filters at 1 kHz, dB; the core's gain makes it 0."""
    c = CONSTANTS
    z = np.exp(-2j * np.pi * 1000 / RATE)
    h = 1 + 0j
    for k in (c["_HP1"] / 2**15, c["_HP1"] / 2**15, c["_HP3"] / 2**13, c["_HP4"] / 2**10):
        h *= 1 - k * z / (1 - (1 - k) * z)
    for k in (c["_LP1"] / 128, c["_LP2"] / 128):
        h *= k / (1 - (1 - k) * z)
    return float(20 * np.log10(abs(h)))


@pytest.mark.parametrize("pieces", [[1000], [1], [7, 300, 1, 5999, 6001], [1024, 976]])
def test_pieces_of_any_size_give_the_same(worker: Worker, pieces: list[int]) -> None:
    samples = signals()["noise"]
    assert measure(worker, samples, pieces=pieces) == measure(worker, samples)


def test_compiles_for_the_chip_with_small_integers_of_31_bits(tmp_path: Path) -> None:
    from felinar_build.app import mpy_cross

    for arch in ("xtensawin", "rv32imc", "x64"):
        out = str(tmp_path / "sound.mpy")
        command = [mpy_cross(), f"-march={arch}", "-msmall-int-bits=31", "-o", out, str(FIRMWARE / "node" / "sound.py")]
        subprocess.run(command, check=True, capture_output=True)
