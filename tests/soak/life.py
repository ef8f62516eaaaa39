"""A node's life for days on end in virtual time: what happens to it, what it must have done, and what its host has of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from felinar_sim.clock import VirtualClock, unix_us
from felinar_sim.host import Host
from felinar_sim.street import Street
from felinar_sim.weather import WeatherSource
from felinar_sim.world import World
from felinar_wire import schema

from tests.firmware import lamp_oracle
from tests.firmware.lamp_oracle import Program

REPORT_S = 300
HEAP = 224 * 1024
HOUR = 3600
_DAY = 86400
ZONE = "Europe/Bucharest"
PROGRAMS = [
    Program({"dim": [["23:00", 60], ["05:00", 100]]}, dim=((time(23), 60), (time(5), 100))),
    Program(
        {"days": "fr-sa", "dim": [["23:30", 70], ["03:30", 40], ["05:30", 100]]},
        days=frozenset((4, 5)),
        dim=((time(23, 30), 70), (time(3, 30), 40), (time(5, 30), 100)),
    ),
]
"""Weekends otherwise than working days, with a change in the hour that is left out in spring and comes twice in autumn."""

_SLACK_S = 120  # a minute for the sun, ten seconds for the node's tick, one for its jitter; whole minutes
_height = cache(lamp_oracle.height)
_TWILIGHT_DEG = 4.0  # up to there heavy clouds may light the lamp by day
_HELLO_EVERY = 6  # hours, as the daemon does


@dataclass(frozen=True)
class Incident:
    """Something that happens to the node at a moment, for so many seconds.

    `what`: `away` (the host neither hears nor says anything), `cut` (no mains), `brown-out`, `order` (a lamp command, with
    `values` of LAMP_SET without its id; `seconds` is how long it holds), `gone` (the chip of driver `values[0]` is off the bus).
    """

    at: datetime
    what: str
    seconds: int = 0
    values: tuple[Any, ...] = ()

    @property
    def end(self) -> datetime:
        return self.at + timedelta(seconds=self.seconds)


@dataclass
class Day:
    """What HEALTH said at the end of a day, None when the host was away, and the hours of that day's heap figures."""

    number: int
    health: dict[str, Any] | None
    free: list[int] = field(default_factory=list)


