"""What a lamp node costs: bytes of code, heap, time for sound and reports, from boot to first report, a simulated week."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from felinar_build import app as build
from felinar_build import modules
from felinar_sim.clock import VirtualClock
from felinar_sim.host import Host
from felinar_sim.process import interpreter
from felinar_sim.street import Street
from felinar_wire import codec, schema

from felinar_bench.figures import Figure

BOARD = "sim"
ARCH = "xtensawin"
HEAP = 224 * 1024
START = datetime(2026, 1, 5, 10, tzinfo=UTC)
SCRIPT = Path(__file__).with_name("scripts") / "node_run.py"
PATH = ":".join([str(build.ROOT / "firmware"), str(Path(codec.__file__).parents[1]), ".frozen"])


def code() -> Figure:
    """Bytes of .mpy that stay loaded, what is loaded for a moment told apart."""
    sizes = build.sizes(BOARD, ARCH)
    moment = {place: sizes.pop(place) for place in list(sizes) if modules.name(place) in modules.FOR_A_MOMENT}
    parts: dict[str, int] = {}
    for place, size in sizes.items():
        part = place.partition("/")[0].removesuffix(".py")
        parts[part] = parts.get(part, 0) + size
    note = ", ".join(f"{part} {size}" for part, size in parts.items())
    listed = ", ".join(f"{Path(place).stem} {size}" for place, size in moment.items())
    note += f"; loaded for a moment and let go of again: {sum(moment.values())} ({listed})"
    return Figure("node.mpy.bytes", sum(sizes.values()), "bytes", 45_000, note=note)


def measured() -> Any:
    """What node_run.py printed."""
    command = [interpreter(), "-X", "heapsize=8M", str(SCRIPT), str(build.ROOT / "firmware" / "node" / "sound.py")]
    done = subprocess.run(command, env={**os.environ, "MICROPYPATH": PATH}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{SCRIPT.name} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def high_water(app: Path) -> Figure:
    """The most heap that was in use behind a collection, with samples flowing from every chip, sound included."""
    with Street(1, app=app, clock=VirtualClock(START), report_s=60, heap="224K") as street:
        host = Host(street[0])
        street.run_for(400)
        host.send(schema.QUERY, [schema.QUERY_HEALTH])
        street.run_for(2)
        health = host.last(schema.HEALTH)
        last = host.reports()[-1]
        if health["dropped"] or len(host.reports()) < 6 or None in (last["leq"], last["pm25"]):
            raise RuntimeError("the node did not sample")
    return Figure(
        "node.heap.high_water", round(1 - health["heap_low"] / HEAP, 3), "share of 224K", 0.8,
        note=f"{HEAP - health['heap_low']} bytes, {health['heap_low']} free; six reports with sound from samples",
    )  # fmt: skip


def first_report(app: Path) -> Figure:
    with Street(1, app=app, clock=VirtualClock(START), report_s=5, heap="224K") as street:
        host = Host(street[0])
        begin = street.clock.now_us
        street.run_for(60)
        heard = next(at for at, kind, _ in host.heard if kind == schema.REPORT)
    return Figure(
        "node.boot.first_report_ms", round((heard - begin) / 1000), "ms", 15_000,
        note="simulated time with a report in 5 s, to the host's ear; the chips' own start-up included",
    )  # fmt: skip


def week(app: Path) -> Figure:
    """Seven simulated days, level statistics injected below the sound core, sensors read each minute."""
    fitted = json.loads((app / "board.json").read_text())["fitted"]
    fitted = [{**entry, "period_ms": 60_000} for entry in fitted if entry.get("bus") != "i2s0"]
    fitted.append({"driver": "levels", "batch": 80})
    began = time.perf_counter()
    with Street(1, app=app, clock=VirtualClock(START), fitted=fitted, report_s=300, heap="224K") as street:
        host = Host(street[0])
        street.run_for(7 * 86400)
        reports = len(host.reports())
    wall = time.perf_counter() - began
    if reports < 7 * 288 - 1:
        raise RuntimeError(f"the week has {reports} reports")
    return Figure("node.week.wall_s", round(wall, 1), "s", 60, note=f"{reports} reports; one board on a virtual clock")


def figures() -> Iterator[Figure]:
    yield code()
    found = measured()
    viper, plain, report = (statistics.median(found[name]) for name in ("viper", "bytecode", "report"))
    rounds = len(found["viper"])
    yield Figure(
        "node.sound.us_per_second", round(min(found["viper"])), "us",
        note=f"unix MicroPython, 48,000 samples; best of {rounds}, median {viper:.0f}",
    )  # fmt: skip
    yield Figure(
        "node.sound.against_bytecode", round(plain / viper, 1), "times", 20, "higher",
        f"the same arithmetic as bytecode takes {plain / 1000:.1f} ms",
    )  # fmt: skip
    yield Figure(
        "node.report.build_us", round(min(found["report"]), 1), "us",
        note=f"closing a period and encoding it; best of {rounds}, median {report:.1f}",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder) / "app"
        build.build(build.ROOT / "boards" / BOARD / "board.toml", app, mpy=True)
        yield first_report(app)
        yield high_water(app)
        yield week(app)
