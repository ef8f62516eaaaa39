"""The chip's clocks under real MicroPython: epoch 2000, ticks that wrap, sleeping, drift, timers, and asyncio on top."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from felinar_sim.process import interpreter

from .conftest import SAMPLES, Bench

Start = Callable[..., Bench]


def test_time_counts_from_2000_and_from_power_on(start: Start) -> None:
    lines = start("import time\nprint(time.time(), time.localtime()); time.sleep(3); print(time.time())").run(10)
    assert lines == ["0 (2000, 1, 1, 0, 0, 0, 5, 1)", "3"]


def test_dates_match_the_calendar(start: Start) -> None:
    moments = [datetime(2000, 1, 1) + timedelta(days=37 * k, seconds=3571 * k) for k in range(600)]
    seconds = [int((m - datetime(2000, 1, 1)).total_seconds()) for m in moments]
    program = f"import time\nfor s in {seconds}:\n t = time.gmtime(s)\n print(*t, time.mktime(t) == s)"
    lines = start(program).run(60)
    expected = [
        f"{m.year} {m.month} {m.day} {m.hour} {m.minute} {m.second} {m.weekday()} {m.timetuple().tm_yday} True"
        for m in moments
    ]
    assert lines == expected


def test_ticks_wrap_at_two_to_the_thirty(start: Start) -> None:
    program = (
        "import time\na = time.ticks_ms(); time.sleep_ms(2000); b = time.ticks_ms()\n"
        "print(a > 1000000000, b < 10000, 2000 <= time.ticks_diff(b, a) <= 2001, time.ticks_add(a, 2000) in (b, b - 1))"
    )
    assert start(program, uptime_at_boot_s=2**30 / 1000 - 1).run(5) == ["True True True True"]


def test_watching_the_clock_gets_on(start: Start) -> None:
    program = (
        "import time\nt = time.ticks_us(); n = 0\nwhile time.ticks_diff(time.ticks_us(), t) < 100000: n += 1\nprint(n > 1000)\n"
        "t = time.ticks_us(); time.sleep_us(700); d = time.ticks_diff(time.ticks_us(), t); print(700 <= d < 800)"
    )
    assert start(program).run(2) == ["True", "True"]


def test_a_fast_crystal_runs_ahead_of_the_world(start: Start) -> None:
    program = "import time\nwhile True:\n  time.sleep(100)\n  print(time.time())"
    bench = start(program, drift_ppm=1000.0, boot_ms=0)
    bench.run(99.95)
    assert bench.lines == ["100"]
    assert bench.board.rtc_s == pytest.approx(99.95 * 1.001, abs=0.001)


def test_timers_and_pin_handlers(start: Start) -> None:
    bench = start("timers.py")
    bench.run(0.95)
    bench.board.pins.put("button", 1, bench.board.clock.now_us)
    bench.run(0.1)
    bench.board.pins.put("button", 0, bench.board.clock.now_us)
    assert bench.run(1)[:4] == ["periodic 2 once 1", "pressed Pin(27)", "level 1", "done"]


def test_asyncio_behaves_as_with_the_built_in_task_queue(start: Start) -> None:
    """The same program prints the same under plain MicroPython, whose task queue is C, and on the board."""
    path = SAMPLES / "asyncio_tour.py"
    plain = subprocess.run([interpreter(), str(path)], capture_output=True, text=True, check=True, timeout=60)
    lines = start("asyncio_tour.py").run(60)
    assert lines == plain.stdout.splitlines()
    assert lines[-1] == "end"
