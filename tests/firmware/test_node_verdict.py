"""Verdicts from measured power, on the simulator's luminaire: right, slow to come, slower to go, and never without cause."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from felinar_sim.chips.lamp import Lamp
from felinar_wire import schema

from tests.firmware.loader import node

verdict = node("verdict")

NAMES = {
    schema.EVENT_RELAY_FAILURE: "relay",
    schema.EVENT_LAMP_UNEXPECTED_ON: "unexpected",
    schema.EVENT_CYCLING_FAILURE: "cycling",
    schema.EVENT_LAMP_FAILURE: "lamp",
    schema.EVENT_DIMMING_FAILURE: "dimming",
}


class Pole:
    """A lamp, a meter that lies for most of a minute after a switching, and the verdicts; a step is ten seconds."""

    def __init__(self, *, lamp_w: float = 0, lies: bool = True) -> None:
        self.lamp = Lamp()
        self.lamp.pwm("dim", 65535, 1000, 0)
        self.told: list[tuple[int, str, int]] = []
        self.verdict = verdict.Verdict(self._event)
        self.verdict.full = int(lamp_w * 10)
        self.up = 0
        self.level = 100
        self.noise = random.Random(3)
        self._lies = lies
        self._lie_until = 0
        self._lie = 0.0

    def _event(self, code: int, argument: int) -> None:
        if code == schema.EVENT_CLEARED:
            self.told.append((self.up, "-" + NAMES[argument], 0))
        else:
            self.told.append((self.up, "+" + NAMES[code], argument))

    def set(self, level: int) -> None:
        self._lie = self.power()
        self._lie_until = self.up + 50 if self._lies else 0
        self.level = level
        self.lamp.pin("relay", int(level == 0), self.up * 1_000_000)
        if level:
            self.lamp.pwm("dim", level * 65535 // 100, 1000, self.up * 1_000_000)

    def power(self) -> float:
        return self.lamp.power_w(self.up * 1_000_000)

    def run(self, seconds: int, power: Callable[[float], Any] = lambda watt: watt) -> list[str]:
        """What is told in that time."""
        told = len(self.told)
        for _ in range(seconds // 10):
            self.up += 10
            watt = self._lie if self.up < self._lie_until else self.power()
            watt = max(0.0, watt + self.noise.gauss(0, 0.05))
            self.verdict.step(self.up, self.level, power(watt))
        return [name for _, name, _ in self.told[told:]]


def test_a_healthy_lamp_is_never_accused() -> None:
    """A week of nights with dimming profile, warm-up, noise, a lying meter, a meter that is away, a glitch now and then."""
    pole = Pole()
    chance = random.Random(7)
    for _ in range(7):
        for level, hours in ((100, 5), (60, 3), (30, 1), (10, 1), (5, 1), (100, 2), (0, 9)):
            pole.set(level)
            for _ in range(hours):
                pole.run(600, lambda watt: None)
                pole.run(10, lambda watt: chance.choice((0.0, 400.0, float("nan"), -1.0, float("inf"))))
                pole.run(2990)
    assert pole.told == []
    assert pole.verdict.full == pytest.approx(400, abs=15)


FAULTS: list[tuple[str, Any, int, set[str]]] = [
    ("failed", True, 100, {"lamp"}),
    ("failed", True, 50, {"lamp"}),
    ("dead", True, 100, {"lamp", "relay"}),
    ("relay.stuck_open", True, 100, {"lamp", "relay"}),
    ("relay.welded", True, 0, {"unexpected", "relay"}),
    ("dim_ignored", True, 50, {"dimming"}),
    ("share", 0.5, 100, {"dimming"}),
]


@pytest.mark.parametrize(("fault", "value", "level", "expected"), FAULTS)
def test_each_fault_is_told_and_taken_back(fault: str, value: Any, level: int, expected: set[str]) -> None:
    pole = Pole()
    assert pole.run(1800) == []
    thing: Any = pole.lamp
    *path, name = fault.split(".")
    for part in path:
        thing = getattr(thing, part)
    well = getattr(thing, name)
    other = 0 if level else 100
    pole.set(other)
    assert pole.run(600) == []
    setattr(thing, name, value)
    pole.set(level)
    # A minute in which nothing counts, then two of evidence.
    assert pole.run(170) == []
    assert set(pole.run(120)) == {"+" + verdict for verdict in expected}
    assert pole.run(7200) == []
    power = pole.power() * 10
    for _, _, argument in pole.told:
        assert argument == pytest.approx(power, abs=15)

    # Well again, by ways that show it: relays have to move.
    setattr(thing, name, well)
    pole.set(other)
    pole.run(10)
    pole.set(level)
    before = len(pole.told)
    assert pole.run(350) == [], "too soon acquitted"
    assert set(pole.run(120)) == {"-" + verdict for verdict in expected}
    assert pole.run(3600) == []
    assert len(pole.told) == before + len(expected)


def test_what_shows_only_in_another_state_stays() -> None:
    pole = Pole()
    pole.run(1800)
    pole.lamp.relay.welded = True
    pole.set(0)
    assert set(pole.run(600)) == {"+unexpected", "+relay"}
    pole.set(100)
    assert pole.run(36000) == [], "a lamp that is to be lit does not tell whether it could be put out"
    pole.set(0)
    assert pole.run(36000) == []


def test_a_lamp_that_ignores_its_dimmer_is_not_acquitted_by_full_light() -> None:
    pole = Pole()
    pole.run(1800)
    pole.lamp.dim_ignored = True
    pole.set(50)
    assert pole.run(600) == ["+dimming"]
    pole.set(100)
    assert pole.run(36000) == []


@pytest.mark.parametrize("seconds", [20, 90, 110])
def test_a_short_failure_is_none(seconds: int) -> None:
    pole = Pole()
    pole.run(1800)
    for _ in range(2):
        pole.lamp.failed = True
        pole.run(seconds)
        pole.lamp.failed = False
        pole.run(2400)
    assert pole.told == []


def test_a_lamp_that_goes_out_again_and_again_cycles() -> None:
    pole = Pole()
    pole.run(1800)
    pole.lamp.cycling_s = 200
    told = pole.run(1800)
    assert told == ["+cycling"]
    assert pole.told[0][2] >= 3
    pole.lamp.cycling_s = 0
    assert pole.run(1800) == []
    assert pole.run(900) == ["-cycling"]


def test_a_leak_through_an_open_contact_is_a_lamp_that_is_on_and_no_relay_that_failed() -> None:
    pole = Pole()
    pole.run(1800)
    pole.set(0)
    assert pole.run(600, lambda watt: 5.0) == ["+unexpected"]


def test_full_power_is_learnt_slowly_downwards_or_given() -> None:
    pole = Pole()
    pole.run(90)
    assert pole.verdict.full == pytest.approx(pole.power() * 10, abs=6)
    pole.run(10, lambda watt: 300.0)
    assert pole.verdict.full < 420, "one glitch teaches nothing"
    assert pole.run(7200, lambda watt: 36.0) == []
    assert pole.verdict.full == pytest.approx(360, abs=2), "LEDs age"
    given = Pole(lamp_w=60)
    assert given.run(600) == ["+dimming"], "that is not the lamp of the plans"


def test_below_a_tenth_nothing_is_said() -> None:
    pole = Pole()
    pole.run(1800)
    pole.set(2)  # the driver goes into standby
    assert pole.run(7200) == []
