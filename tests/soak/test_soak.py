"""A month or a year of one node in virtual time, with all that happens to a lamp on a street: `make soak SOAK_DAYS=365`."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from felinar_build import app as build
from felinar_wire import schema

from tests.soak.life import HEAP, Day, Incident, Life
from tests.support.micropython import ROOT

DAYS = int(os.environ.get("SOAK_DAYS", "31"))
START = datetime(
    2026, 3, 10, tzinfo=UTC
)  # a month from here has the clock change of spring, a year that of autumn as well
FAST_PPM = 1.0
_MODES = ((schema.MODE_ON, 0), (schema.MODE_OFF, 0), (schema.MODE_DIM, 35))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("node") / "app"
    build.build(ROOT / "boards" / "sim" / "board.toml", out, mpy=True)
    return out


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """Board and simulator take turns: on the same core they do so in less time."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    yield
    os.sched_setaffinity(0, cores)


def fate(days: int) -> list[Incident]:
    """What happens, the same for every run of so many days: at most one thing a day, and one long absence of the host."""
    rnd = random.Random("fate")
    away_from, away_for = (40, 9) if days > 60 else (12, 3)
    incidents = []
    for day in range(1, days - 1):
        begin = START + timedelta(days=day, hours=rnd.randrange(1, 12), minutes=rnd.randrange(60), seconds=7)
        hours = rnd.randrange(1, 11)
        chance, driver = rnd.random(), rnd.choice(("bh1750", "sps30", "scd41", "sht4x"))
        mode, level = rnd.choice(_MODES)
        if away_from <= day < away_from + away_for:
            if day == away_from:
                incidents.append(Incident(begin, "away", away_for * 86400 - 43_200))
        elif chance < 0.15:
            incidents.append(Incident(begin, "away", hours * 3600))
        elif chance < 0.19:
            incidents.append(Incident(begin, "cut", hours * 1740))
        elif chance < 0.21:
            incidents.append(Incident(begin, "brown-out"))
        elif chance < 0.35:
            evening = begin + timedelta(hours=9)
            incidents.append(
                Incident(evening, "order", hours * 300, (mode, level, 0, hours * 300, schema.REASON_OPERATOR))
            )
        elif chance < 0.42:
            incidents.append(Incident(begin, "gone", hours * 3600, (driver,)))
    return incidents


def test_a_node_lives_for_long(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    incidents = fate(DAYS)

    def tell(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)

    def on_day(day: Day) -> None:
        wall = time.monotonic() - began
        health = day.health
        heap = "host away" if health is None else f"heap free {health['heap_free']}, lowest {health['heap_low']}"
        counts = (
            ""
            if health is None
            else f", boot {health['boot']}, dropped {health['dropped']}, pending {health['pending']}"
        )
        tell(f"day {day.number:3} of {DAYS}: {wall:7.1f} s, {wall / day.number:.2f} s a day; {heap}{counts}")

    with Life(app, START, DAYS, incidents, drift_ppm=FAST_PPM) as life:
        life.run(on_day)
        health = life.settle()
        lived = time.monotonic() - began
        life.books()
        days = life.reported()
        nights = life.lamp_right()
        life.never_dark()
        events = life.host.events()
        boots = [arg for name, arg in events if name == "boot"]
        tell(
            f"{DAYS} days in {lived:.1f} s, looked at in {time.monotonic() - began - lived:.1f} s: {sum(days.values())} reports, "
            f"{len(events)} events, {len(incidents)} incidents, {len(boots)} boots, {nights / 60:.0f} h of night; "
            f"heap free {life.ledger[0].free[-1]} after the first day and {health['heap_free']} at the end"
        )

        causes = {"cut": schema.RESET_POWER, "brown-out": schema.RESET_BROWNOUT}
        assert boots == [schema.RESET_POWER, *(causes[i.what] for i in incidents if i.what in causes)]
        assert (health["boot"], health["crashes"], health["safe"]) == (len(boots), 0, 0)
        assert (health["dropped"], health["pending"], health["bad_frames"]) == (0, 0, 0)
        assert health["made"] == max(seq for boot, seq in life.host.stored if boot == health["boot"])
        assert not [event for event in events if event[0] in ("crash", "dropped", "safe_mode", "bad_config")]

        # Each boot counts on, and its crystal is seen to be as fast as it is.
        told = [day.health for day in life.ledger if day.health is not None]
        for a, b in pairwise(told):
            assert b["made"] >= a["made"] or b["boot"] > a["boot"]
        drifts = [h["drift"] for h in told if h["drift"] is not None and h["up"] > 86400]
        # Between two TIMEs an hour apart, some milliseconds that one of them waited behind other frames are a ppm or two.
        assert statistics.median(drifts) == pytest.approx(-10 * FAST_PPM, abs=2)
        assert max(abs(drift + 10 * FAST_PPM) for drift in drifts) <= 40

        # Heap: at the end of each boot as much free as after the first day, and a fifth at its lowest.
        first = life.ledger[0].free[-1]
        assert min(h["heap_free"] for h in [*told, health]) > first - 1024, "the heap fills up"
        assert min(h["heap_low"] for h in [*told, health]) >= HEAP // 5, "less than a fifth of the heap was free"
