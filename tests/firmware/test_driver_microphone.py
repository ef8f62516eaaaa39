"""The microphone driver: levels, samples lost and counted, silence of the bus, and that no sample ever leaves it."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from felinar_sim.chips import Conditions
from felinar_sim.sound import Silence, Sound, StreetNoise, Tone

from tests.firmware.driver_bench import NACK, TIMEOUT, Bench, DriverFailure, bench
from tests.support.micropython import FIRMWARE

RATE = 48000
ENTRY = {"bus": "i2s0", "rate": RATE}


def tone(hz: float, db: float) -> Callable[[int, int], bytes]:
    """Samples of an endless sine at that level, for a microphone of -26 dBFS at 94 dB."""
    amplitude = 10 ** ((db - 120) / 20) * (2**23 - 1)

    def samples(first: int, n: int) -> bytes:
        wave = np.round(amplitude * np.sin(2 * math.pi * hz / RATE * np.arange(first, first + n)))
        return (wave.astype("<i4") << 8).astype("<i4").tobytes()

    return samples


@pytest.fixture(params=["ics43434", "inmp441"])
def microphone(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench(request.param, ENTRY) as b:
        b.audio.samples = tone(1000, 94)
        b.open()
        yield b


def level(b: Bench, square: float) -> float:
    return float(b.get("sensitivity_db")) + 10 * math.log10(square)


def test_94_db(microphone: Bench) -> None:
    b = microphone
    b.start()
    for _ in range(8):
        heard = b.levels()
        assert len(heard["squares"]) == 1
        assert level(b, heard["squares"][0]) == pytest.approx(94, abs=0.05)
        assert [level(b, square) for square in heard["fast"]] == pytest.approx([94, 94], abs=0.15)
    assert heard["missed"] == 0


def test_a_unit_has_its_own_sensitivity() -> None:
    with bench("ics43434", {**ENTRY, "dbfs": -24.5}) as b:
        b.audio.samples = tone(1000, 95.5)
        b.open()
        b.start()
        assert level(b, b.levels()["squares"][0]) == pytest.approx(94, abs=0.05)


def test_blocks_come_every_125_ms_in_pieces_of_at_most_4_kb(microphone: Bench) -> None:
    b = microphone
    b.start()
    began_us = b.now_us
    for _ in range(80):
        b.levels()
    assert b.now_us - began_us == pytest.approx(10e6, abs=25e3)
    assert b.audio.largest <= 4096
    assert b.audio.lost == 0


def test_the_beginning_is_discarded(microphone: Bench) -> None:
    """The microphone's start-up: half a second of anything leaves no trace."""
    b = microphone
    steady = b.audio.samples
    assert steady is not None

    def started(first: int, n: int) -> bytes:
        return b"\xff\xff\xff\x7f" * n if first < RATE // 8 else steady(first, n)

    b.audio.samples = started
    b.start()
    assert level(b, b.levels()["fast"][1]) == pytest.approx(94, abs=0.3)


def test_what_is_read_too_late_is_counted(microphone: Bench) -> None:
    b = microphone
    b.start()
    for pause in (0.05, 0.1, 0.6, 3.0, 0.02, 1.7):
        for _ in range(10):
            b.levels()
        b.sleep(pause)
    for _ in range(10):
        missed = b.levels()["missed"]
    assert missed == pytest.approx(b.audio.lost / 6000, abs=3)
    assert missed >= (0.6 + 3.0 + 1.7 - 4 * 0.125 - 3 * 0.11) * 8


def test_two_clocks_that_differ_are_not_a_loss() -> None:
    with bench("ics43434", ENTRY) as b:
        b.open()
        wave = tone(1000, 70)(0, 2 * RATE)
        b.audio.samples = lambda first, n: wave[4 * (first % RATE) : 4 * (first % RATE + n)]
        b.audio.speed = 0.9965  # 125 ms after 36 s
        b.start()
        for _ in range(8 * 38):
            missed = b.levels()["missed"]
        assert missed == 0


def test_a_silent_bus_is_an_error_and_can_be_started_again(microphone: Bench) -> None:
    b = microphone
    samples = b.audio.samples
    b.audio.samples = None
    with pytest.raises(DriverFailure) as caught:
        b.start()
    assert caught.value.reason == TIMEOUT
    assert b.longest_ms < 1500
    b.audio.samples = samples
    b.start()
    b.levels()
    b.audio.samples = None
    with pytest.raises(DriverFailure) as caught:
        b.levels()
    assert caught.value.reason == TIMEOUT
    b.audio.samples = samples
    b.start()
    assert level(b, b.levels()["squares"][0]) == pytest.approx(94, abs=0.05)


