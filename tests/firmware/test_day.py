"""A simulated day of the whole node as .mpy in a heap as tight as a stock ESP32's: every report accounted for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from felinar_sim.clock import VirtualClock
from felinar_sim.host import Host
from felinar_sim.street import Street
from felinar_wire import schema

START = datetime(2026, 1, 5, 10, tzinfo=UTC)
HEAP = 224 * 1024


def test_a_day_in_a_stock_heap(node_app: Path) -> None:
    fitted = json.loads((node_app / "board.json").read_text())["fitted"]
    # Levels come in by the ten seconds and sensors are read once a minute: fewer requests, the same day.
    fitted = [{**entry, "period_ms": 60_000} for entry in fitted if entry.get("bus") != "i2s0"]
    fitted.append({"driver": "levels", "batch": 80})
    with Street(1, app=node_app, clock=VirtualClock(START), fitted=fitted, report_s=300, heap="224K") as street:
        pole = street[0]
        host = Host(pole)
        free = []
        for hour in range(24):
            host.answers = hour not in (5, 6, 7)  # the host is away for three hours of the night
            street.run_for(3599)
            if host.answers:
                host.send(schema.QUERY, [schema.QUERY_HEALTH])
            street.run_for(1)
            free.append(host.last(schema.HEALTH)["heap_free"] if host.said[-1].kind == schema.HEALTH else HEAP)
        street.run_for(5)
        host.send(schema.QUERY, [schema.QUERY_HEALTH])
        street.run_for(1)
        assert len(pole.boots) == 1

        # Accounted for: one report for each five minutes, nothing dropped, what was kept is stored, and once.
        health = host.last(schema.HEALTH)
        assert (health["dropped"], health["pending"], health["sensor_errors"], health["bad_frames"]) == (0, 0, 0, 0)
        assert {(a.boot, a.seq): (a.kind, a.body) for a in pole.appended} == host.stored
        reports = host.reports()
        first = reports[0]["time"]
        assert [report["time"] for report in reports] == [first + 300 * n for n in range(288)]
        assert all(None not in (r["lux"], r["pm25"], r["temp"], r["leq"], r["l90"], r["power"]) for r in reports[1:])
        assert health["made"] == len(host.stored)

        # Lamp: out at daybreak, lit at dusk, dimmed between 23:00 and 05:00 local time.
        assert [e for e in host.events() if e[0] == "lamp"] == [("lamp", level) for level in (0, 100, 60, 100, 0)]
        assert reports[-1]["energy"] > reports[100]["energy"] > 0

        assert min(free) > HEAP // 5, "less than a fifth of the heap was free"
        assert free[-1] > free[1] - 2048, "the heap fills up"
