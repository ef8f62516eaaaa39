"""What reaches listeners: everything for those who keep up, the count of the rest for those who don't."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
from felinar import api, live, live_bus
from felinar.client import Client, Happening
from felinar.errors import ClientError
from felinar.live_bus import Bus
from rich.console import Console

CONFIG = api.ConfigOrder(5)


def node(number: int, **more: Any) -> api.Node:
    return api.Node(
        node=number, board="a1", boards=1, last_heard="2026-09-21T14:13:20Z", online=True, stored=0, reports=0,
        events=0, duplicates=0, same_time=0, gaps=0, made=0, dropped=0, pending=0, **more,
    )  # fmt: skip


def reading(number: int, time: str, dim: float) -> api.Reading:
    return api.Reading(
        node=number, board="a1", boot=1, seq=1, time=time, time_source="node", heard=time,
        values={"relay": 1, "dim": dim, "power": 36.0, "lux": None},
    )  # fmt: skip


def test_a_slow_listener_is_told_what_it_missed_and_slows_nobody() -> None:
    async def work() -> None:
        bus = Bus()
        slow, quick = bus.join(), bus.join()
        got = 0
        for _ in range(live_bus.QUEUE + 10):
            bus.publish("node", CONFIG)
            event = await anext(quick.events(1))
            got += event == ("node", b'{"report_s":5}')
        assert got == live_bus.QUEUE + 10
        assert bus.missed == 10
        events = slow.events(1)
        for _ in range(live_bus.QUEUE):
            await anext(events)
        bus.publish("node", CONFIG)
        assert await anext(events) == ("missed", b'{"missed":10}')
        assert await anext(events) == ("node", b'{"report_s":5}')

    asyncio.run(work())


def test_listeners_hear_that_nothing_happens_and_that_it_ends() -> None:
    async def work() -> None:
        bus = Bus()
        listener = bus.join()
        events = listener.events(0.001)
        assert await anext(events) is None
        for _ in range(live_bus.QUEUE + 5):
            bus.publish("node", CONFIG)
        bus.close()
        heard = [event async for event in events]
        assert len(heard) == live_bus.QUEUE
        assert [event async for event in bus.join().events(1)] == [], "who comes after the end is sent home at once"
        bus.leave(listener)
        bus.publish("node", CONFIG)

    asyncio.run(work())


class Told:
    """A client that tells what the test has prepared."""

    def __init__(self, *happenings: Happening, end: bool = False) -> None:
        self._happenings = happenings
        self._end = end

    def nodes(self) -> list[api.Node]:
        return [node(2), node(1)]

    def stream(self) -> Iterator[Happening]:
        yield "", None
        yield from self._happenings
        if not self._end:
            raise ClientError("The daemon is not running, or ended just now.")


def watch(told: Told, console: Console) -> list[api.Node]:
    return live.watch(cast("Client", told), console, seconds=60)


def test_the_daemons_end_ends_the_view() -> None:
    for told in (Told(), Told(end=True)):
        with pytest.raises(ClientError, match="ended"):
            watch(told, Console(file=io.StringIO()))


def test_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with pytest.raises(ClientError):
        watch(Told(("reading", reading(1, "2026-09-21T14:13:25Z", 60))), Console(file=out))
    assert out.getvalue().startswith("2026-09-21T14:13:25Z node 1: lux - lx")
    assert out.getvalue().endswith("lamp 60 %, 36.0 W\n")


def test_a_table_on_a_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    times = iter(range(1000))
    told = Told(("reading", reading(1, "2026-09-21T14:13:25Z", 60)), ("node", node(3, name="Unirii")))
    seen = live.watch(
        cast("Client", told), console, seconds=3, clock=lambda: next(times), wall=lambda: 1_790_000_010.0
    )  # fmt: skip
    assert [one.node for one in seen] in ([1, 2], [1, 2, 3])
    assert "felinar live" in out.getvalue()
    assert "60 %" in out.getvalue()


def test_an_older_reading_does_not_take_the_place_of_a_newer_one() -> None:
    street = live.Street([node(1)])
    street.take(("reading", reading(1, "2026-09-21T14:13:25Z", 60)))
    street.take(("reading", reading(1, "2026-09-21T14:10:00Z", 100)))
    street.take(("reading", reading(9, "2026-09-21T14:10:00Z", 100)))
    street.take(("event", None))
    (shown,) = street.nodes
    assert shown.latest is not None
    assert shown.latest.values is not None
    assert shown.latest.values["dim"] == 60
    assert msgspec.json.encode(shown)