class Life:
    """One pole at Botosani and its host. `run` lets it live; the rest is looked at afterwards.

    Levels of the noise come in blocks of `block_ms` (125, 250 or 375), a quarter of a minute at a time, and sensors are read once
    a minute.
    """

    def __init__(
        self,
        app: Path,
        start: datetime,
        days: int,
        incidents: list[Incident],
        *,
        weather: WeatherSource | None = None,
        drift_ppm: float = 0.0,
        block_ms: int = 375,
    ) -> None:
        self.start, self.days, self.incidents = start, days, sorted(incidents, key=lambda i: i.at)
        self._near: dict[int, list[tuple[int, int, Incident]]] = {}  # by day: begin and end in time of the wire
        for incident in self.incidents:
            begin, until = lamp_oracle.seconds(incident.at), lamp_oracle.seconds(incident.end)
            for day in range((begin - HOUR) // _DAY, (until + HOUR) // _DAY + 1):
                self._near.setdefault(day, []).append((begin, until, incident))
        self.end = start + timedelta(days=days)
        fitted = json.loads((app / "board.json").read_text())["fitted"]
        fitted = [{**entry, "period_ms": 60_000} for entry in fitted if entry.get("bus") != "i2s0"]
        fitted.append({"driver": "levels", "batch": 15_000 // block_ms, "block_ms": block_ms})
        raw = [program.raw for program in PROGRAMS]
        lamp = {
            "on_below_deg": -0.833,
            "utc_offset_min": 120,
            "summer_time": True,
            "dim": raw[0]["dim"],
            "programs": raw[1:],
        }
        self.clock = VirtualClock(start)
        world = World("soak", zone=ZONE, weather=weather)
        self.street = Street(
            1, app=app, clock=self.clock, world=world, seed="soak", fitted=fitted, report_s=REPORT_S, config={"lamp": lamp},
            heap="224K", drift_ppm=drift_ppm,
        )  # fmt: skip
        self.pole = self.street[0]
        self.host = Host(self.pole)
        self.ledger: list[Day] = []
        self.switched: list[tuple[int, int]] = [(unix_us(start), 100)]
        """Level that relay and dimmer give, each time it changes: (µs, %)."""
        self._ids = 0
        self.pole.pins.listeners.append(_Listener(self))
        self.pole.pins.pwm_listeners.append(_Listener(self))
        self.pole.on_power.append(lambda present, now: self.note(now))

    def __enter__(self) -> Life:
        self.street.__enter__()
        for incident in self.incidents:
            self.clock.at(unix_us(incident.at), lambda i=incident: self._begin(i))  # type: ignore[misc]
        return self

    def __exit__(self, *_: object) -> None:
        self.street.close()

    def note(self, now_us: int) -> None:
        """Write down what the lamp is driven with now."""
        pins = self.pole.pins
        duty, hz = pins.duty("dim")
        level = 0 if pins.level("relay") else round(duty * 100 / 65535) if hz else 100
        if self.switched[-1][1] != level:
            self.switched.append((now_us, level))

    # What happens

    def run(self, on_day: Callable[[Day], None] = lambda day: None) -> None:
        """Let all the days pass; `on_day` is called at the end of each."""
        for number in range(1, self.days + 1):
            day = Day(number, None)
            for hour in range(24):
                self.street.run_for(HOUR - 1)
                self._ask(hour % _HELLO_EVERY == 0)
                self.street.run_for(1)
                day.health = self._health()
                if day.health is not None:
                    day.free.append(day.health["heap_free"])
            self.ledger.append(day)
            on_day(day)

    def settle(self) -> dict[str, Any]:
        """HEALTH once all that the host has been told is stored."""
        self.street.run_for(20)
        self.host.send(schema.QUERY, [schema.QUERY_HEALTH])
        self.street.run_for(1)
        return self.host.last(schema.HEALTH)

    def _ask(self, hello: bool) -> None:
        if self.host.answers:
            if hello:
                self.host.send(schema.QUERY, [schema.QUERY_HELLO])
            self.host.send(schema.QUERY, [schema.QUERY_HEALTH])

    def _health(self) -> dict[str, Any] | None:
        """What was said in the last second."""
        for got in reversed(self.host.said[-8:]):
            if got.kind == schema.HEALTH and got.at_us > self.clock.now_us - 1_000_000:
                return got.values
        return None

    def _begin(self, incident: Incident) -> None:
        later = unix_us(incident.end)
        if incident.what == "away":
            self.host.answers = False
            self.clock.at(later, self._back)
        elif incident.what == "cut":
            self.pole.cut_power()
            self.clock.at(later, self.pole.power_on)
        elif incident.what == "brown-out":
            self.pole.brown_out()
        elif incident.what == "order":
            self._ids += 1
            self.host.send(schema.LAMP_SET, [self._ids, *incident.values])
        elif incident.what == "gone":
            chip = self.pole.chip(incident.values[0])
            chip.gone = True
            self.clock.at(later, lambda: setattr(chip, "gone", False))
        else:
            raise ValueError(incident.what)

    def _back(self) -> None:
        self.host.answers = True
        self.host.send(schema.QUERY, [schema.QUERY_HELLO])

    # What came of it

    def books(self) -> None:
        """Everything that the node kept is stored once and as it was; nothing else is."""
        assert {(a.boot, a.seq): (a.kind, a.body) for a in self.pole.appended} == self.host.stored
        assert len(self.pole.appended) == len(self.host.stored)
        for boot, count in Counter(boot for boot, _ in self.host.stored).items():
            assert {seq for b, seq in self.host.stored if b == boot} == set(range(1, count + 1)), f"boot {boot}"

    def reported(self) -> Counter[str]:
        """Reports for each day of UTC, after a look that each period has one and only those without mains have none."""
        times = [report["time"] for report in self.host.reports()]
        assert None not in times, "the clock was set within seconds, always"
        assert len(set(times)) == len(times), "two reports of one period"
        begin, end = lamp_oracle.seconds(self.start), lamp_oracle.seconds(self.end)
        expected = {t for t in range(begin + REPORT_S, end + 1, REPORT_S) if not self._without_mains(t)}
        assert set(times) == expected
        days: Counter[str] = Counter()
        for t in times:
            days[(lamp_oracle.EPOCH + timedelta(seconds=t - 1)).date().isoformat()] += 1
        return days

    def _without_mains(self, t: int) -> bool:
        """Whether a period ended where there was no mains; a node that has just got it needs some seconds for the time."""
        for begin, end, incident in self._near.get(t // _DAY, ()):
            if incident.what == "cut":
                assert end % REPORT_S < REPORT_S - 30, (
                    "an incident that ends where a period does leaves open what is right"
                )
                if begin <= t < end:
                    return True
        return False

    def lamp_right(self) -> int:
        """Minutes of night, after a look at each minute: the level is what programs or an order say, and by day it is dark."""
        told = [*self.switched, (unix_us(self.end), -1)]
        place = night = 0
        begin, end = lamp_oracle.seconds(self.start), lamp_oracle.seconds(self.end)
        for t in range(begin + 300, end, 60):
            now = unix_us(lamp_oracle.EPOCH + timedelta(seconds=t))
            while told[place + 1][0] <= now:
                place += 1
            level = told[place][1]
            around = (t - _SLACK_S, t, t + _SLACK_S)
            heights = [_height(moment) for moment in around]
            ordered = self._ordered(t)
            if any(self._upset(moment) for moment in around):
                continue
            if ordered is not None:
                assert level == ordered, f"{self._date(t)}: {level} instead of the {ordered} ordered"
            elif max(heights) < -0.833:
                night += 1
                allowed = set().union(*(lamp_oracle.levels(PROGRAMS, moment) for moment in around))
                assert level in allowed, f"{self._date(t)}: {level} by night, not one of {allowed}"
            elif min(heights) > _TWILIGHT_DEG:
                assert level == 0, f"{self._date(t)}: {level} by day"
        return night

    def never_dark(self) -> None:
        """By the simulator's own account: dark with mains there only by day, by order, or while the driver starts."""
        for a, b in self.pole.lamp.dark_while_powered(unix_us(self.start), unix_us(self.end)):
            begin, end = datetime.fromtimestamp(a / 1e6, UTC), datetime.fromtimestamp(b / 1e6, UTC)
            t = lamp_oracle.seconds(begin)
            while t < lamp_oracle.seconds(end) and b - a > 500_000:
                by_day = lamp_oracle.height(t) > -0.833 - 0.4  # about two minutes
                ordered = 0 in (self._ordered(t), self._ordered(t - _SLACK_S), self._ordered(t + _SLACK_S))
                assert by_day or ordered, f"dark from {begin} to {end}, at night"
                t += 60

    def _ordered(self, t: int) -> int | None:
        level = None
        for begin, end, incident in self._near.get(t // _DAY, ()):
            if incident.what == "order" and begin <= t < end:
                mode, given = incident.values[:2]
                level = {schema.MODE_ON: 100, schema.MODE_OFF: 0, schema.MODE_DIM: given}[mode]
            if incident.what in ("cut", "brown-out") and begin <= t < end + 1:
                level = None
        return level

    def _upset(self, t: int) -> bool:
        """Whether an order begins or ends about now, or the node has no mains or has just got it."""
        for begin, end, incident in self._near.get(t // _DAY, ()):
            if incident.what == "order" and (abs(t - begin) < _SLACK_S or abs(t - end) < _SLACK_S):
                return True
            if incident.what in ("cut", "brown-out") and begin - _SLACK_S < t < end + 2 * _SLACK_S:
                return True
        return False

    @staticmethod
    def _date(t: int) -> datetime:
        return lamp_oracle.EPOCH + timedelta(seconds=t)


class _Listener:
    def __init__(self, life: Life) -> None:
        self._life = life

    def pin(self, name: str, level: int, now_us: int) -> None:
        if name == "relay":
            self._life.note(now_us)

    def pwm(self, name: str, duty_u16: int, hz: int, now_us: int) -> None:
        self._life.note(now_us)