def heard_by(b: Bench) -> float:
    return level(b, b.levels()["squares"][0])


def listen(b: Bench, squares: list[float], blocks: int) -> None:
    for _ in range(blocks):
        squares.append(b.levels()["squares"][0])


def with_model(b: Bench, sound: Sound) -> None:
    """Put the simulator's microphone on the bench, in a place where that sound is heard."""
    b.fit()
    b.model.sound = sound
    b.audio.samples = lambda first, n: b.model.frames(first, n, b.now_us)


@pytest.mark.parametrize("name", ["ics43434", "inmp441"])
def test_the_model_of_the_microphone_at_94_db(name: str) -> None:
    with bench(name, ENTRY) as b:
        with_model(b, Tone(1000, 94))
        b.start()
        assert heard_by(b) == pytest.approx(94, abs=0.2)


@pytest.mark.parametrize("noise_db", [38, 55, 82])
def test_street_noise_reads_its_level(noise_db: float) -> None:
    with bench("ics43434", ENTRY) as b:
        with_model(b, StreetNoise(lambda now_us: Conditions(noise_db=noise_db)))
        b.start()
        squares = [b.levels()["squares"][0] for _ in range(16)]
        # the microphone's own 29 dB(A) adds half a decibel at 38 dB(A)
        expected = 10 * math.log10(10 ** (noise_db / 10) + 10**2.9)
        assert level(b, sum(squares) / 16) == pytest.approx(expected, abs=0.4)


def test_quiet_is_not_silence() -> None:
    with bench("ics43434", ENTRY) as b:
        with_model(b, Silence())
        b.start()
        assert heard_by(b) == pytest.approx(29, abs=1.5)


@pytest.mark.parametrize("name", ["ics43434", "inmp441"])
@pytest.mark.parametrize("fault", ["gone", "nack", "stuck", "other_channel"])
def test_a_dead_microphone_gives_no_levels(name: str, fault: str) -> None:
    with bench(name, ENTRY) as b:
        with_model(b, Tone(1000, 80))
        b.start()
        for _ in range(3):
            assert heard_by(b) == pytest.approx(80, abs=0.2)
        setattr(b.model, fault, True)
        came: list[float] = []
        with pytest.raises(DriverFailure) as caught:
            listen(b, came, 20)
        assert caught.value.reason == NACK
        assert all(square == 0 for square in came[3:]), "what is no sound is given as 0, which is no level"
        with pytest.raises(DriverFailure) as caught:
            b.start()
        assert caught.value.reason == NACK
        setattr(b.model, fault, False)
        b.start()
        assert heard_by(b) == pytest.approx(80, abs=0.2)


# --- privacy --------------------------------------------------------------------------------------------------------


def names_used(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_only_the_microphone_opens_the_bus_and_only_the_meter_sees_its_buffer() -> None:
    users: dict[str, set[str]] = {"i2s": set(), "I2S": set()}
    for file in FIRMWARE.rglob("*.py"):
        used = set(names_used(ast.parse(file.read_text())))
        for name, places in users.items():
            if name in used:
                places.add(str(file.relative_to(FIRMWARE)))
    assert users["i2s"] <= {"drivers/microphone.py", "node/board.py", "node/services.py"}
    assert "drivers/microphone.py" in users["i2s"]
    assert users["I2S"] <= {"node/board.py", "node/services.py"}


def test_in_the_driver_the_buffer_goes_to_the_meter_and_nowhere_else() -> None:
    tree = ast.parse((FIRMWARE / "drivers" / "microphone.py").read_text())
    uses = []
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            is_buffer = (isinstance(child, ast.Attribute) and child.attr == "_buffer") or (
                isinstance(child, ast.Name) and child.id == "buffer"
            )
            if is_buffer:
                uses.append(ast.unparse(node))
    allowed = (
        "self._buffer = bytearray(4 * _PIECE)",
        "buffer = self._buffer",
        "meter.feed(buffer, self._at, self._end)",
        "self._i2s.readinto(buffer)",
    )
    assert uses
    assert set(uses) <= set(allowed)


def test_what_comes_out_of_the_driver_is_no_sample(microphone: Bench) -> None:
    """Nothing but the reading of the bus itself carries the samples: what the driver tells is three numbers a block."""
    b = microphone
    b.start()
    b.log.clear()
    told = [b.levels() for _ in range(16)]
    assert {message["bus"] for message in b.log} == {"i2s_any", "i2s_read"}
    assert sum(len(heard["squares"]) + len(heard["fast"]) for heard in told) == 3 * 16
