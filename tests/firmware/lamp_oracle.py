"""When a lamp may be dark at night: worked out from almanac, calendar and arithmetic, without the firmware."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from astral import Observer
from astral.sun import elevation

EPOCH = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
PLACE = (47.745, 26.659)
ZONE = ZoneInfo("Europe/Bucharest")
WEEK = ("mo", "tu", "we", "th", "fr", "sa", "su")
TEN_DAYS = 10 * 86400


def seconds(moment: dt.datetime) -> int:
    """Time of the wire."""
    return int((moment - EPOCH).total_seconds())


def height(time: int) -> float:
    """Degrees of the sun above the horizon of PLACE."""
    return elevation(Observer(*PLACE), EPOCH + dt.timedelta(seconds=time), with_refraction=False)


@dataclass(frozen=True)
class Program:
    """A program as it was meant; `raw` is what the node reads, `sound` whether that makes sense."""

    raw: Any
    sound: bool = True
    days: frozenset[int] = frozenset(range(7))
    first: tuple[int, int] = (1, 1)
    last: tuple[int, int] = (12, 31)
    dim: tuple[tuple[dt.time, int], ...] = ()
    fade: int = 0

    def holds(self, evening: dt.date) -> bool:
        """Whether it is for the night that begins on that date."""
        if not self.sound:
            return True
        day = (evening.month, evening.day)
        after, before = day >= self.first, day <= self.last
        inside = (after and before) if self.first <= self.last else (after or before)
        return inside and evening.weekday() in self.days


def levels(programs: list[Program], time: int) -> set[int]:
    """What they may say at a moment: one level, or, while it changes, all between the two."""
    local = (EPOCH + dt.timedelta(seconds=time)).astimezone(ZONE).replace(tzinfo=None)
    evening = (local - dt.timedelta(hours=12)).date()
    fitting = [program for program in programs if program.holds(evening)]
    if not fitting or not fitting[-1].sound:
        return {100}
    now = level = 100
    changed = None
    dates = (evening, evening + dt.timedelta(days=1))
    for at, value in sorted((dt.datetime.combine(dates[c.hour < 12], c), value) for c, value in fitting[-1].dim):
        if at <= local:
            now, level, changed = level, value, at
    if changed and (local - changed).total_seconds() < fitting[-1].fade:
        return set(range(min(now, level), max(now, level) + 1))
    return {level}


@dataclass
class Order:
    begin: int
    ttl: int
    level: int  # -1 for automatic
    wall_end: int | None = None


@dataclass
class Oracle:
    """Follows what happens to a node. `excuse` says why the lamp may be dark, None when it may not."""

    programs: list[Program] = field(default_factory=list)
    placed: bool = True
    safe: bool = False
    up: int = 0
    told_at: int = 0
    order: Order | None = None
    waiting: Order | None = None
    bright_since: int | None = None
    day: bool = False

    def command(self, mode: int, level: int, ttl: int, start: int) -> None:
        self.waiting = Order(self.up + start, ttl, {0: -1, 1: 100, 2: 0}.get(mode, level))

    def step(self, up: int, time: int | None, lux: float | None) -> None:
        """Time has come to `up`."""
        if up < self.up:
            self.order = self.waiting = None
        self.up = up
        if self.waiting and up >= self.waiting.begin:
            self.order, self.waiting = self.waiting, None
            if time is not None:
                self.order.wall_end = time - (up - self.order.begin) + self.order.ttl
        order = self.order
        if order and (
            self.safe
            or up - order.begin >= order.ttl
            or (time is not None and order.wall_end is not None and time >= order.wall_end)
        ):
            self.order = None
        if lux is None or lux != lux or lux < 100_000:
            self.day, self.bright_since = False, None
        elif lux >= 400_000:
            self.bright_since = up if self.bright_since is None else self.bright_since
            self.day = self.day or up - self.bright_since >= 300
        else:
            self.bright_since = None

    def night(self, time: int | None) -> bool:
        return height(time) < -0.833 if time is not None and self.placed else not self.day

    def allowed(self, time: int | None) -> set[int]:
        """Levels that may be asked of the lamp at night."""
        if self.order and self.order.level >= 0:
            return {self.order.level}
        if time is None or self.safe or self.up - self.told_at >= TEN_DAYS:
            return {100}
        return levels(self.programs, time)
