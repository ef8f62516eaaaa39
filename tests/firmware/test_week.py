"""Simulated weeks of the whole node as .mpy in a heap as tight as a stock ESP32's, over both changes of the clocks.

Everything is accounted for: each period has one report, the lamp did at each minute what it must, counters agree.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from felinar_sim.board import Cause
from felinar_sim.clock import unix_us
from felinar_sim.weather import GeneratedWeather
from felinar_wire import schema

from tests.firmware.lamp_oracle import seconds
from tests.soak.life import HEAP, Incident, Life

SPRING = datetime(2026, 3, 24, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC)
WEATHER = GeneratedWeather("week")  # without gaps, so that nothing is missing but what is taken away


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    """A moment of March 2026, UTC."""
    return datetime(2026, 3, day, hour, minute, second, tzinfo=UTC)


CUT = Incident(at(25, 19, 31, 7), "cut", 47 * 60)  # 21:31 local time
AWAY = Incident(at(26, 7), "away", 11 * 3600)
OFF = Incident(at(26, 20, 0, 3), "order", 1800, (schema.MODE_OFF, 0, 0, 1800, schema.REASON_MAINTENANCE))
LIT = Incident(at(27, 10, 0, 3), "order", 600, (schema.MODE_ON, 0, 0, 600, schema.REASON_OPERATOR))
DIM = Incident(at(27, 22, 0, 3), "order", 900, (schema.MODE_DIM, 35, 0, 900, schema.REASON_OPERATOR))
GONE = Incident(at(28, 8, 2), "gone", 6 * 3600, ("sps30",))
DIP = Incident(at(25, 3, 3, 3), "brown-out")


def test_a_week_over_the_clock_change_in_spring(node_app: Path) -> None:
    with Life(node_app, SPRING, 7, [CUT, AWAY, OFF, LIT, DIM, GONE, DIP], weather=WEATHER) as life:
        life.run()
        health = life.settle()
        pole, host = life.pole, life.host

        # One report for each period with mains; what was kept while the host was away is stored, once.
        life.books()
        dark = (CUT.end.minute + 60 * CUT.end.hour) // 5 - (CUT.at.minute + 60 * CUT.at.hour) // 5
        assert life.reported() == {f"2026-03-{day}": 288 - (dark if day == 25 else 0) for day in range(24, 31)}
        hidden = [r for r in host.reports() if seconds(AWAY.at) < r["time"] <= seconds(AWAY.end)]
        assert len(hidden) == 132

        # Boots, their causes, and the counters of the last.
        assert [cause for _, cause in pole.boots] == [Cause.POWER_ON] * 3
        boots = [arg for name, arg in host.events() if name == "boot"]
        assert boots == [schema.RESET_POWER, schema.RESET_BROWNOUT, schema.RESET_POWER]
        assert health["boot"] == host.boot == 3
        assert health["made"] == max(seq for boot, seq in host.stored if boot == 3)
        assert (health["dropped"], health["pending"], health["bad_frames"]) == (0, 0, 0)
        assert (health["crashes"], health["safe"], health["trial"]) == (0, 0, 0)
        first = next({**day.health, "day": day.number} for day in life.ledger if day.health and day.health["boot"] == 3)
        after = unix_us(SPRING + timedelta(days=first["day"]))
        relay = [
            now
            for (now, level), (_, old) in zip(life.switched[1:], life.switched, strict=False)
            if (level > 0) != (old > 0)
        ]
        assert health["switches"] - first["switches"] == sum(now > after for now in relay)
        hours = sum(b - a for a, b in pole.lamp.lit_spans(after, unix_us(life.end))) / 3.6e9
        assert health["lamp_h"] - first["lamp_h"] == pytest.approx(hours, abs=1)

        # The sensor that died is told, its values are missing for as long and no longer.
        told = [(name, arg) for name, arg in host.events() if name in ("sensor_lost", "sensor_back", "crash")]
        assert told == [("sensor_lost", 1), ("sensor_back", 1)]
        assert health["sensor_errors"] > 300
        missing = [r["time"] for r in host.reports() if r["pm25"] is None]
        assert missing[0] - seconds(GONE.at) <= 600
        assert -300 <= missing[-1] - seconds(GONE.end) <= 300
        assert {b - a for a, b in pairwise(missing)} == {300}
        assert all(
            None not in (r["lux"], r["temp"], r["leq"], r["l90"], r["power"], r["co2"]) for r in host.reports()[1:]
        )

        # Lamp: as programs, sun and orders say at each minute, in winter and summer time; never dark by mistake.
        assert life.lamp_right() > 7 * 9 * 60
        life.never_dark()
        dims = [(name, arg) for name, arg in host.events() if name in ("lamp", "override")]
        assert ("override", schema.MODE_OFF) in dims
        energies = [report["energy"] for report in host.reports(3)]
        assert energies == sorted(energies)

        # Heap: as much free as after the first day, and a fifth at its lowest.
        day_one = life.ledger[0].health
        assert day_one is not None
        assert health["heap_free"] > day_one["heap_free"] - 1024, "the heap fills up"
        assert health["heap_low"] >= HEAP // 5, "less than a fifth of the heap was free"


def test_two_days_over_the_clock_change_in_autumn(node_app: Path) -> None:
    """Here the noise comes in blocks of 125 ms, as from a microphone."""
    with Life(node_app, AUTUMN, 2, [], weather=WEATHER, block_ms=125) as life:
        life.run()
        health = life.settle()
        life.books()
        assert life.reported() == {"2026-10-24": 144, "2026-10-25": 288, "2026-10-26": 144}
        assert (health["dropped"], health["pending"], health["sensor_errors"], health["boot"]) == (0, 0, 0, 1)
        assert life.lamp_right() > 2 * 13 * 60
        life.never_dark()
        assert min(day.free[-1] for day in life.ledger) > life.ledger[0].free[-1] - 1024
        assert health["heap_low"] >= HEAP // 5

        # The hour from 3 to 4 comes twice, and the change at 03:30 with it: 23:30, 03:30, 03:00, 03:30, 05:30 local time.
        night = [
            (datetime.fromtimestamp(now / 1e6, UTC).strftime("%H:%M"), level)
            for now, level in life.switched
            if unix_us(datetime(2026, 10, 24, 20, tzinfo=UTC)) < now < unix_us(datetime(2026, 10, 25, 4, tzinfo=UTC))
        ]
        assert night == [("20:30", 70), ("00:30", 40), ("01:00", 70), ("01:30", 40), ("03:30", 100)]
