"""Clocks: order, cancelling, limits, and the real one in a thread."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timedelta, timezone

import pytest
from felinar_sim.clock import RealClock, VirtualClock, unix_us


def test_actions_happen_in_order_and_at_their_moment() -> None:
    clock = VirtualClock(start=100)
    seen: list[tuple[str, int]] = []
    for name, at in (("b", 2_000), ("a", 1_000), ("c", 2_000)):
        clock.at(100_000_000 + at, lambda name=name: seen.append((name, clock.now_us - 100_000_000)))  # type: ignore[misc]
    clock.run_for(0.0015)
    assert seen == [("a", 1_000)]
    assert clock.now_us == 100_001_500
    clock.run_for(1)
    assert seen == [("a", 1_000), ("b", 2_000), ("c", 2_000)]
    assert clock.now_us == 101_001_500


def test_an_action_in_the_past_happens_now_and_a_cancelled_one_never() -> None:
    clock = VirtualClock(start=100)
    seen: list[int] = []
    clock.at(5, lambda: seen.append(clock.now_us))
    clock.at(100_000_010, lambda: seen.append(-1)).cancel()
    clock.run_for(1)
    assert seen == [100_000_000]


def test_an_action_at_the_limit_still_happens_and_one_behind_it_not() -> None:
    clock = VirtualClock(start=0)
    seen: list[str] = []
    clock.at(1_000_000, lambda: seen.append("at"))
    clock.at(1_000_001, lambda: seen.append("behind"))
    clock.run_for(1)
    assert seen == ["at"]


def test_actions_may_plan_more() -> None:
    clock = VirtualClock(start=0)
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(clock.now_us)
        clock.at(clock.now_us + 250_000, tick)

    clock.at(0, tick)
    clock.run_for(1)
    assert ticks == [0, 250_000, 500_000, 750_000, 1_000_000]


def test_moments() -> None:
    east = timezone(timedelta(hours=2))
    assert unix_us(datetime(2026, 1, 1, 2, tzinfo=east)) == unix_us(datetime(2026, 1, 1)) == 1_767_225_600_000_000
    assert unix_us(1.5) == 1_500_000


def test_virtual_clock_refuses_descriptors() -> None:
    with pytest.raises(NotImplementedError):
        VirtualClock().watch(0, lambda: None)


def test_real_clock_starts_where_it_is_told_and_goes_on() -> None:
    clock = RealClock(start=1_000_000)
    assert 0 <= clock.now_us - 1_000_000_000_000 < 60_000_000
    before = clock.now_us
    clock.run_for(0.01)
    assert clock.now_us - before >= 10_000


def test_real_clock_in_a_thread_wakes_for_timers_and_descriptors() -> None:
    clock = RealClock()
    out, into = os.pipe()
    came, timed = threading.Event(), threading.Event()

    def readable() -> None:
        os.read(out, 10)
        came.set()

    clock.start()
    try:
        clock.watch(out, readable)
        os.write(into, b"x")
        assert came.wait(10)
        clock.at(clock.now_us + 1_000, timed.set)
        assert timed.wait(10)
    finally:
        clock.stop()
        os.close(out)
        os.close(into)


def test_stop_ends_a_run_from_inside() -> None:
    clock = RealClock()
    clock.at(clock.now_us, clock.stop)
    clock.run_for(3600)
